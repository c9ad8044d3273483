//! The wide ceilings: exact, true to the second, and no reason for anybody innocent to wait long.

use serde_json::json;
use tokio::time::Instant;

use crate::support::{
    Answer, Held, OPERATOR, PASSWORD, Person, TestApp, other_than, post, race, secs, until,
};

/// As long as an attempt can be in flight, in seconds.
const FLIGHT: u64 = 10;

/// Failures that were counted, and attempts in flight.
const FAILURES: &str = "SELECT sum(cardinality(hits) + cardinality(in_flight))::BIGINT
                          FROM attempts WHERE scope = 'signin_failures'";

/// All that takes up room under any limit.
const COUNTED: &str = "SELECT COALESCE(sum(cardinality(hits) + cardinality(in_flight)), 0)::BIGINT
                         FROM attempts";

/// The bytes of a sign-in from a network where nobody was before.
fn signin(app: &TestApp, email: &str, password: &str) -> Vec<u8> {
    let body = json!({"email": email, "password": password}).to_string();
    let network = app.new_network();
    let headers = [("X-Forwarded-For", network.as_str())];
    post("/api/v2/signin", &headers, body.as_bytes())
}

/// So many sign-ins to an address at the same instant, on two instances in turn.
async fn signins_at_once(
    instances: [&TestApp; 2],
    email: &str,
    password: &str,
    count: usize,
) -> Vec<Answer> {
    let mut held = Vec::new();
    for instance in instances.into_iter().cycle().take(count) {
        let request = signin(instances[0], email, password);
        held.push(Held::open(instance.public_addr(), &request).await);
    }
    race(held).await
}

/// Red when `Retry-After` is counted from the oldest attempt of all.
#[tokio::test]
async fn after_a_ceiling_was_lowered_retry_after_is_true_to_the_second() {
    let app = TestApp::with(&[("limits.signin_network_per_minute", "7")]).await;
    let lowered = [("limits.signin_network_per_minute", "3")];
    let lowered = app.try_second_instance(&lowered).await.unwrap();
    let network = app.new_network();
    let person = |n: u32| Person::new(&app, &format!("u{n}@example.com"), network.clone());
    for n in 0..6 {
        person(n).signin().await.problem(401, "invalid_credentials");
        app.age_attempts(secs(5)).await;
    }
    // They are 30, 25, 20, 15, 10 and 5 seconds old, and the fourth one has to leave.
    let rest = person(6).at(&lowered).signin().await.limited();
    assert!((43..=45).contains(&rest), "{rest}");
    app.age_attempts(secs(rest - 2)).await;
    person(7).at(&lowered).signin().await.limited();
    app.age_attempts(secs(2)).await;
    let through = person(8).at(&lowered).signin().await;
    through.problem(401, "invalid_credentials");
    person(9).at(&lowered).signin().await.limited();
}

/// Red when `reserve_signin` does not count attempts in flight, or counts what its snapshot shows
/// instead of the locked row.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_failures_at_once_on_two_instances_exactly_so_many_as_the_ceiling_get_through() {
    let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "3")]).await;
    let other = app.second_instance().await;
    for round in 0..20 {
        let email = format!("nobody{round}@example.com");
        let answers = signins_at_once([&app, &other], &email, "wrong", 8).await;
        let (through, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status != 429);
        assert_eq!(through.len(), 3);
        for answer in through {
            answer.problem(401, "invalid_credentials");
        }
        for answer in refused {
            // All that was ahead was in flight, or all of it had failed.
            let rest = answer.limited();
            assert!(rest <= FLIGHT || rest >= 3_590, "{rest}");
        }
    }
    let counted = "SELECT count(*) FROM attempts
                    WHERE scope = 'signin_failures' AND cardinality(hits) = 3 AND in_flight = '{}'";
    assert_eq!(app.count(counted).await, 20);
}

/// Red when a reservation counts for good until it is released.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn good_sign_ins_at_once_on_two_instances_tell_nobody_to_wait_for_long() {
    let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "2")]).await;
    let other = app.second_instance().await;
    let alice = app.user("alice@example.com").await;
    for _ in 0..20 {
        for answer in signins_at_once([&app, &other], &alice.email, PASSWORD, 8).await {
            if answer.status == 200 {
                answer.pair();
            } else {
                let rest = answer.limited();
                assert!(rest <= FLIGHT, "{rest}");
            }
        }
        // Nothing stays behind.
        alice.elsewhere().signin().await.pair();
    }
    assert_eq!(app.count(FAILURES).await, 0);
}

