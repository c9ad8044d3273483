//! Every refusal of the four methods is on record once, with its cause, and is explained.

use serde_json::Value;

use crate::support::{Answer, OPERATOR, Person, Program, TestApp, other_than, secs, until};

/// The outcome of a request, as `explain` tells it to programs.
async fn explained(app: &TestApp, answer: &Answer) -> Value {
    let id = answer.header("x-request-id").unwrap();
    let line = format!("explain {id} --json");
    Program::on(app.database_url(), &[]).run(&line).await.json()
}

/// Fails unless a refusal has exactly one event, and this reason. Gives what is told of it.
async fn on_record(app: &TestApp, answer: &Answer, kind: &str, reason: &str) -> Value {
    assert!(
        matches!(answer.status, 401 | 429),
        "{reason}: {}",
        answer.status
    );
    let found = explained(app, answer).await;
    let events = found["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{reason}: {events:#?}");
    let event = &events[0];
    assert_eq!(
        (&event["kind"], &event["outcome"], &event["reason"]),
        (&kind.into(), &"refused".into(), &reason.into())
    );
    let text = event["text"].as_str().unwrap();
    assert!(text.ends_with('.') && text.contains(' '), "{text}");
    event.clone()
}

/// The same for a refusal by a limit, which also says until when.
async fn limited(app: &TestApp, answer: &Answer, kind: &str, reason: &str) {
    answer.limited();
    let event = on_record(app, answer, kind, reason).await;
    let detail = event["detail"].as_str().unwrap();
    let until = detail.strip_prefix("until ").unwrap();
    let until = chrono::DateTime::parse_from_rfc3339(until).unwrap();
    let now = app.count("SELECT extract(epoch FROM now())::BIGINT").await;
    assert!(until.timestamp() >= now, "{detail}");
    let text = event["text"].as_str().unwrap();
    assert!(text.starts_with("too many "), "{text}");
}

#[tokio::test]
async fn every_sign_in_that_is_refused_is_on_record_once_with_its_cause() {
    let app = TestApp::start().await;
    let unknown = app.stranger("nobody@example.com").signin().await;
    on_record(&app, &unknown, "signin", "unknown_address").await;
    let alice = app.user("alice@example.com").await;
    let wrong = alice.signin_with("wrong").await;
    on_record(&app, &wrong, "signin", "wrong_password").await;
    let admin = app.admin().await;
    admin
        .disable_user(&*OPERATOR, &alice.email.parse().unwrap())
        .await
        .unwrap();
    let disabled = alice.signin().await;
    on_record(&app, &disabled, "signin", "user_disabled").await;
    let bare = app.user("bare@example.com").await;
    app.execute("UPDATE users SET password_hash = NULL WHERE email = 'bare@example.com'")
        .await;
    let bare = bare.signin().await;
    on_record(&app, &bare, "signin", "no_password").await;
}

#[tokio::test]
async fn a_sign_in_whose_user_changed_in_the_middle_of_it_is_on_record_once() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let operator = app
        .hold("UPDATE users SET disabled_at = clock_timestamp()")
        .await;
    let commit = async {
        until("the sign-in waits", async || {
            app.waits_for_locks().await == 1
        })
        .await;
        operator.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(alice.signin(), commit);
    on_record(&app, &answer, "signin", "changed_meanwhile").await;
    let in_flight = "SELECT sum(cardinality(in_flight))::BIGINT FROM attempts";
    assert_eq!(app.count(in_flight).await, 0);
}

#[tokio::test]
async fn every_sign_in_that_a_limit_refuses_is_on_record_once_with_its_end() {
    let app = TestApp::with(&[
        ("limits.signin_network_per_minute", "7"),
        ("limits.signin_account_failures_per_hour", "6"),
    ])
    .await;
    let alice = app.user("alice@example.com").await;
    for _ in 0..5 {
        alice.signin_with("wrong").await;
    }
    // The attempt that starts a block, and one within it.
    for _ in 0..2 {
        limited(&app, &alice.signin().await, "signin", "limited_signin").await;
    }
    alice.elsewhere().signin_with("wrong").await;
    let refused = alice.elsewhere().signin().await;
    limited(&app, &refused, "signin", "limited_signin_failures").await;

    let network = app.new_network();
    let from_there = |n: u32| Person::new(&app, &format!("u{n}@example.com"), network.clone());
    for n in 0..7 {
        from_there(n).signin().await;
    }
    let refused = from_there(7).signin().await;
    limited(&app, &refused, "signin", "limited_signin_network").await;
    let found = explained(&app, &refused).await;
    assert_eq!(found["email"], "u7@example.com");
}

