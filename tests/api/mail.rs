//! The ways in which codes reach people, and the consequences when they do not.

use std::fs;

use backoffice_auth::app::StartError;
use backoffice_auth::dev::{Behaviour, Mailbox, Recipients};
use backoffice_auth::domain::Clock;
use serde_json::{Value, json};

use crate::support::{Database, PASSWORD, Program, Serving, TestApp, secs, soon, until};

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
    assert!(app.recorded("mail granted mail_sent").await > 0);
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
    assert!(app.recorded("mail refused mail_refused").await > 0);
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

/// The program with a configuration that nothing is wrong or weak with, and a database that is not
/// there.
fn program(settings: &[(&str, &str)]) -> Program {
    let sound = [
        ("passwords.memory_kib", "19456"),
        ("passwords.iterations", "2"),
    ];
    let settings = [&sound, settings].concat();
    Program::on("postgres://nobody@127.0.0.1:1/none", &settings)
}

/// A mailbox beside the one that every test has.
async fn mailbox() -> Mailbox {
    let mailbox = Mailbox::start(([127, 0, 0, 1], 0).into(), None, Clock::system());
    mailbox.await.unwrap()
}

fn port(mailbox: &Mailbox) -> String {
    mailbox.smtp_addr().port().to_string()
}

/// A sender is killed when the relay has the mail and has not said so: the worst moment there is.
///
/// Red when the lease is a minute long, and when a code also follows from the attempt.
#[tokio::test]
async fn a_mail_whose_sender_was_killed_is_sent_by_another_within_seconds_with_the_same_code() {
    let database = Database::migrated().await;
    let relay = mailbox().await;
    relay.set_behaviour(Behaviour::Stall(Recipients::All));
    let program = Program::on(&database.url, &[("mail.smtp.port", &port(&relay))]);
    let create = format!("user create {ALICE} --password-stdin");
    program.run_with_input(&create, PASSWORD).await.ok();
    let mut doomed = Serving::start(&program).await;
    let public = doomed.public();
    let signin = reqwest::Client::new()
        .post(format!("http://{public}/api/v2/signin"))
        .json(&json!({"email": ALICE, "password": PASSWORD}))
        .send();
    let answer = soon("an answer", signin).await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    let token = answer["2faDetails"]["token"].as_str().unwrap();
    let first = soon("the mail", relay.next_for(ALICE)).await;

    doomed.signal("KILL").await;
    let status = soon("its end", doomed.running.child.wait()).await.unwrap();
    assert_eq!(status.code(), None, "it did not end by itself");
    let url = database.url.clone();
    let app = TestApp::on(&url, Some(database), &[]).await;
    let leased =
        "SELECT count(*) FROM outbox WHERE leased_until > clock_timestamp() AND sent_at IS NULL";
    assert_eq!(app.count(leased).await, 1);
    app.execute("UPDATE outbox SET leased_until = leased_until - INTERVAL '10 seconds'")
        .await;
    let code = app.code_for(ALICE).await;
    assert_eq!(Some(&code), first.code.as_ref());
    assert_eq!(app.mailbox().mails_to(ALICE)[0].raw, first.raw);
    settled(&app, "sent_at IS NOT NULL AND attempts = 2 AND copies = 2").await;
    let alice = app.stranger(ALICE);
    alice.confirm(token, &code).await.pair();
}

