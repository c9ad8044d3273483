//! A person's own account: the view of it, and the change of its password.

use backoffice_auth::domain::{EmailAddress, TwoFactor};
use serde_json::json;

use crate::support::{
    Jwt, OPERATOR, PASSWORD, Pair, Person, TestApp, assert_keys, seconds, secs, until,
};

const ALICE: &str = "alice@example.com";
const NEW: &str = "another-anvil-68";

fn alice() -> EmailAddress {
    ALICE.parse().unwrap()
}

/// Until when the session of a token is fresh.
async fn fresh_until(person: &Person<'_>, pair: &Pair) -> i64 {
    seconds(&person.me(&pair.access).await.ok()["freshUntil"])
}

// GET /me

#[tokio::test]
async fn an_account_is_shown_as_the_database_has_it() {
    let app = TestApp::start().await;
    let (person, pair) = app.signed_in(ALICE).await;
    let claims = Jwt::read(&pair.access).claims;
    let body = person.me(&pair.access).await.ok();
    let until = claims["auth_time"].as_i64().unwrap() + 900;
    assert_eq!(seconds(&body["freshUntil"]), until);
    assert_eq!(
        body,
        json!({
            "user": {"id": claims["sub"], "email": ALICE},
            "administrator": false,
            "twoFactor": "off",
            "passkeys": [],
            "recoveryCodesLeft": 0,
            "freshUntil": body["freshUntil"],
        })
    );
    // The same token shows the changes since.
    let admin = app.admin().await;
    let email = TwoFactor::Email;
    (admin.change_two_factor(&*OPERATOR, &alice(), email).await).unwrap();
    let body = person.me(&pair.access).await.ok();
    assert_eq!(body["twoFactor"], "email");
}

#[tokio::test]
async fn a_refresh_does_not_make_a_session_fresh() {
    let app = TestApp::with(&[("tokens.fresh_seconds", "60")]).await;
    let (person, pair) = app.signed_in(ALICE).await;
    let opened = Jwt::read(&pair.access).claims["auth_time"]
        .as_i64()
        .unwrap();
    assert_eq!(fresh_until(&person, &pair).await, opened + 60);
    app.age_sessions(secs(100)).await;
    let next = person.refresh(&pair.refresh).await.pair();
    assert_eq!(fresh_until(&person, &next).await, opened - 40);
    let other = person.signin().await.pair();
    assert!(fresh_until(&person, &other).await >= opened + 60);
}

#[tokio::test]
async fn an_account_is_shown_to_the_owner_of_a_live_session_alone() {
    let app = TestApp::start().await;
    let (person, pair) = app.signed_in(ALICE).await;
    app.get("/api/v2/me")
        .await
        .problem(401, "missing_access_token");
    let refused = person.me(&pair.refresh).await;
    refused.problem(401, "invalid_access_token");
    // Known to the database alone: no view of ended sessions tells of it.
    app.execute("UPDATE users SET disabled_at = clock_timestamp()")
        .await;
    let refused = person.me(&pair.access).await;
    refused.problem(401, "invalid_access_token");
    app.execute("UPDATE users SET disabled_at = NULL").await;
    person.me(&pair.access).await.ok();
    person.signout(&pair.access).await.ok_and_empty();
    let refused = person.me(&pair.access).await;
    refused.problem(401, "invalid_access_token");
}

