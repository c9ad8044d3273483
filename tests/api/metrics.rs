//! Counters, log lines and gauges: of the program itself, in a process of its own, since the
//! counters of this one are shared by all tests.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::body::Body;
use axum::http::Request;
use backoffice_auth::telemetry::metrics::catalogue;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Answer, PASSWORD, Program, Serving, TestApp, parse, post, send, soon, until};

const ALICE: &str = "alice@example.com";

/// Where a series stands: its name, and its labels in their order.
type Series = (String, Vec<(String, String)>);

/// The text of a scrape.
struct Scrape {
    text: String,
    series: BTreeMap<Series, f64>,
}

impl Scrape {
    async fn of(serving: &Serving) -> Self {
        let url = format!("http://{}/metrics", serving.management());
        let answer = soon("a scrape", reqwest::get(url)).await.unwrap();
        let text = answer.text().await.unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let series = lines.map(Self::read).collect();
        Self { text, series }
    }

    fn read(line: &str) -> (Series, f64) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
            None => (series, ""),
        };
        let labels = labels.split_terminator("\",").map(|label| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        let mut labels: Vec<_> = labels.collect();
        labels.sort();
        ((name.to_owned(), labels), value.parse().unwrap())
    }

    /// The kinds of all families, by name.
    fn families(&self) -> BTreeMap<&str, &str> {
        let types = self
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split_once(' ').unwrap()).collect()
    }

    /// The sum of a metric over all series with these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let has = |of: &Vec<(String, String)>| {
            labels
                .iter()
                .all(|(name, value)| of.iter().any(|(n, v)| n == name && v == value))
        };
        let chosen = self
            .series
            .iter()
            .filter(|((n, of), _)| n == name && has(of));
        whole(chosen.map(|(_, value)| value).sum())
    }

    /// The answers by method, route, status and code.
    fn answers(&self) -> BTreeMap<[String; 4], u64> {
        let requests = self.series.iter();
        let requests = requests.filter(|((name, _), _)| name == "backoffice_auth_requests_total");
        requests
            .map(|((_, labels), value)| {
                let label = |name: &str| {
                    let found = labels.iter().find(|(n, _)| n == name);
                    found.unwrap().1.clone()
                };
                (
                    ["method", "route", "status", "code"].map(label),
                    whole(*value),
                )
            })
            .collect()
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

/// Answers as clients saw them.
#[derive(Default)]
struct Seen(BTreeMap<[String; 4], u64>);

impl Seen {
    fn note(&mut self, method: &str, route: &str, answer: &Answer) {
        let code = match answer.header("content-type") {
            Some("application/problem+json") => answer.json()["code"].as_str().unwrap().to_owned(),
            _ => "ok".to_owned(),
        };
        let key = [
            method.to_owned(),
            route.to_owned(),
            answer.status.to_string(),
            code,
        ];
        *self.0.entry(key).or_default() += 1;
    }

    /// An answer that a client which hung up did not wait for.
    fn missed(&mut self, method: &str, route: &str, status: &str, code: &str) {
        let key = [method, route, status, code].map(str::to_owned);
        *self.0.entry(key).or_default() += 1;
    }

    fn with_code(&self, code: &str) -> u64 {
        let coded = self.0.iter().filter(|(key, _)| key[3] == code);
        coded.map(|(_, count)| count).sum()
    }

    fn with(&self, route: &str, status: &str) -> u64 {
        let of = self
            .0
            .iter()
            .filter(|(key, _)| key[1] == route && key[2] == status);
        of.map(|(_, count)| count).sum()
    }
}

/// A client that sends requests by hand, and notes the answers.
struct Caller {
    address: SocketAddr,
    seen: Seen,
}

const SIGNIN: &str = "/api/v2/signin";
const REFRESH: &str = "/api/v2/refresh";

fn signin(email: &str, password: &str, network: &str) -> Vec<u8> {
    let body = json!({"email": email, "password": password}).to_string();
    post(SIGNIN, &[("X-Forwarded-For", network)], body.as_bytes())
}

fn refresh(token: &str, network: &str) -> Vec<u8> {
    let body = json!({"refreshToken": token}).to_string();
    post(REFRESH, &[("X-Forwarded-For", network)], body.as_bytes())
}

fn bare(method: &str, path: &str, headers: &str) -> Vec<u8> {
    let lines = format!("{headers}Connection: close\r\n");
    format!("{method} {path} HTTP/1.1\r\nHost: auth.example.com\r\n{lines}\r\n").into_bytes()
}

impl Caller {
    /// `method` and `route` as the metrics name them.
    async fn call(&mut self, method: &str, route: &str, request: &[u8]) -> Answer {
        let answer = send(self.address, request).await;
        self.seen.note(method, route, &answer);
        answer
    }

    /// Sends and leaves without waiting.
    async fn hang_up(&self, request: &[u8]) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
    }

    /// Every kind of answer that needs no trouble.
    async fn ordinary(&mut self) {
        let answer = self
            .call("POST", SIGNIN, &signin(ALICE, PASSWORD, "10.1.0.1"))
            .await;
        let (access, first) = (answer.pair().access, answer.pair().refresh);
        self.call("POST", SIGNIN, &signin(ALICE, "wrong", "10.1.0.2"))
            .await;
        self.call(
            "POST",
            SIGNIN,
            &signin("nobody@example.com", "wrong", "10.1.0.2"),
        )
        .await;
        self.call("POST", SIGNIN, &post(SIGNIN, &[], b"[]")).await;
        self.call("POST", SIGNIN, &post(SIGNIN, &[], b"{}")).await;
        let xml = [("Content-Type", "text/xml")];
        self.call("POST", SIGNIN, &post(SIGNIN, &xml, b"<a/>"))
            .await;
        let large = bare("POST", SIGNIN, "Content-Length: 99999\r\n");
        self.call("POST", SIGNIN, &large).await;
        self.call("GET", SIGNIN, &bare("GET", SIGNIN, "")).await;
        self.call("other", SIGNIN, &bare("BREW", SIGNIN, "")).await;
        self.call("GET", "-", &bare("GET", "/made/up", "")).await;
        let jwks = "/.well-known/jwks.json";
        let keys = self.call("GET", jwks, &bare("GET", jwks, "")).await;
        let etag = format!("If-None-Match: {}\r\n", keys.header("etag").unwrap());
        self.call("GET", jwks, &bare("GET", jwks, &etag)).await;
        let bearer = format!("Authorization: Bearer {access}\r\n");
        let verify = bare("PUT", "/auth/verify/any/path", &bearer);
        self.call("other", "/auth/verify/{*path}", &verify).await;
        self.call(
            "GET",
            "/api/v2/session",
            &bare("GET", "/api/v2/session", ""),
        )
        .await;
        let one = "/api/v2/sessions/00000000-0000-0000-0000-000000000000";
        let one = bare("DELETE", one, &bearer);
        self.call("DELETE", "/api/v2/sessions/{id}", &one).await;
        for _ in 0..7 {
            self.call("POST", REFRESH, &refresh("not ours", "10.1.0.3"))
                .await;
        }
        let mut token = first;
        for _ in 0..5 {
            token = self
                .call("POST", REFRESH, &refresh(&token, "10.1.0.4"))
                .await
                .pair()
                .refresh;
        }
        for _ in 0..2 {
            self.call("POST", REFRESH, &refresh(&token, "10.1.0.4"))
                .await;
        }
        let path = "/api/v2/signout";
        self.call("POST", path, &bare("POST", path, &bearer)).await;
    }

    /// More from one network than it may send.
    async fn flood(&mut self) {
        let request = refresh("not ours", "10.2.0.1");
        let sending = (0..60).map(|_| send(self.address, &request));
        for answer in futures_util::future::join_all(sending).await {
            self.seen.note("POST", REFRESH, &answer);
        }
    }

    /// Bytes that are not HTTP enough to become a request, and so are not counted with them.
    async fn unreadable(&self) {
        let long = "x".repeat(20_000);
        let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n");
        for (request, status, code) in [
            ("NOT HTTP\r\n\r\n", 400, "malformed_request"),
            (&large, 431, "head_too_large"),
        ] {
            let answer = send(self.address, request.as_bytes()).await;
            answer.problem(status, code);
        }
    }

    /// Leaves in the middle of requests that wait for the database, which is locked.
    async fn leave(&mut self, app: &TestApp, serving: &Serving) {
        let lock = app.hold("LOCK TABLE attempts").await;
        // HTTP/2 tells the server that somebody has gone.
        let stream = TcpStream::connect(self.address).await.unwrap();
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let request = Request::post(format!("http://auth.example.com{SIGNIN}")).body(Body::from(
            json!({"email": ALICE, "password": "wrong"}).to_string(),
        ));
        let leaving = tokio::spawn(sender.send_request(request.unwrap()));
        until("it waits", async || app.waits_for_locks().await == 1).await;
        leaving.abort();
        until("it is given up", async || {
            let abandoned = [("method", "POST"), ("route", SIGNIN)];
            let scrape = Scrape::of(serving).await;
            scrape.sum("backoffice_auth_requests_abandoned_total", &abandoned) == 1
        })
        .await;
        connection.abort();
        // And this one gets an answer, late.
        self.call("POST", SIGNIN, &signin(ALICE, PASSWORD, "10.3.0.1"))
            .await;
        lock.commit().await.unwrap();
    }
}

