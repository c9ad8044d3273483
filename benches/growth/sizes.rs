//! The sizes of the rows, and the share of their updates that are HOT.

use sqlx::Row as _;

use super::loader::Database;

const MIB: f64 = 1_048_576.0;

/// Prints what the larger tables and their indexes take, and how many of their updates left the
/// indexes alone.
pub async fn print(database: &Database) -> anyhow::Result<()> {
    let rows = sqlx::query(
        "SELECT t.relname::TEXT AS name, NULL::TEXT AS index, pg_relation_size(t.oid)::FLOAT8 AS bytes,
                pg_total_relation_size(t.oid)::FLOAT8 AS all_bytes, t.reltuples::FLOAT8 AS rows,
                s.n_tup_upd::FLOAT8 AS updates, s.n_tup_hot_upd::FLOAT8 AS hot
           FROM pg_class AS t JOIN pg_stat_user_tables AS s ON s.relid = t.oid
          WHERE t.reltuples > 1000
          UNION ALL
         SELECT t.relname, c.relname, pg_relation_size(c.oid), 0, t.reltuples, 0, 0
           FROM pg_class AS t JOIN pg_index AS i ON i.indrelid = t.oid
                              JOIN pg_class AS c ON c.oid = i.indexrelid
          WHERE t.reltuples > 1000 AND t.relnamespace = 'public'::REGNAMESPACE
          ORDER BY name, index NULLS FIRST",
    )
    .fetch_all(database.pool())
    .await?;
    println!(
        "{:<34}{:>9}{:>13}{:>15}{:>13}{:>10}",
        "sizes", "MiB", "bytes a row", "with indexes", "rows", "HOT"
    );
    for row in rows {
        let number = |name| row.try_get::<f64, _>(name);
        let (bytes, rows) = (number("bytes")?, number("rows")?);
        let (size, each) = (bytes / MIB, bytes / rows);
        if let Some(index) = row.try_get::<Option<String>, _>("index")? {
            println!("  {index:<32}{size:>9.0}{each:>13.0}");
            continue;
        }
        let name: String = row.try_get("name")?;
        let (all, updates) = (number("all_bytes")? / rows, number("updates")?);
        let hot = if updates > 0.0 {
            format!("{:.1} %", 100.0 * number("hot")? / updates)
        } else {
            "-".to_owned()
        };
        println!("{name:<34}{size:>9.0}{each:>13.0}{all:>15.0}{rows:>13.0}{hot:>10}");
    }
    Ok(())
}
