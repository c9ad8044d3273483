//! The tables `heartbeat` and `outages`: when commits were answered, and when they were not.
//!
//! Each instance beats about once a second, on a connection of its own and without any time limit. While
//! commits wait (for a standby, for a disk), the beat that met this first holds the one row, dated at the
//! beginning of the wait, and all others wait behind it. Nothing of this needs the process that sent it:
//! PostgreSQL's own process goes on waiting. The first beat that is answered afterwards finds the one
//! before too old, and writes the outage down. A time in which no instance could reach the database,
//! or none ran, is found in the same way.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Executor as _, PgConnection};
use tokio::time::{Instant, timeout};

use super::{DEADLINE, Store, StoreError, Tx, seconds};
use crate::domain::Timestamp;
use crate::telemetry::metrics::COMMIT_HEARTBEAT_AGE;

/// How often there is a beat, over all instances. An outage is dated that much before the last beat that
/// was answered: it may have begun right after that one's commit was sent.
pub const BEAT: Duration = Duration::from_secs(1);

/// A beat that is younger is not repeated. A little less than [`BEAT`], so that one instance alone beats
/// each time.
const YOUNG: Duration = Duration::from_millis(900);

/// Without a beat for longer there is an outage. Two beats may be late on a busy machine.
const SILENCE: Duration = Duration::from_secs(3);

/// With this instance's own beat unanswered for longer, commits are stalled.
const STALLED: Duration = Duration::from_secs(2);

/// How often a beat that waits is looked after.
const LOOK: Duration = Duration::from_secs(2);

/// How long a beat is waited for at most. The one that is left behind goes on waiting at the server.
const LONGEST: Duration = Duration::from_mins(15);

/// A connection that is older is replaced: PostgreSQL's process behind it only ever grows.
const MAX_AGE: Duration = Duration::from_mins(30);

/// What is known of this instance's beats; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Pulse(Arc<Mutex<Beats>>);

#[derive(Debug, Default)]
struct Beats {
    /// Since when one is under way at the server.
    sent_at: Option<Instant>,
    /// When the last one was answered.
    answered_at: Option<Instant>,
}

impl Pulse {
    fn with<T>(&self, look: impl FnOnce(&mut Beats) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether commits are not answered now, as far as this instance can tell.
    pub(super) fn is_stalled(&self) -> bool {
        self.with(|beats| beats.sent_at.is_some_and(|at| at.elapsed() > STALLED))
    }

    /// How long ago a beat was answered; `None` if none was yet.
    fn age(&self) -> Option<Duration> {
        self.with(|beats| beats.answered_at.map(|at| at.elapsed()))
    }

    /// Says how long ago a beat was answered, for a scrape.
    pub(super) fn measure(&self) {
        let age = self.age().map_or(f64::INFINITY, |age| age.as_secs_f64());
        COMMIT_HEARTBEAT_AGE.set(age, []);
    }
}

/// This instance's heart. Its connection is none of the pool's: it may be kept busy for as long as an
/// outage lasts.
#[derive(Debug)]
pub struct Heart {
    store: Store,
    options: PgConnectOptions,
    connection: Option<(PgConnection, Instant)>,
}

impl Heart {
    /// Beats once, however long that takes.
    pub async fn beat(&mut self) -> Result<(), StoreError> {
        let mut link = match self.connection.take() {
            Some(link) if link.1.elapsed() < MAX_AGE => link,
            _ => (self.connect().await?, Instant::now()),
        };
        let sent_at = Instant::now();
        let pulse = self.store.pulse.clone();
        pulse.with(|beats| beats.sent_at = Some(sent_at));
        let _waits = NoLonger(&pulse);
        let is_behind_pooler = self.store.is_behind_pooler;
        let answer = {
            let mut beat = std::pin::pin!(beat_on(&mut link.0, is_behind_pooler));
            loop {
                if let Ok(answer) = timeout(LOOK, &mut beat).await {
                    break answer;
                }
                if sent_at.elapsed() > LONGEST || self.is_lost().await {
                    return Err(StoreError::TimedOut);
                }
            }
        };
        if let Err(error) = answer {
            let error = StoreError::from(error);
            self.store.suspect.heed(&error);
            return Err(error);
        }
        pulse.with(|beats| beats.answered_at = Some(Instant::now()));
        self.connection = Some(link);
        Ok(())
    }

    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connecting = Box::pin(self.options.connect());
        let connected = timeout(DEADLINE, connecting).await;
        Ok(connected.map_err(|_| StoreError::TimedOut)??)
    }

    /// Whether the server is there and works on no beat: then the network has swallowed this one, or its
    /// answer. If another instance's beat is taken for it, the next look will tell.
    async fn is_lost(&self) -> bool {
        let query = sqlx::query_scalar!(
            r#"
            SELECT NOT EXISTS (
                   SELECT FROM pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()
                      AND state = 'active'
                      AND (query LIKE '%UPDATE heartbeat%' OR query = 'COMMIT')) AS "is_lost!"
            "#
        );
        let looked = self.store.run_aside(|c| Box::pin(query.fetch_one(c))).await;
        looked.unwrap_or(false)
    }
}

/// Takes note that no beat is under way, also where it is cut short.
struct NoLonger<'a>(&'a Pulse);

impl Drop for NoLonger<'_> {
    fn drop(&mut self) {
        self.0.with(|beats| beats.sent_at = None);
    }
}

/// One statement, so that it is dated before its commit waits, and the outage that it finds is on record
/// if and only if the beat is.
///
/// A row that a beat under way holds is waited for and then looked at as that one left it. A beat from the
/// future is one by a clock that was set back since.
async fn beat_on(connection: &mut PgConnection, in_transaction: bool) -> Result<(), sqlx::Error> {
    if in_transaction {
        connection.execute("BEGIN").await?;
    }
    sqlx::query!(
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
        seconds(BEAT),
        seconds(SILENCE),
    )
    .execute(&mut *connection)
    .await?;
    if in_transaction {
        connection.execute("COMMIT").await?;
    }
    Ok(())
}

impl Store {
    /// A heart for this instance. There is to be one.
    #[must_use]
    pub fn heart(&self) -> Heart {
        Heart {
            store: self.clone(),
            options: self.heart.clone().disable_statement_logging(),
            connection: None,
        }
    }

    /// Whether commits were answered just now, to a heart of this instance.
    #[must_use]
    pub fn is_beating(&self) -> bool {
        self.pulse.age().is_some_and(|age| age < 2 * BEAT) && !self.pulse.is_stalled()
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
            seconds(BEAT),
            seconds(SILENCE),
        );
        let stalled = self
            .suspect
            .watch(query.fetch_one(&mut *self.inner))
            .await?;
        Ok(Duration::from_secs_f64(stalled.max(0.0)))
    }
}
