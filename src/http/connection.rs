//! One connection: how long it may take over what, and how it ends.
//!
//! hyper has a clock for a request's head, but starts it when the connection falls idle, so that
//! one number would have to do for two things: a load balancer keeps idle connections for a
//! minute or more, while a head that trickles in must be cut after seconds. Nor does that clock
//! run while the protocol is still being guessed. So hyper's is off and [`Pace`] keeps ours, which
//! are those of Go's server:
//!
//! - the first head must be in within `head` of connecting, each later one within `head` of its
//!   first byte (of what was sent ahead in a pipeline, the first byte after the answer counts);
//! - between requests a connection may be silent for `idle`;
//! - a write may be stuck for `write`, because the client does not read.
//!
//! HTTP/2 shares one connection among requests, so there only the latter two run; hyper's pings
//! find out whether a peer still lives.
//!
//! A client that closes its sending half after its request (`nc`, simple probes) still gets its
//! answer. The price: over HTTP/1 a client that has gone altogether looks the same until we write,
//! so its request is worked on to the end, and leaves its marks as every other.
//!
//! A connection that we close is read for a moment longer: closed with unread bytes,
//! it would be reset, and the client might never see the answer that told it to stop.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response, Version};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower::Service;

use super::server::Shutdown;

/// How long a closed connection is read on, and how much.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// What a connection in HTTP/2 begins with (RFC 9113, section 3.4), and none in HTTP/1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a request's head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// For a write that does not get on.
    pub write: Duration,
}

/// What every connection works with.
pub(super) struct Shared {
    pub(super) router: Router,
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) timeouts: Timeouts,
    pub(super) shutdown: Shutdown,
}

/// Serves one connection to its end.
pub(super) async fn serve<I>(io: I, peer: SocketAddr, shared: Arc<Shared>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pace = Arc::new(Pace::new(shared.timeouts));
    let service = service_fn({
        let (pace, shared) = (pace.clone(), shared.clone());
        move |request| answer(request, peer, shared.clone(), pace.enter())
    });
    let io = TokioIo::new(PacedIo::new(io, pace.clone()));
    let mut connection = pin!(shared.http.serve_connection(io, service));
    let mut clock = pin!(sleep_until(Instant::now()));
    let mut closing = false;
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                return ended.unwrap_or_else(|error| tracing::debug!(error, "connection broke off"));
            }
            () = shared.shutdown.cut.cancelled() => return,
            () = shared.shutdown.stop.cancelled(), if !closing => {}
            overdue = std::future::poll_fn(|cx| pace.poll_overdue(clock.as_mut(), cx)) => {
                if closing || overdue != Overdue::Idle {
                    return tracing::debug!(?overdue, "connection cut");
                }
                pace.restart_idle();
            }
        }
        connection.as_mut().graceful_shutdown();
        closing = true;
    }
}

/// Hands a request to the router. Once draining has begun, every answer asks the client not to
/// use the connection again.
async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: Arc<Shared>,
    turn: Turn,
) -> Result<Response<Held>, Infallible> {
    let mut request = request.map(Body::new);
    let is_http1 = request.version() <= Version::HTTP_11;
    request.extensions_mut().insert(ConnectInfo(peer));
    let mut response = shared.router.clone().call(request).await?;
    if is_http1 && shared.shutdown.is_draining() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    Ok(response.map(|body| Held { body, _turn: turn }))
}

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overdue {
    Head,
    Idle,
    Write,
}

/// A connection's clocks.
struct Pace {
    timeouts: Timeouts,
    state: Mutex<State>,
}

/// What a connection's clocks go by.
struct State {
    /// Requests without a complete answer.
    in_flight: usize,
    /// What arrived first, until it shows whether this is HTTP/2.
    opening: Vec<u8>,
    is_http2: bool,
    /// Since when a head is awaited.
    head_since: Option<Instant>,
    /// Since when there has been no request, while there is none.
    quiet_since: Instant,
    /// Since when a write has been stuck.
    stuck_since: Option<Instant>,
}

impl State {
    fn new(now: Instant) -> Self {
        Self {
            in_flight: 0,
            opening: Vec::new(),
            is_http2: false,
            head_since: Some(now),
            quiet_since: now,
            stuck_since: None,
        }
    }

