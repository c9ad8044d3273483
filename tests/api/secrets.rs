//! Secrets that must not be found anywhere: in the log, in the metrics, in a copy of the database.
//!
//! That no test of this program logs a secret, at any level and from any library, is watched by
//! [`scanner`] during all of them. The tests here go beyond that.

use std::panic::{AssertUnwindSafe, catch_unwind};

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::KeyPair;
use backoffice_auth::dev::{Behaviour, Recipients};
use backoffice_auth::domain::{ChallengeId, CodeNonce, KeyId, MasterKey, OneTimeCode, Purpose};
use backoffice_auth::token::Sealer;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::scanner::{self, Kind, Watch};
use crate::support::{
    Http2, Jwt, MASTER_KEY, PASSWORD, Pair, Person, Program, TestApp, other_than, post, request,
    send, soon, until,
};

/// SHA-256 of `s3cret`.
const CLIENT: &str = "orders:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

const RELAY_PASSWORD: &str = "relay-password-1";

/// All that a person can do, done right and wrong.
async fn full_round(app: &TestApp) -> (Person<'_>, Pair) {
    let alice = app.user_with_code("alice@example.com").await;
    alice.fails_to_signin_with("violet-anvil-68").await;
    let (token, code) = alice.challenge_and_code().await;
    alice.fails_to_confirm(&token, &other_than(&code)).await;
    let first = alice.confirm(&token, &code).await.pair();
    let second = alice.refresh(&first.refresh).await.pair();
    alice.fails_to_refresh(&first.access).await;
    let introspect = app
        .request("POST", "/oauth2/introspect", &alice.network)
        .basic_auth("orders", Some("s3cret"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={}", second.access));
    app.send(introspect).await.ok();
    let signed_out = alice.elsewhere().challenge_and_code().await;
    let third = alice.confirm(&signed_out.0, &signed_out.1).await.pair();
    alice.signout(&third.access).await.ok_and_empty();
    (alice, second)
}

/// Red when a secret is logged by anybody: this one is, to see it found.
#[tokio::test]
async fn a_secret_that_is_logged_at_the_lowest_level_by_a_library_fails_its_test() {
    let watch = Watch::start();
    // A code is looked for in its own test alone, so that no other fails over this one.
    scanner::know(Kind::Code(watch.id), "734912");
    tracing::trace!(target: "some_library::deep_inside", "read b\"\\r\\n 734912\\r\\n\"");
    assert!(catch_unwind(AssertUnwindSafe(|| drop(watch))).is_err());

    let watch = Watch::start();
    scanner::know(Kind::Code(watch.id), "734912");
    tracing::trace!(micros = 734_912, "in 0.734912 s, not 1734912");
    drop(watch);
}

#[tokio::test]
async fn the_libraries_that_carry_secrets_are_heard_at_the_lowest_level() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    full_round(&app).await;
    let mut http2 = Http2::connect(app.public_addr()).await;
    http2
        .post("/api/v2/refresh", &[], "{}")
        .await
        .problem(422, "invalid_request");
    let text = app.logged();
    // hyper and lettre are built without a word to say.
    for library in [
        "h2::codec",
        "h2::proto",
        "hyper_util::client",
        "backoffice_auth::http",
    ] {
        assert!(text.contains(library), "{library} is not heard: {text}");
    }
}

#[tokio::test]
async fn over_http2_no_header_and_no_body_is_logged_either() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let mut http2 = Http2::connect(app.public_addr()).await;
    let body = json!({"email": alice.email, "password": PASSWORD}).to_string();
    let pair = http2.post("/api/v2/signin", &[], &body).await.pair();
    let body = json!({"refreshToken": pair.refresh}).to_string();
    let pair = http2.post("/api/v2/refresh", &[], &body).await.pair();
    let bearer = format!("Bearer {}", pair.access);
    let headers = [("authorization", bearer.as_str())];
    http2
        .post("/api/v2/signout", &headers, "")
        .await
        .ok_and_empty();
}

#[tokio::test]
async fn the_metrics_name_nobody_and_hold_no_secret() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    let (alice, pair) = full_round(&app).await;
    let metrics = app.metrics().await;
    assert!(
        metrics.contains("backoffice_auth_requests_total"),
        "{metrics}"
    );
    scanner::assert_clean("the metrics", metrics.as_bytes());
    let claims = Jwt::read(&pair.access).claims;
    for word in [
        &alice.email,
        &alice.network,
        claims["sid"].as_str().unwrap(),
    ] {
        assert!(!metrics.contains(word), "{word}: {metrics}");
    }
}

