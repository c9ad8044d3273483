//! The tokens themselves: their content and their verification.

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
    assert_ne!(refresh.header["kid"], access.header["kid"]);

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
async fn the_published_keys_verify_access_tokens_alone_and_hold_nothing_private() {
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
    assert!(Jwt::read(&pair.access).is_signed_by(&jwks));
    let published = jwks["keys"].as_array().unwrap();
    let refresh_kid = &Jwt::read(&pair.refresh).header["kid"];
    assert!(published.iter().all(|key| key["kid"] != *refresh_kid));
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