#[tokio::test]
async fn every_code_that_is_refused_is_on_record_once_with_its_cause() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let unknown = alice.confirm("x", "123456").await;
    on_record(&app, &unknown, "confirm", "unknown_challenge").await;
    let (token, code) = alice.challenge_and_code().await;
    let wrong = alice.confirm(&token, &other_than(&code)).await;
    on_record(&app, &wrong, "confirm", "wrong_code").await;
    app.execute("UPDATE challenges SET attempts = 10").await;
    let exhausted = alice.confirm(&token, &code).await;
    on_record(&app, &exhausted, "confirm", "challenge_exhausted").await;
    app.execute("UPDATE users SET second_factor_failures = 100")
        .await;
    let locked = alice.confirm(&token, &code).await;
    on_record(&app, &locked, "confirm", "second_factor_locked").await;
    for _ in 0..2 {
        let refused = alice.confirm(&token, &code).await;
        limited(&app, &refused, "confirm", "limited_confirm").await;
    }

    let bob = app.user_with_code("bob@example.com").await;
    let (token, code) = bob.challenge_and_code().await;
    app.execute("UPDATE users SET credential_version = credential_version + 1")
        .await;
    let changed = bob.confirm(&token, &code).await;
    on_record(&app, &changed, "confirm", "changed_meanwhile").await;
    app.age_challenges(secs(600)).await;
    let over = bob.confirm(&token, &code).await;
    on_record(&app, &over, "confirm", "challenge_over").await;
    for _ in 0..3 {
        bob.confirm("x", "123456").await;
    }
    for _ in 0..2 {
        let refused = bob.confirm("x", "123456").await;
        limited(&app, &refused, "confirm", "limited_confirm_unknown").await;
    }
}

#[tokio::test]
async fn every_refresh_that_is_refused_is_on_record_once_with_its_cause() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let foreign = alice.refresh(&pair.access).await;
    let event = on_record(&app, &foreign, "refresh", "foreign_token").await;
    assert!(event["detail"].is_string());
    for _ in 0..4 {
        alice.refresh("x").await;
    }
    for _ in 0..2 {
        let refused = alice.refresh("x").await;
        limited(&app, &refused, "refresh", "limited_refresh_unknown").await;
    }

    alice.refresh(&pair.refresh).await.pair();
    app.age_sessions(secs(30)).await;
    let again = alice.refresh(&pair.refresh).await;
    on_record(&app, &again, "refresh", "reuse").await;
    let over = alice.refresh(&pair.refresh).await;
    on_record(&app, &over, "refresh", "session_over").await;
    for _ in 0..2 {
        alice.refresh(&pair.refresh).await;
    }
    for _ in 0..2 {
        let refused = alice.refresh(&pair.refresh).await;
        limited(&app, &refused, "refresh", "limited_refresh").await;
    }

    let (bob, pair) = app.signed_in("bob@example.com").await;
    app.execute("DELETE FROM sessions").await;
    let unknown = bob.refresh(&pair.refresh).await;
    on_record(&app, &unknown, "refresh", "unknown_session").await;
    app.clock().advance(secs(86_400));
    let expired = bob.refresh(&pair.refresh).await;
    on_record(&app, &expired, "refresh", "token_expired").await;
    for _ in 0..3 {
        bob.refresh(&pair.refresh).await;
    }
    let refused = bob.refresh(&pair.refresh).await;
    limited(&app, &refused, "refresh", "limited_refresh_unknown").await;
}

#[tokio::test]
async fn every_sign_out_that_is_refused_is_on_record_once_with_its_cause() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let foreign = alice.signout(&pair.refresh).await;
    on_record(&app, &foreign, "signout", "foreign_token").await;
    alice.signout(&pair.access).await.ok_and_empty();
    let over = alice.signout(&pair.access).await;
    on_record(&app, &over, "signout", "session_over").await;
    app.clock().advance(secs(900));
    let expired = alice.signout(&pair.access).await;
    on_record(&app, &expired, "signout", "session_over").await;
}

/// Red when strangers are written down each time, when there is a budget for owners, and when nobody
/// counts what was left out.
#[tokio::test]
async fn strangers_do_not_fill_the_audit_log_and_hide_no_guess_at_an_account() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let instance = app.second_instance().await;
    let network = app.new_network();
    let from_there = |email: &str| Person::new(&instance, email, network.clone());
    for n in 0..30 {
        let stranger = from_there(&format!("nobody{n}@example.com"));
        stranger.signin().await.problem(401, "invalid_credentials");
    }
    for _ in 0..5 {
        from_there(&alice.email).signin_with("wrong").await;
    }
    from_there(&alice.email).signin().await.limited();
    let count = async |reason: &str| {
        let events = format!("SELECT count(*) FROM audit_events WHERE reason = '{reason}'");
        sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(events))
            .fetch_one(app.sql())
            .await
            .unwrap()
    };
    // The budget of a network, and the room that came back meanwhile.
    let recorded = count("unknown_address").await;
    assert!((20..=22).contains(&recorded), "{recorded}");
    assert_eq!(count("wrong_password").await, 5);
    assert_eq!(count("limited_signin").await, 1);

    instance.stop().await;
    let told: String =
        sqlx::query_scalar("SELECT detail FROM audit_events WHERE kind = 'refusals'")
            .fetch_one(app.sql())
            .await
            .unwrap();
    assert_eq!(told, format!("{} refusals of strangers", 30 - recorded));
}