/// Red when `settle_and_end_surplus_sessions` or `open_challenge` releases nothing.
#[tokio::test]
async fn a_right_password_leaves_nothing_in_flight() {
    let app = TestApp::start().await;
    let one = app.user("alice@example.com").await;
    let other = app.user_with_code("bob@example.com").await;
    one.signin().await.pair();
    other.challenge_and_code().await;
    assert_eq!(app.count(FAILURES).await, 0);
}

/// Red when `signin` does not take attempts back whose answer is 503.
#[tokio::test]
async fn a_right_password_that_the_database_kept_out_counts_for_nothing() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let lock = app.hold("LOCK TABLE sessions").await;
    alice.signin().await.problem(503, "unavailable");
    assert_eq!(app.count(COUNTED).await, 0);
    lock.rollback().await.unwrap();
    alice.signin().await.pair();
}

/// Red when `reserve_signin` counts an attempt for the network, or for the account, that was refused before.
#[tokio::test]
async fn a_sign_in_that_one_limit_refuses_is_not_counted_by_the_next_ones() {
    let app = TestApp::with(&[("limits.signin_network_per_minute", "7")]).await;
    let alice = app.stranger("alice@example.com");
    for _ in 0..5 {
        alice.signin().await.problem(401, "invalid_credentials");
    }
    // The first of these starts a block.
    for _ in 0..5 {
        alice.signin().await.limited();
    }
    assert_eq!(app.count(FAILURES).await, 5);
    let neighbour = Person::new(&app, "bob@example.com", alice.network.clone());
    for _ in 0..2 {
        neighbour.signin().await.problem(401, "invalid_credentials");
    }
    for _ in 0..2 {
        neighbour.signin().await.limited();
    }
    assert_eq!(app.count(FAILURES).await, 7);
}

/// Red when `delete_attempts_of` locks in another order: with a sign-in it could wait in a circle.
#[tokio::test]
async fn an_unlocking_waits_for_a_sign_in_without_holding_what_that_needs() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    alice.signin().await.pair();
    let mut signin = app
        .hold("SELECT FROM attempts WHERE scope = 'signin' FOR UPDATE")
        .await;
    let go_on = async {
        until("the unlocking waits", async || {
            app.waits_for_locks().await == 1
        })
        .await;
        let next = "SELECT FROM attempts WHERE scope = 'signin_failures' FOR UPDATE NOWAIT";
        sqlx::query(next).execute(&mut *signin).await.unwrap();
        signin.commit().await.unwrap();
    };
    let (admin, email) = (app.admin().await, alice.email.parse().unwrap());
    let (unlocked, ()) = tokio::join!(admin.unlock_user(&*OPERATOR, &email), go_on);
    unlocked.unwrap();
    assert_eq!(
        app.count("SELECT count(*) FROM attempts WHERE account_key IS NOT NULL")
            .await,
        0
    );
}

/// A process that dies between a reservation and its end leaves it as it is. Red when an attempt in
/// flight for longer than any request takes still counts, or when it starts a block.
#[tokio::test]
async fn attempts_in_flight_refuse_for_seconds_and_count_for_nothing_if_they_never_end() {
    let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "3")]).await;
    let alice = app.user("alice@example.com").await;
    alice.signin().await.pair();
    // Where it came from counts, and how often that was.
    app.age_attempts(secs(3600)).await;
    let reserved = "UPDATE attempts
                       SET in_flight = ARRAY(SELECT clock_timestamp() - INTERVAL '3 seconds'
                                               FROM generate_series(1, 5))";
    assert_eq!(app.execute(reserved).await, 3);
    let about = |rest: u64| assert!((FLIGHT - 5..=FLIGHT - 3).contains(&rest), "{rest}");
    about(alice.signin().await.limited());
    about(alice.elsewhere().signin().await.limited());

    app.age_attempts(secs(FLIGHT)).await;
    for _ in 0..5 {
        alice.signin().await.pair();
    }
    assert_eq!(alice.signin().await.limited(), 300);
}

/// Red when `settle` takes an attempt for settled that has given up its room.
#[tokio::test]
async fn an_attempt_that_has_given_up_its_room_is_answered_503() {
    let app = TestApp::with(&[("limits.signin.attempts", "1")]).await;
    let alice = app.user("alice@example.com").await;
    for password in [PASSWORD, "wrong"] {
        // It is held up for longer than it can be in flight, and another has its room meanwhile.
        let lock = app.hold("LOCK TABLE audit_events").await;
        let other = async {
            until("it waits", async || app.waits_for_locks().await == 1).await;
            app.execute("UPDATE attempts SET in_flight = '{}'").await;
            lock.commit().await.unwrap();
        };
        let (answer, ()) = tokio::join!(alice.signin_with(password), other);
        answer.problem(503, "unavailable");
        assert_eq!(app.count("SELECT count(*) FROM sessions").await, 0);
        assert_eq!(app.count(COUNTED).await, 0);
    }
    alice.signin().await.pair();
}

