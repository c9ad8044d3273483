//! Requests that no honest client sends, byte by byte: ambiguous, broken, endless, slow or far too
//! large ones. Each gets one answer or none, never a 5xx, and the connection ends; and all the
//! while others are served.

use std::iter::once;
use std::net::SocketAddr;
use std::time::Duration;

use backoffice_auth::http::layers::unreadable::instead_of;
use backoffice_auth::http::stack;
use backoffice_auth::serve::{ServerLimits, Shutdown, Timeouts, serve};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::scanner::Watch;
use crate::support::{Answer, Http2, PASSWORD, TestApp, post, request, send, soon, until};

const SIGNIN: &str = "POST /api/v2/signin HTTP/1.1\r\nHost: x\r\n";
const KEYS: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n";
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// The answers on a connection until the server closed it.
#[derive(Debug)]
struct Said {
    /// The final answers' statuses.
    statuses: Vec<u16>,
    /// Bytes that were no answer in HTTP/1.
    rest: Vec<u8>,
}

/// Sends bytes, says that there is nothing more to come, and reads to the end.
async fn say(address: SocketAddr, bytes: &[u8]) -> Said {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have heard enough before the end, which is its right.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    heard(stream).await
}

async fn heard(mut stream: TcpStream) -> Said {
    let mut heard = Vec::new();
    // So is a reset.
    let _ = soon("the end of a connection", stream.read_to_end(&mut heard)).await;
    answers(&heard)
}

/// Takes answers apart, and fails for one that is ours and lacks what each of ours has.
fn answers(mut bytes: &[u8]) -> Said {
    let mut statuses = Vec::new();
    while bytes.starts_with(b"HTTP/1.") {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        let head = String::from_utf8(bytes[..end].to_vec())
            .unwrap()
            .to_lowercase();
        let header = |name: &str| {
            let line = head
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")));
            line.map(str::to_owned)
        };
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        bytes = &bytes[end..];
        if status < 200 {
            continue;
        }
        let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
        assert_eq!(header("server"), None);
        // Also where hyper answers what it cannot read: none of its bare words gets out.
        assert!(header("x-request-id").is_some(), "{head}");
        assert_eq!(
            header("x-content-type-options").as_deref(),
            Some("nosniff"),
            "{head}"
        );
        assert!(header("cache-control").is_some(), "{head}");
        assert!(header("date").is_some(), "{head}");
        assert!(header("content-security-policy").is_some(), "{head}");
        assert_eq!(
            header("referrer-policy").as_deref(),
            Some("no-referrer"),
            "{head}"
        );
        if status >= 400 {
            let problem: Value = serde_json::from_slice(&bytes[..length]).unwrap();
            assert_eq!(problem["status"], status);
            assert_eq!(
                problem["requestId"].as_str(),
                header("x-request-id").as_deref()
            );
        }
        bytes = &bytes[length..];
        statuses.push(status);
    }
    Said {
        statuses,
        rest: bytes.to_vec(),
    }
}

/// Fails unless somebody else is served.
async fn assert_serves(app: &TestApp) {
    let answer = app.get("/.well-known/jwks.json").await;
    assert_eq!(answer.status, 200);
}

/// Sends each of these and fails unless it gets one of these statuses, once; 0 is no answer.
async fn assert_each(app: &TestApp, cases: &[(&str, Vec<u8>, &[u16])]) {
    for (name, bytes, allowed) in cases {
        let said = say(app.public_addr(), bytes).await;
        assert!(said.statuses.len() <= 1, "{name}: {said:?}");
        assert!(said.rest.is_empty(), "{name}: {said:?}");
        let status = said.statuses.first().copied().unwrap_or_default();
        assert!(
            status < 500 && allowed.contains(&status),
            "{name}: {said:?}"
        );
        assert_serves(app).await;
    }
}

fn bytes(parts: &[&str]) -> Vec<u8> {
    parts.concat().into_bytes()
}