/// Red when each start of a block is written down.
#[tokio::test]
async fn blocks_on_one_account_from_many_networks_do_not_fill_the_audit_log() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    for _ in 0..25 {
        let network = alice.elsewhere();
        for _ in 0..5 {
            network.signin_with("wrong").await;
        }
        network.signin_with("wrong").await.limited();
    }
    let starts = "SELECT count(*) FROM audit_events WHERE reason = 'limited_signin'";
    let starts = app.count(starts).await;
    assert!((20..=23).contains(&starts), "{starts}");
    // Each guess that was looked at is on record.
    let guesses = "SELECT count(*) FROM audit_events WHERE reason = 'wrong_password'";
    assert_eq!(app.count(guesses).await, 100);
}

/// Each sign-in is settled by a statement of its own, which writes the refusal down or does not. Red when
/// one that is left out settles nothing.
#[tokio::test]
async fn a_stranger_who_is_left_out_of_the_audit_log_costs_as_many_commits_as_one_who_is_not() {
    let app = TestApp::start().await;
    app.execute("CREATE SEQUENCE settled").await;
    app.execute(
        "CREATE FUNCTION note() RETURNS TRIGGER LANGUAGE plpgsql AS
         $$ BEGIN PERFORM nextval('settled'); RETURN NULL; END $$",
    )
    .await;
    app.execute(
        "CREATE TRIGGER note AFTER UPDATE ON attempts FOR EACH ROW
         WHEN (cardinality(NEW.hits) > cardinality(OLD.hits)) EXECUTE FUNCTION note()",
    )
    .await;
    let network = app.new_network();
    for n in 0..30 {
        let email = format!("nobody{n}@example.com");
        Person::new(&app, &email, network.clone()).signin().await;
    }
    let recorded = app
        .count("SELECT count(*) FROM audit_events WHERE kind = 'signin'")
        .await;
    assert!((20..=23).contains(&recorded), "{recorded}");
    // Under each of its three limits.
    let settled = app.count("SELECT last_value FROM settled").await;
    assert_eq!(settled, 3 * 30);
}

/// Red when each garbage token is counted, from wherever it comes.
#[tokio::test]
async fn strangers_in_networks_without_number_do_not_fill_the_table_of_attempts() {
    let app = TestApp::with(&[
        ("limits.strangers_burst", "5"),
        ("limits.strangers_per_second", "1"),
    ])
    .await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let before = app.count("SELECT count(*) FROM attempts").await;
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        let stranger = app.stranger("nobody@example.com");
        let refused = stranger.refresh("garbage").await;
        assert!(matches!(refused.status, 401 | 429), "{}", refused.status);
        let stranger = app.stranger("nobody@example.com");
        let refused = stranger.confirm("garbage", "123456").await;
        assert!(matches!(refused.status, 401 | 429), "{}", refused.status);
    }
    app.stranger("nobody@example.com")
        .refresh("garbage")
        .await
        .limited();
    let rows = app.count("SELECT count(*) FROM attempts").await - before;
    let most = 6 + i64::try_from(began.elapsed().as_secs()).unwrap();
    assert!((5..=most).contains(&rows), "{rows}");
    // A token of ours is one, however many strangers there are.
    alice.refresh(&pair.refresh).await.pair();
}

/// Red without the budget in `record_if_room`.
#[tokio::test]
async fn a_client_that_goes_on_knocking_does_not_fill_the_audit_log() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    for _ in 0..5 {
        alice.signin_with("wrong").await;
    }
    let mut last = alice.signin().await;
    for _ in 0..60 {
        last = alice.signin().await;
        last.limited();
    }
    let limited = "SELECT count(*) FROM audit_events WHERE reason = 'limited_signin'";
    // One for the start of the block, and the budget of a network.
    let recorded = app.count(limited).await;
    assert!((21..=23).contains(&recorded), "{recorded}");
    let id = last.header("x-request-id").unwrap();
    let run = Program::on(app.database_url(), &[])
        .run(&format!("explain {id}"))
        .await;
    assert!(
        run.refused().contains("repeated attempts at a limit"),
        "{run:?}"
    );
}
