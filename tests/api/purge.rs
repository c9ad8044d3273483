//! What purging costs where there is little to purge and much that stays.

use sqlx::{AssertSqlSafe, Row as _};

use crate::support::TestApp;

/// The statements that remove a batch.
fn statements() -> Vec<&'static str> {
    let source = include_str!("../../src/store/purge.rs");
    let statements = source.split("r#\"").skip(1);
    let statements = statements.filter_map(|rest| rest.split("\"#").next());
    statements.filter(|text| text.contains("LIMIT")).collect()
}

/// The plan of a statement by a planner that walks through a table only if there is no other way.
async fn plan(app: &TestApp, statement: &str) -> String {
    let statement = statement.replace("$1", "1000").replace("$2", "1000");
    let explain = format!("SET enable_seqscan = off; EXPLAIN (COSTS OFF) {statement}");
    let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(app.sql());
    let rows = rows.await.unwrap();
    let lines: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    lines.join("\n")
}

/// Red when an age is compared with `clock_timestamp()`, by which no index can be searched.
#[tokio::test]
async fn every_purge_finds_what_is_old_by_an_index() {
    let app = TestApp::start().await;
    let statements = statements();
    assert_eq!(statements.len(), 5);
    for statement in statements {
        let plan = plan(&app, statement).await;
        let (_, old) = plan.split_once("CTE old").unwrap();
        let walks = plan.contains("Seq Scan") || !old.contains("Index Cond");
        assert!(!walks, "{statement}\n{plan}");
    }
}
