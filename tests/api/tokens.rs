//! The tokens themselves: what they say, who can verify them, and what is refused.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use backoffice_auth::auth::{Imported, SigningKeys};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Jwt, TestApp, assert_keys, secs};

#[tokio::test]
async fn an_access_token_says_exactly_this() {
    let app = TestApp::start().await;
    let (_, pair) = app.signed_in("alice@example.com").await;
    let token = Jwt::read(&pair.access);
    assert_keys(&token.header, &["alg", "typ", "kid"]);
    assert_eq!(token.header["alg"], "RS256");
    assert_eq!(token.header["typ"], "at+jwt");

    let claims = &token.claims;
    let names = [
        "iss",
        "sub",
        "aud",
        "client_id",
        "iat",
        "exp",
        "jti",
        "sid",
        "auth_time",
        "amr",
        "email",
    ];
    assert_keys(claims, &names);
    let user_id = app.count("SELECT user_id FROM users").await;
    assert_eq!(claims["iss"], "https://auth.example.com");
    assert_eq!(claims["sub"], user_id.to_string());
    assert_eq!(claims["aud"], "back-office");
    assert_eq!(claims["client_id"], "back-office");
    assert_eq!(claims["amr"], json!(["pwd"]));
    assert_eq!(claims["email"], "alice@example.com");
    assert_eq!(claims["auth_time"], claims["iat"]);
    assert_eq!(life(claims), 900);
    let sid: Uuid = claims["sid"].as_str().unwrap().parse().unwrap();
    let stored: Uuid = sqlx::query_scalar("SELECT session_id FROM sessions")
        .fetch_one(app.sql())
        .await
        .unwrap();
    assert_eq!((sid, sid.get_version_num()), (stored, 7));
    claims["jti"].as_str().unwrap().parse::<Uuid>().unwrap();
}

#[tokio::test]
async fn a_refresh_token_says_exactly_this() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let (access, refresh) = (Jwt::read(&pair.access), Jwt::read(&pair.refresh));
    assert_keys(&refresh.header, &["alg", "typ", "kid"]);
    assert_eq!(refresh.header["alg"], "RS256");
    assert_eq!(refresh.header["typ"], "rt+jwt");
    assert_eq!(refresh.header["kid"], access.header["kid"]);

    let claims = &refresh.claims;
    assert_keys(
        claims,
        &["iss", "sub", "aud", "iat", "exp", "jti", "sid", "gen"],
    );
    assert_eq!(claims["iss"], "https://auth.example.com");
    assert_eq!(claims["aud"], "https://auth.example.com");
    for same in ["sub", "sid", "iat"] {
        assert_eq!(claims[same], access.claims[same], "{same}");
    }
    assert_ne!(claims["jti"], access.claims["jti"]);
    assert_eq!(claims["gen"], 1);
    assert_eq!(life(claims), 86_400);

    let next = alice.refresh(&pair.refresh).await.pair();
    let next = Jwt::read(&next.refresh).claims;
    assert_eq!((&next["gen"], &next["sid"]), (&json!(2), &claims["sid"]));
}

#[tokio::test]
async fn auth_time_stays_when_the_session_was_opened() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    app.age_sessions(secs(600)).await;
    let second = alice.refresh(&first.refresh).await.pair();
    let claims = Jwt::read(&second.access).claims;
    let ago = claims["iat"].as_i64().unwrap() - claims["auth_time"].as_i64().unwrap();
    assert!((600..=602).contains(&ago), "{ago}");
}

#[tokio::test]
async fn lives_and_audience_are_as_configured() {
    let app = TestApp::with(&[
        ("tokens.audience", "orders"),
        ("tokens.access_ttl_seconds", "60"),
        ("tokens.refresh_idle_ttl_seconds", "120"),
    ])
    .await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let (access, refresh) = (
        Jwt::read(&pair.access).claims,
        Jwt::read(&pair.refresh).claims,
    );
    assert_eq!((life(&access), life(&refresh)), (60, 120));
    assert_eq!(
        (&access["aud"], &access["client_id"]),
        (&json!("orders"), &json!("orders"))
    );
    alice.signout(&pair.access).await.ok_and_empty();
}

#[tokio::test]
async fn the_published_keys_verify_both_tokens_and_hold_nothing_private() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (_, pair) = app.signed_in("alice@example.com").await;
    let answer = app.get("/.well-known/jwks.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("application/jwk-set+json")
    );
    let jwks = answer.json();
    for key in jwks["keys"].as_array().unwrap() {
        assert_keys(key, &["kty", "use", "alg", "kid", "n", "e"]);
    }
    for token in [&pair.access, &pair.refresh] {
        assert!(Jwt::read(token).is_signed_by(&jwks));
    }
    assert_eq!(jwks, other.jwks().await);
}

