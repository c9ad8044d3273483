//! Removes rows that no longer decide anything.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::config::AuditConfig;
use crate::store::{PurgedTable, Store, StoreError};
use crate::telemetry::metrics::{MAILS, PURGED_ROWS};

/// The time between two rounds when there was little to do.
const INTERVAL: Duration = Duration::from_secs(30);

/// Rows per table and round: a transaction stays short, and no lock is held for long.
const BATCH: i64 = 1_000;

/// Purges until `stop`, one instance at a time, without a pause while there is much to do; the
/// audit log too, unless it is kept for ever.
pub async fn purge(store: Store, audit: AuditConfig, stop: CancellationToken) {
    let mut pause = INTERVAL;
    let mut trouble = Trouble::new("purging");
    while stop
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        let round = purge_once(&store, audit).await;
        pause = if round.is_full {
            Duration::from_millis(100)
        } else {
            INTERVAL
        };
        trouble.note(round.failed.map_or(Ok(()), Err));
    }
}

/// The result of one round.
#[derive(Debug, Default)]
pub struct Round {
    /// Whether a table had a full batch, and so probably more.
    pub is_full: bool,
    /// The first failure. The other tables have their turn all the same.
    pub failed: Option<StoreError>,
}

impl Round {
    /// The rows that were removed, if that worked.
    fn rows(&mut self, table: &str, removed: Result<u64, StoreError>) -> u64 {
        match removed {
            Ok(rows) => {
                tracing::debug!(table, rows, "purged");
                self.is_full |= rows >= BATCH.unsigned_abs();
                rows
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                0
            }
        }
    }
}

/// One round over all tables.
pub async fn purge_once(store: &Store, audit: AuditConfig) -> Round {
    let mut round = Round::default();
    let mut expired = 0;
    let given_up = store.give_up_overdue_mails(BATCH).await;
    let given_up = given_up.map(|given_up| {
        expired = given_up.expired;
        given_up.mails
    });
    round.rows("outbox", given_up);
    MAILS.add(expired, ["expired".into()]);
    let mut note = |table: &'static str, removed| {
        PURGED_ROWS.add(round.rows(table, removed), [table.into()]);
    };
    note("signing_keys", store.purge_signing_keys().await);
    for table in PurgedTable::ALL {
        note(table.as_str(), store.purge(table, BATCH).await);
    }
    if !audit.retention.is_zero() {
        let removed = store.purge_audit_events(audit.retention, BATCH).await;
        note("audit_events", removed);
    }
    round
}
