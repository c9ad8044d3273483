//! The CPU time of PostgreSQL's processes, apart from those that work for somebody else.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::PgPool;

/// CPU time of the connections to a database, but for the one that asks, and of the processes that
/// work for all databases.
#[derive(Debug)]
pub struct Accounts(HashMap<i32, Duration>);

impl Accounts {
    pub async fn read(pool: &PgPool) -> anyhow::Result<Self> {
        let processes: Vec<i32> = sqlx::query_scalar(
            "SELECT pid FROM pg_stat_activity
              WHERE (datname = current_database() OR datname IS NULL) AND pid <> pg_backend_pid()",
        )
        .fetch_all(pool)
        .await?;
        // One that ends in this moment worked for nobody.
        let used = processes
            .into_iter()
            .filter_map(|process| Some((process, used_by(process).ok()?)));
        Ok(Self(used.collect()))
    }

    /// The CPU time since then.
    pub fn since(&self, before: &Self) -> Duration {
        let used = self.0.iter().map(|(process, used)| {
            let before = before.0.get(process).copied().unwrap_or_default();
            used.saturating_sub(before)
        });
        used.sum()
    }
}

/// A process of PostgreSQL is one thread, whose account is kept in nanoseconds.
fn used_by(process: i32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/schedstat"))?;
    let nanos = stat.split(' ').next().context("schedstat has fields")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}
