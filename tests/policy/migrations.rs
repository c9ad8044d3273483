//! The form of migrations, and that a database is migrated once.

use std::fs;
use std::path::Path;

use backoffice_auth::store::MIGRATOR;
use sqlx::PgPool;

#[test]
fn a_migration_has_a_time_in_its_name_and_begins_with_a_sentence_on_why() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut versions = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let stem = name.strip_suffix(".sql").expect(&name);
        let (time, words) = stem.split_once('_').expect(&name);
        assert!(
            time.len() == 14 && time.bytes().all(|b| b.is_ascii_digit()),
            "{name}"
        );
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        assert!(!words.is_empty() && words.bytes().all(is_word), "{name}");
        versions.push(time.to_owned());

        let text = fs::read_to_string(&path).unwrap();
        let comment = text.lines().map_while(|line| line.strip_prefix("-- "));
        let sentence = comment.collect::<Vec<_>>().join(" ");
        assert!(
            sentence.split(' ').count() >= 5 && sentence.ends_with('.'),
            "{name}: {sentence}"
        );
    }
    let count = versions.len();
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), count, "two have the same time");
    let embedded = MIGRATOR
        .iter()
        .map(|migration| migration.version.to_string());
    assert_eq!(embedded.collect::<Vec<_>>(), versions);
}

#[tokio::test]
async fn migrating_twice_changes_nothing() {
    let cluster = tokio::task::spawn_blocking(|| crate::cluster::start("policy"));
    let cluster = cluster.await.unwrap();
    let admin = PgPool::connect(&cluster.url("postgres")).await.unwrap();
    for statement in ["DROP DATABASE IF EXISTS twice", "CREATE DATABASE twice"] {
        sqlx::raw_sql(statement).execute(&admin).await.unwrap();
    }
    let pool = PgPool::connect(&cluster.url("twice")).await.unwrap();
    MIGRATOR.run(&pool).await.unwrap();
    let once = schema(&pool).await;
    assert!(once.len() > 50, "{once:#?}");
    MIGRATOR.run(&pool).await.unwrap();
    assert_eq!(schema(&pool).await, once);
    pool.close().await;
    admin.close().await;
}

/// All columns, constraints, indexes and applied migrations.
async fn schema(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT c.table_name || ' ' || c.column_name || ' ' || c.data_type
                || COALESCE(c.column_default, '')
           FROM information_schema.columns AS c WHERE c.table_schema = 'public'
          UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
          UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
          UNION ALL SELECT version || ' ' || installed_on FROM _sqlx_migrations
          ORDER BY 1",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}