#[tokio::test]
async fn the_published_keys_may_be_cached_for_less_than_a_new_key_waits() {
    let app = TestApp::start().await;
    let answer = app.get("/.well-known/jwks.json").await;
    let caching = answer.header("cache-control").unwrap();
    let max_age = caching.strip_prefix("public, max-age=").unwrap();
    assert!(max_age.parse::<u32>().unwrap() <= 600, "{caching}");

    let etag = answer.header("etag").unwrap();
    let request = app.request("GET", "/.well-known/jwks.json", &app.new_network());
    let answer = app.send(request.header("if-none-match", etag)).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(answer.header("etag"), Some(etag));
}

fn life(claims: &Value) -> i64 {
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

/// A signing key of the server that the test knows too.
struct Forger {
    key: KeyPair,
    kid: String,
}

impl Forger {
    /// Makes a key and has the server take it over.
    async fn new(app: &TestApp) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(der.as_ref())
        );
        let keys = SigningKeys::new(app.store().await, &app.config);
        let imported = keys.import(pem.as_bytes(), "tests").await.unwrap();
        let Imported::Private(successor) = imported else {
            panic!("a private key was imported: {imported:?}")
        };
        Self {
            key,
            kid: successor.key_id.0,
        }
    }

    /// A token with a signature that holds, whatever it says.
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An object with one member changed, or taken out where there is no value.
fn but(object: &Value, name: &str, value: Option<Value>) -> Value {
    let mut changed = object.clone();
    let map = changed.as_object_mut().unwrap();
    match value {
        Some(value) => map.insert(name.to_owned(), value),
        None => map.remove(name),
    };
    changed
}

#[tokio::test]
async fn a_token_is_refused_for_any_flaw_even_under_a_signature_that_holds() {
    let first = TestApp::start().await;
    let forger = Forger::new(&first).await;
    // Started after the key came, so that it knows it from the beginning.
    let app = first.second_instance().await;
    let alice = first.user("alice@example.com").await;
    let alice = alice.at(&app);
    let pair = alice.signin().await.pair();
    let real = Jwt::read(&pair.access);
    let header = but(&real.header, "kid", Some(json!(forger.kid)));
    let claims = &real.claims;
    let now = claims["iat"].as_i64().unwrap();

    let mut tokens = Vec::new();
    for (name, value) in [
        ("alg", Some(json!("none"))),
        ("alg", Some(json!("HS256"))),
        ("alg", Some(json!("PS256"))),
        ("alg", Some(json!("RS512"))),
        ("alg", None),
        ("typ", Some(json!("JWT"))),
        ("typ", Some(json!("rt+jwt"))),
        ("typ", None),
        ("kid", Some(json!("unknown"))),
        ("kid", Some(real.header["kid"].clone())),
        ("kid", None),
        ("crit", Some(json!([]))),
        ("crit", Some(json!(["exp"]))),
        ("crit", Some(Value::Null)),
    ] {
        tokens.push(forger.sign(&but(&header, name, value), claims));
    }
    for name in ["iss", "sub", "aud", "iat", "exp", "jti", "sid"] {
        for value in [
            None,
            Some(Value::Null),
            Some(json!({})),
            Some(json!("")),
            Some(json!(true)),
        ] {
            tokens.push(forger.sign(&header, &but(claims, name, value)));
        }
    }
    for (name, value) in [
        ("iss", json!("https://auth.example.org")),
        ("aud", json!("orders")),
        ("aud", json!("https://auth.example.com")),
        ("exp", json!(now - 1)),
        ("exp", json!(now.to_string())),
        ("exp", json!(1e12 + 0.5)),
        ("sid", json!(Uuid::new_v4())),
    ] {
        tokens.push(forger.sign(&header, &but(claims, name, Some(value))));
    }
    for token in &tokens {
        let answer = alice.elsewhere().signout(token).await;
        assert_eq!(answer.status, 401, "{:?}", Jwt::read(token));
        answer.problem(401, "invalid_access_token");
    }

    // Keys that a token brings along or points at are not even looked at.
    let mut header = header;
    for (name, value) in [
        ("jwk", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
    ] {
        header = but(&header, name, Some(value));
    }
    let good = forger.sign(&header, claims);
    alice.signout(&good).await.ok_and_empty();
}

#[tokio::test]
async fn the_claims_of_a_token_cannot_be_exchanged_for_anothers() {
    let app = TestApp::start().await;
    let (alice, hers) = app.signed_in("alice@example.com").await;
    let (bob, his) = app.signed_in("bob@example.com").await;
    let mixed = |one: &str, other: &str| {
        let (one, other): (Vec<_>, Vec<_>) = (one.split('.').collect(), other.split('.').collect());
        format!("{}.{}.{}", one[0], other[1], one[2])
    };
    let refused = alice.signout(&mixed(&hers.access, &his.access)).await;
    refused.problem(401, "invalid_access_token");
    let refused = alice.refresh(&mixed(&hers.refresh, &his.refresh)).await;
    refused.problem(401, "invalid_refresh_token");
    bob.refresh(&his.refresh).await.pair();
    bob.signout(&his.access).await.ok_and_empty();
}