/// Reaches the ceiling of failures of an address, from networks that nobody is known from.
async fn reach_ceiling(app: &TestApp, email: &str, ceiling: usize) {
    for _ in 0..ceiling {
        let wrong = app.stranger(email).signin_with("wrong").await;
        wrong.problem(401, "invalid_credentials");
    }
    app.stranger(email).signin().await.limited();
}

/// Red when the exemption answers 401, and when it looks at the address before it hashes.
#[tokio::test]
async fn past_the_ceiling_a_network_that_is_known_gets_one_answer_whoever_has_an_account() {
    let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "3")]).await;
    let alice = app.user("alice@example.com").await;
    app.user("bob@example.com").await;
    alice.signin().await.pair();
    // A hash that takes its time, and that refusals are held back for.
    let hash = bcrypt::hash(PASSWORD, 10).unwrap();
    sqlx::query("UPDATE users SET password_hash = $1 WHERE email LIKE 'alice%'")
        .bind(&hash)
        .execute(app.sql())
        .await
        .unwrap();
    let started = Instant::now();
    std::hint::black_box(bcrypt::verify("wrong", &hash).unwrap());
    let least = started.elapsed() / 2;
    alice.signin_with("wrong").await;
    app.execute("DELETE FROM attempts").await;
    for email in ["alice@example.com", "bob@example.com", "nobody@example.com"] {
        reach_ceiling(&app, email, 3).await;
    }
    app.execute("DELETE FROM audit_events").await;
    let here = |email: &str| Person::new(&app, email, alice.network.clone());
    let mut seen = Vec::new();
    for email in ["alice@example.com", "bob@example.com", "nobody@example.com"] {
        let started = Instant::now();
        let refused = here(email).signin_with("wrong").await;
        assert!(started.elapsed() >= least, "{:?}", started.elapsed());
        let rest = refused.limited();
        assert!((3_500..=3_600).contains(&rest), "{rest}");
        seen.push(refused.seen().replace(&rest.to_string(), "*"));
    }
    assert_eq!(seen[1], seen[0]);
    assert_eq!(seen[2], seen[0]);
    assert_eq!(
        app.audit().await,
        ["signin refused limited_signin_failures"; 3]
    );
    // An attempt that was let past the ceiling is counted by the other limits as ever.
    let others = "SELECT sum(cardinality(hits))::BIGINT FROM attempts
                   WHERE scope = 'signin_network' AND cardinality(hits) = 3 AND in_flight = '{}'";
    assert_eq!(app.count(others).await, 3);
    // Bob is known from elsewhere or nowhere: his password opens nothing here.
    here("bob@example.com").signin().await.limited();
    alice.signin().await.pair();
}

/// Red when an owner is known from single networks alone, and when failures from the provider's network
/// have no ceiling, or one that stops the owner at home.
#[tokio::test]
async fn past_the_ceiling_an_owner_gets_in_from_another_address_of_the_same_provider() {
    let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "3")]).await;
    app.user("alice@example.com").await;
    for (home, on_the_way, stranger) in [
        ("198.51.100.7", "198.51.3.4", "198.52.100.7"),
        (
            "2001:db8:1:2::1",
            "2001:db8:ffff:ffff::1",
            "2001:db9:1:2::1",
        ),
    ] {
        let from = |network: &str| Person::new(&app, "alice@example.com", network.to_owned());
        from(home).signin().await.pair();
        reach_ceiling(&app, "alice@example.com", 3).await;
        from(on_the_way).signin().await.pair();
        from(stranger).signin().await.limited();

        // Clients of the same provider use up what failures from there have room for.
        let but_home = "DELETE FROM known_networks
                         WHERE last_signin_at > (SELECT min(last_signin_at) FROM known_networks)";
        assert_eq!(app.execute(but_home).await, 1);
        for n in 1..=3 {
            let near = on_the_way.replace("3.4", &format!("3.{}", n + 10));
            let near = near.replace("ffff::1", &format!("fff{n}::1"));
            from(&near).signin_with("wrong").await.limited();
        }
        from(on_the_way).signin().await.limited();
        from(home).signin().await.pair();
        app.execute("DELETE FROM attempts").await;
        app.execute("DELETE FROM known_networks").await;
    }
}

