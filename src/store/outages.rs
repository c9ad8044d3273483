//! The tables `heartbeat` and `outages`: when commits were answered, and when they were not.
//!
//! Each instance beats about once a second, on a connection that is not bounded by any time. While
//! commits wait (for a standby, for a disk), the beat that met this first holds the one row, dated at the
//! beginning of the wait, and all others wait behind it. Nothing of this needs the process that sent it:
//! PostgreSQL's own process goes on waiting. The first beat that is answered afterwards finds the one
//! before too old, and writes the outage down. A time in which no instance could reach the database,
//! or none ran, is found in the same way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::run::Run as _;
use super::{Store, StoreError, Tx, seconds};
use crate::domain::Timestamp;
use crate::telemetry::metrics::COMMIT_HEARTBEAT_AGE;

/// How often there is a beat, over all instances. An outage is dated that much before the last beat that
/// was answered: it may have begun right after that one's commit was sent.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A beat that is younger is not repeated. A little less than [`HEARTBEAT_INTERVAL`], so that one instance alone beats
/// each time.
const YOUNG: Duration = Duration::from_millis(900);

/// Without a beat for longer there is an outage. Two beats may be late on a busy machine.
const SILENCE: Duration = Duration::from_secs(3);

/// With this instance's own beat unanswered for longer, commits are stalled: as long as a request waits
/// for one.
const STALLED: Duration = Duration::from_millis(1_500);

/// The same where no beat could be sent meanwhile.
const UNANSWERED: Duration = Duration::from_secs(30);

/// The state of this instance's beats; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Heartbeat(Arc<Mutex<HeartbeatState>>);

#[derive(Debug, Default)]
struct HeartbeatState {
    /// Since when one is under way at the server.
    under_way_since: Option<Instant>,
    /// When the last one was answered.
    answered_at: Option<Instant>,
    /// When a request's commit was answered last.
    committed_at: Option<Instant>,
}

impl Heartbeat {
    fn with<T>(&self, look: impl FnOnce(&mut HeartbeatState) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether commits are not answered now, as far as this instance can tell. Where those of requests
    /// are, it is the heart's own connection that the network has swallowed.
    pub(super) fn is_stalled(&self) -> bool {
        self.with(|beats| {
            let waiting = beats.under_way_since.filter(|at| at.elapsed() > STALLED);
            let silent = beats.answered_at.filter(|at| at.elapsed() > UNANSWERED);
            let since = waiting.or(silent);
            since.is_some_and(|since| beats.committed_at.is_none_or(|at| at < since))
        })
    }

    /// Takes note that a commit of a request was answered.
    pub(super) fn note_commit(&self) {
        self.with(|beats| beats.committed_at = Some(Instant::now()));
    }

    /// How long ago a beat was answered; `None` if none was yet.
    fn age(&self) -> Option<Duration> {
        self.with(|beats| beats.answered_at.map(|at| at.elapsed()))
    }

    /// Says how long ago a beat was answered, for a scrape.
    pub(super) fn record_metrics(&self) {
        let age = self.age().map_or(f64::INFINITY, |age| age.as_secs_f64());
        COMMIT_HEARTBEAT_AGE.set(age, []);
    }
}

/// Takes note that no beat is under way, also where it is cut short.
struct NoLonger<'a>(&'a Heartbeat);

impl Drop for NoLonger<'_> {
    fn drop(&mut self) {
        self.0.with(|beats| beats.under_way_since = None);
    }
}

impl Store {
    /// Beats once, however long that takes.
    ///
    /// One statement, so that it is dated before its commit waits, and the outage that it finds is on
    /// record if and only if the beat is. A row that a beat under way holds is waited for and then looked at
    /// as that one left it. A beat from the future is one by a clock that was set back since.
    pub async fn beat(&self) -> Result<(), StoreError> {
        self.heartbeat
            .with(|beats| beats.under_way_since = Some(Instant::now()));
        let _waits = NoLonger(&self.heartbeat);
        let query = sqlx::query!(
            r#"
            WITH beat AS (
                UPDATE heartbeat
                   SET previous_at = beat_at, beat_at = clock_timestamp()
                 WHERE beat_at IS NULL
                    OR beat_at NOT BETWEEN clock_timestamp() - make_interval(secs => $1)
                                       AND clock_timestamp()
                RETURNING beat_at, previous_at
            ), found AS (
                SELECT previous_at - make_interval(secs => $2) AS began_at, beat_at AS ended_at
                  FROM beat
                 WHERE previous_at < beat_at - make_interval(secs => $3)
            ), forgotten AS (
                DELETE FROM outages USING found
                 WHERE outages.ended_at < found.ended_at - INTERVAL '1 day'
            )
            INSERT INTO outages (began_at, ended_at) SELECT began_at, ended_at FROM found
            "#,
            seconds(YOUNG),
            seconds(HEARTBEAT_INTERVAL),
            seconds(SILENCE),
        );
        self.run_without_deadline(|c| Box::pin(query.execute(c)))
            .await?;
        self.heartbeat
            .with(|beats| beats.answered_at = Some(Instant::now()));
        Ok(())
    }

    /// Whether commits were answered just now, to a heart of this instance.
    #[must_use]
    pub fn has_recent_heartbeat(&self) -> bool {
        self.heartbeat
            .age()
            .is_some_and(|age| age < 2 * HEARTBEAT_INTERVAL)
            && !self.heartbeat.is_stalled()
    }
}

impl Tx {
    /// How much of the time between two instants commits were not answered. A silence that has not ended
    /// yet lasts until `until`.
    pub async fn time_stalled(
        &mut self,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<Duration, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            SELECT COALESCE(EXTRACT(EPOCH FROM sum(upper(gap) - lower(gap))), 0)::FLOAT8 AS "stalled!"
              FROM unnest((
                   SELECT range_agg(tstzrange(began_at, ended_at))
                     FROM (SELECT began_at, ended_at FROM outages WHERE ended_at > $1
                            UNION ALL
                           SELECT beat_at - make_interval(secs => $3), $2::TIMESTAMPTZ
                             FROM heartbeat
                            WHERE beat_at < $2::TIMESTAMPTZ - make_interval(secs => $4)) AS silent)
                   * tstzmultirange(tstzrange(LEAST($1, $2), $2))) AS gap
            "#,
            since,
            until,
            seconds(HEARTBEAT_INTERVAL),
            seconds(SILENCE),
        );
        let stalled = self.fetch_one(query).await?;
        Ok(Duration::from_secs_f64(stalled.max(0.0)))
    }
}