/// The answer to a head, or a body, that never ends.
async fn stall(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    soon("the end", stream.read_to_end(&mut answer))
        .await
        .unwrap();
    answer
}

/// Red when the counting is moved inside the layer that catches panics or the flood gate, when a
/// hang-up is counted as an answer, or when any series is left out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_count_the_answers_that_clients_saw() {
    let app = TestApp::start().await;
    let smtp = app.mailbox().smtp_addr().port().to_string();
    let settings = [
        ("limits.flood_burst", "50"),
        ("limits.flood_per_second", "1"),
        ("mail.smtp.port", &smtp),
    ];
    let serving = Serving::start(&Program::on(app.database_url(), &settings)).await;
    app.user(ALICE).await;
    app.user_with_code("bob@example.com").await;
    let address = serving.public();
    // These take as long as a server is patient, so they begin first.
    let half_body = b"POST /api/v2/signin HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{";
    let stalled = tokio::spawn(stall(address, half_body));
    let half_head = tokio::spawn(stall(address, b"POST /api/v2/signin HT"));

    let mut caller = Caller {
        address,
        seen: Seen::default(),
    };
    caller.ordinary().await;
    caller.flood().await;
    caller.unreadable().await;
    caller.leave(&app, &serving).await;
    let mailed = signin("bob@example.com", PASSWORD, "10.5.0.1");
    caller.call("POST", SIGNIN, &mailed).await;
    app.code_for("bob@example.com").await;
    // Over HTTP/1 a client that has left looks like one that waits: its request is answered.
    caller.hang_up(&signin(ALICE, "wrong", "10.4.0.1")).await;
    caller
        .seen
        .missed("POST", SIGNIN, "401", "invalid_credentials");
    caller.hang_up(half_body).await;
    caller
        .seen
        .missed("POST", SIGNIN, "400", "malformed_request");
    // Nothing came of this one that could be counted.
    caller.hang_up(b"POST /api/v2/signin HT").await;
    let timed_out = stalled.await.unwrap();
    caller.seen.note("POST", SIGNIN, &parse(&timed_out));
    assert_eq!(half_head.await.unwrap(), b"");

    let seen = caller.seen;
    until("all is counted", async || {
        Scrape::of(&serving).await.answers() == seen.0
    })
    .await;
    let scrape = Scrape::of(&serving).await;
    assert_eq!(scrape.answers(), seen.0);
    check_the_rest(&scrape, &seen);
    let described: BTreeMap<_, _> = catalogue()
        .map(|metric| (metric.name, metric.kind))
        .collect();
    assert_eq!(
        scrape.families(),
        described,
        "what is shown is what is described"
    );
}

