//! Reads the database for the metrics, so that a scrape need not.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::domain::{AuthenticationMethods, Clock, EndReason, LimitScope};
use crate::store::{PurgedTable, Store, StoreError};
use crate::telemetry;
use crate::telemetry::metrics::{
    CLOCK_SKEW, DATABASE_UP, HASHING_REFUSALS, LIMIT_REFUSALS, LOG_LINES_DROPPED, MAILS,
    OUTBOX_OLDEST, OUTBOX_WAITING, PURGED_ROWS, REFUSALS_LEFT_OUT, SESSIONS_ENDED, SESSIONS_OPENED,
    TABLE_DEAD_ROWS, TABLE_SIZE,
};

/// The time between two readings of the database.
const INTERVAL: Duration = Duration::from_secs(5);

/// Every so many rounds the sizes of tables are read: they change slowly, and reading them takes
/// some calls to the file system.
const SIZES_ROUNDS: u32 = 12;

/// A difference between this machine's clock and the database's that is worth a line in the log, in
/// seconds: other verifiers may not tolerate more.
const SKEW_TOLD: f64 = 5.0;

/// Measures until `stop`.
pub async fn measure(store: Store, clock: Clock, stop: CancellationToken) {
    begin_series();
    let mut round = 0;
    let mut is_skew_told = false;
    let mut trouble = Trouble::new("looking at the database");
    loop {
        telemetry::metrics::upkeep();
        let is_up = trouble.note(read(&store, round).await).is_some();
        DATABASE_UP.count(is_up.into(), []);
        if let Ok(ahead) = store.clock_skew(&clock).await {
            let seconds = ahead.as_seconds_f64();
            CLOCK_SKEW.set(seconds, []);
            let is_off = seconds.abs() > SKEW_TOLD;
            // Once, and not every five seconds.
            if is_off && !is_skew_told {
                tracing::warn!(seconds, "this machine's clock is ahead of the database's");
            }
            is_skew_told = is_off;
        }
        round = (round + 1) % SIZES_ROUNDS;
        let pause = tokio::time::sleep(INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

async fn read(store: &Store, round: u32) -> Result<(), StoreError> {
    let backlog = store.backlog().await?;
    OUTBOX_WAITING.count(usize::try_from(backlog.waiting).unwrap_or(usize::MAX), []);
    let oldest = backlog.oldest.unwrap_or_default();
    OUTBOX_OLDEST.set(oldest.as_secs_f64(), []);
    if round == 0 {
        for size in store.table_sizes().await? {
            let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
            TABLE_SIZE.count(count(size.bytes), [size.table.clone().into()]);
            TABLE_DEAD_ROWS.count(count(size.dead_rows), [size.table.into()]);
        }
    }
    Ok(())
}

/// Lets each series begin at zero that can be known in advance: the first event of one that is not
/// there yet would be no rise, and so would wake nobody.
fn begin_series() {
    for methods in AuthenticationMethods::ALL {
        SESSIONS_OPENED.add(0, [methods.as_str().into()]);
    }
    for reason in EndReason::ALL {
        SESSIONS_ENDED.add(0, [reason.as_str().into()]);
    }
    let scopes = LimitScope::ALL.iter().map(|scope| scope.as_str());
    for limit in scopes.chain(["refresh", "flood"]) {
        LIMIT_REFUSALS.add(0, [limit.into()]);
    }
    HASHING_REFUSALS.add(0, []);
    LOG_LINES_DROPPED.add(0, []);
    for place in ["audit", "log"] {
        REFUSALS_LEFT_OUT.add(0, [place.into()]);
    }
    for outcome in ["sent", "postponed", "refused", "expired", "unclear"] {
        MAILS.add(0, [outcome.into()]);
    }
    let tables = PurgedTable::ALL.iter().map(|table| table.as_str());
    for table in tables.chain(["audit_events", "signing_keys"]) {
        PURGED_ROWS.add(0, [table.into()]);
    }
}