/// Red when a mail that was tried before may take any place.
#[tokio::test]
async fn recipients_on_whom_the_relay_stalls_leave_room_for_those_who_have_just_signed_in() {
    let app = TestApp::start().await;
    app.mailbox_does(Behaviour::Defer(Recipients::All));
    let stuck: Vec<_> = (0..48).map(|n| format!("stuck{n}@example.com")).collect();
    for email in &stuck {
        app.user_with_code(email).await.challenge().await;
    }
    let deferred =
        "SELECT count(*) FROM outbox WHERE last_reply LIKE '451%' AND leased_until IS NULL";
    until("all were deferred", async || {
        app.count(deferred).await == 48
    })
    .await;
    app.mailbox_does(Behaviour::Stall(Recipients::Only(stuck)));
    app.execute("UPDATE outbox SET next_attempt_at = clock_timestamp()")
        .await;
    let held = "SELECT count(*) FROM outbox
                 WHERE leased_until > clock_timestamp() AND sent_at IS NULL";
    // 32 of which the relay has all, and half of the places of those that are still being handed over.
    until("they are stuck", async || app.count(held).await == 40).await;

    let bob = app.user_with_code(BOB).await;
    let (token, code) = bob.challenge_and_code().await;
    bob.confirm(&token, &code).await.pair();
    // None of those had given up its place for it.
    settled(&app, "sent_at IS NOT NULL").await;
    assert_eq!(app.count(held).await, 40);
}

/// Red where a mail that the relay may have is sent again like any other.
#[tokio::test]
async fn a_mail_that_the_relay_did_not_confirm_is_sent_once_more_much_later_and_never_again() {
    let app = TestApp::start().await;
    app.mailbox_does(Behaviour::Stall(Recipients::All));
    let alice = app.user_with_code(ALICE).await;
    alice.challenge().await;
    let first = app.mail_for(ALICE).await;
    // It hangs up on the mail that it has.
    app.mailbox_does(Behaviour::Down);
    settled(
        &app,
        "copies = 1 AND leased_until IS NULL AND sent_at IS NULL
         AND next_attempt_at > clock_timestamp() + INTERVAL '2 minutes'",
    )
    .await;
    app.mailbox_does(Behaviour::Stall(Recipients::All));
    app.execute("UPDATE outbox SET next_attempt_at = clock_timestamp()")
        .await;
    let second = app.mail_for(ALICE).await;
    assert_eq!(second.raw, first.raw);
    app.mailbox_does(Behaviour::Down);
    settled(&app, "copies = 2 AND leased_until IS NULL").await;
    app.mailbox_does(Behaviour::Accept);
    app.execute("UPDATE outbox SET next_attempt_at = clock_timestamp()")
        .await;
    // The next mail to arrive is another challenge's.
    let (token, code) = alice.challenge_and_code().await;
    alice.confirm(&token, &code).await.pair();
    assert_eq!(app.mailbox().mails_to(ALICE).len(), 3);
    let explained = Program::on(app.database_url(), &[])
        .run(&format!("explain {ALICE}"))
        .await;
    let told = "The mail server was given the code mail and has not said whether it took it.";
    assert!(explained.ok().contains(told), "{explained:?}");
}

/// Red where the lease of a mail is not renewed while it is sent.
#[tokio::test]
async fn a_lease_lasts_as_long_as_the_relay_takes() {
    let app = TestApp::start().await;
    app.mailbox_does(Behaviour::Stall(Recipients::All));
    let alice = app.user_with_code(ALICE).await;
    let token = alice.challenge().await;
    let mail = app.mail_for(ALICE).await;
    // Most of its time has passed; then it has all of it again.
    app.execute("UPDATE outbox SET leased_until = clock_timestamp() + INTERVAL '6 seconds'")
        .await;
    settled(
        &app,
        "leased_until > clock_timestamp() + INTERVAL '7 seconds'",
    )
    .await;
    app.mailbox_does(Behaviour::Accept);
    settled(&app, "sent_at IS NOT NULL AND attempts = 1").await;
    let code = mail.code.as_ref().unwrap();
    alice.confirm(&token, code).await.pair();
    assert_eq!(app.mailbox().mails_to(ALICE).len(), 1);
}

/// Red where an instance that stops keeps its leases until they run out.
#[tokio::test]
async fn an_instance_that_stops_gives_back_what_it_did_not_finish() {
    let app = TestApp::start().await;
    app.mailbox_does(Behaviour::Hang);
    let alice = app.user_with_code(ALICE).await;
    alice.challenge().await;
    settled(&app, "leased_until IS NOT NULL").await;
    let other = app.second_instance().await;
    app.stop().await;
    let held = "SELECT count(*) FROM outbox WHERE attempts = 1 AND leased_until IS NOT NULL";
    assert_eq!(other.count(held).await, 0);
}

