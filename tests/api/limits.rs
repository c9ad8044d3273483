//! How much is too much.

use insta::assert_json_snapshot;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    Answer, Held, Http2, OPERATOR, PASSWORD, Person, TestApp, other_than, post, race, seconds,
    secs, send, until,
};

/// The rest of a block that was set to `whole` seconds a moment ago.
fn assert_about(rest: u64, whole: u64) {
    assert!(
        (whole.saturating_sub(3)..=whole).contains(&rest),
        "{rest} of {whole}"
    );
}

mod signin {
    use super::*;

    async fn fail(person: &Person<'_>) {
        let answer = person.signin_with("wrong").await;
        answer.problem(401, "invalid_credentials");
    }

    #[tokio::test]
    async fn the_sixth_attempt_in_a_minute_starts_a_block_of_five() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        for _ in 0..5 {
            fail(&alice).await;
        }
        let answer = alice.signin_with("wrong").await;
        assert_json_snapshot!(answer.problem(429, "too_many_attempts"), @r#"
        {
          "code": "too_many_attempts",
          "detail": "Too many attempts. Try again later.",
          "requestId": "(id)",
          "retryAfter": 300,
          "status": 429,
          "title": "Too Many Requests",
          "type": "about:blank"
        }
        "#);
        assert!(app.recorded("signin refused limited_signin").await > 0);
    }

    #[tokio::test]
    async fn attempts_count_whatever_comes_of_them() {
        let app = TestApp::with(&[("limits.signin.attempts", "3")]).await;
        let alice = app.user("alice@example.com").await;
        for _ in 0..3 {
            alice.signin().await.pair();
        }
        alice.signin().await.limited();

        let bob = app.user_with_code("bob@example.com").await;
        bob.challenge().await;
        fail(&bob).await;
        bob.challenge().await;
        bob.signin().await.limited();

        let nobody = app.stranger("nobody@example.com");
        for _ in 0..3 {
            fail(&nobody).await;
        }
        nobody.signin().await.limited();
    }

