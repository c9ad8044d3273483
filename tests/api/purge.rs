//! The cost of purging where there is little to purge and much that stays, and the rows that it leaves.

use std::fs;
use std::path::Path;

use backoffice_auth::workers::purge_once;
use futures_util::future::join_all;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Row as _};

use crate::support::{TestApp, secs, until};

/// The statements that remove a batch.
fn statements() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = fs::read_dir(folder).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let checked = texts.map(|text| serde_json::from_str::<Value>(&text).unwrap());
    let statements = checked.map(|checked| checked["query"].as_str().unwrap().to_owned());
    let removes = |text: &String| text.contains("DELETE FROM") && text.contains("LIMIT");
    statements.filter(removes).collect()
}

/// The plan of a statement by a planner that walks through a table, or sorts, only if there is no other
/// way.
async fn plan(app: &TestApp, statement: &str) -> String {
    let statement = statement.replace("$1", "1000").replace("$2", "1000");
    let explain = format!(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
         EXPLAIN (COSTS OFF) {statement}"
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(app.sql());
    let rows = rows.await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

/// Red when an age is compared with `clock_timestamp()`, by which no index can be searched, or when
/// two ages are compared in one step.
#[tokio::test]
async fn every_purge_finds_the_oldest_by_an_index() {
    let app = TestApp::start().await;
    let statements = statements();
    assert_eq!(statements.len(), 9);
    for statement in statements {
        let plan = plan(&app, &statement).await;
        let searched = plan.lines().filter(|line| {
            line.contains("Index Cond")
                && line.contains("<= ")
                && line.contains("statement_timestamp")
        });
        let (searched, orders) = (searched.count(), statement.matches("ORDER BY").count());
        let walks = plan.contains("Seq Scan") || plan.contains("Sort");
        assert!(
            orders > 0 && searched == orders && !walks,
            "{statement}\n{plan}"
        );
    }
}

/// The rows of every table that grows with use.
async fn rows(app: &TestApp) -> [i64; 7] {
    [
        app.count("SELECT count(*) FROM attempts").await,
        app.count("SELECT count(*) FROM challenges").await,
        app.count("SELECT count(*) FROM links").await,
        app.count("SELECT count(*) FROM outbox").await,
        app.count("SELECT count(*) FROM sessions").await,
        app.count("SELECT count(*) FROM known_networks").await,
        app.count("SELECT count(*) FROM audit_events").await,
    ]
}

/// Sign-ins with and without a code, refusals, ended sessions, more rows than a batch holds; then
/// much time.
async fn churn(app: &TestApp) {
    let (alice, bob) = (
        app.stranger("alice@example.com"),
        app.stranger("bob@example.com"),
    );
    let pair = alice.signin().await.pair();
    alice.signout(&pair.access).await.ok_and_empty();
    alice.signin().await.pair();
    alice.fails_to_signin_with("wrong").await;
    let (token, code) = bob.challenge_and_code().await;
    bob.confirm(&token, &code).await.pair();
    // One that is never confirmed.
    bob.challenge_and_code().await;
    for statement in [
        "INSERT INTO attempts (attempt_key, scope, hits, stale_at)
         SELECT sha256(n::TEXT::BYTEA), 'signin', '{}', clock_timestamp()
           FROM generate_series(1, 2500) AS n",
        "INSERT INTO audit_events (kind, outcome, reason)
         SELECT 'signin', 'refused', 'unknown_address' FROM generate_series(1, 2500)",
    ] {
        app.execute(statement).await;
    }
    app.age(secs(100 * 86_400)).await;
    app.execute("UPDATE audit_events SET happened_at = happened_at - INTERVAL '100 days'")
        .await;
}

/// Red when a table is left out of a round of purging.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_round_of_churn_only_what_is_alive_is_left_with_two_instances_purging() {
    let app = TestApp::start().await;
    app.user("alice@example.com").await;
    app.user_with_code("bob@example.com").await;
    let carol = app.user("carol@example.com").await;
    let (one, two) = (app.store().await, app.store().await);
    let audit = app.config.audit;
    for _ in 0..3 {
        churn(&app).await;
        carol.signin().await.pair();
        until("all else is gone", async || {
            let rounds = [&one, &two].map(|store| Box::pin(purge_once(store, audit)));
            join_all(rounds).await;
            // The attempts of carol's sign-in, her session, her network, and its event.
            rows(&app).await == [3, 0, 0, 0, 1, 1, 1]
        })
        .await;
    }
}