/// Red when anything is looked up before the attempt is reserved, and when `reserve_signin` finds the user
/// though the first or the second of its limits refuses.
#[tokio::test]
async fn a_refusal_by_a_block_costs_no_hash_and_looks_nobody_up() {
    let app = TestApp::with(&[("limits.signin_network_per_minute", "6")]).await;
    let alice = app.user("alice@example.com").await;
    let crowd = app.new_network();
    let from_the_crowd = |email: &str| Person::new(&app, email, crowd.clone());
    for n in 0..6 {
        alice.signin_with("wrong").await;
        alice.refresh("not ours").await;
        alice.confirm("not ours", "123456").await;
        from_the_crowd(&format!("u{n}@example.com")).signin().await;
    }
    // A request that reads this user is answered 500; a password is hashed only after its user was read.
    app.execute("ALTER TABLE users DROP CONSTRAINT users_two_factor_known")
        .await;
    app.execute("UPDATE users SET two_factor = 'unreadable'")
        .await;
    alice.elsewhere().signin().await.problem(500, "internal");
    // A request that reads one of these waits until the database's deadline, and is answered 503.
    let lock = app
        .hold("LOCK TABLE sessions, challenges, known_networks")
        .await;
    alice.signin().await.limited();
    from_the_crowd(&alice.email).signin().await.limited();
    alice.refresh("not ours").await.limited();
    alice.confirm("not ours", "123456").await.limited();
    drop(lock);
}

/// Red when `reserve!` counts the hits of its snapshot instead of those of the locked row.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sign_ins_at_once_from_one_network_exactly_so_many_as_the_ceiling_get_through() {
    let app = TestApp::with(&[("limits.signin_network_per_minute", "4")]).await;
    let other = app.second_instance().await;
    for _ in 0..20 {
        let network = app.new_network();
        let headers = [("X-Forwarded-For", network.as_str())];
        let mut held = Vec::new();
        for (n, instance) in [&app, &other].into_iter().cycle().take(8).enumerate() {
            let email = format!("nobody{n}@example.com");
            let body = json!({"email": email, "password": PASSWORD}).to_string();
            let request = post("/api/v2/signin", &headers, body.as_bytes());
            held.push(Held::open(instance.public_addr(), &request).await);
        }
        let answers = race(held).await;
        let (through, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 401);
        assert_eq!(through.len(), 4);
        for answer in refused {
            let rest = answer.limited();
            assert!((57..=60).contains(&rest), "{rest}");
        }
    }
}

/// Red when `reserve!` counts the hits of its snapshot instead of those of the locked row.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_challenges_at_once_on_two_instances_exactly_so_many_as_the_budget_are_mailed() {
    let app = TestApp::with(&[("limits.mails_per_account", "2")]).await;
    let other = app.second_instance().await;
    for round in 0..20 {
        let email = format!("alice{round}@example.com");
        app.user_with_code(&email).await;
        for answer in signins_at_once([&app, &other], &email, PASSWORD, 6).await {
            assert_eq!(answer.ok()["2faRequired"], true);
        }
    }
    assert_eq!(app.count("SELECT count(*) FROM outbox").await, 40);
    let most = "SELECT max(n) FROM (SELECT count(*) AS n FROM outbox JOIN challenges
                                     USING (challenge_id) GROUP BY user_id) AS mails";
    assert_eq!(app.count(most).await, 2);
}

/// Red without the bound in `spend_confirm_attempt`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_wrong_codes_at_once_on_two_instances_exactly_so_many_as_the_budget_are_compared() {
    let app = TestApp::with(&[
        ("limits.confirm.attempts", "1000"),
        ("limits.confirm_failures_per_account", "4"),
    ])
    .await;
    let other = app.second_instance().await;
    for round in 0..20 {
        let email = format!("alice{round}@example.com");
        let alice = app.user_with_code(&email).await;
        let (token, code) = alice.challenge_and_code().await;
        let body = json!({"token": token, "code": other_than(&code)}).to_string();
        let request = post("/api/v2/2fa/confirm", &[], body.as_bytes());
        let mut held = Vec::new();
        for instance in [&app, &other].into_iter().cycle().take(8) {
            held.push(Held::open(instance.public_addr(), &request).await);
        }
        for answer in race(held).await {
            answer.problem(401, "invalid_two_factor");
        }
    }
    let compared = "SELECT count(*) FROM audit_events WHERE reason = 'wrong_code'";
    assert_eq!(app.count(compared).await, 80);
    let locked = "SELECT count(*) FROM audit_events WHERE reason = 'second_factor_locked'";
    assert_eq!(app.count(locked).await, 80);
}