    #[tokio::test]
    async fn a_request_that_is_none_to_sign_in_counts_for_nothing() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        for _ in 0..10 {
            let body = json!({"email": alice.email});
            let answer = app.post("/api/v2/signin", &alice.network, &body).await;
            answer.problem(422, "invalid_request");
        }
        alice.signin().await.pair();
    }

    #[tokio::test]
    async fn during_a_block_the_right_password_is_refused_too_and_knocking_prolongs_nothing() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        for _ in 0..5 {
            fail(&alice).await;
        }
        assert_eq!(alice.signin().await.limited(), 300);
        for age in [100, 100, 80] {
            app.age_attempts(secs(age)).await;
            for _ in 0..3 {
                alice.signin().await.limited();
            }
        }
        // Each knock tells the true rest, and the block ends when it was to end.
        let rest = alice.signin().await.limited();
        assert!(rest <= 20, "{rest}");
        app.age_attempts(secs(rest)).await;
        alice.signin().await.pair();
    }

    #[tokio::test]
    async fn retry_after_is_the_true_rest_of_the_block() {
        let app = TestApp::with(&[("limits.signin.block_seconds", "1000")]).await;
        let alice = app.user("alice@example.com").await;
        for _ in 0..5 {
            fail(&alice).await;
        }
        assert_eq!(alice.signin().await.limited(), 1000);
        app.age_attempts(secs(400)).await;
        assert_about(alice.signin().await.limited(), 600);
    }

    #[tokio::test]
    async fn after_a_block_the_count_starts_at_zero() {
        let app = TestApp::with(&[
            // A block that is shorter than the window: the attempts before it are forgotten too.
            ("limits.signin.window_seconds", "600"),
            ("limits.signin.block_seconds", "60"),
            ("limits.signin_network_per_minute", "1000"),
        ])
        .await;
        let alice = app.user("alice@example.com").await;
        for _ in 0..3 {
            for _ in 0..5 {
                fail(&alice).await;
            }
            assert_eq!(alice.signin().await.limited(), 60);
            app.age_attempts(secs(60)).await;
        }
        alice.signin().await.pair();
    }

    #[tokio::test]
    async fn the_window_slides() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        for _ in 0..3 {
            fail(&alice).await;
        }
        app.age_attempts(secs(40)).await;
        for _ in 0..2 {
            fail(&alice).await;
        }
        // The first three have left the window, the last two have not.
        app.age_attempts(secs(20)).await;
        for _ in 0..3 {
            fail(&alice).await;
        }
        alice.signin().await.limited();
    }

    #[tokio::test]
    async fn another_network_and_another_address_are_not_affected() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        let bob = app.user("bob@example.com").await;
        for _ in 0..5 {
            fail(&alice).await;
        }
        alice.signin().await.limited();
        alice.elsewhere().signin().await.pair();
        Person::new(&app, &bob.email, alice.network.clone())
            .signin()
            .await
            .pair();
        alice.signin().await.limited();
    }

    #[tokio::test]
    async fn all_spellings_of_an_address_and_all_addresses_of_a_64_count_together() {
        let app = TestApp::start().await;
        app.user("alice@example.com").await;
        for (email, address) in [
            ("alice@example.com", "2001:db8:1:2::1"),
            ("ALICE@example.com", "2001:db8:1:2:ffff::1"),
            ("Alice@Example.Com", "[2001:db8:1:2::9]:4711"),
            ("alice@example.com", "2001:0DB8:0001:0002::77"),
            ("alice@example.com", "2001:db8:1:2:3:4:5:6"),
        ] {
            fail(&Person::new(&app, email, address.to_owned())).await;
        }
        let here = Person::new(&app, "alice@example.com", "2001:db8:1:2:5::".to_owned());
        here.signin().await.limited();
        let next_door = Person::new(&app, "alice@example.com", "2001:db8:1:3::1".to_owned());
        next_door.signin().await.pair();
    }

    #[tokio::test]
    async fn a_network_is_the_same_however_a_proxy_writes_it() {
        let app = TestApp::start().await;
        app.user("alice@example.com").await;
        let signin = async |header: &str, value: &str| {
            let body = json!({"email": "alice@example.com", "password": PASSWORD}).to_string();
            let request = post("/api/v2/signin", &[(header, value)], body.as_bytes());
            send(app.public_addr(), &request).await
        };
        for (header, value) in [
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-For", "198.51.100.1, 203.0.113.7:4711"),
            ("X-Forwarded-For", "::ffff:203.0.113.7, 127.0.0.1"),
            ("Forwarded", "for=203.0.113.7"),
            (
                "Forwarded",
                "for=198.51.100.1, for=\"203.0.113.7:80\";proto=https",
            ),
        ] {
            signin(header, value).await.pair();
        }
        signin("X-Forwarded-For", "203.0.113.7").await.limited();
        signin("X-Forwarded-For", "203.0.113.8").await.pair();
    }

    #[tokio::test]
    async fn an_unreadable_header_of_a_proxy_means_the_proxy_and_never_no_limit() {
        let app = TestApp::start().await;
        app.user("alice@example.com").await;
        for (n, header) in [
            "unknown",
            "x",
            "",
            "999.1.1.1",
            "203.0.113.7, _hidden",
            "a:b",
        ]
        .into_iter()
        .enumerate()
        {
            let here = Person::new(&app, "alice@example.com", header.to_owned());
            let answer = here.signin().await;
            assert_eq!(answer.status, if n < 5 { 200 } else { 429 }, "{header}");
        }
    }

    /// Red when `reserve!` counts the hits of its snapshot instead of those of the locked row.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_forty_attempts_at_once_on_two_instances_exactly_five_get_through() {
        let app = TestApp::start().await;
        let other = app.second_instance().await;
        app.user("alice@example.com").await;
        for _ in 0..5 {
            let network = app.new_network();
            let body = json!({"email": "alice@example.com", "password": PASSWORD});
            let headers = [("X-Forwarded-For", network.as_str())];
            let request = post("/api/v2/signin", &headers, body.to_string().as_bytes());
            let mut held = Vec::new();
            for n in 0..40 {
                let instance = if n % 2 == 0 { &app } else { &other };
                held.push(Held::open(instance.public_addr(), &request).await);
            }
            let answers = race(held).await;
            let (through, refused): (Vec<_>, Vec<_>) =
                answers.iter().partition(|answer| answer.status != 429);
            for answer in &through {
                answer.pair();
            }
            for answer in refused {
                assert_about(answer.limited(), 300);
            }
            assert_eq!(through.len(), 5);
        }
    }

    /// Red when nothing is done about a `Pending` that is dropped.
    #[tokio::test]
    async fn an_attempt_counts_even_if_the_client_hangs_up() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        // Nobody gets past this lock: each attempt is caught in flight.
        let lock = app.hold("LOCK TABLE sessions").await;
        let in_flight = "SELECT count(*) FROM attempts WHERE in_flight <> '{}'";
        let counted = "SELECT COALESCE(min(cardinality(hits)), 0)::BIGINT FROM attempts";
        let body = json!({"email": alice.email, "password": PASSWORD}).to_string();
        let headers = [("X-Forwarded-For", alice.network.as_str())];
        let mut http2 = Http2::connect(app.public_addr()).await;
        for n in 1..=5 {
            tokio::select! {
                _ = http2.post("/api/v2/signin", &headers, &body) => panic!("it was answered"),
                () = until("it is in flight", async || app.count(in_flight).await == 3) => {}
            }
            // Under all three limits.
            until("it counts", async || app.count(counted).await == n).await;
            assert_eq!(app.count(in_flight).await, 0);
        }
        lock.commit().await.unwrap();
        assert_eq!(alice.signin().await.limited(), 300);
    }

    /// Red where an outcome that is written when nobody waits is undone for any reason: a wrong guess
    /// would be free, and the room that it leaves would tell it from a right one.
    #[tokio::test]
    async fn an_attempt_counts_even_if_the_client_hangs_up_while_its_outcome_is_written() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        let lock = app.hold("LOCK TABLE audit_events IN SHARE MODE").await;
        let body = json!({"email": alice.email, "password": "wrong-anvil-67"}).to_string();
        let headers = [("X-Forwarded-For", alice.network.as_str())];
        let mut http2 = Http2::connect(app.public_addr()).await;
        tokio::select! {
            _ = http2.post("/api/v2/signin", &headers, &body) => panic!("it was answered"),
            () = until("it is written", async || app.waits_for_locks().await == 1) => {}
        }
        lock.commit().await.unwrap();
        until("it is settled", async || {
            let settled = "SELECT count(*) FROM attempts WHERE in_flight = '{}'";
            app.count(settled).await == 3
        })
        .await;
        for _ in 0..4 {
            fail(&alice).await;
        }
        assert_eq!(alice.signin().await.limited(), 300);
    }

    #[tokio::test]
    async fn a_network_has_a_ceiling_over_all_addresses_and_is_not_blocked_by_it() {
        let app = TestApp::with(&[("limits.signin_network_per_minute", "7")]).await;
        let alice = app.user("alice@example.com").await;
        let network = app.new_network();
        let from_there = |n: u32| Person::new(&app, &format!("u{n}@example.com"), network.clone());
        for n in 0..7 {
            fail(&from_there(n)).await;
            app.age_attempts(secs(1)).await;
        }
        let rest = from_there(7).signin().await.limited();
        assert_about(rest, 53);
        alice.signin().await.pair();
        // As the oldest attempt leaves the window there is room for one.
        app.age_attempts(secs(53)).await;
        fail(&from_there(8)).await;
        from_there(9).signin().await.limited();
    }

    #[tokio::test]
    async fn an_account_has_a_ceiling_of_failures_over_all_networks() {
        let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "6")]).await;
        let alice = app.user("alice@example.com").await;
        // A success is no failure.
        for _ in 0..4 {
            alice.elsewhere().signin().await.pair();
        }
        for _ in 0..6 {
            fail(&alice.elsewhere()).await;
        }
        let rest = alice.elsewhere().signin().await.limited();
        assert_about(rest, 3600);
        app.age_attempts(secs(3600)).await;
        alice.elsewhere().signin().await.pair();
    }

    #[tokio::test]
    async fn the_ceiling_of_failures_never_stops_a_network_that_the_owner_is_known_from() {
        let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "6")]).await;
        let alice = app.user("alice@example.com").await;
        alice.signin().await.pair();
        for _ in 0..6 {
            fail(&alice.elsewhere()).await;
        }
        alice.elsewhere().signin().await.limited();
        alice.signin().await.pair();
        // For thirty days.
        app.age_known_networks(secs(30 * 86_400 - 60)).await;
        app.age_attempts(secs(60)).await;
        alice.signin().await.pair();
        app.age_known_networks(secs(30 * 86_400)).await;
        alice.signin().await.limited();
    }

    #[tokio::test]
    async fn an_unknown_address_meets_the_same_ceilings() {
        let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "6")]).await;
        let nobody = app.stranger("nobody@example.com");
        for _ in 0..6 {
            fail(&nobody.elsewhere()).await;
        }
        assert_about(nobody.elsewhere().signin().await.limited(), 3600);
    }

    #[tokio::test]
    async fn the_table_of_attempts_names_nobody() {
        let app = TestApp::start().await;
        let alice = app.user("alice@example.com").await;
        fail(&alice).await;
        let rows: Vec<String> = sqlx::query_scalar("SELECT attempts::TEXT FROM attempts")
            .fetch_all(app.sql())
            .await
            .unwrap();
        assert_eq!(rows.len(), 3);
        for row in rows {
            assert!(
                !row.contains("alice") && !row.contains(&alice.network),
                "{row}"
            );
        }
    }
}

