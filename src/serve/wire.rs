//! The client's end of a connection, for tests.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::connection::{Shared, serve};
use super::timers::ConnectionTimers;
use super::{ServerLimits, Shutdown, protocols};

pub(super) const REQUEST: &str = "GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// The client's end of a connection, on a clock that only moves when all wait.
pub(super) struct Wire {
    pub(super) client: DuplexStream,
    pub(super) server: JoinHandle<()>,
    pub(super) shutdown: Shutdown,
    pub(super) opened: Instant,
}

impl Wire {
    pub(super) fn open(buffer: usize) -> Self {
        let (client, io) = duplex(buffer);
        let shutdown = Shutdown::default();
        let shared = Shared {
            router: router(),
            replace: |_, _| None,
            http1: protocols::http1(),
            http2: protocols::http2(),
            timeouts: ServerLimits::new(1).timeouts,
            shutdown: shutdown.clone(),
        };
        let peer = "127.0.0.1:1".parse().unwrap();
        let timers = Arc::new(ConnectionTimers::new(shared.timeouts));
        Self {
            client,
            server: tokio::spawn(serve(io, peer, Arc::new(shared), timers)),
            shutdown,
            opened: Instant::now(),
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads one answer of the `ok` routes.
    pub(super) async fn answer(&mut self) -> String {
        let mut text = String::new();
        while !text.ends_with("\r\n\r\nok") {
            text.push(self.client.read_u8().await.unwrap().into());
        }
        text
    }

    /// Speaks HTTP/2 with this window for each answer. Pings are acknowledged.
    pub(super) async fn http2(self, window: u32) -> Multiplexed {
        let io = TokioIo::new(self.client);
        let mut client = http2::Builder::new(TokioExecutor::new());
        client.initial_stream_window_size(window);
        let (sender, connection) = client.handshake(io).await.unwrap();
        // It ends with the connection, for whatever reason.
        tokio::spawn(async { drop(connection.await) });
        Multiplexed {
            sender,
            server: self.server,
            opened: self.opened,
        }
    }

    /// Waits for the server to give up, and tells after how many seconds it did.
    pub(super) async fn seconds_until_cut(self) -> u64 {
        self.server.await.unwrap();
        self.opened.elapsed().as_secs()
    }
}

fn router() -> Router {
    let slow = || async {
        sleep(Duration::from_mins(10)).await;
        "ok"
    };
    let soon = || async {
        sleep(Duration::from_secs(50)).await;
        StatusCode::NO_CONTENT
    };
    Router::new()
        .route("/", get(|| async { "ok" }))
        .route("/slow", get(slow))
        .route("/soon", get(soon))
        .route("/large", get(|| async { "x".repeat(100_000) }))
}

/// The client's end of a connection in HTTP/2.
pub(super) struct Multiplexed {
    sender: SendRequest<Empty<Bytes>>,
    server: JoinHandle<()>,
    pub(super) opened: Instant,
}

impl Multiplexed {
    pub(super) async fn get(&mut self, uri: &str) -> hyper::Result<Response<Incoming>> {
        let request = Request::get(format!("http://x{uri}"));
        let request = request.body(Empty::new()).unwrap();
        self.sender.send_request(request).await
    }

    pub(super) async fn seconds_until_cut(self) -> u64 {
        self.server.await.unwrap();
        self.opened.elapsed().as_secs()
    }
}

pub(super) async fn pause(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}