/// Red when the database is not asked again before the mail is handed over.
#[tokio::test]
async fn a_mail_that_waits_for_the_relay_while_its_code_dies_is_not_handed_over() {
    for death in [
        "UPDATE challenges SET expires_at = clock_timestamp()",
        "UPDATE challenges SET consumed_at = clock_timestamp()",
        "UPDATE users SET disabled_at = clock_timestamp()",
        "UPDATE users SET credential_version = credential_version + 1",
        // Another instance has it, for this one was frozen for longer than its lease.
        "UPDATE outbox SET attempts = attempts + 1",
    ] {
        let app = TestApp::start().await;
        app.mailbox_does(Behaviour::Hang);
        let alice = app.user_with_code(ALICE).await;
        alice.challenge().await;
        settled(&app, "leased_until IS NOT NULL").await;
        assert_eq!(app.execute(death).await, 1);
        let mailbox = app.mailbox().clone();
        mailbox.set_behaviour(Behaviour::Accept);
        // An instance that stops lets the mails on the way arrive.
        app.stop().await;
        assert!(mailbox.mails_to(ALICE).is_empty(), "{death}");
    }
}

#[tokio::test]
async fn overdue_mails_are_given_up_in_batches_by_one_instance_at_a_time() {
    let app = TestApp::start().await;
    app.mailbox_does(Behaviour::Defer(Recipients::All));
    for n in 0..3 {
        let alice = app.user_with_code(&format!("alice{n}@example.com")).await;
        alice.challenge().await;
    }
    // A mail on its way is not given up yet.
    until("all were put off", async || {
        let all = "SELECT count(*) FROM outbox WHERE attempts > 0 AND leased_until IS NULL";
        app.count(all).await == 3
    })
    .await;
    app.age_challenges(secs(600)).await;
    let (one, store) = (app.store().await, app.store().await);
    // The lock that keeps purging to one instance, held by another one.
    let other = app
        .hold("SELECT pg_advisory_xact_lock(x'6261636b70757267'::BIGINT)")
        .await;
    assert_eq!(one.give_up_overdue_mails(2).await.unwrap().mails, 0);
    other.rollback().await.unwrap();
    let mut given_up = Vec::new();
    for _ in 0..3 {
        let round = store.give_up_overdue_mails(2).await.unwrap();
        given_up.push((round.mails, round.expired));
    }
    assert_eq!(given_up, [(2, 2), (1, 1), (0, 0)]);
    assert_eq!(app.recorded("mail refused mail_expired").await, 3);
}

#[tokio::test]
async fn when_the_first_relay_is_down_the_second_takes_the_mail_and_explain_tells_which() {
    let second = mailbox().await;
    let port = port(&second);
    let settings = [
        ("mail.fallback.host", "localhost"),
        ("mail.fallback.port", &*port),
        ("mail.fallback.tls", "none"),
    ];
    let app = TestApp::with(&settings).await;
    app.mailbox_does(Behaviour::Down);
    let alice = app.user_with_code(ALICE).await;
    let token = alice.challenge().await;
    let mail = soon("the mail", second.next_for(ALICE)).await;
    settled(&app, "sent_at IS NOT NULL AND attempts = 1").await;
    let program = Program::on(app.database_url(), &[]);
    let explained = program.run(&format!("explain {ALICE}")).await;
    let reply = format!("250 2.0.0 kept (localhost:{port}); before that ");
    let first = format!("(127.0.0.1:{})", app.mailbox().smtp_addr().port());
    assert!(explained.ok().contains(&reply), "{explained:?}");
    assert!(explained.ok().contains(&first), "{explained:?}");
    let code = mail.code.as_ref().unwrap();
    alice.confirm(&token, code).await.pair();
}