// POST /me/password

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions_and_is_told_by_mail() {
    let app = TestApp::with(&[("mail.contact", "IT desk, extension 4711")]).await;
    let (person, own) = app.signed_in(ALICE).await;
    let other = person.elsewhere().signin().await.pair();
    let (bob, his) = app.signed_in("bob@example.com").await;
    let changed = person.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!((changed.status, changed.body.len()), (204, 0));

    person.fails_to_signin_with(PASSWORD).await;
    person.elsewhere().signin_with(NEW).await.pair();
    person.fails_to_refresh(&other.refresh).await;
    person.fails_to_signout(&other.access).await;
    bob.refresh(&his.refresh).await.pair();
    // The own session goes on, however often it is refreshed.
    person.me(&own.access).await.ok();
    let next = person.refresh(&own.refresh).await.pair();
    person.refresh(&next.refresh).await.pair();

    let mail = app.mail_for(ALICE).await;
    for part in [
        "Your password was changed",
        &person.network,
        "IT desk, extension 4711",
    ] {
        assert!(mail.text.contains(part), "{part} in {}", mail.text);
    }
    assert!(!mail.text.contains("http") && !mail.text.contains(NEW));
    let reasons: Vec<String> =
        sqlx::query_scalar("SELECT end_reason FROM sessions WHERE ended_at IS NOT NULL")
            .fetch_all(app.sql())
            .await
            .unwrap();
    assert_eq!(reasons, ["password_changed"]);
    assert_eq!(app.recorded("account granted password_changed").await, 1);
}

#[tokio::test]
async fn a_changed_password_voids_the_sign_ins_that_wait_for_a_code() {
    let app = TestApp::start().await;
    let person = app.user_with_code(ALICE).await;
    let (token, code) = person.challenge_and_code().await;
    let own = person.confirm(&token, &code).await.pair();
    let (token, code) = person.elsewhere().challenge_and_code().await;
    let changed = person.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(changed.status, 204);
    person.elsewhere().fails_to_confirm(&token, &code).await;
}

#[tokio::test]
async fn a_wrong_current_password_changes_nothing_and_counts_as_a_failed_sign_in() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    let mut refusals = Vec::new();
    // The sign-in was the first of the five.
    for _ in 0..4 {
        let refused = person.change_password(&own.access, "wrong", NEW).await;
        refusals.push(refused.problem(403, "wrong_password"));
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]));
    let refused = person.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(refused.limited(), 300);
    assert_eq!(person.signin().await.limited(), 300);
    // It is the password of this account from this network that is blocked, and no session.
    person.me(&own.access).await.ok();
    person.elsewhere().signin().await.pair();
    assert_eq!(app.recorded("account refused wrong_password").await, 4);
    assert_eq!(app.recorded("account refused limited_signin").await, 1);
    assert!(app.mailbox().mails_to(ALICE).is_empty());
}

#[tokio::test]
async fn sign_ins_that_failed_count_for_a_change_of_the_password() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    for _ in 0..4 {
        person.fails_to_signin_with("wrong").await;
    }
    let refused = person.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(refused.limited(), 300);
    let there = person.elsewhere();
    let changed = there.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(changed.status, 204);
}

/// Red when the rules are looked at after the password: the answer tells that it was right.
#[tokio::test]
async fn a_weak_new_password_is_refused_whatever_the_current_one_is_and_counts_for_nothing() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    for _ in 0..10 {
        for (weak, message) in [
            ("short", "the password must be at least 8 characters long"),
            (ALICE, "the password must not be the email address"),
            ("Password123", "the password is among the most common ones"),
        ] {
            let right = person.change_password(&own.access, PASSWORD, weak).await;
            let wrong = person.change_password(&own.access, "wrong", weak).await;
            assert_eq!(right.seen(), wrong.seen());
            let refused = right.problem(422, "invalid_request");
            let error = json!([{"field": "newPassword", "message": message}]);
            assert_eq!(refused["errors"], error);
        }
    }
    let changed = person.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(changed.status, 204);
}

#[tokio::test]
async fn a_change_of_password_names_every_bad_field_and_needs_a_live_session() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    let send = async |token: &str, body| {
        let request = app.request("POST", "/api/v2/me/password", &person.network);
        app.send(request.bearer_auth(token).json(&body)).await
    };
    let bad = json!({"currentPassword": "", "newPassword": 7});
    let refused = send(&own.access, bad).await.problem(422, "invalid_request");
    assert_eq!(
        refused["errors"],
        json!([
            {"field": "currentPassword", "message": "must not be empty"},
            {"field": "newPassword", "message": "must be a string"},
        ])
    );
    person.signout(&own.access).await.ok_and_empty();
    for new in [NEW, "short"] {
        let refused = person.change_password(&own.access, PASSWORD, new).await;
        refused.problem(401, "invalid_access_token");
    }
    person.signin().await.pair();
}

