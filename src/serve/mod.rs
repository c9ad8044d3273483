//! The serve loop: accepts connections within bounds, and lets them go without breaking a promise.
//!
//! `axum::serve` sets no timeout and no cap, so this is hyper's connection under our own loop. What a
//! single connection may take is in `connection.rs`, which one makes room for another in `room.rs`.
//!
//! hyper answers by itself what it cannot read as HTTP, or whose head is too large (400, 431): that
//! never reaches the middleware, so it is not counted with the requests, but as a connection that
//! was cut. In HTTP/1 the caller of [`serve`] may [replace](Replace) such an answer; in HTTP/2 it stays bare.

mod connection;
mod room;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::metrics::{CONNECTIONS, CONNECTIONS_CUT, CONNECTIONS_MAX};
use connection::{Pace, Shared};
pub use connection::{Replace, Timeouts};
use room::{Admission, Room};

/// The largest head, in HTTP/1 and HTTP/2 alike.
const MAX_HEAD_BYTES: u16 = 16 * 1024;

/// Requests at a time on one HTTP/2 connection: the fifty tabs of a browser that wake at once, and
/// some. Each may make us hold a head, a body and an answer.
const MAX_STREAMS: u32 = 64;

/// How much of a body may be on its way on an HTTP/2 connection before we have read it: of one
/// request, which need not send more, and of all.
const STREAM_WINDOW: u32 = 32 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// How often, and for how long, an HTTP/2 peer is asked whether it lives.
const PING: Duration = Duration::from_secs(20);

/// How long to wait before accepting again when the system has run out of something. It will not
/// have more at once, and a busy loop would take what is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How much a listener takes on.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// The listener's name, for the metrics.
    pub listener: &'static str,
    /// Connections at a time. A further one takes the place of one that says nothing, and waits in
    /// the system's backlog while there is none.
    pub max_connections: usize,
    /// How long a connection may take.
    pub timeouts: Timeouts,
    /// How long requests may go on after the listener has closed.
    pub drain: Duration,
}

impl ServerLimits {
    /// The usual limits for so many connections. Idle ones live longer than the 60 s for which
    /// load balancers keep theirs: whoever reuses a connection must not find it closing.
    #[must_use]
    pub fn new(max_connections: usize) -> Self {
        Self {
            listener: "public",
            max_connections,
            timeouts: Timeouts {
                head: Duration::from_secs(10),
                idle: Duration::from_secs(75),
                write: Duration::from_secs(30),
            },
            drain: Duration::from_secs(20),
        }
    }
}

/// How a server is told to end, in two steps. Clones are the same.
///
/// First [`drain`](Self::drain): it goes on as before, but HTTP/1 answers say `Connection: close`,
/// so that connections go elsewhere while balancers notice that we are not ready. (HTTP/2 has no
/// such word; there the second step does it.) Then [`stop`](Self::stop): the listener closes, and
/// so does every connection once its requests are answered.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    pub(super) stop: CancellationToken,
    /// Ends connections at once: the drain took too long.
    pub(super) cut: CancellationToken,
}

impl Shutdown {
    /// Begins the first step.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Begins the second step, and the first if it was left out.
    pub fn stop(&self) {
        self.drain();
        self.stop.cancel();
    }

    /// Whether the first step has begun: time to say "not ready".
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }
}

/// Serves `router` until told to [`stop`](Shutdown::stop), then finishes what is in flight, at most for
/// `limits.drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    replace: Replace,
    limits: ServerLimits,
    shutdown: Shutdown,
) {
    // A child, because two listeners may share one shutdown and each drains in its own time.
    let shutdown = Shutdown {
        cut: shutdown.cut.child_token(),
        ..shutdown
    };
    let shared = Arc::new(Shared {
        router,
        replace,
        http1: speak_http1(),
        http2: speak_http2(),
        timeouts: limits.timeouts,
        shutdown: shutdown.clone(),
    });
    let connections = TaskTracker::new();
    for reason in connection::CUTS {
        CONNECTIONS_CUT.add(0, [reason.into()]);
    }
    CONNECTIONS_MAX.count(limits.max_connections, [limits.listener.into()]);
    accept_all(&listener, limits, &connections, &shared).await;
    accept_the_last(listener, &connections, &shared);
    finish(&connections, limits.drain, &shutdown.cut).await;
}

/// Accepts one connection after the other until told to stop, and serves each once there is room
/// for it. One that waits for room when told to stop is served too: its client is connected.
async fn accept_all(
    listener: &TcpListener,
    limits: ServerLimits,
    connections: &TaskTracker,
    shared: &Arc<Shared>,
) {
    let room = Arc::new(Room::new(limits.max_connections));
    let stop = &shared.shutdown.stop;
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                stop.run_until_cancelled(survive(&error)).await;
                continue;
            }
        };
        send_at_once(&stream);
        let pace = Arc::new(Pace::new(shared.timeouts));
        let admission = stop.run_until_cancelled(room.admit(&pace)).await;
        let served = connection::serve(stream, peer, shared.clone(), pace);
        connections.spawn(stay(admission, served, limits.listener));
    }
}

/// Serves a connection, which takes up its place meanwhile.
async fn stay(
    admission: Option<Admission>,
    served: impl Future<Output = ()>,
    listener: &'static str,
) {
    CONNECTIONS.shift(1.0, [listener.into()]);
    served.await;
    CONNECTIONS.shift(-1.0, [listener.into()]);
    drop(admission);
}