#[tokio::test]
async fn mails_are_written_in_the_language_and_with_the_templates_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let subject = "Bücher & Söhne: Ihr Code ist da";
    fs::write(folder.path().join("code.subject.txt"), subject).unwrap();
    let settings = [("mail.language", "de"), ("mail.templates_dir", path)];
    let app = TestApp::with(&settings).await;
    let alice = app.user_with_code(ALICE).await;
    let (token, mail) = (alice.challenge().await, app.mail_for(ALICE).await);
    assert_eq!(mail.subject, subject);
    assert!(mail.text.contains("Code gültig bis: ") && mail.text.contains(" Uhr UTC"));
    assert!(mail.html.as_ref().unwrap().contains("Waren Sie das nicht?"));
    let code = mail.code.as_ref().unwrap();
    alice.confirm(&token, code).await.pair();

    fs::write(folder.path().join("code.txt"), "no code").unwrap();
    let refused = app.try_second_instance(&[]).await.err().unwrap();
    assert!(matches!(refused, StartError::Mail(_)), "{refused:?}");
    let run = program(&settings).run("config check").await;
    let told = "mail.templates_dir: code.txt: does not show the code: it must hold {{ code }}";
    assert_eq!(run.refused(), told);
}

#[tokio::test]
async fn config_check_sends_a_test_mail_over_each_relay_and_says_what_each_said() {
    let (first, second) = (mailbox().await, mailbox().await);
    let (one, other) = (port(&first), port(&second));
    let settings = [
        ("mail.smtp.port", &*one),
        ("mail.fallback.host", "127.0.0.1"),
        ("mail.fallback.port", &*other),
        ("mail.fallback.tls", "none"),
    ];
    let program = program(&settings);
    let run = program.run("config check --smtp").await;
    let took = |section, port| {
        format!("{section}: took the test mail: 250 2.0.0 kept (127.0.0.1:{port})\n")
    };
    let (first_took, second_took) = (took("mail.smtp", &one), took("mail.fallback", &other));
    let good = "The configuration is good.\n";
    assert_eq!(run.ok(), format!("{first_took}{second_took}{good}"));
    let mail = soon("the mail", second.next_for("no-reply@example.com")).await;
    assert!(mail.subject.starts_with("Test: Your sign-in code"));
    assert_eq!(mail.code.as_deref(), Some("012345"));

    program
        .run(&format!("config check --smtp {ALICE}"))
        .await
        .ok();
    assert_eq!(first.mails_to(ALICE).len(), 1);
    assert_eq!(program.run("config check").await.ok(), good);
    assert_eq!((first.mails().len(), second.mails().len()), (2, 2));

    first.set_behaviour(Behaviour::Refuse(Recipients::All));
    let run = program.run("config check --smtp").await;
    assert_eq!((run.code, &*run.stdout), (Some(1), &*second_took));
    assert_eq!(
        run.stderr,
        format!(
            "backoffice-auth: mail.smtp did not take the test mail: 550 5.1.1 no such mailbox \
             (127.0.0.1:{one}); try another address, as in --smtp you@example.com\n"
        )
    );
}

#[tokio::test]
async fn config_check_says_what_to_do_about_a_relay_that_takes_nothing_and_tells_no_password() {
    let relay = mailbox().await;
    let port = port(&relay);
    let base = [("mail.smtp.port", &*port)];
    let password = [
        ("mail.smtp.username", "u"),
        ("mail.smtp.password", "hunter2"),
    ];
    for (settings, told) in [
        (
            &[("mail.smtp.port", "1")][..],
            "check mail.smtp.host, port, tls and ca_file",
        ),
        (
            &[base[0], ("mail.smtp.tls", "starttls")],
            "check mail.smtp.host, port, tls and ca_file",
        ),
        (
            &[base[0], password[0], password[1]],
            "check mail.smtp.username and mail.smtp.password",
        ),
        (
            &[("mail.transport", "log")],
            "mail.transport is log; set it to smtp",
        ),
    ] {
        let run = program(settings).run("config check --smtp").await;
        assert_eq!((run.code, &*run.stdout), (Some(1), ""), "{run:?}");
        assert!(run.stderr.contains(told), "{run:?}");
        assert!(!run.stderr.contains("hunter2"), "{run:?}");
    }
}
