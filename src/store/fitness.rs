//! Whether the database is fit to serve, and the figures that are read for the metrics. None of it takes a
//! connection from the requests.

use std::time::Duration;

use chrono::TimeDelta;

use super::run::Run as _;
use super::{MIGRATOR, Store, StoreError};
use crate::domain::{Clock, Timestamp};

/// By how much a clock may differ from the database's. Tokens are dated by the database, and whether
/// they have expired is told by the process: one whose clock is ahead by the life of a token refuses all
/// that it issues itself, and one whose clock is behind takes tokens for so much longer.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// Whether requests can be served with this database, and if not, the first reason against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fitness {
    /// Requests can be served.
    Fit,
    /// It cannot be written to.
    ReadOnly,
    /// It lacks migrations of this program.
    NotMigrated,
    /// It has no room left on its disk.
    DiskFull,
    /// It does not answer commits, though it may answer readers.
    CommitsStalled,
    /// No signing key is active.
    NoSigningKey,
    /// The process's clock differs from the database's by more than [`CLOCK_TOLERANCE`].
    ClockOff,
}

/// The mails that wait to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The number of them.
    pub waiting: u64,
    /// How long ago the oldest one was asked for.
    pub oldest: Option<Duration>,
}

/// The size of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    /// Its name, without that of its schema.
    pub table: String,
    /// On disk, indexes included, as the last vacuum or analyze found it.
    pub bytes: u64,
    /// Rows that vacuum has yet to clear away.
    pub dead_rows: u64,
}

impl Store {
    /// Whether the database can be written to, has every migration of this program, holds a key that
    /// signs now, and has the same time as `clock`.
    pub async fn fitness(&self, clock: &Clock) -> Result<Fitness, StoreError> {
        let newest = MIGRATOR.iter().map(|migration| migration.version).max();
        let query = sqlx::query!(
            r#"
            SELECT clock_timestamp() AS "now!",
                   current_setting('transaction_read_only') = 'off' AS "is_writable!",
                   (SELECT max(version) FROM _sqlx_migrations WHERE success) AS newest,
                   EXISTS (SELECT FROM signing_keys
                            WHERE sealed_private_key IS NOT NULL AND revoked_at IS NULL
                              AND activates_at <= clock_timestamp()
                              AND (expires_at IS NULL OR expires_at > clock_timestamp()))
                       AS "has_key!"
            "#
        );
        let asked_at = clock.now();
        let row = match self.on_probes().fetch_one(query).await {
            // Before the first migrations there are no tables to ask.
            Err(StoreError::Defect(_)) => return Ok(Fitness::NotMigrated),
            row => row?,
        };
        let ahead = lead_over(asked_at, row.now, clock.now());
        if !row.is_writable {
            self.guard.note_wrong_server();
        }
        Ok(if !row.is_writable || self.guard.is_unsettled() {
            Fitness::ReadOnly
        } else if row.newest < newest {
            Fitness::NotMigrated
        } else if self.guard.is_disk_full() {
            Fitness::DiskFull
        } else if self.heartbeat.is_stalled() {
            Fitness::CommitsStalled
        } else if !row.has_key {
            Fitness::NoSigningKey
        } else if ahead.abs() > CLOCK_TOLERANCE {
            Fitness::ClockOff
        } else {
            Fitness::Fit
        })
    }

    /// By how much `clock` is at least ahead of the database's; less than zero if it is behind. How long
    /// the answer took is no difference.
    pub async fn clock_skew(&self, clock: &Clock) -> Result<TimeDelta, StoreError> {
        let query = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#);
        let asked_at = clock.now();
        let now = self.on_probes().fetch_one(query).await?;
        Ok(lead_over(asked_at, now, clock.now()))
    }

    /// A setting of PostgreSQL's, as it is for the statements of requests.
    pub async fn setting(&self, name: &str) -> Result<String, StoreError> {
        let query = sqlx::query_scalar!(r#"SELECT current_setting($1) AS "value!""#, name);
        self.fetch_one(query).await
    }

    /// The mails that wait, over all instances.
    pub async fn backlog(&self) -> Result<Backlog, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT count(*) AS "waiting!",
                   EXTRACT(EPOCH FROM clock_timestamp()
                           - min(COALESCE(o.happened_at, c.created_at, l.created_at)))::FLOAT8
                       AS oldest
              FROM outbox AS o JOIN users AS u ON u.user_id = o.recipient_id
                               LEFT JOIN challenges AS c USING (challenge_id)
                               LEFT JOIN links AS l USING (link_id)
             WHERE o.sent_at IS NULL AND o.given_up_at IS NULL
               AND o.expires_at > clock_timestamp()
               AND (o.challenge_id IS NULL
                    OR c.consumed_at IS NULL AND c.expires_at > clock_timestamp())
               AND (o.link_id IS NULL
                    OR l.consumed_at IS NULL AND u.disabled_at IS NULL
                       AND u.credential_version = l.credential_version)
            "#
        );
        let row = self.on_probes().fetch_one(query).await?;
        let oldest = row.oldest.map(|seconds| seconds.max(0.0));
        Ok(Backlog {
            waiting: u64::try_from(row.waiting).unwrap_or_default(),
            oldest: oldest.map(Duration::from_secs_f64),
        })
    }

    /// The sizes of our tables, from the estimates that PostgreSQL keeps for vacuum and the planner:
    /// counting the rows would wait for a locked table.
    pub async fn table_sizes(&self) -> Result<Vec<TableSize>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT s.relname::TEXT AS "table!",
                   (SELECT sum(c.relpages)::BIGINT FROM pg_class AS c
                     WHERE c.oid = s.relid
                        OR c.oid = (SELECT reltoastrelid FROM pg_class WHERE oid = s.relid)
                        OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = s.relid))
                       * current_setting('block_size')::BIGINT AS "bytes!",
                   s.n_dead_tup AS "dead_rows!"
              FROM pg_stat_user_tables AS s
             WHERE s.schemaname = current_schema()
             ORDER BY s.relname
             LIMIT 50
            "#
        );
        let rows = self.on_probes().fetch_all(query).await?;
        let sizes = rows.into_iter().map(|row| TableSize {
            table: row.table,
            bytes: u64::try_from(row.bytes).unwrap_or_default(),
            dead_rows: u64::try_from(row.dead_rows).unwrap_or_default(),
        });
        Ok(sizes.collect())
    }
}

/// The least lead of a clock over another one, which was read between two readings of it; negative if it is
/// behind.
fn lead_over(before: Timestamp, theirs: Timestamp, after: Timestamp) -> TimeDelta {
    let ahead = (before - theirs).max(TimeDelta::zero());
    let behind = (theirs - after).max(TimeDelta::zero());
    ahead - behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_is_no_difference_between_clocks() {
        let at = |seconds| Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds);
        for (before, theirs, after, ahead) in [
            (10, 10, 10, 0),
            (10, 12, 15, 0),
            (10, 7, 15, 3),
            (10, 20, 15, -5),
        ] {
            let found = lead_over(at(before), at(theirs), at(after));
            assert_eq!(
                found,
                TimeDelta::seconds(ahead),
                "{before} {theirs} {after}"
            );
        }
    }
}
