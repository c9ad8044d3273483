//! Access tokens of an older service with the same issuer, while its users move in.

use backoffice_auth::domain::Clock;
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use crate::support::{
    Answer, Jwt, PASSWORD, Program, Run, Signer, TestApp, assert_keys, but, secs, until,
};

const ALICE: &str = "alice@example.com";

/// Her number there, and so here.
const NUMBER: u64 = 4711;

/// How long the older service's access tokens live.
const LIFE: i64 = 36_000;

const ON: (&str, &str) = ("tokens.legacy_ttl_seconds", "36000");

/// SHA-256 of `s3cret`.
const CLIENT: (&str, &str) = (
    "introspection.clients",
    "orders:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
);

/// A server that takes over from an older service, and Alice, who was imported from there.
struct Move {
    app: TestApp,
    program: Program,
    old: Signer,
    folder: tempfile::TempDir,
}

impl Move {
    async fn with(settings: &[(&str, &str)]) -> Self {
        let app = TestApp::with(settings).await;
        let program = Program::on(app.database_url(), settings);
        let made = Self {
            app,
            program,
            old: Signer::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        made.arrives(NUMBER, ALICE).await;
        made
    }

    /// Imports a user with their number.
    async fn arrives(&self, number: u64, email: &str) {
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        let line = json!({"id": number, "email": email, "passwordHash": hash, "twoFactor": "off"});
        let line = line.to_string();
        let imported = self.program.run_with_input("user import -", &line);
        imported.await.ok();
    }

    /// With the older service's key taken over, and known to the server.
    async fn done() -> Self {
        let made = Self::with(&[ON, CLIENT]).await;
        made.import("").await.ok();
        made.until_good(&made.token()).await;
        made
    }

    async fn import(&self, options: &str) -> Run {
        self.import_pem(&self.old.public_pem(), options).await
    }

    async fn import_pem(&self, pem: &str, options: &str) -> Run {
        let file = self.folder.path().join("old.pem");
        std::fs::write(&file, pem).unwrap();
        let line = format!("key import {} {options}", file.display());
        self.program.run(&line).await
    }

    /// A token of Alice's as the older service writes them.
    fn token(&self) -> String {
        self.old.sign(&header(), &claims())
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token).await
    }

    async fn ask(&self, method: &str, path: &str, token: &str) -> Answer {
        let request = self.app.request(method, path, &self.app.new_network());
        self.app.send(request.bearer_auth(token)).await
    }

    async fn is_good(&self, token: &str) -> bool {
        self.get("/auth/verify", token).await.status == 200
    }

    async fn until_good(&self, token: &str) {
        until("the key is known", async || self.is_good(token).await).await;
    }

    async fn until_refused(&self, token: &str) {
        until("the key is gone", async || !self.is_good(token).await).await;
    }

    async fn introspect(&self, token: &str) -> Value {
        let request = self
            .app
            .request("POST", "/oauth2/introspect", "203.0.113.1");
        let request = request
            .basic_auth("orders", Some("s3cret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("token={token}"));
        self.app.send(request).await.ok()
    }
}

fn now() -> i64 {
    Clock::system().now().timestamp()
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "RS256"})
}

fn claims() -> Value {
    let issued = now() - 60;
    json!({
        "sub": NUMBER.to_string(),
        "iat": issued,
        "exp": issued + LIFE,
        "iss": "https://auth.example.com",
    })
}

#[tokio::test]
async fn a_token_of_the_older_service_tells_whose_it_is_until_it_expires() {
    let made = Move::done().await;
    let token = made.token();
    let session = made.get("/api/v2/session", &token).await.ok();
    assert_keys(&session, &["user", "accessToken"]);
    assert_eq!(session["user"], json!({"id": "4711", "email": ALICE}));

    let verified = made.get("/auth/verify", &token).await;
    assert_eq!(verified.header("x-auth-user-id"), Some("4711"));
    assert_eq!(verified.header("x-auth-user-email"), Some(ALICE));
    // Empty rather than absent: a proxy that copies it overwrites what the client sent.
    assert_eq!(verified.header("x-auth-session-id"), Some(""));

    let told = made.introspect(&token).await;
    assert_eq!(
        (&told["active"], &told["sub"]),
        (&json!(true), &json!("4711"))
    );
    assert_eq!(told["exp"], Jwt::read(&token).claims["exp"]);

    made.app.clock().advance(secs(LIFE.unsigned_abs()));
    let late = made.get("/api/v2/session", &token).await;
    late.problem(401, "invalid_access_token");
}

#[tokio::test]
async fn no_token_of_an_older_service_is_taken_unless_the_settings_say_so() {
    let off = Move::with(&[]).await;
    let refused = off.import("").await;
    assert!(refused.refused().contains("tokens.legacy_ttl_seconds"));
    assert_eq!(off.app.jwks().await["keys"].as_array().unwrap().len(), 1);

    // Nor by an instance with another setting than the one where the key came from.
    let made = Move::done().await;
    let other = made
        .app
        .try_second_instance(&[("tokens.legacy_ttl_seconds", "0")])
        .await;
    let other = other.unwrap();
    for path in ["/api/v2/session", "/auth/verify"] {
        let request = other.request("GET", path, "203.0.113.1");
        let answer = other.send(request.bearer_auth(made.token())).await;
        answer.problem(401, "invalid_access_token");
    }
}

