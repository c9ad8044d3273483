//! The acts of operators on users, and the ends of their sessions.

use backoffice_auth::domain::{EmailAddress, PlainPassword, TwoFactor};

use crate::support::{OPERATOR, PASSWORD, Pair, Person, TestApp};

const ALICE: &str = "alice@example.com";

fn alice() -> EmailAddress {
    ALICE.parse().unwrap()
}

/// A user with two sessions, and somebody else with one.
async fn with_sessions(app: &TestApp) -> (Person<'_>, [Pair; 2], Person<'_>, Pair) {
    let (alice, one) = app.signed_in(ALICE).await;
    let two = alice.elsewhere().signin().await.pair();
    let (bob, his) = app.signed_in("bob@example.com").await;
    (alice, [one, two], bob, his)
}

async fn assert_all_ended(app: &TestApp, reason: &str, hers: (&Person<'_>, &[Pair; 2])) {
    let (alice, pairs) = hers;
    for pair in pairs {
        alice.fails_to_refresh(&pair.refresh).await;
        alice.fails_to_signout(&pair.access).await;
    }
    let reasons: Vec<String> =
        sqlx::query_scalar("SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL")
            .fetch_all(app.sql())
            .await
            .unwrap();
    assert_eq!(reasons, [reason, reason]);
}

async fn assert_untouched(bob: &Person<'_>, his: &Pair) {
    bob.refresh(&his.refresh).await.pair();
    bob.signout(&his.access).await.ok_and_empty();
}

#[tokio::test]
async fn disabling_a_user_ends_their_sessions() {
    let app = TestApp::start().await;
    let (person, pairs, bob, his) = with_sessions(&app).await;
    app.admin()
        .await
        .disable_user(&*OPERATOR, &alice())
        .await
        .unwrap();
    assert_all_ended(&app, "user_disabled", (&person, &pairs)).await;
    person.signin().await.problem(401, "invalid_credentials");
    assert_untouched(&bob, &his).await;
}

#[tokio::test]
async fn changing_a_password_ends_the_sessions_that_the_old_one_opened() {
    let app = TestApp::start().await;
    let (person, pairs, bob, his) = with_sessions(&app).await;
    app.change_password(ALICE, "another-anvil-68").await;
    assert_all_ended(&app, "password_changed", (&person, &pairs)).await;
    person.signin().await.problem(401, "invalid_credentials");
    person.signin_with("another-anvil-68").await.pair();
    assert_untouched(&bob, &his).await;
}

#[tokio::test]
async fn deleting_a_user_ends_their_sessions_and_frees_the_address() {
    let app = TestApp::start().await;
    let (person, pairs, bob, his) = with_sessions(&app).await;
    app.admin()
        .await
        .delete_user(&*OPERATOR, &alice())
        .await
        .unwrap();
    assert_all_ended(&app, "user_deleted", (&person, &pairs)).await;
    person.signin().await.problem(401, "invalid_credentials");
    assert_untouched(&bob, &his).await;

    // The next user with the address gets none of the old sessions.
    let heir = app.user(ALICE).await;
    heir.signin().await.pair();
    for pair in &pairs {
        heir.fails_to_refresh(&pair.refresh).await;
    }
}

#[tokio::test]
async fn signing_a_user_out_ends_their_sessions_and_no_more() {
    let app = TestApp::start().await;
    let (person, pairs, bob, his) = with_sessions(&app).await;
    let ended = app
        .admin()
        .await
        .sign_user_out(&*OPERATOR, &alice())
        .await
        .unwrap();
    assert_eq!(ended, 2);
    assert_all_ended(&app, "operator", (&person, &pairs)).await;
    person.signin().await.pair();
    assert_untouched(&bob, &his).await;
}

#[tokio::test]
async fn changing_the_second_factor_ends_nothing_and_holds_from_the_next_sign_in() {
    let app = TestApp::start().await;
    let (person, pair) = app.signed_in(ALICE).await;
    let admin = app.admin().await;
    admin
        .change_two_factor(&*OPERATOR, &alice(), TwoFactor::Email)
        .await
        .unwrap();
    person.refresh(&pair.refresh).await.pair();
    let (token, code) = person.challenge_and_code().await;
    person.confirm(&token, &code).await.pair();
    admin
        .change_two_factor(&*OPERATOR, &alice(), TwoFactor::Off)
        .await
        .unwrap();
    person.signin().await.pair();
}

#[tokio::test]
async fn an_address_has_one_user_in_whatever_case() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    let password = PlainPassword::parse(PASSWORD).unwrap();
    let email = "Alice@Example.com".parse().unwrap();
    let again = app
        .admin()
        .await
        .create_user(&OPERATOR, &app.pool(), &email, password, TwoFactor::Off)
        .await;
    assert_eq!(
        again.unwrap_err().to_string(),
        "a user with this address exists already"
    );
}

#[tokio::test]
async fn acts_of_operators_are_in_the_audit_log_with_their_name() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    let admin = app.admin().await;
    admin.disable_user(&*OPERATOR, &alice()).await.unwrap();
    admin.enable_user(&*OPERATOR, &alice()).await.unwrap();
    admin.unlock_user(&*OPERATOR, &alice()).await.unwrap();
    admin.sign_user_out(&*OPERATOR, &alice()).await.unwrap();
    admin.delete_user(&*OPERATOR, &alice()).await.unwrap();
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT reason FROM audit_events
          WHERE kind = 'user_changed' AND actor = 'tests' AND email = 'alice@example.com'
          ORDER BY event_id",
    )
    .fetch_all(app.sql())
    .await
    .unwrap();
    assert_eq!(
        lines,
        [
            "created",
            "disabled",
            "enabled",
            "unlocked",
            "sessions_ended",
            "deleted"
        ]
    );
}