/// Texts that a client puts wherever it can, to end a line of the log and begin one of its own.
const FORGED: [&str; 5] = [
    "x\n2026-01-01T00:00:00.000000Z ERROR forged",
    "x\r\n{\"level\":\"ERROR\",\"message\":\"forged\"}",
    "x\",\"message\":\"forged",
    "x\u{1b}[2K\u{1b}[1Gforged",
    "x\u{2028}forged\u{85}\u{9b}2Kforged",
];

/// Sends every text in every place that a server could log, to the program as it runs.
async fn try_to_forge(app: &TestApp, address: std::net::SocketAddr) {
    for text in FORGED {
        for (path, body) in [
            ("/api/v2/signin", json!({"email": text, "password": text})),
            (
                "/api/v2/signin",
                json!({"email": "a@b.c", "password": text, text: text}),
            ),
            ("/api/v2/2fa/confirm", json!({"token": text, "code": text})),
            ("/api/v2/refresh", json!({"refreshToken": text})),
        ] {
            let body = body.to_string();
            send(address, &post(path, &[], body.as_bytes())).await;
        }
        // A character that would end a header's line cannot be in one; the rest can.
        let line: String = text.chars().filter(|c| !"\r\n".contains(*c)).collect();
        for name in [
            "User-Agent",
            "X-Request-Id",
            "X-Forwarded-For",
            "Forwarded",
            "Content-Type",
            "Authorization",
            "Origin",
            "Referer",
            "Traceparent",
        ] {
            let headers = [(name, line.as_str())];
            let bytes = request("POST", "/api/v2/signout", &headers, b"");
            soon("an answer", send_anything(address, &bytes)).await;
        }
        for target in [format!("/{line}"), format!("/api/v2/sessions/{line}")] {
            let target = target.replace([' ', '"'], "%0a");
            soon(
                "an answer",
                send_anything(address, &request("DELETE", &target, &[], b"")),
            )
            .await;
        }
        let method: String = line.chars().filter(char::is_ascii_alphabetic).collect();
        soon(
            "an answer",
            send_anything(address, &request(&method, "/", &[], b"")),
        )
        .await;
    }
    // A user agent that is kept, and an address that ends up in the audit log.
    let alice = app.stranger("alice@example.com");
    let body = json!({"email": alice.email, "password": PASSWORD}).to_string();
    let headers = [("User-Agent", "x\u{9b}2K\u{2028}forged")];
    let request = post("/api/v2/signin", &headers, body.as_bytes());
    send(address, &request).await.pair();
}

/// Sends bytes, to which hyper itself may answer.
async fn send_anything(address: std::net::SocketAddr, bytes: &[u8]) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
}

/// All that the program logs in a format while it is lied to.
async fn log_of_a_server(format: &str) -> String {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    let smtp = app.mailbox().smtp_addr().port().to_string();
    let settings = [("mail.smtp.port", smtp.as_str()), ("log.format", format)];
    let program = Program::on(app.database_url(), &settings);
    let mut running = program.start("serve");
    let mut lines = Vec::new();
    let address = soon("it is ready", async {
        loop {
            let line = running.log.recv().await.expect("it ended");
            let address = public_address(&line);
            lines.push(line);
            if let Some(address) = address {
                return address;
            }
        }
    });
    let address = address.await;
    try_to_forge(&app, address).await;
    running.child.start_kill().unwrap();
    soon("its end", async {
        while let Some(line) = running.log.recv().await {
            lines.push(line);
        }
    })
    .await;
    lines.join("\n")
}

