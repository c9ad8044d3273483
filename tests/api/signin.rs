//! `POST /api/v2/signin`.

use std::collections::HashSet;

use backoffice_auth::domain::HashKind;
use insta::assert_json_snapshot;
use serde_json::json;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{
    Answer, Held, Jwt, OPERATOR, PASSWORD, Person, Program, TestApp, assert_keys, post, race,
    seconds, secs, until,
};

#[tokio::test]
async fn without_a_second_factor_the_answer_is_a_pair_of_tokens_and_nothing_else() {
    let app = TestApp::start().await;
    let answer = app.user("alice@example.com").await.signin().await;
    let body = answer.ok();
    assert_keys(&body, &["2faRequired", "accessToken", "refreshToken"]);
    assert_eq!(body["2faRequired"], false);
    answer.pair();
}

#[tokio::test]
async fn with_a_second_factor_the_answer_is_a_challenge_and_nothing_else() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let body = alice.signin().await.ok();
    assert_keys(&body, &["2faRequired", "2faDetails"]);
    assert_eq!(body["2faRequired"], true);
    let details = &body["2faDetails"];
    assert_keys(details, &["token", "provider", "expiresAt"]);
    assert_eq!(details["provider"], "email");

    let text = details["token"].as_str().unwrap();
    let token = Uuid::parse_str(text).unwrap();
    assert_eq!(token.get_version_num(), 4);
    assert_eq!(token.hyphenated().to_string(), text);

    let expires_at: i64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM expires_at)::BIGINT FROM challenges WHERE challenge_id = $1",
    )
    .bind(token)
    .fetch_one(app.sql())
    .await
    .unwrap();
    assert_eq!(seconds(&details["expiresAt"]), expires_at);
}

#[tokio::test]
async fn a_challenge_lives_for_as_long_as_configured() {
    let app = TestApp::with(&[("two_factor.ttl_seconds", "77")]).await;
    let alice = app.user_with_code("alice@example.com").await;
    alice.challenge().await;
    let life = "SELECT extract(epoch FROM expires_at - date_trunc('second', created_at))::BIGINT
                  FROM challenges";
    assert_eq!(app.count(life).await, 77);
}

#[tokio::test]
async fn the_address_is_taken_in_any_case() {
    let app = TestApp::start().await;
    let alice = app.user("Alice@Example.com").await;
    for spelling in [
        "alice@example.com",
        "ALICE@EXAMPLE.COM",
        "aLiCe@eXaMpLe.CoM",
    ] {
        let pair = Person::new(&app, spelling, alice.network.clone())
            .signin()
            .await
            .pair();
        assert_eq!(Jwt::read(&pair.access).claims["email"], "alice@example.com");
    }
}

#[tokio::test]
async fn the_password_is_used_exactly_as_sent_after_nfkc() {
    let app = TestApp::start().await;
    // An fi ligature, a combining diaeresis, spaces at both ends and a line break.
    let alice = app.user("alice@example.com").await;
    app.change_password("alice@example.com", " \u{fb01}sh-u\u{308}ber\n")
        .await;
    for equal in [" \u{fb01}sh-u\u{308}ber\n", " fish-\u{fc}ber\n"] {
        alice.elsewhere().signin_with(equal).await.pair();
    }
    for other in [
        "fish-\u{fc}ber",
        " fish-\u{fc}ber",
        " fish-\u{fc}ber\n ",
        " FISH-\u{fc}BER\n",
    ] {
        let refused = alice.elsewhere().signin_with(other).await;
        refused.problem(401, "invalid_credentials");
    }
}

#[tokio::test]
async fn a_password_is_told_from_another_by_its_last_of_1024_bytes() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let long = "x".repeat(1023);
    app.change_password("alice@example.com", &format!("{long}y"))
        .await;
    alice.signin_with(&format!("{long}y")).await.pair();
    let refused = alice.signin_with(&format!("{long}z")).await;
    refused.problem(401, "invalid_credentials");
    let refused = alice.signin_with(&long).await;
    refused.problem(401, "invalid_credentials");
}

