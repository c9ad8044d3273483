//! That instances of the release before go on working on the schema of this one, while a rolling
//! upgrade has both at work.
//!
//! `previous.json` is what that release asks of its database; `tests/upgrade/keep` writes it when a
//! release is made. `tests/upgrade/run` has the two releases really work side by side.

use std::collections::{BTreeMap, BTreeSet};

use backoffice_auth::dev::Cluster;
use backoffice_auth::store::MIGRATOR;
use serde::Deserialize;
use serde_json::Value;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Executor as _, PgPool, SqlSafeStr as _};

#[derive(Deserialize)]
struct Previous {
    last_migration: i64,
    statements: Vec<Statement>,
}

/// As `.sqlx` has it.
#[derive(Deserialize)]
struct Statement {
    query: String,
    describe: Value,
}

fn previous() -> Previous {
    serde_json::from_str(include_str!("previous.json")).unwrap()
}

/// A database of its own, in a cluster that is there as long as it is held.
async fn database(name: &str) -> (Cluster, PgPool) {
    let cluster = tokio::task::spawn_blocking(|| crate::cluster::start("policy"));
    let cluster = cluster.await.unwrap();
    let admin = PgPool::connect(&cluster.url("postgres")).await.unwrap();
    for statement in ["DROP DATABASE IF EXISTS", "CREATE DATABASE"] {
        let statement = AssertSqlSafe(format!("{statement} {name}"));
        sqlx::raw_sql(statement).execute(&admin).await.unwrap();
    }
    admin.close().await;
    let pool = PgPool::connect(&cluster.url(name)).await.unwrap();
    (cluster, pool)
}

/// Red with a migration that renames `users.email`, for example, or gives it another type.
#[tokio::test]
async fn each_statement_of_the_release_before_means_the_same_on_the_schema_of_today() {
    let (_cluster, pool) = database("upgrade_statements").await;
    MIGRATOR.run(&pool).await.unwrap();
    let statements = previous().statements;
    assert!(statements.len() > 50, "they are not where they were");
    for Statement { query, describe } in statements {
        let sql = AssertSqlSafe(query.clone()).into_sql_str();
        let today = pool.describe(sql).await;
        let today = today.unwrap_or_else(|error| panic!("{error}: {query}"));
        let today = serde_json::to_value(today).unwrap();
        // Not `nullable`: it is partly guessed from the plan. What is told of it is told below.
        for part in ["columns", "parameters"] {
            assert_eq!(today[part], describe[part], "{query}");
        }
    }
    pool.close().await;
}

/// Red with a migration that adds a column which is `NOT NULL` without a default to a table, or takes
/// `NOT NULL` from one.
#[tokio::test]
async fn the_release_before_need_write_nothing_more_and_reads_no_null_that_it_does_not_know() {
    let (_cluster, pool) = database("upgrade_columns").await;
    let last = previous().last_migration;
    let mut before: Vec<_> = MIGRATOR.iter().cloned().collect();
    before.retain(|migration| migration.version <= last);
    assert_eq!(before.last().unwrap().version, last);
    let before = Migrator {
        migrations: before.into(),
        ..Migrator::DEFAULT
    };
    before.run(&pool).await.unwrap();
    let then = columns(&pool).await;
    MIGRATOR.run(&pool).await.unwrap();
    let today = columns(&pool).await;

    let tables: BTreeSet<_> = then.keys().map(|(table, _)| table).collect();
    let required = |columns: &Columns| {
        let required = columns.iter().filter(|(_, column)| column.is_required);
        required
            .map(|(name, _)| name.clone())
            .collect::<BTreeSet<_>>()
    };
    let (required_then, mut required_today) = (required(&then), required(&today));
    required_today.retain(|name| tables.contains(&name.0) && !required_then.contains(name));
    assert_eq!(required_today, [].into(), "an insert does not name them");

    let never_null = then.iter().filter(|(_, column)| !column.is_nullable);
    for (name, _) in never_null {
        let is_nullable = today.get(name).is_some_and(|column| column.is_nullable);
        assert!(!is_nullable, "{name:?} is read without a thought of NULL");
    }
    pool.close().await;
}

/// By table and name.
type Columns = BTreeMap<(String, String), Column>;

struct Column {
    is_nullable: bool,
    /// Whether an insert must name it.
    is_required: bool,
}

async fn columns(pool: &PgPool) -> Columns {
    let rows: Vec<(String, String, bool, bool)> = sqlx::query_as(
        "SELECT table_name::TEXT, column_name::TEXT, is_nullable = 'YES',
                is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'
                AND is_generated = 'NEVER'
           FROM information_schema.columns WHERE table_schema = 'public'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let columns = rows
        .into_iter()
        .map(|(table, name, is_nullable, is_required)| {
            let column = Column {
                is_nullable,
                is_required,
            };
            ((table, name), column)
        });
    columns.collect()
}
