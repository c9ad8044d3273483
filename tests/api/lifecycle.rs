//! Starting and stopping.

use std::error::Error;

use backoffice_auth::app::StartError;
use tokio::net::TcpStream;

use crate::support::{Database, Held, TestApp, secs, until};

/// An error and its causes, in one line.
fn told(error: &dyn Error) -> String {
    let chain = std::iter::successors(Some(error), |&error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[tokio::test]
async fn another_master_key_does_not_start() {
    let app = TestApp::start().await;
    let other_key = [(
        "secrets.master_key",
        "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=",
    )];
    let Err(error) = app.try_second_instance(&other_key).await else {
        panic!("it started");
    };
    assert!(matches!(error, StartError::Keys(_)));
    let told = told(&error);
    assert!(told.contains("master"), "{told}");
}

#[tokio::test]
async fn a_database_without_migrations_is_not_touched_if_told_so() {
    let app = TestApp::start().await;
    let empty = Database::empty().await;
    let settings = [("database.url", &*empty.url), ("database.migrate", "false")];
    let Err(error) = app.try_second_instance(&settings).await else {
        panic!("it started");
    };
    assert!(
        matches!(error, StartError::NotMigrated | StartError::Database(_)),
        "{error:?}"
    );
    let told = told(&error);
    assert!(told.contains("backoffice-auth migrate"), "{told}");
    assert_eq!(tables(&empty).await, 0);
}

async fn tables(database: &Database) -> i64 {
    let pool = sqlx::PgPool::connect(&database.url).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn an_unreachable_database_does_not_start_and_says_so_in_time() {
    let app = TestApp::start().await;
    let nowhere = [("database.url", "postgres://nobody:secret@127.0.0.1:1/none")];
    let start = app.try_second_instance(&nowhere);
    let Err(error) = tokio::time::timeout(secs(2), start).await.unwrap() else {
        panic!("it started");
    };
    let told = told(&error);
    assert!(told.starts_with("cannot reach the database"), "{told}");
    assert!(!told.contains("secret"), "{told}");
}

/// Red without the lock and the second look in `ensure_first`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_start_at_once_on_an_empty_database_share_one_key() {
    let app = TestApp::start().await;
    let empty = Database::empty().await;
    let settings = [("database.url", &*empty.url)];
    let start = || app.try_second_instance(&settings);
    let (one, two, three) = tokio::join!(start(), start(), start());
    let instances = [one.unwrap(), two.unwrap(), three.unwrap()];
    let keys = instances[0].jwks().await;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    for instance in &instances {
        assert_eq!(instance.jwks().await, keys);
        assert_eq!(instance.probe("/health/ready").await, 200);
    }
}

#[tokio::test]
async fn tokens_and_sessions_outlive_a_restart() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let restarted = app.second_instance().await;
    let there = alice.at(&restarted);
    let next = there.refresh(&pair.refresh).await.pair();
    there.signout(&next.access).await.ok_and_empty();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_told_to_stop_finishes_what_it_has_begun() {
    let app = TestApp::start().await;
    let leaving = app.second_instance().await;
    let address = leaving.public_addr();
    let alice = app.user("alice@example.com").await;
    let request = {
        let body = serde_json::json!({"email": alice.email, "password": crate::support::PASSWORD});
        crate::support::post("/api/v2/signin", &[], body.to_string().as_bytes())
    };

    // The sign-in is under way: all of it has arrived but its last byte. Nothing else that a request
    // waits for is as patient on a busy machine.
    let signin = Held::open(address, &request).await;

    let stopping = tokio::spawn(leaving.stop());
    until("nobody gets in any more", async || {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert!(!stopping.is_finished());
    signin.release().await.pair();
    crate::support::soon("the end", stopping).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_says_not_ready_first() {
    let app = TestApp::with(&[("http.drain_seconds", "1")]).await;
    let leaving = app.second_instance().await;
    let (public, management) = (leaving.public_addr(), leaving.management_addr());
    let probe = async || {
        let url = format!("http://{management}/health/ready");
        reqwest::get(url).await.unwrap().status().as_u16()
    };
    assert_eq!(probe().await, 200);
    let stopping = tokio::spawn(leaving.stop());
    until("it says not ready", async || probe().await == 503).await;
    // It still serves whom a balancer has sent before it knew.
    let answer = reqwest::get(format!("http://{public}/.well-known/jwks.json"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    crate::support::soon("the end", stopping).await.unwrap();
}
