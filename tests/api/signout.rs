//! `POST /api/v2/signout`.

use std::collections::HashSet;

use insta::assert_json_snapshot;
use serde_json::json;

use crate::support::{Answer, TestApp, post, secs, send};

/// Signs out with these `Authorization` headers.
async fn signout(app: &TestApp, values: &[&str]) -> Answer {
    let headers: Vec<_> = values
        .iter()
        .map(|value| ("Authorization", *value))
        .collect();
    send(app.public_addr(), &post("/api/v2/signout", &headers, b"")).await
}

#[tokio::test]
async fn a_sign_out_ends_the_session_with_both_its_tokens_and_says_nothing() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    alice.signout(&pair.access).await.ok_and_empty();
    alice.fails_to_refresh(&pair.refresh).await;
    alice.fails_to_signout(&pair.access).await;
    assert!(app.recorded("session_ended granted signed_out").await > 0);
}

#[tokio::test]
async fn a_sign_out_ends_no_other_session() {
    let app = TestApp::start().await;
    let (alice, one) = app.signed_in("alice@example.com").await;
    let other = alice.signin().await.pair();
    alice.signout(&one.access).await.ok_and_empty();
    alice.refresh(&other.refresh).await.pair();
    alice.signout(&other.access).await.ok_and_empty();
}

#[tokio::test]
async fn any_access_token_of_a_session_signs_it_out() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let second = alice.refresh(&first.refresh).await.pair();
    alice.signout(&first.access).await.ok_and_empty();
    alice.fails_to_signout(&second.access).await;
    alice.fails_to_refresh(&second.refresh).await;
}

/// Red where a sign-out asks for a token that lets its owner in.
#[tokio::test]
async fn an_access_token_whose_exp_alone_has_passed_is_refused_and_ends_its_session() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let other = alice.signin().await.pair();
    app.clock().advance(secs(900));
    let refused = alice.signout(&pair.access).await;
    assert_json_snapshot!(refused.problem(401, "invalid_access_token"), @r#"
    {
      "code": "invalid_access_token",
      "detail": "The access token is not valid.",
      "requestId": "(id)",
      "status": 401,
      "title": "Unauthorized",
      "type": "about:blank"
    }
    "#);
    alice.fails_to_refresh(&pair.refresh).await;
    alice.refresh(&other.refresh).await.pair();
    // The second time it finds nothing to end, and the answer is the same.
    let again = alice.signout(&pair.access).await;
    assert_eq!(again.seen(), refused.seen());
    let audit = app.audit().await;
    let of_signouts = |line: &&String| line.contains("signed_out") || line.contains("signout");
    assert_eq!(
        audit.iter().filter(of_signouts).collect::<Vec<_>>(),
        [
            "session_ended granted signed_out",
            "signout refused session_over"
        ]
    );
}

#[tokio::test]
async fn an_access_token_of_a_session_past_its_time_signs_nothing_out() {
    let app = TestApp::with(&[("tokens.session_ttl_seconds", "1000")]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    app.age_sessions(secs(1000)).await;
    alice.fails_to_signout(&pair.access).await;
}

#[tokio::test]
async fn a_request_without_a_bearer_token_misses_one() {
    let app = TestApp::start().await;
    let (_, pair) = app.signed_in("alice@example.com").await;
    let none = signout(&app, &[]).await;
    assert_json_snapshot!(none.problem(401, "missing_access_token"), @r#"
    {
      "code": "missing_access_token",
      "detail": "Send an access token: `Authorization: Bearer TOKEN`.",
      "requestId": "(id)",
      "status": 401,
      "title": "Unauthorized",
      "type": "about:blank"
    }
    "#);
    // RFC 6750, section 3.1: without a token there is no error to name.
    let challenge = Some(r#"Bearer realm="back-office""#);
    assert_eq!(none.header("www-authenticate"), challenge);
    for other in [format!("Basic {}", pair.access), pair.access] {
        let refused = signout(&app, &[&other]).await;
        refused.problem(401, "missing_access_token");
        assert_eq!(refused.header("www-authenticate"), challenge);
    }
}

#[tokio::test]
async fn anything_but_one_good_access_token_gets_the_same_answer_byte_for_byte() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let (bob, ended) = app.signed_in("bob@example.com").await;
    bob.signout(&ended.access).await.ok_and_empty();
    let good = format!("Bearer {}", pair.access);
    let answers = [
        signout(&app, &["Bearer"]).await,
        signout(&app, &["Bearer x"]).await,
        signout(&app, &["Bearer a.b.c"]).await,
        signout(&app, &[&format!("Bearer {}", pair.refresh)]).await,
        signout(&app, &[&format!("{good}A")]).await,
        signout(&app, &[&format!("{good}, {good}")]).await,
        signout(&app, &[&format!("{good} {}", pair.access)]).await,
        signout(&app, &[&good, &good]).await,
        signout(&app, &["Basic YTpi", &good]).await,
        signout(&app, &[&format!("Bearer {}", ended.access)]).await,
    ];
    let seen: HashSet<String> = answers.iter().map(Answer::seen).collect();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    answers[0].problem(401, "invalid_access_token");
    assert_eq!(
        answers[0].header("www-authenticate"),
        Some(r#"Bearer realm="back-office", error="invalid_token""#)
    );
    // The session has lived through all this.
    alice.signout(&pair.access).await.ok_and_empty();
}

#[tokio::test]
async fn the_scheme_is_read_in_any_case() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let pair = alice.signin().await.pair();
        let answer = signout(&app, &[&format!("{scheme} {}", pair.access)]).await;
        answer.ok_and_empty();
    }
}

#[tokio::test]
async fn tokens_in_the_query_or_the_body_are_ignored() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let path = format!("/api/v2/signout?access_token={}", pair.access);
    let answer = send(app.public_addr(), &post(&path, &[], b"")).await;
    answer.problem(401, "missing_access_token");
    for (kind, body) in [
        (
            "application/json",
            json!({"accessToken": pair.access}).to_string(),
        ),
        (
            "application/x-www-form-urlencoded",
            format!("access_token={}", pair.access),
        ),
    ] {
        let request = post(
            "/api/v2/signout",
            &[("Content-Type", kind)],
            body.as_bytes(),
        );
        send(app.public_addr(), &request)
            .await
            .problem(401, "missing_access_token");
    }
    alice.signout(&pair.access).await.ok_and_empty();
}

#[tokio::test]
async fn a_body_of_a_sign_out_is_not_looked_at() {
    let app = TestApp::start().await;
    let (_, pair) = app.signed_in("alice@example.com").await;
    let bearer = format!("Bearer {}", pair.access);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "text/plain"),
    ];
    let request = post("/api/v2/signout", &headers, b"not JSON");
    send(app.public_addr(), &request).await.ok_and_empty();
}
