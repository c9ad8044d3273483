//! The database goes away and comes back: a cluster of its own, stopped and started.

use serde_json::json;
use tokio::task::block_in_place;
use uuid::Uuid;

use crate::support::{Answer, PASSWORD, TestApp, cluster, secs, until};

/// An answer that must come in time although nobody can ask the database.
async fn in_time(answer: impl Future<Output = Answer>) -> Answer {
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
    // What needs no database is answered as ever.
    let bad = json!({"email": "alice@example.com"});
    app.post("/api/v2/signin", &alice.network, &bad)
        .await
        .problem(422, "invalid_request");
    assert_eq!(app.get("/.well-known/jwks.json").await.status, 200);
    assert_eq!(app.probe("/health/live").await, 200);
    let ready = tokio::time::timeout(secs(2), app.probe("/health/ready"));
    assert_eq!(ready.await.unwrap(), 503);

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
    until("it is not ready", async || {
        app.probe("/health/ready").await == 503
    })
    .await;
    set_read_only(&app, false).await;
    until("it is ready again", async || {
        app.probe("/health/ready").await == 200
    })
    .await;
    alice.refresh(&pair.refresh).await.pair();
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_503_until_it_does() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let mut lock = app.sql().begin().await.unwrap();
    let statement = "LOCK TABLE attempts, sessions";
    sqlx::query(statement).execute(&mut *lock).await.unwrap();
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
