//! Notices: a change of a person's password or factors is reported by mail.

use backoffice_auth::dev::{Behaviour, Recipients};
use backoffice_auth::workers::purge_once;

use crate::support::{TestApp, until};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

/// How many mails in the outbox are in this state.
async fn mails(app: &TestApp, state: &str) -> i64 {
    let count = format!("SELECT count(*) FROM outbox WHERE {state}");
    let counted = sqlx::query_scalar(sqlx::AssertSqlSafe(count));
    counted.fetch_one(app.sql()).await.unwrap()
}

#[tokio::test]
async fn a_password_that_an_operator_set_is_told_to_its_owner() {
    let app = TestApp::with(&[("mail.contact", "IT desk, extension 4711")]).await;
    app.user(ALICE).await;
    app.change_password(ALICE, "another-anvil-68").await;
    let mail = app.mail_for(ALICE).await;
    let in_words = "SELECT to_char(happened_at AT TIME ZONE 'UTC', 'FMDD FMMonth YYYY, HH24:MI')
                           || ' UTC' FROM outbox";
    let at: String = sqlx::query_scalar(in_words)
        .fetch_one(app.sql())
        .await
        .unwrap();
    assert_eq!(mail.subject, format!("Your password was changed ({at})"));
    assert_eq!(mail.to, [ALICE]);
    let html = mail.html.as_deref().unwrap();
    for text in [&*mail.text, html] {
        for part in [
            "Your password was changed",
            &at,
            "those who run the Back Office",
            "IT desk, extension 4711",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("http") && !text.contains("another-anvil"));
    }
    until("it is on record", async || {
        app.recorded("mail granted notified").await == 1
    })
    .await;
}

#[tokio::test]
async fn a_notice_that_is_refused_for_now_is_sent_again_as_the_same_message() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    app.mailbox_does(Behaviour::Defer(Recipients::All));
    app.change_password(ALICE, "another-anvil-68").await;
    until("the notice is put off", async || {
        mails(&app, "last_reply LIKE '451%' AND leased_until IS NULL").await == 1
    })
    .await;
    app.mailbox_does(Behaviour::Accept);
    app.execute("UPDATE outbox SET next_attempt_at = clock_timestamp()")
        .await;
    app.mail_for(ALICE).await;
    until("it is settled", async || {
        mails(&app, "sent_at IS NOT NULL AND attempts > 1 AND copies = 1").await == 1
    })
    .await;
    assert_eq!(app.mailbox().mails_to(ALICE).len(), 1);
}

/// Red without `o.kind = ANY ($5)` or `o.notice = ANY ($6)` in `lease_due_mails`: no mail leaves any more.
#[tokio::test]
async fn an_instance_leases_only_the_kinds_and_notices_that_it_knows() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    app.user(BOB).await;
    for (kind, notice) in [
        ("of_a_later_release", "NULL"),
        ("notice", "'of_a_later_release'"),
    ] {
        let insert = format!(
            "INSERT INTO outbox (kind, notice, recipient_id, to_address, happened_at, expires_at,
                                 request_id, next_attempt_at)
             SELECT '{kind}', {notice}, user_id, email, clock_timestamp(),
                    clock_timestamp() + INTERVAL '1 day', 'r', clock_timestamp() - INTERVAL '1 hour'
               FROM users WHERE email = '{ALICE}'"
        );
        sqlx::query(sqlx::AssertSqlSafe(insert))
            .execute(app.sql())
            .await
            .unwrap();
    }
    app.change_password(BOB, "another-anvil-68").await;
    app.mail_for(BOB).await;
    assert_eq!(
        mails(&app, "attempts = 0 AND leased_until IS NULL").await,
        2
    );
    assert!(app.mailbox().mails_to(ALICE).is_empty());
}

#[tokio::test]
async fn a_notice_is_wanted_for_a_day_and_gone_after_another() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    app.mailbox_does(Behaviour::Down);
    app.change_password(ALICE, "another-anvil-68").await;
    until("it was tried", async || {
        mails(&app, "last_reply IS NOT NULL").await == 1
    })
    .await;
    let age = "UPDATE outbox SET expires_at = expires_at - INTERVAL '1 day', leased_until = NULL,
                                 next_attempt_at = clock_timestamp()";
    app.execute(age).await;
    app.mailbox_does(Behaviour::Accept);
    let (store, audit) = (app.store().await, app.config.audit);
    until("it is given up", async || {
        purge_once(&store, audit).await;
        mails(&app, "given_up_at IS NOT NULL").await == 1
    })
    .await;
    assert_eq!(app.recorded("mail refused mail_expired").await, 1);
    assert!(app.mailbox().mails_to(ALICE).is_empty());
    app.execute(age).await;
    until("it is gone", async || {
        purge_once(&store, audit).await;
        mails(&app, "TRUE").await == 0
    })
    .await;
}
