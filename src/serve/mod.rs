//! Connections and sockets: accepting, serving and closing them. It knows no route.
//!
//! `axum::serve` sets no timeout and no cap, so this is hyper's connection under a loop of its own.
//!
//! - [`limits`]: how much a listener takes on; [`shutdown`]: how it ends.
//! - `accept`: connections are accepted, up to the cap; `slots`: which one is evicted at the cap.
//! - `connection`: one connection from its first byte to its end; `parked`: while it is silent.
//! - `timers`: its clocks; `stream`, `requests`, `in_flight`, `request_body` and `tracked_body` tell
//!   them what happens.
//!
//! hyper answers by itself what it cannot read as HTTP, or whose head is too large (400, 431). That
//! never reaches the router, so it is not counted with the requests, but as a connection that was
//! cut. In HTTP/1 the caller of [`serve`] may [replace](Replace) such an answer; in HTTP/2 it stays
//! without a body.

mod accept;
mod connection;
mod cut;
mod in_flight;
pub mod limits;
mod linger;
mod parked;
mod protocols;
mod request_body;
mod requests;
pub mod shutdown;
mod slots;
mod stream;
mod timers;
mod tracked_body;
#[cfg(test)]
mod wire;

use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

pub use limits::ServerLimits;
pub use shutdown::Shutdown;
pub use stream::Replace;
pub use timers::Timeouts;

use connection::Shared;
use cut::Cut;

use crate::telemetry::metrics::CONNECTIONS_MAX;

/// Serves `router` until told to [`stop`](Shutdown::stop), then finishes the requests in flight, at
/// most for `limits.drain`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    replace: Replace,
    limits: ServerLimits,
    shutdown: Shutdown,
) {
    let shutdown = shutdown.of_one_listener();
    let shared = Arc::new(Shared {
        router,
        replace,
        http1: protocols::http1(),
        http2: protocols::http2(),
        timeouts: limits.timeouts,
        shutdown: shutdown.clone(),
    });
    let connections = TaskTracker::new();
    Cut::announce_all();
    CONNECTIONS_MAX.count(limits.max_connections, [limits.listener.into()]);
    accept::accept_until_stopped(&listener, limits, &connections, &shared).await;
    accept::accept_backlog(listener, &connections, &shared);
    shutdown.finish(&connections, limits.drain).await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

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

    /// Red without `accept_backlog`.
    #[tokio::test]
    async fn a_client_that_has_connected_when_the_listener_closes_is_served() {
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

    /// Red where `stopped` does not wait for the first byte.
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
