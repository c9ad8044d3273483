//! A TCP proxy that does to connections what networks do to them.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The state of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// All bytes, either way, arrive so much later.
    Slow(Duration),
    /// So many bytes a second, either way.
    Narrow(u32),
    /// Nothing arrives any more, on connections from before neither, and no end is told: they stay
    /// dead when the weather clears, as behind a firewall that has forgotten them. PostgreSQL finds out
    /// about those whose client has gone when its keepalives say so, as it was told at the connection's
    /// start.
    BlackHole,
    /// Requests arrive, and no answer does; for good, as above.
    HalfOpen,
    /// One answer in so many resets its connection instead of arriving: the request was carried out.
    LostAnswers(u32),
    /// New connections are closed at once.
    Closed,
}

struct Shared {
    weather: watch::Receiver<Weather>,
    target: watch::Receiver<SocketAddr>,
    cut: watch::Receiver<u32>,
    answers: AtomicU32,
}

/// A running proxy. It ends when it is dropped, and its connections with it.
pub struct Proxy {
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    target: watch::Sender<SocketAddr>,
    cut: watch::Sender<u32>,
    _running: DropGuard,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (weather, target) = (
            watch::Sender::new(Weather::Fair),
            watch::Sender::new(target),
        );
        let cut = watch::Sender::new(0);
        let shared = Arc::new(Shared {
            weather: weather.subscribe(),
            target: target.subscribe(),
            cut: cut.subscribe(),
            answers: AtomicU32::new(0),
        });
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(accept(listener, shared, stop.clone()));
        Self {
            address,
            weather,
            target,
            cut,
            _running: stop.drop_guard(),
        }
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// New connections lead elsewhere; those that are open are reset.
    pub fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(target);
        self.cut();
    }

    /// Resets every connection that is open.
    pub fn cut(&self) {
        self.cut.send_modify(|count| *count += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((client, _)) = accepted else { continue };
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            stop.run_until_cancelled(carry(client, &shared)).await;
        });
    }
}

/// One connection, until either side or a cut ends it.
async fn carry(mut client: TcpStream, shared: &Shared) {
    let mut cut = shared.cut.clone();
    cut.mark_unchanged();
    let weather = *shared.weather.borrow();
    if weather == Weather::Closed {
        return;
    }
    if matches!(weather, Weather::BlackHole | Weather::HalfOpen) {
        return drop(cut.changed().await);
    }
    let target = *shared.target.borrow();
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let (_, _) = (client.set_nodelay(true), server.set_nodelay(true));
    let is_reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::select! {
            _ = cut.changed() => true,
            is_reset = pass(from_server, to_client, shared, true) => is_reset,
            is_reset = pass(from_client, to_server, shared, false) => is_reset,
        }
    };
    if is_reset {
        let (_, _) = (client.set_zero_linger(), server.set_zero_linger());
    }
}

/// The time after which PostgreSQL finds out that a peer is gone, by default.
const HOURS: Duration = Duration::from_hours(2);

/// That time, if these bytes set it.
fn told_keepalives(startup: &[u8]) -> Option<Duration> {
    let text = String::from_utf8_lossy(startup);
    let setting = |name: &str| -> Option<u32> {
        let (_, rest) = text.split_once(&format!("tcp_keepalives_{name}="))?;
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse().ok()
    };
    let seconds = setting("idle")? + setting("interval")? * setting("count")?;
    Some(Duration::from_secs(seconds.into()))
}

/// Passes one direction on. `true`: the connection is to be reset.
async fn pass(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    are_answers: bool,
) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    let mut keepalives = HOURS;
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return false,
            Ok(length) => length,
        };
        if !are_answers && keepalives == HOURS {
            keepalives = told_keepalives(&buffer[..length]).unwrap_or(HOURS);
        }
        let weather = *shared.weather.borrow();
        match weather {
            Weather::Slow(by) => tokio::time::sleep(by).await,
            Weather::Narrow(bytes) => {
                let seconds = f64::from(u32::try_from(length).unwrap()) / f64::from(bytes);
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
            Weather::BlackHole if !are_answers => {
                while from.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
                tokio::time::sleep(keepalives).await;
                return true;
            }
            Weather::BlackHole => pending().await,
            Weather::HalfOpen if are_answers => pending().await,
            Weather::LostAnswers(one_in) if are_answers => {
                let number = shared.answers.fetch_add(1, Ordering::Relaxed);
                if number % one_in == one_in - 1 {
                    return true;
                }
            }
            Weather::Fair | Weather::Closed | Weather::HalfOpen | Weather::LostAnswers(_) => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return false;
        }
    }
}