/// Checks the other metrics against the answers that clients saw.
fn check_the_rest(scrape: &Scrape, seen: &Seen) {
    for code in [
        "too_many_attempts",
        "request_timeout",
        "unavailable",
        "body_too_large",
    ] {
        assert_ne!(seen.with_code(code), 0, "{code} was to be seen");
    }
    let cut = |reason| {
        scrape.sum(
            "backoffice_auth_connections_cut_total",
            &[("reason", reason)],
        )
    };
    assert_eq!((cut("unreadable"), cut("head_timeout")), (2, 1));
    let timed = "backoffice_auth_request_duration_seconds_count";
    assert_eq!(scrape.sum(timed, &[]), seen.0.values().sum::<u64>());
    let limited = scrape.sum("backoffice_auth_limit_refusals_total", &[]);
    assert_eq!(limited, seen.with_code("too_many_attempts"));
    let opened = scrape.sum(
        "backoffice_auth_sessions_opened_total",
        &[("method", "password")],
    );
    assert_eq!(
        opened,
        seen.with(SIGNIN, "200") - 1,
        "all but the challenge"
    );
    let ended = scrape.sum(
        "backoffice_auth_sessions_ended_total",
        &[("reason", "signed_out")],
    );
    assert_eq!(ended, seen.with("/api/v2/signout", "200"));
    assert_eq!(
        scrape.sum("backoffice_auth_mails_total", &[("outcome", "sent")]),
        1
    );
    assert_eq!(
        scrape.sum(
            "backoffice_auth_database_errors_total",
            &[("kind", "timed_out")]
        ),
        1
    );
    assert_eq!(
        scrape.sum("backoffice_auth_signing_keys", &[("stage", "active")]),
        2
    );
    assert_eq!(scrape.sum("backoffice_auth_database_up", &[]), 1);
}