mod confirm {
    use super::*;

    async fn fail(person: &Person<'_>, token: &str, code: &str) {
        let answer = person.confirm(token, &other_than(code)).await;
        answer.problem(401, "invalid_two_factor");
    }

    #[tokio::test]
    async fn the_fourth_attempt_in_a_minute_is_too_many_over_all_challenges_and_networks() {
        let app = TestApp::start().await;
        let alice = app.user_with_code("alice@example.com").await;
        let (first, code) = alice.challenge_and_code().await;
        fail(&alice, &first, &code).await;
        let there = alice.elsewhere();
        let (second, code) = there.challenge_and_code().await;
        fail(&there, &second, &code).await;
        fail(&alice, &second, &code).await;

        assert_eq!(there.confirm(&second, &code).await.limited(), 300);
        // A new challenge buys no new guesses.
        let (third, code) = alice.elsewhere().challenge_and_code().await;
        assert_about(
            alice.elsewhere().confirm(&third, &code).await.limited(),
            300,
        );
        app.age_attempts(secs(300)).await;
        alice.confirm(&third, &code).await.pair();
    }

    #[tokio::test]
    async fn another_user_is_not_affected() {
        let app = TestApp::start().await;
        let alice = app.user_with_code("alice@example.com").await;
        app.user_with_code("bob@example.com").await;
        let bob = Person::new(&app, "bob@example.com", alice.network.clone());
        let (token, code) = alice.challenge_and_code().await;
        for _ in 0..3 {
            fail(&alice, &token, &code).await;
        }
        alice.confirm(&token, &code).await.limited();
        let (token, code) = bob.challenge_and_code().await;
        bob.confirm(&token, &code).await.pair();
    }

