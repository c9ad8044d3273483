//! How codes reach people, and what happens when they do not.

use backoffice_auth::dev::{Behaviour, Recipients};

use crate::support::{TestApp, secs, until};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

#[tokio::test]
async fn a_mail_says_when_from_where_and_until_when_the_code_works() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    let (token, mail) = (alice.challenge().await, app.mail_for(ALICE).await);
    let in_words = "to_char(created_at AT TIME ZONE 'UTC', 'FMDD FMMonth YYYY, HH24:MI') || ' UTC',
                    to_char(expires_at AT TIME ZONE 'UTC', 'FMDD FMMonth YYYY, HH24:MI') || ' UTC'";
    let times = format!("SELECT {in_words} FROM challenges");
    let (since, until): (String, String) = sqlx::query_as(sqlx::AssertSqlSafe(times))
        .fetch_one(app.sql())
        .await
        .unwrap();
    assert_eq!(mail.from, "no-reply@example.com");
    assert_eq!(mail.to, [ALICE]);
    assert_eq!(
        mail.subject,
        format!("Your sign-in code ({since}, from {})", alice.network)
    );
    let html = mail.html.as_deref().unwrap();
    for text in [&*mail.text, html] {
        for part in [&since, &until, &alice.network, mail.code.as_ref().unwrap()] {
            assert!(text.contains(part.as_str()), "{part} in {text}");
        }
        assert!(!text.contains(&token));
    }
    assert!(
        !html.contains("http"),
        "nothing to click, nothing to load: {html}"
    );
    // Its subject is seen on locked screens.
    assert!(!mail.subject.contains(mail.code.as_ref().unwrap()));
    alice
        .confirm(&token, mail.code.as_ref().unwrap())
        .await
        .pair();
}

#[tokio::test]
async fn a_mail_that_is_refused_for_now_is_sent_again_with_the_same_code_that_works() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    app.mailbox_does(Behaviour::Defer(Recipients::All));
    let token = alice.challenge().await;
    until("the mail is put off", async || {
        app.count("SELECT count(*) FROM outbox WHERE last_reply LIKE '451%'")
            .await
            == 1
    })
    .await;
    app.mailbox_does(Behaviour::Accept);
    let code = alice.code().await;
    alice.confirm(&token, &code).await.pair();
    assert_eq!(app.mailbox().mails_to(ALICE).len(), 1);
    settled(&app, "sent_at IS NOT NULL AND attempts > 1").await;
    assert!(
        app.audit()
            .await
            .contains(&"mail granted mail_sent".to_owned())
    );
}

/// Waits until the one mail of the test is in this state.
async fn settled(app: &TestApp, state: &'static str) {
    let count = format!("SELECT count(*) FROM outbox WHERE {state}");
    until(state, async || {
        let counted = sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(count.clone()));
        counted.fetch_one(app.sql()).await.unwrap() == 1
    })
    .await;
}

#[tokio::test]
async fn a_sign_in_does_not_wait_for_the_relay() {
    let app = TestApp::start().await;
    for behaviour in [
        Behaviour::Down,
        Behaviour::Hang,
        Behaviour::Refuse(Recipients::All),
    ] {
        app.mailbox_does(behaviour.clone());
        let alice = app
            .user_with_code(&format!("{}@example.com", app.new_network()))
            .await;
        let answer = tokio::time::timeout(secs(2), alice.signin()).await;
        let body = answer.unwrap_or_else(|_| panic!("{behaviour:?}")).ok();
        assert_eq!(body["2faRequired"], true);
    }
}

#[tokio::test]
async fn when_a_relay_comes_back_the_mail_leaves() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    app.mailbox_does(Behaviour::Down);
    let token = alice.challenge().await;
    settled(&app, "last_reply IS NOT NULL").await;
    app.mailbox_does(Behaviour::Accept);
    let code = alice.code().await;
    alice.confirm(&token, &code).await.pair();
}

#[tokio::test]
async fn a_relay_that_hangs_loses_no_mail() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    app.mailbox_does(Behaviour::Hang);
    let token = alice.challenge().await;
    settled(&app, "leased_until IS NOT NULL").await;
    app.mailbox_does(Behaviour::Accept);
    let code = alice.code().await;
    alice.confirm(&token, &code).await.pair();
}

#[tokio::test]
async fn a_mail_that_is_refused_for_good_is_given_up() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    app.mailbox_does(Behaviour::Refuse(Recipients::All));
    alice.challenge().await;
    settled(
        &app,
        "given_up_at IS NOT NULL AND attempts = 1 AND last_reply LIKE '550%'",
    )
    .await;
    assert!(
        app.audit()
            .await
            .contains(&"mail refused mail_refused".to_owned())
    );
}

#[tokio::test]
async fn an_address_that_is_refused_holds_up_no_other() {
    let app = TestApp::start().await;
    for behaviour in [
        Behaviour::Defer(Recipients::Only(vec![ALICE.to_owned()])),
        Behaviour::Refuse(Recipients::Only(vec![ALICE.to_owned()])),
    ] {
        app.mailbox_does(behaviour);
        app.execute("DELETE FROM users").await;
        let alice = app.user_with_code(ALICE).await;
        let bob = app.user_with_code(BOB).await;
        alice.challenge().await;
        let (token, code) = bob.challenge_and_code().await;
        bob.confirm(&token, &code).await.pair();
    }
    assert!(app.mailbox().mails_to(ALICE).is_empty());
}

#[tokio::test]
async fn each_challenge_has_a_code_of_its_own_and_a_later_one_voids_none() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    let first = alice.challenge_and_code().await;
    let second = alice.challenge_and_code().await;
    assert_ne!(first.0, second.0);
    alice.confirm(&first.0, &first.1).await.pair();
    alice.confirm(&second.0, &second.1).await.pair();
}

#[tokio::test]
async fn a_mail_whose_challenge_is_over_never_leaves() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    app.mailbox_does(Behaviour::Defer(Recipients::Only(vec![ALICE.to_owned()])));
    alice.challenge().await;
    settled(&app, "last_reply LIKE '451%' AND leased_until IS NULL").await;
    app.age_challenges(secs(600)).await;
    app.mailbox_does(Behaviour::Accept);
    // The next mail to arrive is the next challenge's.
    app.execute("UPDATE outbox SET next_attempt_at = clock_timestamp()")
        .await;
    let (token, code) = alice.challenge_and_code().await;
    alice.confirm(&token, &code).await.pair();
    assert_eq!(app.mailbox().mails_to(ALICE).len(), 1);
}

#[tokio::test]
async fn of_two_instances_one_sends_a_mail() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    for n in 0..10 {
        let alice = app.user_with_code(&format!("alice{n}@example.com")).await;
        let there = if n % 2 == 0 {
            alice.clone()
        } else {
            alice.at(&other)
        };
        there.challenge().await;
    }
    until("all mails are sent", async || {
        app.count("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            .await
            == 10
    })
    .await;
    assert_eq!(app.mailbox().mails().len(), 10);
    let settled = "SELECT count(*) FROM audit_events WHERE kind = 'mail'";
    assert_eq!(app.count(settled).await, 10);
}