#[tokio::test]
async fn every_reason_to_refuse_gets_the_same_answer_byte_for_byte() {
    let app = TestApp::start().await;
    let unknown = app.stranger("nobody@example.com");
    let alice = app.user("alice@example.com").await;
    let disabled = app.user("disabled@example.com").await;
    let admin = app.admin().await;
    admin
        .disable_user(&*OPERATOR, &disabled.email.parse().unwrap())
        .await
        .unwrap();
    let bare = app.user_with_code("bare@example.com").await;
    app.execute("UPDATE users SET password_hash = NULL WHERE email = 'bare@example.com'")
        .await;

    let answers = [
        unknown.signin().await,
        alice.signin_with("wrong").await,
        disabled.signin().await,
        disabled.signin_with("wrong").await,
        bare.signin().await,
    ];
    let seen: HashSet<String> = answers.iter().map(Answer::seen).collect();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert_json_snapshot!(answers[0].problem(401, "invalid_credentials"), @r#"
    {
      "code": "invalid_credentials",
      "detail": "The email address or the password is wrong.",
      "requestId": "(id)",
      "status": 401,
      "title": "Unauthorized",
      "type": "about:blank"
    }
    "#);
    let challenge = answers[0].header("www-authenticate");
    assert_eq!(challenge, Some(r#"Bearer realm="back-office""#));

    // The audit log, on the other hand, knows which was which.
    let refused = app.audit().await;
    let refused: Vec<_> = refused
        .iter()
        .filter_map(|line| line.strip_prefix("signin refused "))
        .collect();
    assert_eq!(
        refused,
        [
            "unknown_address",
            "wrong_password",
            "user_disabled",
            "wrong_password",
            "no_password"
        ]
    );
}

#[tokio::test]
async fn a_user_who_is_enabled_again_can_sign_in() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let (admin, email) = (app.admin().await, alice.email.parse().unwrap());
    admin.disable_user(&*OPERATOR, &email).await.unwrap();
    alice.signin().await.problem(401, "invalid_credentials");
    admin.enable_user(&*OPERATOR, &email).await.unwrap();
    alice.signin().await.pair();
}

/// Red without `FOR NO KEY UPDATE` in `open_session`.
#[tokio::test]
async fn a_user_who_is_disabled_while_the_password_is_checked_gets_no_session() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let mut operator = app.hold("SELECT FROM users FOR UPDATE").await;
    let disable = async {
        // The sign-in has come as far as its session, and waits for the operator.
        until("the sign-in waits", async || {
            app.waits_for_locks().await == 1
        })
        .await;
        let disable = "UPDATE users SET disabled_at = clock_timestamp()";
        sqlx::query(disable).execute(&mut *operator).await.unwrap();
        operator.commit().await.unwrap();
    };
    let (answer, ()) = tokio::join!(alice.signin(), disable);
    answer.problem(401, "invalid_credentials");
    assert_eq!(app.count("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test]
async fn each_sign_in_opens_a_session_of_its_own() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let one = Jwt::read(&alice.signin().await.pair().access).claims;
    let other = Jwt::read(&alice.signin().await.pair().access).claims;
    assert_eq!(one["sub"], other["sub"]);
    assert_ne!(one["sid"], other["sid"]);
    assert_ne!(one["jti"], other["jti"]);
}

#[tokio::test]
async fn a_session_remembers_where_it_was_opened_and_by_what() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let request = app
        .request("POST", "/api/v2/signin", "2001:db8:1:2:3:4:5:6")
        .header("user-agent", "Browser/1.0")
        .json(&json!({"email": alice.email, "password": PASSWORD}));
    app.send(request).await.pair();
    let session = "SELECT client_network::TEXT || ' ' || user_agent FROM sessions";
    let session: String = sqlx::query_scalar(session)
        .fetch_one(app.sql())
        .await
        .unwrap();
    assert_eq!(session, "2001:db8:1:2::/64 Browser/1.0");
}

#[tokio::test]
async fn a_full_hashing_queue_is_503_overloaded_and_says_when_to_come_back() {
    // One worker that takes its time, and one place to wait.
    let app = TestApp::with(&[
        ("passwords.workers", "1"),
        ("passwords.queue", "1"),
        ("passwords.memory_kib", "65536"),
        ("passwords.iterations", "4"),
    ])
    .await;
    let request = |n| {
        let body = json!({"email": format!("user{n}@example.com"), "password": "wrong"});
        post("/api/v2/signin", &[], body.to_string().as_bytes())
    };
    let mut held = Vec::new();
    for n in 0..8 {
        held.push(Held::open(app.public_addr(), &request(n)).await);
    }
    let answers = race(held).await;
    let (served, turned_away): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 401);
    assert!(!served.is_empty() && !turned_away.is_empty());
    let body = turned_away[0].problem(503, "overloaded");
    assert!(body["retryAfter"].as_u64().unwrap() < 30);
    assert_eq!(
        app.recorded("signin refused overloaded").await,
        turned_away.len()
    );
}

/// Red without `delay_refusal`. How long a check takes differs from machine to machine, so this only
/// asks for half of what one took here; `benches/enumeration.rs` measures how alike they are.
#[tokio::test]
async fn while_an_older_hash_is_in_use_every_refusal_takes_as_long_as_its_check() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let hash = bcrypt::hash(PASSWORD, 10).unwrap();
    let took = |check: &dyn Fn()| {
        let started = Instant::now();
        check();
        started.elapsed()
    };
    let check = || drop(std::hint::black_box(bcrypt::verify("wrong", &hash)));
    let least = (0..3).map(|_| took(&check)).min().unwrap();
    sqlx::query("UPDATE users SET password_hash = $1")
        .bind(&hash)
        .execute(app.sql())
        .await
        .unwrap();
    alice.signin_with("wrong").await;
    for _ in 0..5 {
        let started = Instant::now();
        let refused = app.stranger("nobody@example.com").signin().await;
        refused.problem(401, "invalid_credentials");
        assert!(started.elapsed() >= least / 2, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn the_kinds_of_hashes_in_use_are_read_through_an_index() {
    let app = TestApp::start().await;
    for email in ["a@example.com", "b@example.com", "c@example.com"] {
        app.user(email).await;
    }
    let change =
        "UPDATE users SET password_hash = '$2y$10$' || repeat('x', 53) WHERE email LIKE 'b%'";
    app.execute(change).await;
    app.execute("UPDATE users SET password_hash = NULL WHERE email LIKE 'c%'")
        .await;
    let kinds = app.store().await.list_hash_kinds(10).await.unwrap();
    let kinds: Vec<&str> = kinds.iter().map(HashKind::as_str).collect();
    assert_eq!(kinds, ["$2y$10", "$argon2id$v=19$m=64,t=1,p=1"]);
    let statement = include_str!("../../src/store/sql/list_hash_kinds.sql");
    let statement = statement.replace("$1", "10").replace("\"kind!\"", "kind");
    let explain = format!("SET enable_seqscan = off; EXPLAIN (COSTS OFF) {statement}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(app.sql());
    let rows = rows.await.unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    let is_by_index = plan.contains("users_password_hash_kind_idx") && !plan.contains("Seq Scan");
    assert!(is_by_index, "{plan}");
}

const FEW_SESSIONS: [(&str, &str); 1] = [("tokens.max_sessions_per_user", "3")];

#[tokio::test]
async fn one_session_too_many_ends_the_one_that_was_not_used_for_longest() {
    let app = TestApp::with(&FEW_SESSIONS).await;
    let alice = app.user("alice@example.com").await;
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(alice.signin().await.pair());
        app.age_sessions(secs(60)).await;
    }
    pairs[0] = alice.refresh(&pairs[0].refresh).await.pair();
    pairs.push(alice.signin().await.pair());
    let ended = alice.refresh(&pairs[1].refresh).await;
    ended.problem(401, "invalid_refresh_token");
    for live in [0, 2, 3] {
        alice.refresh(&pairs[live].refresh).await.pair();
    }
    let program = Program::on(app.database_url(), &[]);
    let told = program.run("explain alice@example.com").await;
    let session = &Jwt::read(&pairs[1].access).claims["sid"];
    let line = (told.ok().lines())
        .find(|line| line.contains(session.as_str().unwrap()) && line.contains("Ended "));
    assert!(
        line.unwrap().contains("as many as one may have"),
        "{told:?}"
    );
    assert!(
        app.recorded("session_ended granted too_many_sessions")
            .await
            > 0
    );
}

/// Red with `FOR SHARE` in `open_session`: each counts without the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_sessions_that_open_at_once_on_two_instances_no_more_stay_than_one_may_have() {
    let app = TestApp::with(&FEW_SESSIONS).await;
    let other = app.second_instance().await;
    for round in 0..20 {
        let email = format!("alice{round}@example.com");
        app.user(&email).await;
        let mut held = Vec::new();
        for instance in [&app, &other].into_iter().cycle().take(6) {
            let body = json!({"email": email, "password": PASSWORD}).to_string();
            let network = app.new_network();
            let headers = [("X-Forwarded-For", network.as_str())];
            let request = post("/api/v2/signin", &headers, body.as_bytes());
            held.push(Held::open(instance.public_addr(), &request).await);
        }
        for answer in race(held).await {
            answer.pair();
        }
    }
    let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(app.count(live).await, 60);
    let most = "SELECT max(n) FROM (SELECT count(*) AS n FROM sessions WHERE ended_at IS NULL
                                     GROUP BY user_id) AS live";
    assert_eq!(app.count(most).await, 3);
}

#[tokio::test]
async fn a_weaker_hash_is_replaced_after_the_next_good_sign_in() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let stronger = app
        .try_second_instance(&[("passwords.iterations", "2")])
        .await
        .unwrap();
    let hashes = async |pattern: &str| -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM users WHERE password_hash LIKE $1")
            .bind(pattern)
            .fetch_one(app.sql())
            .await
            .unwrap()
    };
    assert_eq!(hashes("$argon2id$%t=1,%").await, 1);
    let there = alice.at(&stronger);
    there.fails_to_signin_with("wrong").await;
    let pair = there.signin().await.pair();
    until("the hash is replaced", async || {
        hashes("$argon2id$%t=2,%").await == 1
    })
    .await;
    // It is no change of password: the session lives.
    there.refresh(&pair.refresh).await.pair();
    alice.signin().await.pair();
}
