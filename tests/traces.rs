//! Traces that are sent to a collector: a real one's interface, as far as it is used.

#![cfg(feature = "dev")]
#![expect(unreachable_pub, reason = "a test has no outside to hide from")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[expect(
    dead_code,
    unused_imports,
    reason = "these tests need little of what the others share"
)]
#[path = "api/support/mod.rs"]
mod support;

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use support::{PASSWORD, Program, Serving, TestApp, post, send, soon};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Takes what is posted, says that it was taken, and hands it over: head and body.
struct Collector {
    address: SocketAddr,
    posted: UnboundedReceiver<Vec<u8>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, posted) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, sender.clone()));
            }
        });
        Self { address, posted }
    }

    /// Everything that was posted until the other side has gone.
    async fn all(mut self) -> Vec<u8> {
        let mut all = soon("a batch", self.posted.recv()).await.unwrap();
        while let Ok(more) = self.posted.try_recv() {
            all.extend(more);
        }
        all
    }
}

async fn take(mut stream: TcpStream, posted: UnboundedSender<Vec<u8>>) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).await.unwrap_or_default();
        if read == 0 {
            return;
        }
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = find(&bytes, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        if bytes.len() == end + 4 + length {
            let ok = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(ok).await.unwrap();
            let _ = posted.send(std::mem::take(&mut bytes));
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A trace's id as protobuf holds it.
fn raw(trace: &str) -> Vec<u8> {
    u128::from_str_radix(trace, 16)
        .unwrap()
        .to_be_bytes()
        .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_reaches_the_collector_in_its_callers_trace_and_without_a_secret() {
    let app = TestApp::start().await;
    let collector = Collector::start().await;
    let endpoint = format!("http://{}/v1/traces", collector.address);
    let settings = [("telemetry.otlp_endpoint", &*endpoint)];
    let mut serving = Serving::start(&Program::on(app.database_url(), &settings)).await;
    app.user("alice@example.com").await;
    let body = json!({"email": "alice@example.com", "password": PASSWORD}).to_string();
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let request = post(
        "/api/v2/signin",
        &[("traceparent", &parent)],
        body.as_bytes(),
    );
    let pair = send(serving.public(), &request).await.pair();
    let request = post("/api/v2/signin", &[], body.as_bytes());
    send(serving.public(), &request).await.pair();
    // Without a caller's trace it is one of its own, whose id is in the line too.
    serving.line(|line| line["span"]["trace_id"] == TRACE).await;
    let own = serving.line(|line| line["message"] == "answered").await;
    let own = own["span"]["trace_id"].as_str().unwrap().to_owned();

    // Queued spans leave before the end.
    serving.stop().await;
    let posted = collector.all().await;
    let has = |what: &[u8]| find(&posted, what).is_some();
    assert!(has(b"POST /v1/traces HTTP/1.1"));
    for part in ["backoffice-auth", "request", "/api/v2/signin"] {
        assert!(has(part.as_bytes()), "{part}");
    }
    assert!(has(&raw(TRACE)) && has(&raw(&own)));
    for secret in [PASSWORD, "alice@example.com", &pair.access, &pair.refresh] {
        assert!(!has(secret.as_bytes()), "{secret}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_holds_up_neither_requests_nor_the_end() {
    let app = TestApp::start().await;
    let settings = [("telemetry.otlp_endpoint", "http://127.0.0.1:1/v1/traces")];
    let serving = Serving::start(&Program::on(app.database_url(), &settings)).await;
    app.user("alice@example.com").await;
    let body = json!({"email": "alice@example.com", "password": PASSWORD}).to_string();
    let request = post("/api/v2/signin", &[], body.as_bytes());
    send(serving.public(), &request).await.pair();
    serving.stop().await;
}