    /// When the connection is overdue if nothing happens, and why.
    fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Overdue)> {
        let reading = match (self.in_flight, self.head_since) {
            (0, Some(since)) => Some((since + timeouts.head, Overdue::Head)),
            (0, None) => Some((self.quiet_since + timeouts.idle, Overdue::Idle)),
            _ => None,
        };
        let writing = self.stuck_since;
        let writing = writing.map(|since| (since + timeouts.write, Overdue::Write));
        reading.into_iter().chain(writing).min_by_key(|(at, _)| *at)
    }

    fn has_read(&mut self, bytes: &[u8], now: Instant) {
        let missing = PREFACE.len() - self.opening.len();
        if missing > 0 {
            self.opening.extend(bytes.iter().take(missing));
            // All of it: one that trickles in is a head that does.
            if self.opening == PREFACE {
                self.is_http2 = true;
                self.head_since = None;
            }
        }
        if self.in_flight == 0 && !self.is_http2 && !bytes.is_empty() {
            self.head_since.get_or_insert(now);
        }
    }
}

impl Pace {
    fn new(timeouts: Timeouts) -> Self {
        let state = Mutex::new(State::new(Instant::now()));
        Self { timeouts, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head is in.
    fn enter(self: &Arc<Self>) -> Turn {
        let mut state = self.state();
        state.in_flight += 1;
        state.head_since = None;
        Turn(self.clone())
    }

    fn restart_idle(&self) {
        self.state().quiet_since = Instant::now();
    }

    fn has_written(&self, is_stuck: bool) {
        let mut state = self.state();
        if is_stuck {
            state.stuck_since.get_or_insert_with(Instant::now);
        } else {
            state.stuck_since = None;
        }
    }

    /// Ready when a clock has run out. `clock` is set anew whenever the deadline has moved, which
    /// happens in the connection's own task, hence no waker is needed for it.
    fn poll_overdue(&self, mut clock: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Overdue> {
        let deadline = self.state().deadline(&self.timeouts);
        let Some((at, overdue)) = deadline else {
            return Poll::Pending;
        };
        if clock.deadline() != at {
            clock.as_mut().reset(at);
        }
        clock.poll(cx).map(|()| overdue)
    }
}

/// A request's turn, from its head until its answer is handed over.
struct Turn(Arc<Pace>);

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A response's body, which holds the request's turn while it is sent.
struct Held {
    body: Body,
    _turn: Turn,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells [`Pace`] what passes through it, and that lingers when it is closed.
struct PacedIo<I> {
    io: I,
    pace: Arc<Pace>,
    linger: Option<Linger>,
}

struct Linger {
    clock: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<I> PacedIo<I> {
    fn new(io: I, pace: Arc<Pace>) -> Self {
        Self {
            io,
            pace,
            linger: None,
        }
    }

    fn note_write<T>(&self, written: &Poll<io::Result<T>>) {
        self.pace.has_written(written.is_pending());
    }
}

impl<I: AsyncRead + Unpin> PacedIo<I> {
    /// Reads and forgets until the other side has closed too, or long enough.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| Linger {
            clock: Box::pin(sleep(LINGER)),
            bytes_left: LINGER_BYTES,
        });
        while linger.bytes_left > 0 && linger.clock.as_mut().poll(cx).is_pending() {
            let mut scratch = [0; 4096];
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            linger.bytes_left = linger.bytes_left.saturating_sub(buffer.filled().len());
        }
        Poll::Ready(())
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for PacedIo<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let bytes = &buffer.filled()[before..];
        self.pace.state().has_read(bytes, Instant::now());
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for PacedIo<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        }
        self.poll_linger(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use http_body_util::{BodyExt, Empty};
    use hyper::client::conn::http2;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::http::server::{ServerLimits, protocols};

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    /// The client's end of a connection, on a clock that only moves when all wait.
    struct Wire {
        client: DuplexStream,
        server: JoinHandle<()>,
        shutdown: Shutdown,
        opened: Instant,
    }

    impl Wire {
        fn open(buffer: usize) -> Self {
            let (client, io) = duplex(buffer);
            let shutdown = Shutdown::default();
            let slow = || async {
                sleep(Duration::from_mins(10)).await;
                "ok"
            };
            let shared = Shared {
                router: Router::new()
                    .route("/", get(|| async { "ok" }))
                    .route("/slow", get(slow))
                    .route("/large", get(|| async { "x".repeat(100_000) })),
                http: protocols(),
                timeouts: ServerLimits::new(1).timeouts,
                shutdown: shutdown.clone(),
            };
            let peer = "127.0.0.1:1".parse().unwrap();
            Self {
                client,
                server: tokio::spawn(serve(io, peer, Arc::new(shared))),
                shutdown,
                opened: Instant::now(),
            }
        }

        async fn send(&mut self, text: &str) {
            self.client.write_all(text.as_bytes()).await.unwrap();
        }

        /// Reads one answer of the `ok` routes.
        async fn answer(&mut self) -> String {
            let mut text = String::new();
            while !text.ends_with("\r\n\r\nok") {
                text.push(self.client.read_u8().await.unwrap().into());
            }
            text
        }

        /// Waits for the server to give up, and tells after how many seconds it did.
        async fn seconds_until_cut(self) -> u64 {
            self.server.await.unwrap();
            self.opened.elapsed().as_secs()
        }
    }

    async fn pause(seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_head_must_be_in_ten_seconds_after_connecting() {
        assert_eq!(Wire::open(99).seconds_until_cut().await, 10);
        let mut wire = Wire::open(99);
        pause(9).await;
        wire.send("GET / HTT").await;
        assert_eq!(wire.seconds_until_cut().await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_cut() {
        let mut wire = Wire::open(99);
        for byte in REQUEST[..10].chars() {
            wire.send(&byte.to_string()).await;
            pause(1).await;
        }
        assert_eq!(wire.seconds_until_cut().await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_preface_of_http2_that_trickles_in_is_cut() {
        let mut wire = Wire::open(1024);
        wire.send("PRI * HTTP/2.0\r\n\r\nS").await;
        assert_eq!(wire.seconds_until_cut().await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_can_be_used_again_after_a_minute_and_ends_after_75_idle_seconds() {
        let mut wire = Wire::open(999);
        for _ in 0..2 {
            wire.send(REQUEST).await;
            wire.answer().await;
            pause(60).await;
        }
        let mut nothing = [0];
        assert_eq!(
            wire.client.read(&mut nothing).await.unwrap(),
            0,
            "clean end"
        );
        drop(wire.client);
        assert_eq!(wire.opened.elapsed().as_secs(), 60 + 75);
        wire.server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_head_must_be_in_ten_seconds_after_its_first_byte() {
        let mut wire = Wire::open(999);
        wire.send(REQUEST).await;
        wire.answer().await;
        pause(60).await;
        wire.send("GET / HTT").await;
        assert_eq!(wire.seconds_until_cut().await, 70);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_waited_for() {
        let mut wire = Wire::open(999);
        wire.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        wire.answer().await;
        assert_eq!(wire.opened.elapsed().as_secs(), 600);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut() {
        let mut wire = Wire::open(99);
        wire.send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(wire.seconds_until_cut().await, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_in_a_pipeline_are_all_answered() {
        let mut wire = Wire::open(9999);
        wire.send(&REQUEST.repeat(20)).await;
        for _ in 0..20 {
            wire.answer().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_closed_its_half_is_answered() {
        let mut wire = Wire::open(999);
        wire.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        wire.client.shutdown().await.unwrap();
        wire.answer().await;
        wire.server.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_connection_waits_two_seconds_for_the_client_to_notice() {
        let mut wire = Wire::open(999);
        wire.send("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await;
        wire.answer().await;
        assert_eq!(wire.seconds_until_cut().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn stopping_ends_idle_connections_at_once_and_busy_ones_when_answered() {
        let (mut idle, mut busy) = (Wire::open(999), Wire::open(999));
        idle.send(REQUEST).await;
        idle.answer().await;
        busy.send("GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        pause(5).await;
        idle.shutdown.stop();
        busy.shutdown.stop();
        let mut nothing = [0];
        assert_eq!(idle.client.read(&mut nothing).await.unwrap(), 0);
        assert_eq!(idle.opened.elapsed().as_secs(), 5);
        let answer = busy.answer().await;
        assert!(answer.contains("connection: close"), "{answer}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_over_16_kib_is_refused() {
        let mut wire = Wire::open(99_999);
        let filler = "a".repeat(17_000);
        wire.send(&format!("GET / HTTP/1.1\r\nhost: x\r\nx: {filler}\r\n\r\n"))
            .await;
        let mut text = [0; 12];
        wire.client.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"HTTP/1.1 431");
    }

    #[tokio::test(start_paused = true)]
    async fn http2_shares_a_connection_and_ends_it_after_75_idle_seconds_too() {
        let wire = Wire::open(99_999);
        let (io, executor) = (TokioIo::new(wire.client), TokioExecutor::new());
        let (mut sender, connection) = http2::handshake(executor, io).await.unwrap();
        let client = tokio::spawn(connection);
        pause(60).await;
        let request = |uri| Request::get(uri).body(Empty::<Bytes>::new()).unwrap();
        let slow = sender.send_request(request("http://x/slow"));
        let quick = sender.send_request(request("http://x/")).await.unwrap();
        assert_eq!(quick.into_body().collect().await.unwrap().to_bytes(), "ok");
        assert_eq!(wire.opened.elapsed().as_secs(), 60);
        let slow = slow.await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(slow.to_bytes(), "ok");
        client.await.unwrap().unwrap();
        assert_eq!(wire.opened.elapsed().as_secs(), 60 + 600 + 75);
        wire.server.await.unwrap();
    }
}