#[tokio::test]
async fn a_token_of_the_older_service_is_refused_for_any_flaw_under_a_signature_that_holds() {
    let made = Move::done().await;
    let (header, claims) = (header(), claims());
    let issued = claims["iat"].as_i64().unwrap();
    let mut tokens = vec![Signer::new().sign(&header, &claims)];
    for (name, value) in [
        ("alg", Some(json!("none"))),
        ("alg", Some(json!("HS256"))),
        ("alg", Some(json!("RS512"))),
        ("alg", None),
        ("typ", Some(json!("at+jwt"))),
        ("typ", Some(json!("rt+jwt"))),
        ("kid", Some(json!("unknown"))),
        ("kid", Some(json!(""))),
        ("kid", Some(Value::Null)),
        ("crit", Some(json!(["exp"]))),
    ] {
        tokens.push(made.old.sign(&but(&header, name, value), &claims));
    }
    for name in ["iss", "sub", "iat", "exp"] {
        for value in [None, Some(Value::Null), Some(json!({})), Some(json!(""))] {
            tokens.push(made.old.sign(&header, &but(&claims, name, value)));
        }
    }
    for (name, value) in [
        ("iss", json!("https://auth.example.org")),
        ("aud", json!("orders")),
        ("aud", json!(["back-office"])),
        ("nbf", json!(now() + 3600)),
        ("sub", json!("4712")),
        ("sub", json!("04711")),
        ("exp", json!(now() - 1)),
        // A token that lives longer than the older service's access tokens is one of its refresh tokens.
        ("exp", json!(issued + LIFE + 1)),
        ("exp", json!(i64::MAX)),
    ] {
        tokens.push(made.old.sign(&header, &but(&claims, name, Some(value))));
    }
    for token in &tokens {
        let answer = made.get("/auth/verify", token).await;
        assert_eq!(answer.status, 401, "{:?}", Jwt::read(token));
    }
    for (name, value) in [("aud", json!("back-office")), ("nbf", json!(issued))] {
        let token = made.old.sign(&header, &but(&claims, name, Some(value)));
        assert!(made.is_good(&token).await, "{name}");
    }
    let token = made.old.sign(&but(&header, "typ", None), &claims);
    assert!(made.is_good(&token).await);
}