    #[tokio::test]
    async fn a_used_or_expired_challenge_counts_for_its_user() {
        let app = TestApp::start().await;
        let alice = app.user_with_code("alice@example.com").await;
        let (token, code) = alice.challenge_and_code().await;
        alice.confirm(&token, &code).await.pair();
        alice.fails_to_confirm(&token, &code).await;
        app.age_challenges(secs(600)).await;
        alice.fails_to_confirm(&token, &code).await;
        alice.elsewhere().confirm(&token, &code).await.limited();
    }

    #[tokio::test]
    async fn unknown_challenges_count_for_the_network_they_come_from() {
        let app = TestApp::start().await;
        let alice = app.user_with_code("alice@example.com").await;
        let (token, code) = alice.challenge_and_code().await;
        for unknown in [Uuid::new_v4().to_string(), "x".to_owned(), String::new()] {
            alice.fails_to_confirm(&unknown, "123456").await;
        }
        let unknown = Uuid::new_v4().to_string();
        assert_eq!(alice.confirm(&unknown, "123456").await.limited(), 300);
        let there = alice.elsewhere().confirm(&unknown, "123456").await;
        there.problem(401, "invalid_two_factor");
        // A challenge that exists counts for its user alone.
        alice.confirm(&token, &code).await.pair();
    }

