//! Removes what no longer decides anything.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::AuditConfig;
use crate::store::{Purged, Store, StoreError};
use crate::telemetry::metrics::{MAILS, PURGED_ROWS};

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
pub async fn purge_once(store: &Store, audit: AuditConfig) -> bool {
    let warn = |error: &StoreError| tracing::warn!(%error, "purging failed");
    let given_up = store.give_up_overdue_mails(BATCH).await.inspect_err(warn);
    MAILS.add(
        given_up.as_ref().map_or(0, |g| g.expired),
        ["expired".into()],
    );
    let keys = store.purge_signing_keys().await.inspect_err(warn);
    PURGED_ROWS.add(keys.unwrap_or_default(), ["signing_keys".into()]);
    let mut is_full = given_up.is_ok_and(|g| g.mails >= BATCH.unsigned_abs());
    let mut note = |table: &'static str, removed: Result<u64, StoreError>| {
        let rows = removed.inspect_err(warn).unwrap_or_default();
        PURGED_ROWS.add(rows, [table.into()]);
        is_full |= rows >= BATCH.unsigned_abs();
    };
    for table in Purged::ALL {
        note(table.as_str(), store.purge(table, BATCH).await);
    }
    if !audit.retention.is_zero() {
        let removed = store.purge_audit_events(audit.retention, BATCH).await;
        note("audit_events", removed);
    }
    is_full
}
