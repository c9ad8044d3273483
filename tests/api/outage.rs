//! The database goes away and comes back: a cluster of its own, stopped and started.

use backoffice_auth::domain::Clock;
use backoffice_auth::http::endpoints::health::{Health, Readiness};
use backoffice_auth::serve::Shutdown;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{Answer, PASSWORD, TestApp, cluster, secs, soon, until};

/// An answer that must come in time although nobody can ask the database.
async fn in_time<T>(answer: impl Future<Output = T>) -> T {
    let answer = tokio::time::timeout(secs(2), answer).await;
    answer.expect("an answer within two seconds")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_every_method_is_503_and_all_recovers_by_itself() {
    let mut cluster = block_in_place(|| cluster::start("outage"));
    let database = format!("outage_{}", std::process::id());
    let admin = cluster.url("postgres");
    create(&admin, &database).await;
    let app = TestApp::on(&cluster.url(&database), None, &[]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let bob = app.user_with_code("bob@example.com").await;
    let (token, code) = bob.challenge_and_code().await;
    assert_eq!(app.probe("/health/ready").await, 200);

    block_in_place(|| cluster.halt()).unwrap();
    let nobody = app.stranger("nobody@example.com");
    let unknown = Uuid::new_v4().to_string();
    for _ in 0..2 {
        let answers = tokio::join!(
            in_time(alice.signin()),
            in_time(alice.signin_with("wrong")),
            in_time(nobody.signin()),
            in_time(bob.confirm(&token, &code)),
            in_time(bob.confirm(&unknown, &code)),
            in_time(alice.refresh(&pair.refresh)),
            in_time(alice.refresh("not ours")),
            in_time(alice.signout(&pair.access)),
        );
        for answer in <[Answer; 8]>::from(answers) {
            answer.problem(503, "unavailable");
        }
    }
    // Requests that need no database are answered as ever.
    let bad = json!({"email": "alice@example.com"});
    app.post("/api/v2/signin", &alice.network, &bad)
        .await
        .problem(422, "invalid_request");
    assert_eq!(app.get("/.well-known/jwks.json").await.status, 200);
    assert_eq!(app.probe("/health/live").await, 200);
    until("it is not ready", async || {
        in_time(app.probe("/health/ready")).await == 503
    })
    .await;

    block_in_place(|| cluster.resume()).unwrap();
    until("it is ready again", async || {
        app.probe("/health/ready").await == 200
    })
    .await;
    // Nothing was used up by the refusals.
    bob.confirm(&token, &code).await.pair();
    let pair = alice.refresh(&pair.refresh).await.pair();
    alice.signout(&pair.access).await.ok_and_empty();
    alice.signin_with(PASSWORD).await.pair();
    // Mail leaves again, too.
    let (token, code) = bob.challenge_and_code().await;
    bob.confirm(&token, &code).await.pair();
    app.stop().await;
    drop_database(&admin, &database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_be_written_to_is_503_until_it_can() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    set_read_only(&app, true).await;
    for answer in [
        in_time(alice.signin()).await,
        in_time(alice.refresh(&pair.refresh)).await,
        in_time(alice.signout(&pair.access)).await,
    ] {
        answer.problem(503, "unavailable");
    }
    until_it_says(&app, 503, "database_read_only").await;
    set_read_only(&app, false).await;
    until("it is ready again", async || {
        app.probe("/health/ready").await == 200
    })
    .await;
    alice.refresh(&pair.refresh).await.pair();
}

/// Red where a failed write does not record that the disk is full.
#[tokio::test]
async fn a_full_disk_is_said_by_readiness() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    app.execute(
        "CREATE FUNCTION fill() RETURNS TRIGGER LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
    )
    .await;
    app.execute("CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON attempts EXECUTE FUNCTION fill()")
        .await;
    in_time(alice.signin()).await.problem(503, "unavailable");
    until_it_says(&app, 503, "database_full").await;
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_503_until_it_does() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let lock = app.hold("LOCK TABLE attempts, sessions").await;
    let answers = tokio::join!(
        in_time(alice.signin()),
        in_time(alice.refresh(&pair.refresh)),
        in_time(alice.refresh("not ours")),
        in_time(alice.signout(&pair.access)),
    );
    for answer in <[Answer; 4]>::from(answers) {
        answer.problem(503, "unavailable");
    }
    lock.commit().await.unwrap();
    alice.signin().await.pair();
}

/// The status of readiness, and its word.
async fn readiness(app: &TestApp) -> (u16, String) {
    let url = format!("http://{}/health/ready", app.management_addr());
    let answer = soon("a probe's answer", reqwest::get(url)).await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["status"].as_str().unwrap().to_owned())
}

async fn until_it_says(app: &TestApp, status: u16, word: &str) {
    until(word, async || {
        readiness(app).await == (status, word.to_owned())
    })
    .await;
}

/// Red for each word whose case is taken out of `Store::fitness`.
#[tokio::test]
async fn readiness_says_what_is_missing() {
    let app = TestApp::start().await;
    until_it_says(&app, 200, "ready").await;
    app.execute("UPDATE signing_keys SET activates_at = activates_at + INTERVAL '1 day'")
        .await;
    until_it_says(&app, 503, "no_signing_key").await;
    app.execute("UPDATE signing_keys SET activates_at = activates_at - INTERVAL '1 day'")
        .await;
    until_it_says(&app, 200, "ready").await;
    let newest = "UPDATE _sqlx_migrations SET version = -version
                   WHERE abs(version) = (SELECT max(abs(version)) FROM _sqlx_migrations)";
    app.execute(newest).await;
    until_it_says(&app, 503, "migrations_missing").await;
    app.execute(newest).await;
    until_it_says(&app, 200, "ready").await;
    app.clock().advance(secs(61));
    until_it_says(&app, 503, "clock_off").await;
    let metrics = app.metrics().await;
    assert!(
        metrics.contains("backoffice_auth_clock_skew_seconds"),
        "{metrics}"
    );
    app.clock().go_back(secs(122));
    until_it_says(&app, 503, "clock_off").await;
    app.clock().advance(secs(61));
    until_it_says(&app, 200, "ready").await;
    app.execute("DROP TABLE _sqlx_migrations").await;
    until_it_says(&app, 503, "migrations_missing").await;
    assert_eq!(app.probe("/health/live").await, 200);
}

/// Red when readiness asks over the pool of the requests.
#[tokio::test]
async fn an_instance_whose_pool_is_used_up_is_ready_all_the_same() {
    let app = TestApp::with(&[("database.max_connections", "2")]).await;
    let users = [
        app.user("a@example.com").await,
        app.user("b@example.com").await,
    ];
    let lock = app.hold("LOCK TABLE attempts").await;
    // PostgreSQL ends their wait for the lock by and by.
    let busy = async {
        loop {
            tokio::join!(users[0].signin(), users[1].signin());
        }
    };
    let probing = async {
        until("both connections are in use", async || {
            app.waits_for_locks().await == 2
        })
        .await;
        readiness(&app).await
    };
    let answer = tokio::select! {
        () = busy => unreachable!("it goes on"),
        answer = probing => answer,
    };
    assert_eq!(answer, (200, "ready".to_owned()));
    lock.commit().await.unwrap();
}

/// Red when each probe asks for itself over the pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_probes_at_once_one_asks_and_all_are_answered_in_time() {
    let app = TestApp::start().await;
    let lock = app.hold("LOCK TABLE _sqlx_migrations").await;
    let health = Health::new(
        app.store().await,
        Clock::system(),
        Shutdown::default(),
        CancellationToken::new(),
    );
    let probes = join_all((0..1000).map(|_| in_time(health.readiness())));
    let watching = async {
        until("one waits for the lock", async || {
            app.waits_for_locks().await == 1
        })
        .await;
        for _ in 0..20 {
            assert_eq!(app.waits_for_locks().await, 1);
        }
    };
    let (answers, ()) = tokio::join!(probes, watching);
    assert!(
        answers
            .iter()
            .all(|answer| *answer == Readiness::DatabaseUnavailable)
    );
    lock.commit().await.unwrap();
    assert_eq!(
        health.readiness().await,
        Readiness::DatabaseUnavailable,
        "said again for a moment"
    );
    until_it_says(&app, 200, "ready").await;
}

/// Turns the test's database into what a primary that became a standby looks like.
async fn set_read_only(app: &TestApp, is_read_only: bool) {
    let setting = if is_read_only { "on" } else { "off" };
    let statement = format!(
        "SET default_transaction_read_only = off;
         DO $$ BEGIN
           EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {setting}',
                          current_database());
         END $$;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(app.sql())
        .await
        .unwrap();
}

async fn create(admin: &str, database: &str) {
    execute(admin, format!("CREATE DATABASE {database}")).await;
}

async fn drop_database(admin: &str, database: &str) {
    execute(admin, format!("DROP DATABASE {database} WITH (FORCE)")).await;
}

async fn execute(url: &str, statement: String) {
    use sqlx::Connection as _;
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
}