    /// Red when `reserve!` counts the hits of its snapshot instead of those of the locked row.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_thirty_guesses_at_once_on_two_instances_exactly_three_are_looked_at() {
        let app = TestApp::start().await;
        let other = app.second_instance().await;
        for round in 0..5 {
            let alice = app
                .user_with_code(&format!("alice{round}@example.com"))
                .await;
            let (token, code) = alice.challenge_and_code().await;
            let body = json!({"token": token, "code": other_than(&code)}).to_string();
            let request = post("/api/v2/2fa/confirm", &[], body.as_bytes());
            let mut held = Vec::new();
            for n in 0..30 {
                let instance = if n % 2 == 0 { &app } else { &other };
                held.push(Held::open(instance.public_addr(), &request).await);
            }
            let answers: Vec<Answer> = race(held).await;
            let looked_at = answers.iter().filter(|answer| answer.status != 429);
            assert_eq!(looked_at.count(), 3);
            app.age_attempts(secs(86_400)).await;
        }
        assert_eq!(app.count("SELECT sum(attempts) FROM challenges").await, 15);
        assert_eq!(
            app.count("SELECT sum(second_factor_failures) FROM users")
                .await,
            15
        );
    }

    /// Signs in and guesses wrong this often, each time from a new network.
    async fn guess_wrong(alice: &Person<'_>, times: u32) {
        let (token, code) = alice.elsewhere().challenge_and_code().await;
        for _ in 0..times {
            fail(&alice.elsewhere(), &token, &code).await;
        }
    }

    const FEW_WRONG_CODES: [(&str, &str); 3] = [
        ("limits.confirm.attempts", "1000"),
        ("limits.mails_per_account", "1000"),
        ("limits.confirm_failures_per_account", "4"),
    ];

    #[tokio::test]
    async fn so_many_wrong_codes_in_a_row_lock_the_second_factor_until_it_is_unlocked() {
        let app = TestApp::with(&FEW_WRONG_CODES).await;
        let alice = app.user_with_code("alice@example.com").await;
        guess_wrong(&alice, 2).await;
        guess_wrong(&alice, 2).await;

        // Neither a new challenge nor another network, another instance or time opens it.
        let (token, code) = alice.elsewhere().challenge_and_code().await;
        alice.fails_to_confirm(&token, &code).await;
        let restarted = app.second_instance().await;
        app.age(secs(590)).await;
        let there = alice.at(&restarted);
        there.fails_to_confirm(&token, &code).await;
        assert!(app.recorded("confirm refused second_factor_locked").await > 0);

        app.admin()
            .await
            .unlock_user(&*OPERATOR, &alice.email.parse().unwrap())
            .await
            .unwrap();
        alice.confirm(&token, &code).await.pair();
    }

    #[tokio::test]
    async fn a_right_code_starts_the_count_of_wrong_ones_again() {
        let app = TestApp::with(&FEW_WRONG_CODES).await;
        let alice = app.user_with_code("alice@example.com").await;
        for _ in 0..3 {
            guess_wrong(&alice, 3).await;
            let there = alice.elsewhere();
            let (token, code) = there.challenge_and_code().await;
            there.confirm(&token, &code).await.pair();
        }
    }

    #[tokio::test]
    async fn wrong_passwords_and_wrong_codes_are_counted_apart() {
        let mut settings = FEW_WRONG_CODES.to_vec();
        settings.push(("limits.signin_account_failures_per_hour", "4"));
        let app = TestApp::with(&settings).await;
        let alice = app.user_with_code("alice@example.com").await;
        for _ in 0..3 {
            alice.elsewhere().fails_to_signin_with("wrong").await;
        }
        guess_wrong(&alice, 3).await;
        let there = alice.elsewhere();
        let (token, code) = there.challenge_and_code().await;
        there.confirm(&token, &code).await.pair();
    }
}

mod refresh {
    use super::*;