/// Where it says that it listens, in either format.
fn public_address(line: &str) -> Option<std::net::SocketAddr> {
    let (_, rest) = line.split_once(if line.starts_with('{') {
        "\"public\":\""
    } else {
        "public="
    })?;
    let end = rest.find(|c: char| c != '.' && c != ':' && !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

#[tokio::test]
async fn nothing_that_a_client_sends_begins_or_ends_a_line_of_the_log() {
    let json = log_of_a_server("json").await;
    for line in json.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_ne!(line["message"], "forged");
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
    let text = log_of_a_server("text").await;
    for line in text.lines() {
        let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{line}");
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"];
        let level = rest.trim_start().split(' ').next().unwrap();
        assert!(levels.contains(&level), "{line}");
        assert!(!rest.contains("ERROR"), "{line}");
    }
    for log in [json, text] {
        let is_forged = |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}".contains(c));
        assert!(!log.contains(is_forged), "{log}");
        assert!(!log.contains("forged"), "{log}");
    }
}

/// Every column of every row of every table, as text.
async fn dump(app: &TestApp) -> Vec<(String, String)> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::TEXT FROM information_schema.tables
          WHERE table_schema = 'public' AND table_type = 'BASE TABLE'",
    )
    .fetch_all(app.sql())
    .await
    .unwrap();
    let mut rows = Vec::new();
    for table in tables {
        let statement = format!("SELECT row_to_json(t)::TEXT FROM {table} AS t");
        let found: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .fetch_all(app.sql())
            .await
            .unwrap();
        rows.extend(found.into_iter().map(|row| (table.clone(), row)));
    }
    rows
}

/// A secret in the spellings that a database could hold it in.
fn spellings(secret: &[u8]) -> Vec<String> {
    let hex = scanner::hex(secret);
    let mut all = vec![
        BASE64_STANDARD.encode(secret),
        BASE64_URL_SAFE_NO_PAD.encode(secret),
        hex,
    ];
    all.extend(String::from_utf8(secret.to_vec()));
    all
}

/// A server in the middle of its work: users, keys, sessions, limits, an audit log, a code that
/// was mailed, and another whose mail waits because the relay does not know us.
struct Busy {
    app: TestApp,
    pair: Pair,
    pending: String,
    code: String,
}

impl Busy {
    async fn start() -> Self {
        let app = TestApp::with(&[
            ("introspection.clients", CLIENT),
            ("limits.confirm.attempts", "1000"),
        ])
        .await;
        let (alice, pair) = full_round(&app).await;
        let (pending, code) = alice.elsewhere().challenge_and_code().await;
        app.mailbox_does(Behaviour::Defer(Recipients::All));
        // Only now: it would take its turn at the mails before, and fail at them.
        let relay = [
            ("mail.smtp.username", "relay-user"),
            ("mail.smtp.password", RELAY_PASSWORD),
        ];
        let _known_to_the_relay = app.try_second_instance(&relay).await.unwrap();
        alice.elsewhere().challenge().await;
        until("a mail waits", async || {
            let waiting =
                "SELECT count(*) FROM outbox WHERE last_reply IS NOT NULL AND sent_at IS NULL";
            app.count(waiting).await > 0
        })
        .await;
        Self {
            app,
            pair,
            pending,
            code,
        }
    }

    /// The secrets that no copy of the database may hold.
    fn secrets(&self) -> Vec<Vec<u8>> {
        let mut secrets = vec![BASE64_STANDARD.decode(MASTER_KEY).unwrap()];
        for text in [
            PASSWORD,
            "violet-anvil-68",
            "s3cret",
            RELAY_PASSWORD,
            &self.app.database_password(),
        ] {
            secrets.push(text.as_bytes().to_vec());
        }
        for token in [&self.pair.access, &self.pair.refresh] {
            let signature = token.rsplit('.').next().unwrap();
            secrets.push(BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap());
            secrets.push(token.as_bytes().to_vec());
        }
        secrets
    }
}

#[tokio::test]
async fn a_copy_of_the_database_holds_no_secret_that_could_be_used() {
    let busy = Busy::start().await;
    let rows = dump(&busy.app).await;
    for table in [
        "users",
        "sessions",
        "challenges",
        "outbox",
        "attempts",
        "signing_keys",
        "audit_events",
    ] {
        assert!(rows.iter().any(|(of, _)| of == table), "{table} is empty");
    }
    let all = rows
        .iter()
        .map(|(_, row)| row.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    for secret in busy.secrets() {
        for spelling in spellings(&secret) {
            assert!(!all.contains(&spelling), "{spelling}");
        }
    }
    let mut words = all.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    assert!(!words.any(|word| word == busy.code));
    for part_of_a_key in ["PRIVATE", "2a864886f70d010101", "eyJ"] {
        let private = rows.iter().filter(|(table, _)| table != "signing_keys");
        assert!(
            !private
                .into_iter()
                .any(|(_, row)| row.contains(part_of_a_key))
        );
    }
    for (_, row) in rows.iter().filter(|(table, _)| table == "attempts") {
        assert!(
            !row.contains('@') && !row.contains("alice") && !row.contains(".0.1"),
            "{row}"
        );
    }
}

/// Every text and every run of bytes in a value.
fn leaves(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, into)),
        Value::Object(map) => map.values().for_each(|item| leaves(item, into)),
        _ => {}
    }
}