#[tokio::test]
async fn changes_of_an_account_have_a_limit_over_all_networks() {
    let app = TestApp::with(&[("limits.account.attempts", "3")]).await;
    let (person, own) = app.signed_in(ALICE).await;
    for _ in 0..3 {
        let refused = (person.elsewhere())
            .change_password(&own.access, "wrong", NEW)
            .await;
        refused.problem(403, "wrong_password");
    }
    let there = person.elsewhere();
    let refused = there.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(refused.limited(), 60);
    // It stops no sign-in.
    there.signin().await.pair();
    assert_eq!(app.recorded("account refused limited_account").await, 1);
    (app.admin().await)
        .unlock_user(&*OPERATOR, &alice())
        .await
        .unwrap();
    let changed = there.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(changed.status, 204);
}

#[tokio::test]
async fn past_the_accounts_ceiling_the_right_password_alone_is_let_through() {
    let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "2")]).await;
    let (person, own) = app.signed_in(ALICE).await;
    for _ in 0..2 {
        person.elsewhere().fails_to_signin_with("wrong").await;
    }
    let unknown = person.elsewhere();
    let refused = unknown.change_password(&own.access, PASSWORD, NEW).await;
    refused.limited();
    let refused = person.change_password(&own.access, "wrong", NEW).await;
    refused.limited();
    let changed = person.change_password(&own.access, PASSWORD, NEW).await;
    assert_eq!(changed.status, 204);
}

#[tokio::test]
async fn a_user_without_a_password_changes_none() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    app.execute("UPDATE users SET password_hash = NULL").await;
    let refused = person.change_password(&own.access, PASSWORD, NEW).await;
    refused.problem(403, "wrong_password");
    assert_eq!(app.recorded("account refused no_password").await, 1);
}

/// Red where attempts are not taken back when the answer is 503.
#[tokio::test]
async fn a_change_that_the_database_keeps_out_leaves_nothing_behind() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    app.execute("DELETE FROM attempts").await;
    let lock = app.hold("LOCK TABLE outbox").await;
    let refused = person.change_password(&own.access, PASSWORD, NEW).await;
    refused.problem(503, "unavailable");
    lock.rollback().await.unwrap();
    until("nothing counts", async || {
        let counted = "SELECT COALESCE(sum(cardinality(hits) + cardinality(in_flight)), 0)::BIGINT
                         FROM attempts";
        app.count(counted).await == 0
    })
    .await;
    person.signin().await.pair();
    assert_eq!(app.recorded("account granted password_changed").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM outbox").await, 0);
}

/// Red without `FOR UPDATE` on the session that asks in `end_other_sessions_of`: the password is changed by
/// somebody who has signed out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_signs_out_while_the_password_is_being_changed_changes_nothing() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    let lock = app
        .hold("UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'signed_out'")
        .await;
    let ending = async {
        until("it waits", async || app.waits_for_locks().await == 1).await;
        lock.commit().await.unwrap();
    };
    let (refused, ()) = tokio::join!(person.change_password(&own.access, PASSWORD, NEW), ending);
    refused.problem(401, "invalid_access_token");
    assert_eq!(app.recorded("account refused session_over").await, 1);
    person.fails_to_signin_with(NEW).await;
    person.signin().await.pair();
}

/// Red without `disabled_at IS NULL` in `replace_password`, and for the other statement without
/// `credential_version = $2`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_disabled_or_gets_another_password_meanwhile_changes_nothing() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    for change in [
        "UPDATE users SET disabled_at = clock_timestamp()",
        "UPDATE users SET credential_version = credential_version + 1",
    ] {
        app.execute("UPDATE users SET disabled_at = NULL").await;
        let lock = app.hold(change).await;
        let changing = async {
            until("it waits", async || app.waits_for_locks().await == 1).await;
            lock.commit().await.unwrap();
        };
        let request = person.change_password(&own.access, PASSWORD, NEW);
        let (refused, ()) = tokio::join!(request, changing);
        refused.problem(403, "wrong_password");
    }
    assert_eq!(app.recorded("account refused changed_meanwhile").await, 2);
    person.fails_to_signin_with(NEW).await;
    person.signin().await.pair();
}

