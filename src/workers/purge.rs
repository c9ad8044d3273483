//! Removes what no longer decides anything.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::AuditConfig;
use crate::store::{Purged, Store, StoreError};

/// How often, when there was little to do.
const INTERVAL: Duration = Duration::from_secs(30);

/// Rows per table and round: a transaction stays short, and no lock is held for long.
const BATCH: i64 = 1_000;

/// Purges until `stop`, one instance at a time, without a pause while there is much to do; the
/// audit log too, unless it is kept for ever.
pub async fn purge(store: Store, audit: AuditConfig, stop: CancellationToken) {
    let mut pause = INTERVAL;
    while stop
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        pause = if purge_once(&store, audit).await {
            Duration::from_millis(100)
        } else {
            INTERVAL
        };
    }
}

/// One round; `true` if a table had a full batch, and so probably more. What fails on one table is
/// told and keeps no other from its turn.
async fn purge_once(store: &Store, audit: AuditConfig) -> bool {
    let warn = |error: &StoreError| tracing::warn!(%error, "purging failed");
    let _ = store.purge_signing_keys().await.inspect_err(warn);
    let given_up = store.give_up_overdue_mails(BATCH).await.inspect_err(warn);
    let mut is_full = given_up.is_ok_and(|rows| rows >= BATCH.unsigned_abs());
    for table in Purged::ALL {
        let removed = store.purge(table, BATCH).await.inspect_err(warn);
        is_full |= removed.is_ok_and(|rows| rows >= BATCH.unsigned_abs());
    }
    if !audit.retention.is_zero() {
        let removed = store.purge_audit_events(audit.retention, BATCH).await;
        let removed = removed.inspect_err(warn);
        is_full |= removed.is_ok_and(|rows| rows >= BATCH.unsigned_abs());
    }
    is_full
}