    #[tokio::test]
    async fn the_sixth_refresh_in_a_minute_starts_a_block_and_consumes_no_token() {
        let app = TestApp::start().await;
        let (alice, mut pair) = app.signed_in("alice@example.com").await;
        for _ in 0..5 {
            pair = alice.elsewhere().refresh(&pair.refresh).await.pair();
        }
        assert_eq!(alice.refresh(&pair.refresh).await.limited(), 300);
        app.age_sessions(secs(100)).await;
        assert_about(
            alice.elsewhere().refresh(&pair.refresh).await.limited(),
            200,
        );
        app.age_sessions(secs(200)).await;
        // The refused token is still the current one, and the count starts at zero.
        for _ in 0..5 {
            pair = alice.refresh(&pair.refresh).await.pair();
        }
        alice.refresh(&pair.refresh).await.limited();
    }

    #[tokio::test]
    async fn the_window_slides() {
        let app = TestApp::start().await;
        let (alice, mut pair) = app.signed_in("alice@example.com").await;
        for _ in 0..3 {
            pair = alice.refresh(&pair.refresh).await.pair();
        }
        app.age_sessions(secs(40)).await;
        for _ in 0..2 {
            pair = alice.refresh(&pair.refresh).await.pair();
        }
        app.age_sessions(secs(20)).await;
        for _ in 0..3 {
            pair = alice.refresh(&pair.refresh).await.pair();
        }
        alice.refresh(&pair.refresh).await.limited();
    }

    #[tokio::test]
    async fn repeats_within_the_grace_do_not_count() {
        let app = TestApp::start().await;
        let (alice, first) = app.signed_in("alice@example.com").await;
        let mut pair = alice.refresh(&first.refresh).await.pair();
        for _ in 0..20 {
            assert_eq!(alice.refresh(&first.refresh).await.pair().body, pair.body);
        }
        for _ in 0..4 {
            pair = alice.refresh(&pair.refresh).await.pair();
        }
        alice.refresh(&pair.refresh).await.limited();
    }

    #[tokio::test]
    async fn another_session_of_the_same_user_is_not_affected() {
        let app = TestApp::start().await;
        let (alice, mut pair) = app.signed_in("alice@example.com").await;
        let other = alice.signin().await.pair();
        for _ in 0..5 {
            pair = alice.refresh(&pair.refresh).await.pair();
        }
        alice.refresh(&pair.refresh).await.limited();
        alice.refresh(&other.refresh).await.pair();
    }

    #[tokio::test]
    async fn a_session_that_is_over_can_be_asked_five_times_a_minute() {
        let app = TestApp::start().await;
        let (alice, pair) = app.signed_in("alice@example.com").await;
        alice.signout(&pair.access).await.ok_and_empty();
        for _ in 0..5 {
            let refused = alice.elsewhere().refresh(&pair.refresh).await;
            refused.problem(401, "invalid_refresh_token");
        }
        assert_eq!(
            alice.elsewhere().refresh(&pair.refresh).await.limited(),
            300
        );
    }

    #[tokio::test]
    async fn tokens_that_are_not_ours_count_for_the_network_they_come_from() {
        let app = TestApp::start().await;
        let (alice, pair) = app.signed_in("alice@example.com").await;
        for token in ["x", "", "a.b.c", &pair.access, "y"] {
            alice.fails_to_refresh(token).await;
        }
        assert_eq!(alice.refresh("x").await.limited(), 300);
        alice.elsewhere().fails_to_refresh("x").await;
        // A token of ours counts for its session alone.
        alice.refresh(&pair.refresh).await.pair();
    }

    /// Red without the count in `advance!`.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_session_is_refreshed_five_times_a_minute_however_many_chains_run_at_once() {
        let app = TestApp::start().await;
        let other = app.second_instance().await;
        let (alice, first) = app.signed_in("alice@example.com").await;
        let chain = async |instance: &TestApp| {
            let (here, mut token) = (alice.at(instance), first.refresh.clone());
            loop {
                let answer = here.refresh(&token).await;
                if answer.status != 200 {
                    return answer.status;
                }
                token = answer.pair().refresh;
            }
        };
        let ends = tokio::join!(chain(&app), chain(&other), chain(&app), chain(&other));
        assert!([ends.0, ends.1, ends.2, ends.3].contains(&429), "{ends:?}");
        let generation = app.count("SELECT generation FROM sessions").await;
        assert!(generation <= 6, "{generation}");
    }
}