// DELETE /sessions?others=true

#[tokio::test]
async fn a_user_ends_all_sessions_but_the_one_that_asks() {
    let app = TestApp::start().await;
    let (person, own) = app.signed_in(ALICE).await;
    let others = [person.signin().await.pair(), person.signin().await.pair()];
    let (bob, his) = app.signed_in("bob@example.com").await;
    let end = async |query: &str| {
        let path = format!("/api/v2/sessions{query}");
        let request = app.request("DELETE", &path, &person.network);
        app.send(request.bearer_auth(&own.access)).await
    };
    for query in [
        "?others=false",
        "?others=",
        "?others",
        "?others=true&others=true",
        "?others=TRUE",
    ] {
        let refused = end(query).await.problem(422, "invalid_request");
        let error = json!([{"field": "others", "message": "must be true, or absent"}]);
        assert_eq!(refused["errors"], error, "{query}");
    }
    for _ in 0..2 {
        assert_eq!(end("?others=true").await.status, 204);
    }
    for pair in &others {
        person.fails_to_refresh(&pair.refresh).await;
        person.fails_to_signout(&pair.access).await;
    }
    person.refresh(&own.refresh).await.pair();
    bob.refresh(&his.refresh).await.pair();
    assert_eq!(app.recorded("session_ended granted signed_out").await, 2);
    // Without it, and with a parameter that means nothing here, all of them end.
    assert_eq!(end("?other=true").await.status, 204);
    person.fails_to_signout(&own.access).await;
}

// `user email`

#[tokio::test]
async fn a_changed_address_voids_what_was_begun_and_is_told_at_both() {
    let app = TestApp::start().await;
    let person = app.user_with_code(ALICE).await;
    let (token, code) = person.challenge_and_code().await;
    let own = person.confirm(&token, &code).await.pair();
    let (token, code) = person.elsewhere().challenge_and_code().await;
    app.user("bob@example.com").await;
    let admin = app.admin().await;
    let (new, of_bob) = ("alice@example.org", "bob@example.com".parse().unwrap());
    for (old, new, told) in [
        (alice(), of_bob, "a user with this address exists already"),
        (
            "nobody@example.com".parse().unwrap(),
            new.parse().unwrap(),
            "there is no user with this address",
        ),
    ] {
        let refused = admin
            .change_email(&*OPERATOR, &old, &new)
            .await
            .unwrap_err();
        assert_eq!(refused.to_string(), told);
    }
    person.me(&own.access).await.ok();
    (admin
        .change_email(&*OPERATOR, &alice(), &new.parse().unwrap())
        .await)
        .unwrap();
    person.fails_to_refresh(&own.refresh).await;
    person.elsewhere().fails_to_confirm(&token, &code).await;
    person.fails_to_signin_with(PASSWORD).await;
    let renamed = Person::new(&app, new, app.new_network());
    for address in [ALICE, new] {
        let mail = app.mail_for(address).await;
        assert!(mail.subject.contains("address"), "{}", mail.subject);
        assert_eq!(mail.to, [address]);
    }
    let (token, code) = renamed.challenge_and_code().await;
    let body = renamed
        .me(&renamed.confirm(&token, &code).await.pair().access)
        .await
        .ok();
    assert_eq!(body["user"]["email"], new);
    assert_keys(&body["user"], &["id", "email"]);
    assert_eq!(
        app.recorded("user_changed granted address_changed").await,
        1
    );
    let ended = "SELECT count(*) FROM sessions WHERE end_reason = 'address_changed'";
    assert_eq!(app.count(ended).await, 1);
}