/// The lines of the table in the docs: name, kind, labels, meaning.
fn documented() -> BTreeSet<[String; 4]> {
    let text = include_str!("../../docs/monitoring/README.md");
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `") && line.matches('|').count() == 5);
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        [cells[0].trim_matches('`'), cells[1], cells[2], cells[3]].map(str::to_owned)
    })
    .collect()
}

#[test]
fn every_metric_is_in_the_table_and_the_table_holds_no_other() {
    let rows = catalogue().map(|metric| {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        [
            metric.name.to_owned(),
            metric.kind.to_owned(),
            labels.join(", "),
            metric.help.to_owned(),
        ]
    });
    let rows: BTreeSet<_> = rows.collect();
    let lines = rows
        .iter()
        .map(|[name, kind, labels, help]| format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    let table: String = lines.collect();
    assert_eq!(documented(), rows, "the table should be\n{table}");
}

#[test]
fn a_metric_is_named_as_prometheus_would_have_it() {
    for metric in catalogue() {
        let name = metric.name;
        let is_counter = name.ends_with("_total");
        assert_eq!(is_counter, metric.kind == "counter", "{name}");
        assert!(!name.contains("milli") && !name.contains("micro"), "{name}");
        assert!(
            metric.kind != "histogram" || name.ends_with("_seconds"),
            "{name}"
        );
        assert!(
            metric.help.ends_with('.') && !metric.help.contains('|'),
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_line_of_a_request_tells_whose_it_was_and_which_trace_it_belongs_to() {
    let app = TestApp::start().await;
    let mut serving = Serving::start(&Program::on(app.database_url(), &[])).await;
    app.user(ALICE).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("X-Forwarded-For", "10.1.0.1"), ("traceparent", &parent)];
    let body = json!({"email": ALICE, "password": PASSWORD}).to_string();
    let answer = send(serving.public(), &post(SIGNIN, &headers, body.as_bytes())).await;
    let line = serving.line(|line| line["message"] == "answered").await;
    let user_id = app.count("SELECT user_id FROM users").await;
    let told = |name: &str| &line["span"][name];
    assert_eq!(told("request_id"), answer.header("x-request-id").unwrap());
    assert_eq!(
        (told("route"), told("network")),
        (&json!(SIGNIN), &json!("10.1.0.1"))
    );
    assert_eq!(
        (told("user_id"), told("trace_id")),
        (&json!(user_id.to_string()), &json!(trace))
    );
    assert_eq!(line["status"], 200);
    assert!(line["micros"].as_u64().unwrap() > 0);
}

/// Red where the sessions that a new one ends are counted before its transaction is committed.
#[tokio::test]
async fn sessions_that_a_transaction_would_have_ended_are_not_counted() {
    let app = TestApp::start().await;
    let settings = [("tokens.max_sessions_per_user", "1")];
    let serving = Serving::start(&Program::on(app.database_url(), &settings)).await;
    app.user(ALICE).await;
    let try_it = async || {
        let request = signin(ALICE, PASSWORD, "10.1.0.1");
        send(serving.public(), &request).await.status
    };
    assert_eq!(try_it().await, 200);
    // As if the disk were full when it comes to the commit.
    app.execute(
        "CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS
         $$ BEGIN RAISE 'no room' USING ERRCODE = '53100'; END $$",
    )
    .await;
    app.execute(
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON sessions DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION fail()",
    )
    .await;
    assert_eq!(try_it().await, 503);
    app.execute("DROP FUNCTION fail CASCADE").await;
    assert_eq!(try_it().await, 200);
    let scrape = Scrape::of(&serving).await;
    let surplus = [("reason", "too_many_sessions")];
    let ended = scrape.sum("backoffice_auth_sessions_ended_total", &surplus);
    let opened = scrape.sum("backoffice_auth_sessions_opened_total", &[]);
    assert_eq!((opened, ended), (2, 1));
}

#[tokio::test]
async fn a_slow_statement_is_told_with_its_request_and_without_its_values() {
    let app = TestApp::start().await;
    let mut serving = Serving::start(&Program::on(app.database_url(), &[])).await;
    app.user(ALICE).await;
    let mut lock = app.hold("LOCK TABLE users").await;
    let address = serving.public();
    let asking =
        tokio::spawn(async move { send(address, &signin(ALICE, PASSWORD, "10.1.0.1")).await });
    until("it waits", async || app.waits_for_locks().await > 0).await;
    // A statement that takes half a second is slow.
    sqlx::query("SELECT pg_sleep(0.6)")
        .execute(&mut *lock)
        .await
        .unwrap();
    lock.commit().await.unwrap();
    let answer = asking.await.unwrap();
    // The workers' statements waited for the same lock, and belong to no request.
    let is_slow = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("slow statement")
            && line["span"]["request_id"] == answer.header("x-request-id").unwrap()
    };
    let line = serving.line(is_slow).await;
    let text = line.to_string();
    assert!(text.contains("users") && !text.contains(ALICE), "{text}");
}

#[cfg(not(feature = "otlp"))]
#[tokio::test]
async fn a_program_that_cannot_send_traces_refuses_to_be_told_where_to() {
    let settings = [("telemetry.otlp_endpoint", "http://127.0.0.1:4318/v1/traces")];
    let run = Program::on("postgres://nobody@127.0.0.1/none", &settings)
        .run("config check")
        .await;
    let told = run.refused();
    assert!(
        told.contains("telemetry.otlp_endpoint") && told.contains("--features otlp"),
        "{told}"
    );
}