mod mails {
    use super::*;

    #[tokio::test]
    async fn past_the_budget_a_sign_in_answers_as_ever_and_mails_nothing() {
        let app = TestApp::start().await;
        let alice = app.user_with_code("alice@example.com").await;
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(alice.elsewhere().signin().await);
            alice.code().await;
        }
        answers.push(alice.elsewhere().signin().await);
        let expiries: Vec<i64> = (answers.iter())
            .map(|answer| seconds(&answer.ok()["2faDetails"]["expiresAt"]))
            .collect();
        assert!(expiries.is_sorted());
        let unlike = |answer: &Answer| {
            let details = answer.ok()["2faDetails"].clone();
            let vary =
                [&details["token"], &details["expiresAt"]].map(|v| v.as_str().unwrap().to_owned());
            vary.iter()
                .fold(answer.seen(), |text, v| text.replace(v, "*"))
        };
        assert_eq!(unlike(&answers[5]), unlike(&answers[0]));
        assert_eq!(app.count("SELECT count(*) FROM outbox").await, 5);
        // That a mail arrived may be written down after the next sign-in.
        let audit = app.audit().await;
        let mut signins = audit.iter().filter(|line| line.starts_with("signin"));
        assert_eq!(
            signins.next_back().unwrap(),
            "signin granted challenged_without_mail"
        );

        // Ten minutes later there is a mail again, and it is about that sign-in.
        app.age_attempts(secs(600)).await;
        let (token, code) = alice.challenge_and_code().await;
        alice.confirm(&token, &code).await.pair();
        assert_eq!(app.mailbox().mails_to(&alice.email).len(), 6);
    }
}

mod floods {
    use super::*;

    #[tokio::test]
    async fn a_flood_is_turned_away_before_anything_is_looked_at() {
        let app = TestApp::with(&[
            ("limits.flood_burst", "1"),
            ("limits.flood_per_second", "1"),
        ])
        .await;
        let network = app.new_network();
        let flood = async |path: &str| {
            let headers = [("X-Forwarded-For", network.as_str())];
            let request = post(path, &headers, b"not JSON");
            let mut held = Vec::new();
            for _ in 0..30 {
                held.push(Held::open(app.public_addr(), &request).await);
            }
            race(held).await
        };
        for path in ["/api/v2/signin", "/api/v2/2fa/confirm", "/api/v2/refresh"] {
            let answers = flood(path).await;
            let (refused, through): (Vec<_>, Vec<_>) =
                answers.iter().partition(|a| a.status == 429);
            // Each method has its own burst, and somebody waits for the next second in vain.
            assert!(
                !through.is_empty() && refused.len() >= 15,
                "{}",
                refused.len()
            );
            through[0].problem(400, "malformed_request");
            assert_eq!(refused[0].limited(), 1);
        }
        assert_eq!(app.count("SELECT count(*) FROM attempts").await, 0);
        let elsewhere = app
            .post("/api/v2/signin", &app.new_network(), &json!({}))
            .await;
        elsewhere.problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn unlocking_a_user_lifts_every_limit_that_is_on_for_them() {
    let app = TestApp::with(&[("limits.signin_account_failures_per_hour", "7")]).await;
    let alice = app.user_with_code("alice@example.com").await;
    let bob = app.user("bob@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    for _ in 0..3 {
        alice.fails_to_confirm(&token, &other_than(&code)).await;
    }
    for _ in 0..4 {
        alice.fails_to_signin_with("wrong").await;
    }
    for _ in 0..5 {
        bob.fails_to_signin_with("wrong").await;
    }
    for _ in 0..3 {
        alice.elsewhere().fails_to_signin_with("wrong").await;
    }
    alice.confirm(&token, &code).await.limited();
    alice.signin().await.limited();
    alice.elsewhere().signin().await.limited();
    bob.signin().await.limited();

    app.admin()
        .await
        .unlock_user(&*OPERATOR, &alice.email.parse().unwrap())
        .await
        .unwrap();
    alice.confirm(&token, &code).await.pair();
    alice.challenge().await;
    alice.elsewhere().challenge().await;
    bob.signin().await.limited();
}