/// Red when the ring keeps the older service's key among our own.
#[tokio::test]
async fn the_key_of_the_older_service_makes_no_token_of_ours_and_is_not_published() {
    let made = Move::done().await;
    let listed = made.program.run("key list --json").await.json();
    let legacy = listed.as_array().unwrap().iter();
    let legacy: Vec<_> = legacy.filter(|key| key["isLegacy"] == true).collect();
    assert_eq!((legacy.len(), &legacy[0]["stage"]), (1, &json!("legacy")));
    let kid = &legacy[0]["kid"];
    let published = made.app.jwks().await;
    let published = published["keys"].as_array().unwrap();
    assert!(published.iter().all(|key| key["kid"] != *kid));

    let alice = made.app.stranger(ALICE);
    let pair = alice.signin().await.pair();
    let forge = |token: &str| {
        let real = Jwt::read(token);
        let header = but(&real.header, "kid", Some(kid.clone()));
        made.old.sign(&header, &real.claims)
    };
    let forged = made.get("/api/v2/session", &forge(&pair.access)).await;
    forged.problem(401, "invalid_access_token");
    let forged = alice.refresh(&forge(&pair.refresh)).await;
    forged.problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_token_of_the_older_service_neither_refreshes_nor_manages_sessions() {
    let made = Move::done().await;
    let token = made.token();
    let refreshed = made.app.stranger(ALICE).refresh(&token).await;
    refreshed.problem(401, "invalid_refresh_token");
    for (method, path) in [
        ("GET", "/api/v2/sessions"),
        ("DELETE", "/api/v2/sessions"),
        (
            "DELETE",
            "/api/v2/sessions/01932a50-0000-7000-8000-000000000000",
        ),
    ] {
        let answer = made.ask(method, path, &token).await;
        answer.problem(401, "invalid_access_token");
    }
}

#[tokio::test]
async fn a_sign_out_with_a_token_of_the_older_service_ends_all_that_it_issued_to_the_user() {
    let made = Move::done().await;
    let alice = made.app.stranger(ALICE);
    let pair = alice.signin().await.pair();
    let other = made
        .old
        .sign(&header(), &but(&claims(), "iat", Some(json!(now()))));
    alice.signout(&made.token()).await.ok_and_empty();
    for token in [made.token(), other] {
        alice.fails_to_signout(&token).await;
        let answer = made.get("/api/v2/session", &token).await;
        answer.problem(401, "invalid_access_token");
        assert_eq!(made.introspect(&token).await, json!({"active": false}));
    }
    made.get("/api/v2/session", &pair.access).await.ok();
    let lines = made.app.audit().await;
    let ended = "session_ended granted signed_out".to_owned();
    assert!(lines.contains(&ended), "{lines:?}");
}

#[tokio::test]
async fn an_act_that_ends_all_sessions_of_a_user_ends_the_older_services_tokens_too() {
    let made = Move::done().await;
    let token = |number: u64| {
        let claims = but(&claims(), "sub", Some(json!(number.to_string())));
        made.old.sign(&header(), &claims)
    };
    let commands = [
        "user disable",
        "user signout",
        "user delete",
        "user password --password-stdin",
    ];
    for (number, command) in (1..).zip(commands) {
        let email = format!("user-{number}@example.com");
        made.arrives(number, &email).await;
        assert!(made.is_good(&token(number)).await);
        let line = format!("{command} {email}");
        let done = made.program.run_with_input(&line, "violet-anvil-68").await;
        done.ok();
        assert!(!made.is_good(&token(number)).await, "{command}");
    }
    let enabled = made.program.run("user enable user-1@example.com").await;
    enabled.ok();
    assert!(!made.is_good(&token(1)).await, "an end is for good");

    let pair = made.app.stranger(ALICE).signin().await.pair();
    let ended = made.ask("DELETE", "/api/v2/sessions", &pair.access).await;
    assert_eq!(ended.status, 204);
    assert!(!made.is_good(&made.token()).await);
}

/// Red when every enabled user's number counts, wherever it came from.
#[tokio::test]
async fn a_number_that_was_given_here_is_not_the_older_services() {
    let made = Move::done().await;
    made.app.user("bob@example.com").await;
    let number = made.app.count("SELECT max(user_id) FROM users").await;
    let token = but(&claims(), "sub", Some(json!(number.to_string())));
    assert!(!made.is_good(&made.old.sign(&header(), &token)).await);
}

#[tokio::test]
async fn the_key_of_the_older_service_ends_with_the_last_token_that_it_had_signed_when_it_came() {
    let made = Move::done().await;
    let life = secs(LIFE.unsigned_abs());
    made.app.age_keys(life.checked_sub(secs(60)).unwrap()).await;
    assert!(made.is_good(&made.token()).await);
    made.app.age_keys(secs(60)).await;
    made.until_refused(&made.token()).await;
}

#[tokio::test]
async fn the_key_of_the_older_service_dies_when_it_is_revoked() {
    let made = Move::done().await;
    let listed = made.program.run("key list --json").await.json();
    let mut keys = listed.as_array().unwrap().iter();
    let legacy = keys.find(|key| key["isLegacy"] == true).unwrap();
    let revoked = made
        .program
        .run(&format!("key revoke {}", legacy["kid"].as_str().unwrap()))
        .await;
    revoked.ok();
    made.until_refused(&made.token()).await;
    made.app.stranger(ALICE).signin().await.pair();
}

#[tokio::test]
async fn the_key_of_the_older_service_is_taken_over_only_with_an_end_and_of_a_sound_size() {
    let made = Move::with(&[ON]).await;
    for until in ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        let refused = made.import(&format!("--until {until}")).await;
        assert!(refused.refused().contains("at most 90 days"), "{refused:?}");
    }
    let private = made.old.private_pem();
    let refused = made
        .import_pem(&private, "--until 2999-01-01T00:00:00Z")
        .await;
    assert!(refused.refused().contains("private"), "{refused:?}");
    let small = include_str!("support/rsa-1024.pem");
    let refused = made.import_pem(small, "").await;
    assert!(
        refused.refused().contains("2048, 3072 or 4096"),
        "{refused:?}"
    );

    let until = DateTime::from_timestamp(now() + 30 * 86_400, 0).unwrap();
    let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
    made.import(&format!("--until {until}")).await.ok();
    let again = made.import("").await;
    assert!(again.refused().contains("there already"), "{again:?}");
}

#[tokio::test]
async fn a_certificate_of_the_older_service_will_do_for_its_key() {
    let made = Move::with(&[ON]).await;
    let imported = made
        .import_pem(include_str!("support/certificate.pem"), "--json")
        .await;
    assert_eq!(imported.json()["activatesAt"], Value::Null);
}

#[tokio::test]
async fn a_certificate_of_version_1_is_refused_with_the_command_that_takes_its_key_out() {
    let made = Move::with(&[ON]).await;
    let refused = made
        .import_pem(include_str!("support/certificate-v1.pem"), "")
        .await;
    assert!(refused.refused().contains("openssl x509"), "{refused:?}");
}

#[tokio::test]
async fn there_are_at_most_four_keys_of_older_services() {
    let made = Move::with(&[ON]).await;
    for _ in 0..4 {
        made.import_pem(&Signer::new().public_pem(), "").await.ok();
    }
    let refused = made.import("").await;
    assert!(refused.refused().contains("4 keys"), "{refused:?}");
}