#[tokio::test]
async fn a_copy_of_the_database_neither_signs_in_nor_refreshes() {
    let busy = Busy::start().await;
    let mut texts = Vec::new();
    for (_, row) in dump(&busy.app).await {
        leaves(&serde_json::from_str(&row).unwrap(), &mut texts);
    }
    texts.sort();
    texts.dedup();
    let thief = busy.app.stranger("alice@example.com");
    for text in &texts {
        let answer = thief.elsewhere().refresh(text).await;
        answer.problem(401, "invalid_refresh_token");
        let answer = thief.elsewhere().signout(text).await;
        answer.problem(401, "invalid_access_token");
    }
    for hash in texts.iter().filter(|text| text.starts_with("$argon2id$")) {
        let answer = thief.elsewhere().signin_with(hash).await;
        answer.problem(401, "invalid_credentials");
    }
    // All that a refresh token says can be made from the session's row; but for the signature.
    let (signed, _) = busy.pair.refresh.rsplit_once('.').unwrap();
    for key in texts.iter().filter_map(|text| bytes(text)) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signature = BASE64_URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
        let answer = thief
            .elsewhere()
            .refresh(&format!("{signed}.{signature}"))
            .await;
        answer.problem(401, "invalid_refresh_token");
    }
    thief.refresh(&busy.pair.refresh).await.pair();
}

/// Bytes as a dump shows them.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes();
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

#[tokio::test]
async fn a_copy_of_the_database_confirms_no_code() {
    let busy = Busy::start().await;
    let challenge_id = busy.pending.parse().unwrap();
    let nonce: Vec<u8> = sqlx::query_scalar("SELECT nonce FROM challenges WHERE challenge_id = $1")
        .bind::<uuid::Uuid>(challenge_id)
        .fetch_one(busy.app.sql())
        .await
        .unwrap();
    let nonce = CodeNonce::from_stored(&nonce).unwrap();
    let sealed: Vec<u8> =
        sqlx::query_scalar("SELECT sealed_private_key FROM signing_keys WHERE purpose = 'access'")
            .fetch_one(busy.app.sql())
            .await
            .unwrap();
    // The program is known, so its way from nonce to code is; the key is all that is not.
    let keys = [
        sealed[..32].to_vec(),
        sealed[12..44].to_vec(),
        (32..64).collect(),
    ];
    let thief = busy.app.stranger("alice@example.com");
    for key in keys {
        let key = MasterKey::from_base64(&BASE64_STANDARD.encode(key)).unwrap();
        let key = key.derive(Purpose::OneTimeCodes);
        let guess = OneTimeCode::derive(&key, ChallengeId(challenge_id), nonce);
        if guess.expose() != busy.code {
            let answer = thief.confirm(&busy.pending, guess.expose()).await;
            answer.problem(401, "invalid_two_factor");
        }
    }
    thief.confirm(&busy.pending, &busy.code).await.pair();
}

#[tokio::test]
async fn a_copy_of_the_database_signs_nothing() {
    let busy = Busy::start().await;
    let keys: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "SELECT key_id, COALESCE(sealed_private_key, sealed_refresh_key) FROM signing_keys",
    )
    .fetch_all(busy.app.sql())
    .await
    .unwrap();
    assert_eq!(keys.len(), 2);
    let other =
        MasterKey::from_base64(&BASE64_STANDARD.encode((32..64).collect::<Vec<u8>>())).unwrap();
    for (key_id, sealed) in keys {
        for start in 0..64 {
            assert!(KeyPair::from_pkcs8(&sealed[start..]).is_err());
            assert!(KeyPair::from_der(&sealed[start..]).is_err());
        }
        let unsealed = Sealer::new(&other).unseal(&KeyId(key_id), &sealed);
        assert!(unsealed.is_err());
    }
}