/// Ways to disagree about where a request ends, each with a request behind that end.
fn disagreements() -> [(&'static str, Vec<u8>); 14] {
    let post = |rest: &str| bytes(&[SIGNIN, rest, SMUGGLED]);
    let both = |te: &str| {
        let head = format!("Content-Length: 4\r\nTransfer-Encoding: {te}\r\n\r\n");
        post(&[&head, "0\r\n\r\n"].concat())
    };
    let length = |value: &str| post(&format!("Content-Length: {value}\r\n\r\n{{}}"));
    let chunks = |body: &str| post(&format!("Transfer-Encoding: chunked\r\n\r\n{body}"));
    let hidden = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    let te_cl = [
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
        &hidden,
    ]
    .concat();
    [
        ("CL.TE", both("chunked")),
        ("TE.CL", post(&te_cl)),
        ("TE.TE", both("chunked\r\nTransfer-Encoding: identity")),
        ("TE of another name", both("xchunked")),
        ("TE after a vertical tab", both("\u{b}chunked")),
        ("TE folded", both("\r\n chunked")),
        (
            "TE before a space and a colon",
            post("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        ),
        (
            "TE in HTTP/1.0",
            bytes(&[
                "POST /api/v2/signin HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                SMUGGLED,
            ]),
        ),
        ("CL twice", length("2\r\nContent-Length: 3")),
        ("CL twice in one", length("2, 2")),
        ("CL with a plus", length("+2")),
        (
            "a chunk of a size past 64 bits",
            chunks("10000000000000002\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk that is longer than it says",
            chunks("1\r\n{}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk after a bare line feed",
            chunks("2\n{}\r\n0\r\n\r\n"),
        ),
    ]
}

/// Two servers in a row that disagree about where a request ends make two requests of one. Here none
/// of these is followed by an answer to a hidden request. hyper decides it; a row is a way to disagree.
#[tokio::test]
async fn no_request_hides_another() {
    let app = TestApp::start().await;
    let rows = disagreements().map(|(name, bytes)| (name, bytes, &[400][..]));
    assert_each(&app, &rows).await;
    let endless = |end: &str| bytes(&[SIGNIN, "Transfer-Encoding: chunked\r\n\r\n2", end]);
    let extension = endless(&[";", &"x".repeat(100_000)].concat());
    let trailers = endless(&["\r\n{}\r\n0\r\n", &"a: b\r\n".repeat(50_000)].concat());
    assert_each(
        &app,
        &[
            ("an extension without an end", extension, &[400]),
            ("trailers without an end", trailers, &[400, 422]),
        ],
    )
    .await;
}

/// hyper refuses most of it in words of its own, which must not get out; no `Host`, and two, we refuse.
#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let app = TestApp::start().await;
    let head = |line: &str| bytes(&["GET /.well-known/jwks.json HTTP/1.1\r\n", line, "\r\n\r\n"]);
    let start = |line: &str| bytes(&[line, "\r\nHost: x\r\n\r\n"]);
    assert_each(
        &app,
        &[
            ("nothing", Vec::new(), &[0]),
            ("NULs", vec![0; 1000], &[0, 400]),
            (
                "a TLS handshake",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
                &[0, 400],
            ),
            (
                "SMTP",
                b"EHLO x\r\nMAIL FROM:<a@b.c>\r\n".to_vec(),
                &[0, 400],
            ),
            ("HTTP/0.9", b"GET /\r\n".to_vec(), &[0, 400]),
            ("HTTP/3.0", start("GET / HTTP/3.0"), &[400]),
            ("no target", start("GET HTTP/1.1"), &[400]),
            ("a method of no letters", start("<> / HTTP/1.1"), &[400]),
            (
                "a carriage return in a value",
                head("Host: x\r\nX: a\rb"),
                &[400],
            ),
            ("a NUL in a name", head("Host: x\r\nX\0: a"), &[400]),
            ("a folded line", head("Host: x\r\nX: a\r\n b"), &[400]),
            ("no Host", head("X: y"), &[400]),
            ("two Hosts", head("Host: x\r\nHost: x"), &[400]),
            ("two Hosts that differ", head("Host: x\r\nHost: y"), &[400]),
        ],
    )
    .await;
}

#[tokio::test]
async fn odd_requests_that_are_http_get_one_answer_each() {
    let app = TestApp::start().await;
    let start = |line: &str| bytes(&[line, " HTTP/1.1\r\nHost: x\r\n\r\n"]);
    let get = |target: &str| bytes(&["GET ", target, " HTTP/1.1\r\nHost: x\r\n\r\n"]);
    assert_each(&app, &[
        ("HTTP/1.0 without a Host", b"GET /.well-known/jwks.json HTTP/1.0\r\n\r\n".to_vec(), &[200]),
        ("a whole URL", get("http://elsewhere.example/.well-known/jwks.json"), &[200]),
        ("an authority", get("elsewhere.example:443"), &[400, 404]),
        ("CONNECT", start("CONNECT elsewhere.example:443"), &[400, 404, 405]),
        ("an asterisk", start("OPTIONS *"), &[400, 404]),
        ("small letters", start("get /.well-known/jwks.json"), &[405]),
        ("TRACE", start("TRACE /api/v2/signin"), &[405]),
        ("a made-up method", start("FOO /api/v2/signin"), &[405]),
        ("a long method", start(&format!("{} /", "A".repeat(8000))), &[400, 404]),
        ("an upgrade to h2c", bytes(&[KEYS, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"]), &[200]),
        ("two slashes", get("//.well-known/jwks.json"), &[404]),
        ("dots", get("/api/../.well-known/jwks.json"), &[404]),
        ("dots in percent", get("/api/%2e%2e/.well-known/jwks.json"), &[404]),
        ("a slash in percent", get("/.well-known%2fjwks.json"), &[404]),
        ("a query of anything", get("/.well-known/jwks.json?%00%ff[]=&&=%"), &[200]),
        ("no UTF-8 in percent", get("/api/v2/sessions/%ff%fe"), &[401, 404, 405]),
        ("half a percent", get("/api/v2/sessions/%f"), &[400, 401, 404, 405]),
        ("a path that is too long", get(&format!("/{}", "x".repeat(70_000))), &[400, 414, 431]),
        ("a head that is too long", bytes(&[KEYS, "X: ", &"x".repeat(20_000), "\r\n\r\n"]), &[400, 431]),
        ("many headers", bytes(&[KEYS, &"X: y\r\n".repeat(90), "\r\n"]), &[200]),
        ("too many headers", bytes(&[KEYS, &"X: y\r\n".repeat(2000), "\r\n"]), &[400, 431]),
        ("a body for a GET", bytes(&[KEYS, "Content-Length: 2\r\n\r\n{}"]), &[200]),
        ("a body that ends too soon", bytes(&[SIGNIN, "Content-Length: 100\r\n\r\n{}"]), &[0, 400]),
        ("a body that is too long", bytes(&[SIGNIN, "Content-Length: 1000000\r\n\r\n", &"x".repeat(1_000_000)]), &[413]),
        ("a body of no length", bytes(&["POST /api/v2/signin HTTP/1.1\r\nHost: x\r\n\r\n"]), &[400]),
        ("an expectation", bytes(&[SIGNIN, "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}"]), &[422]),
        ("an expectation with too long a body", bytes(&[SIGNIN, "Expect: 100-continue\r\nContent-Length: 20000\r\n\r\n"]), &[413]),
        ("an override of the method", bytes(&["POST /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nX-HTTP-Method-Override: GET\r\nContent-Length: 0\r\n\r\n"]), &[405]),
    ]).await;
}

#[tokio::test]
async fn requests_that_are_sent_ahead_are_answered_in_order_and_as_often() {
    let app = TestApp::start().await;
    let mut ahead = Vec::new();
    for n in 0..50 {
        let path = if n % 2 == 0 {
            "/.well-known/jwks.json"
        } else {
            "/nowhere"
        };
        ahead.extend(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes());
    }
    let said = say(app.public_addr(), &ahead).await;
    assert_eq!(said.statuses, [200, 404].repeat(25));
    assert!(said.rest.is_empty());
    // Behind a request that cannot be read, nothing is.
    let said = say(
        app.public_addr(),
        &bytes(&[KEYS, "X : y\r\n\r\n", SMUGGLED]),
    )
    .await;
    assert_eq!(said.statuses, [400]);
}

/// Five hundred that say nothing, and some that say it slowly. hyper and our clocks cut the latter
/// after ten seconds; the first are let be for longer, and hold up nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_idle_and_the_slow_hold_up_nobody_and_the_slow_are_cut() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let connect = || TcpStream::connect(app.public_addr());
    let idle = join_all((0..500).map(|_| connect())).await;
    let mut slow = Vec::new();
    for start in [
        "G",
        "GET / HTTP/1.1\r\nHost:",
        "PRI * HTTP/2.0\r\n\r\nS",
        "POST /api/v2/signin HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        "POST /api/v2/signin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        "POST /api/v2/signin HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        "POST /oauth2/introspect HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoken=",
    ] {
        let mut stream = connect().await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    for _ in 0..5 {
        alice.signin().await.pair();
        assert_serves(&app).await;
    }
    assert!(idle.iter().all(Result::is_ok));
    let cut = join_all(slow.into_iter().map(heard)).await;
    let statuses: Vec<_> = cut.into_iter().map(|said| said.statuses).collect();
    let in_time: &[u16] = &[408];
    assert_eq!(statuses[..3], [[]; 3].map(|none: [u16; 0]| none.to_vec()));
    assert_eq!(statuses[3..6], [in_time; 3]);
    assert_eq!(statuses[6], [401]);
    alice.elsewhere().signin().await.pair();
}

/// Places for thirty connections, and each is taken by one that says nothing more after an answer,
/// or that does not take its answer. Red without `ask_to_leave`.
#[tokio::test]
async fn connections_that_take_all_places_keep_nobody_out() {
    let app = TestApp::with(&[("http.max_connections", "30")]).await;
    let alice = app.user("alice@example.com").await;
    let deaf = http2([
        frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]),
        frame(1, END_STREAM | END_HEADERS, 1, &GET),
    ]);
    let silent = bytes(&[KEYS, "\r\n"]);
    let mut taken = Vec::new();
    for n in 0..30 {
        let mut stream = TcpStream::connect(app.public_addr()).await.unwrap();
        stream.write_all([&silent, &deaf][n % 2]).await.unwrap();
        taken.push(stream);
    }
    for _ in 0..3 {
        alice.elsewhere().signin().await.pair();
        assert_serves(&app).await;
    }
}

/// A router of ours around routes that the real one does not have.
async fn serve_routes(routes: axum::Router, timeouts: Timeouts) -> (SocketAddr, Shutdown) {
    let config = crate::support::settings("postgres://nobody@127.0.0.1/none", &[]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let limits = ServerLimits {
        timeouts,
        ..ServerLimits::new(100)
    };
    let shutdown = Shutdown::default();
    tokio::spawn(serve(
        listener,
        stack(routes, &config.http),
        instead_of,
        limits,
        shutdown.clone(),
    ));
    (address, shutdown)
}

#[tokio::test]
async fn a_client_that_does_not_read_the_answer_is_cut_and_holds_up_nobody() {
    let large = || async { "x".repeat(10_000_000) };
    let small = || async { "here" };
    let routes = axum::Router::new()
        .route("/large", axum::routing::get(large))
        .route("/", axum::routing::get(small));
    let timeouts = Timeouts {
        write: Duration::from_millis(300),
        ..ServerLimits::new(1).timeouts
    };
    let watch = Watch::start();
    let (address, _shutdown) = serve_routes(routes, timeouts).await;
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        deaf.push(stream);
    }
    let answer = send(address, &request("GET", "/", &[], b"")).await;
    assert_eq!(answer.body, b"here");
    until("all are cut", async || {
        let text = String::from_utf8(watch.text()).unwrap();
        text.matches("connection cut overdue=Write").count() >= 20
    })
    .await;
    for mut stream in deaf {
        // The bytes that the system had taken over from the server arrive, and then no more.
        let mut arrived = Vec::new();
        let _ = soon("the cut", stream.read_to_end(&mut arrived)).await;
        assert!(arrived.len() < 10_000_000, "{}", arrived.len());
    }
}

async fn panics() {
    panic!("of one request");
}

#[tokio::test]
async fn the_panic_of_one_request_is_its_500_and_nobody_elses() {
    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(21));
    let wait = {
        let gate = gate.clone();
        move || async move {
            gate.wait().await;
            "here"
        }
    };
    let routes = axum::Router::new()
        .route("/wait", axum::routing::post(wait))
        .route("/panic", axum::routing::post(panics));
    let (address, _shutdown) = serve_routes(routes, ServerLimits::new(1).timeouts).await;
    // All that share a connection with it, over HTTP/2, and all that do not.
    let http2 = Http2::connect(address).await;
    let waiting = (0..10).map(|_| {
        let mut http2 = http2.clone();
        tokio::spawn(async move { http2.post("/wait", &[], "").await })
    });
    let waiting: Vec<_> = waiting.collect();
    let alone =
        (0..10).map(|_| tokio::spawn(async move { send(address, &post("/wait", &[], b"")).await }));
    let alone: Vec<_> = alone.collect();
    for _ in 0..3 {
        http2
            .clone()
            .post("/panic", &[], "")
            .await
            .problem(500, "internal");
        send(address, &post("/panic", &[], b""))
            .await
            .problem(500, "internal");
    }
    soon("all others", gate.wait()).await;
    for other in waiting.into_iter().chain(alone) {
        let answer: Answer = other.await.unwrap();
        assert_eq!((answer.status, &*answer.body), (200, &b"here"[..]));
    }
    // The connection on which it panicked goes on.
    http2
        .clone()
        .post("/panic", &[], "")
        .await
        .problem(500, "internal");
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection's start, and these frames.
fn http2(frames: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut all = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    all.extend(frame(4, 0, 0, &[]));
    all.extend(frames.into_iter().flatten());
    all
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET /` in indexed header fields, and `:authority: x`.
const GET: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 1, b'x'];

/// Connections that misuse HTTP/2.
fn misuses() -> [(&'static str, Vec<u8>); 10] {
    let odd = |n: u32| 2 * n + 1;
    let whole = END_STREAM | END_HEADERS;
    let open = frame(1, 0, 1, &GET);
    let post = frame(1, END_HEADERS, 1, &[0x83, 0x86, 0x84, 0x41, 1, b'x']);
    let mut bomb = GET.to_vec();
    // A field of 3000 bytes goes into the table, and comes out of it as often as fits into a frame.
    bomb.extend([0x40, 1, b'a', 0x7f, 0xb9, 0x16]);
    bomb.extend([b'x'; 3000]);
    bomb.extend([0xbe; 12_000]);
    [
        ("a preface and no more", http2([])),
        (
            "a thousand requests taken back",
            http2((0..1000).flat_map(|n| {
                [
                    frame(1, whole, odd(n), &GET),
                    frame(3, 0, odd(n), &8_u32.to_be_bytes()),
                ]
            })),
        ),
        (
            "a thousand requests at once",
            http2((0..1000).map(|n| frame(1, whole, odd(n), &GET))),
        ),
        (
            "continuations without an end",
            http2(once(open.clone()).chain((0..2000).map(|_| frame(9, 0, 1, &[0; 1000])))),
        ),
        (
            "empty continuations without an end",
            http2(once(open.clone()).chain((0..3000).map(|_| frame(9, 0, 1, &[])))),
        ),
        ("a bomb of headers", http2([frame(1, whole, 1, &bomb)])),
        (
            "settings over settings",
            http2((0..3000).map(|_| frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]))),
        ),
        (
            "ping after ping",
            http2((0..3000).map(|_| frame(6, 0, 0, &[0; 8]))),
        ),
        (
            "empty data",
            http2(once(post).chain((0..3000).map(|_| frame(0, 0, 1, &[])))),
        ),
        (
            "windows past all bounds",
            http2((0..1000).map(|_| frame(8, 0, 0, &0x7fff_ffff_u32.to_be_bytes()))),
        ),
    ]
}

#[tokio::test]
async fn http2_that_is_misused_ends_and_holds_up_nobody() {
    let app = TestApp::start().await;
    for (name, sent) in misuses() {
        let said = say(app.public_addr(), &sent).await;
        assert!(said.statuses.is_empty(), "{name}: {said:?}");
        assert_serves(&app).await;
    }
}

/// Headers that some proxy somewhere believes.
const BELIEVED: [&str; 18] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "fastly-client-ip",
    "x-forwarded",
    "forwarded-for",
    "x-original-forwarded-for",
    "via",
    "x-forwarded-host",
    "x-request-id",
    "x-correlation-id",
    "traceparent",
    "x-envoy-external-address",
    "x-azure-clientip",
];

/// Values of such a header: addresses in all spellings, names of requests, and anything.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("for=\"[{ip}]:80\"")),
        (any::<std::net::Ipv4Addr>(), any::<std::net::Ipv4Addr>())
            .prop_map(|(one, other)| format!("{one}, {other}")),
        "[A-Za-z0-9._-]{1,64}",
        "[ -~]{0,64}",
    ]
}

/// The whole way: the real router, the real limits, the real log.
#[tokio::test]
async fn no_header_from_an_untrusted_peer_changes_a_key_a_line_of_the_log_or_of_the_audit_log() {
    let app = TestApp::with(&[
        ("http.trusted_proxies", "10.0.0.0/8,192.0.2.1"),
        ("limits.signin.attempts", "1000"),
        ("limits.signin_network_per_minute", "10000"),
    ])
    .await;
    app.user("alice@example.com").await;
    let name = proptest::sample::select(BELIEVED.to_vec());
    let headers = proptest::collection::vec((name, value()), 1..8);
    let mut runner = TestRunner::deterministic();
    for _ in 0..100 {
        let headers = headers.new_tree(&mut runner).unwrap().current();
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let body = json!({"email": "alice@example.com", "password": PASSWORD}).to_string();
        let answer = send(
            app.public_addr(),
            &post("/api/v2/signin", &headers, body.as_bytes()),
        )
        .await;
        answer.pair();
        let id = answer.header("x-request-id").unwrap();
        assert!(headers.iter().all(|(_, value)| *value != id), "{headers:?}");
        let from_us: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM audit_events
              WHERE request_id = $1 AND kind = 'signin' AND network = '127.0.0.1'",
        )
        .bind(id)
        .fetch_one(app.sql())
        .await
        .unwrap();
        let line = format!("request_id={id} network=127.0.0.1 user_id=");
        assert_eq!(from_us, 1, "{headers:?}");
        assert!(app.logged().contains(&line), "{headers:?}");
    }
    let elsewhere = "SELECT count(*) FROM audit_events WHERE network <> '127.0.0.1'";
    assert_eq!(app.count(elsewhere).await, 0);
    let elsewhere = "SELECT count(*) FROM sessions WHERE client_network <> '127.0.0.1'";
    assert_eq!(app.count(elsewhere).await, 0);
    // One key for the address and its network, one for the network, one for the account.
    assert_eq!(app.count("SELECT count(*) FROM attempts").await, 3);
    assert_eq!(app.count("SELECT count(*) FROM known_networks").await, 1);
}
