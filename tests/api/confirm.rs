//! `POST /api/v2/2fa/confirm`.

use std::collections::HashSet;

use insta::assert_json_snapshot;
use serde_json::json;
use uuid::Uuid;

use crate::support::{Answer, Jwt, OPERATOR, TestApp, assert_keys, other_than, secs, until};

#[tokio::test]
async fn the_mailed_code_confirms_a_sign_in_and_the_answer_is_a_pair_and_nothing_else() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()));
    let answer = alice.confirm(&token, &code).await;
    assert_keys(&answer.ok(), &["accessToken", "refreshToken"]);
    let claims = Jwt::read(&answer.pair().access).claims;
    assert_eq!(claims["amr"], json!(["pwd", "otp"]));
}

#[tokio::test]
async fn a_code_keeps_its_leading_zeros() {
    // One code in ten begins with a zero: among 200 one certainly does.
    let app = TestApp::with(&[("limits.mails_per_account", "1000")]).await;
    let alice = app.user_with_code("alice@example.com").await;
    for _ in 0..200 {
        let there = alice.elsewhere();
        let (token, code) = there.challenge_and_code().await;
        assert_eq!(code.len(), 6);
        if let Some(rest) = code.strip_prefix('0') {
            there.fails_to_confirm(&token, rest).await;
            there.confirm(&token, &code).await.pair();
            return;
        }
    }
    panic!("no code began with a zero");
}

#[tokio::test]
async fn a_2fa_token_is_taken_in_upper_case_too() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    alice.confirm(&token.to_uppercase(), &code).await.pair();
}

#[tokio::test]
async fn anybody_with_token_and_code_may_confirm_from_anywhere() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    alice.elsewhere().confirm(&token, &code).await.pair();
}

/// Texts that are no token at all.
const NO_TOKENS: [&str; 5] = [
    "",
    "x",
    "b2fcf999-2b0b-451d-9888",
    "../../etc/passwd",
    "\u{0}",
];

const HIGH_LIMITS: [(&str, &str); 2] = [
    ("limits.confirm.attempts", "1000"),
    ("limits.mails_per_account", "1000"),
];

#[tokio::test]
async fn every_reason_to_refuse_gets_the_same_answer_byte_for_byte() {
    let app = TestApp::with(&HIGH_LIMITS).await;
    let alice = app.user_with_code("alice@example.com").await;
    let bob = app.user_with_code("bob@example.com").await;
    let mut answers = Vec::new();

    answers.push(alice.confirm(&Uuid::new_v4().to_string(), "123456").await);
    for malformed in NO_TOKENS {
        answers.push(alice.confirm(malformed, "123456").await);
    }

    // The wrong code, in all shapes; the right one works after all of them.
    let (token, code) = alice.challenge_and_code().await;
    let (wrong, spaced) = (other_than(&code), format!(" {code}"));
    for guess in [wrong.as_str(), "", "12345", "1234567", "abcdef", &spaced] {
        answers.push(alice.confirm(&token, guess).await);
    }
    alice.confirm(&token, &code).await.pair();

    // Used.
    answers.push(alice.confirm(&token, &code).await);

    // Another person's code.
    let (token, code) = alice.challenge_and_code().await;
    let (other_token, other_code) = bob.challenge_and_code().await;
    if code != other_code {
        answers.push(alice.confirm(&token, &other_code).await);
        answers.push(bob.confirm(&other_token, &code).await);
    }

    // Expired.
    app.age_challenges(secs(600)).await;
    answers.push(alice.confirm(&token, &code).await);

    // The user was disabled meanwhile.
    let (token, code) = bob.challenge_and_code().await;
    let (admin, email) = (app.admin().await, bob.email.parse().unwrap());
    admin.disable_user(&*OPERATOR, &email).await.unwrap();
    answers.push(bob.confirm(&token, &code).await);

    // The password changed meanwhile.
    let (token, code) = alice.challenge_and_code().await;
    app.change_password(&alice.email, "violet-anvil-68").await;
    answers.push(alice.confirm(&token, &code).await);

    let seen: HashSet<String> = answers.iter().map(Answer::seen).collect();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert_json_snapshot!(answers[0].problem(401, "invalid_two_factor"), @r#"
    {
      "code": "invalid_two_factor",
      "detail": "The token or the code is wrong, or no longer valid. Sign in again for a new code.",
      "requestId": "(id)",
      "status": 401,
      "title": "Unauthorized",
      "type": "about:blank"
    }
    "#);
}

#[tokio::test]
async fn a_challenge_of_a_deleted_user_is_void() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    app.admin()
        .await
        .delete_user(&*OPERATOR, &alice.email.parse().unwrap())
        .await
        .unwrap();
    alice.fails_to_confirm(&token, &code).await;
}

#[tokio::test]
async fn a_challenge_takes_ten_guesses_however_the_limits_are_set() {
    let app = TestApp::with(&[("limits.confirm.attempts", "1000")]).await;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    for _ in 0..10 {
        let refused = alice.confirm(&token, &other_than(&code)).await;
        refused.problem(401, "invalid_two_factor");
    }
    alice.fails_to_confirm(&token, &code).await;
    let reasons = app.audit().await;
    assert_eq!(
        reasons.last().unwrap(),
        "confirm refused challenge_exhausted"
    );
}

/// Red without `disabled_at IS NULL` in `consume_challenge` and `open_session`.
#[tokio::test]
async fn a_user_who_is_disabled_while_the_code_is_checked_gets_no_session() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    let mut operator = app.hold("SELECT FROM users FOR UPDATE").await;
    let disable = async {
        until("the confirmation waits", async || {
            app.waits_for_locks().await == 1
        })
        .await;
        let disable = "UPDATE users SET disabled_at = clock_timestamp()";
        sqlx::query(disable).execute(&mut *operator).await.unwrap();
        operator.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(alice.confirm(&token, &code), disable);
    answer.problem(401, "invalid_two_factor");
    assert_eq!(app.count("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test]
async fn neither_the_challenge_nor_the_outbox_holds_the_code() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let (_, code) = alice.challenge_and_code().await;
    until("the mail is settled", async || {
        app.count("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            .await
            == 1
    })
    .await;
    let rows: Vec<String> = sqlx::query_scalar(
        "SELECT outbox::TEXT FROM outbox UNION ALL SELECT audit_events::TEXT FROM audit_events
          UNION ALL SELECT (c.attempts, c.credential_version, c.nonce)::TEXT FROM challenges AS c",
    )
    .fetch_all(app.sql())
    .await
    .unwrap();
    assert!(
        rows.len() >= 3 && !rows.iter().any(|row| row.contains(&code)),
        "{rows:#?}"
    );
}