/// Accepts who connected before the listener closes: the system says so to clients before we accept
/// them, and would reset those that still wait, with the requests that they have sent.
///
/// They are no more than the backlog holds, and may exceed the cap: this is the end.
fn accept_the_last(listener: TcpListener, connections: &TaskTracker, shared: &Arc<Shared>) {
    // Tokio's listener asks the system only when it has been told that somebody came.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    loop {
        let (stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            // Who has left already keeps nobody else from being served.
            Err(error) if is_of_one_client(&error) => continue,
            Err(_) => return,
        };
        let stream = stream
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            send_at_once(&stream);
            let pace = Arc::new(Pace::new(shared.timeouts));
            connections.spawn(connection::serve(stream, peer, shared.clone(), pace));
        }
    }
}

/// An answer is one small write: there is nothing to gain from waiting for more.
fn send_at_once(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
    }
}

/// A connection that failed before it was accepted is nobody's business; anything else (no more
/// file descriptors, no memory) is told and waited out.
async fn survive(error: &io::Error) {
    if !is_of_one_client(error) {
        tracing::error!(error = error as &dyn std::error::Error, "cannot accept");
        sleep(ACCEPT_PAUSE).await;
    }
}

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Waits for the connections to end, and ends them when they take too long.
async fn finish(connections: &TaskTracker, drain: Duration, cut: &CancellationToken) {
    connections.close();
    if timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut short at the end");
        cut.cancel();
        connections.wait().await;
    }
}

/// HTTP/1 within bounds; its times are ours to keep.
pub(super) fn speak_http1() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None)
        .half_close(true)
        .max_buf_size(MAX_HEAD_BYTES.into());
    http
}

/// HTTP/2 within bounds.
pub(super) fn speak_http2() -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD_BYTES.into())
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    http
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;

    use super::*;

    /// A server on a port of its own, with a route that waits for `gate` and tells `entered`.
    struct Running {
        address: std::net::SocketAddr,
        shutdown: Shutdown,
        entered: Arc<Notify>,
        gate: Arc<Notify>,
        server: JoinHandle<()>,
    }

    impl Running {
        async fn start(limits: ServerLimits) -> Self {
            let (entered, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let wait = {
                let (entered, gate) = (entered.clone(), gate.clone());
                move || async move {
                    entered.notify_one();
                    gate.notified().await;
                    "done"
                }
            };
            let router = Router::new()
                .route("/wait", get(wait))
                .route("/", get(|| async { "here" }));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let shutdown = Shutdown::default();
            let server = tokio::spawn(serve(
                listener,
                router,
                |_, _| None,
                limits,
                shutdown.clone(),
            ));
            Self {
                address,
                shutdown,
                entered,
                gate,
                server,
            }
        }

        async fn ask(&self, path: &str) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        }
    }

    /// All that is left to read. A reset counts as an end.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_the_listener_has_closed() {
        let running = Running::start(ServerLimits::new(10)).await;
        let asking = running.ask("/wait").await;
        running.entered.notified().await;
        running.shutdown.stop();
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        running.gate.notify_one();
        let answer = rest(asking).await;
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("done"), "{answer}");
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_never_ends_does_not_hold_up_the_end() {
        let limits = ServerLimits {
            drain: Duration::from_millis(10),
            ..ServerLimits::new(10)
        };
        let running = Running::start(limits).await;
        let asking = running.ask("/wait").await;
        running.entered.notified().await;
        running.shutdown.stop();
        running.server.await.unwrap();
        assert_eq!(rest(asking).await, "");
    }

    #[tokio::test]
    async fn while_draining_requests_are_answered_and_connections_closed() {
        let running = Running::start(ServerLimits::new(10)).await;
        running.shutdown.drain();
        for _ in 0..2 {
            let answer = rest(running.ask("/").await).await;
            assert!(answer.contains("connection: close"), "{answer}");
            assert!(answer.ends_with("here"), "{answer}");
        }
        running.shutdown.stop();
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_over_the_cap_waits_for_another_to_end() {
        let running = Running::start(ServerLimits::new(1)).await;
        let first = running.ask("/wait").await;
        running.entered.notified().await;
        let second = running.ask("/wait").await;
        let early = timeout(Duration::from_millis(50), running.entered.notified()).await;
        assert!(early.is_err(), "the second got in");
        drop(first);
        running.gate.notify_one();
        running.entered.notified().await;
        running.gate.notify_one();
        running.shutdown.drain();
        assert!(rest(second).await.ends_with("done"));
    }

    /// Red without `accept_the_last`.
    #[tokio::test]
    async fn who_has_connected_when_the_listener_closes_is_served() {
        let running = Running::start(ServerLimits::new(1)).await;
        let _first = running.ask("/wait").await;
        running.entered.notified().await;
        // The cap keeps it waiting in the system's backlog.
        let waiting = running.ask("/").await;
        running.shutdown.stop();
        let answer = rest(waiting).await;
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("here"), "{answer}");
        running.gate.notify_one();
        running.server.await.unwrap();
    }

    /// Red where `leave` does not wait for the first byte.
    #[tokio::test]
    async fn a_request_that_is_on_its_way_when_the_listener_closes_is_answered() {
        let running = Running::start(ServerLimits::new(10)).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        running.shutdown.stop();
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        assert!(rest(stream).await.ends_with("here"));
        running.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_client_that_is_refused_while_it_sends_is_not_reset() {
        let running = Running::start(ServerLimits::new(10)).await;
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
        for _ in 0..100 {
            stream.write_all(&[b'x'; 1000]).await.unwrap();
        }
    }
}
