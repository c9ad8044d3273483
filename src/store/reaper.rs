//! Finds out what became of PostgreSQL's processes that owe us an answer.
//!
//! A commit that waits for a standby or for a disk is left alone: to cancel it would commit it without
//! the standby. It keeps its place in the pool, and when the wait is over its connection is as good as
//! before. A wait for a lock is ended by the bounds that PostgreSQL was told. So all that is left
//! to find are answers that will never come: of a process that is gone, or that has answered into a
//! network which has swallowed it.
//!
//! A new connection is made for each look, so that it leads to where new connections lead. After a
//! failover that is another server, which does not know our processes: they are gone for us, although
//! a connection to the old one may hang for long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::domain::Timestamp;

/// How long an answer may be late before anybody looks, and then between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The same when nothing new is to be found, and a stall goes on.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// How long one look may take.
const LOOKING: Duration = Duration::from_secs(2);

/// How long an answer is waited for where nobody can look, because a pooler stands between: as long as
/// PostgreSQL waits for a client that has fallen silent.
const UNSEEN: Duration = Duration::from_secs(20);

/// One process of PostgreSQL's. Its number alone would be another's one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backend {
    pid: i32,
    started_at: Timestamp,
}

impl Backend {
    /// The one behind a connection, if that has the setting which it was opened with.
    pub(super) async fn behind(
        connection: &mut PgConnection,
        (name, value): (&str, &str),
    ) -> Result<Option<Self>, sqlx::Error> {
        // The view `pg_stat_activity` would read three catalogues besides, which a new process has yet to
        // learn of; and a statement that is prepared takes two round trips.
        let text = format!(
            "SELECT pid, backend_start FROM pg_stat_get_activity(pg_backend_pid())
              WHERE current_setting('{name}', TRUE) = '{value}'"
        );
        let row = sqlx::raw_sql(AssertSqlSafe(text)).fetch_optional(connection);
        let backend = row.await?.map(|row| {
            let (pid, started_at) = (row.try_get("pid")?, row.try_get("backend_start")?);
            Ok(Self { pid, started_at })
        });
        backend.transpose()
    }
}

/// Looks for those who wait; clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Reaper(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: PgConnectOptions,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The processes whose answers are waited for, each with the waiter that is told when there will be none.
    entries: BTreeMap<u64, (Backend, oneshot::Sender<()>)>,
    next: u64,
    is_looking: bool,
}

/// Takes an entry out when it is no longer waited for.
struct Entry<'a>(&'a Reaper, u64);

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.0.waiting().entries.remove(&self.1);
    }
}

impl Reaper {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self(Arc::new(Inner {
            options,
            waiting: Mutex::default(),
        }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        (self.0.waiting.lock()).unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when a process will not answer any more.
    pub(super) async fn gone(self, backend: Option<Backend>) {
        let Some(backend) = backend else {
            return sleep(UNSEEN).await;
        };
        // Most answers come by then.
        sleep(PAUSE).await;
        let (sender, told) = oneshot::channel();
        let _entry = self.enter(backend, sender);
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn enter(&self, backend: Backend, told: oneshot::Sender<()>) -> Entry<'_> {
        let mut waiting = self.waiting();
        let id = waiting.next;
        waiting.next += 1;
        waiting.entries.insert(id, (backend, told));
        if !std::mem::replace(&mut waiting.is_looking, true) {
            tokio::spawn(self.clone().look());
        }
        Entry(self, id)
    }

    /// Looks, again and again, for as long as anybody waits.
    async fn look(self) {
        let (mut pause, mut newest) = (PAUSE, 0);
        loop {
            let asked: Vec<(u64, Backend)> = {
                let mut waiting = self.waiting();
                if waiting.entries.is_empty() {
                    waiting.is_looking = false;
                    return;
                }
                let backends = waiting.entries.iter().map(|(id, entry)| (*id, entry.0));
                backends.collect()
            };
            let is_new = asked.last().is_some_and(|(id, _)| *id >= newest);
            newest = asked.last().map_or(newest, |(id, _)| id + 1);
            match timeout(LOOKING, self.find_gone(&asked)).await {
                Ok(Ok(gone)) => {
                    let is_idle = !is_new && gone.is_empty();
                    pause = if is_idle {
                        LONG_PAUSE.min(pause * 2)
                    } else {
                        PAUSE
                    };
                    self.tell(&gone);
                }
                // Whether it is the network or the server: it is asked again soon, since those who
                // wait have been told nothing.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "connections that wait could not be looked for");
                    pause = PAUSE;
                }
                Err(_) => pause = PAUSE,
            }
            sleep(pause).await;
        }
    }

    fn tell(&self, gone: &[u64]) {
        let mut waiting = self.waiting();
        for id in gone {
            if let Some((_, told)) = waiting.entries.remove(id) {
                // Nobody may be there any more: the answer came meanwhile.
                let _ = told.send(());
            }
        }
    }

    /// Which of these will not answer any more. One that is idle, or that waits for us, has answered
    /// already: it is ended, since the answer is lost.
    async fn find_gone(&self, asked: &[(u64, Backend)]) -> Result<Vec<u64>, sqlx::Error> {
        let (ids, backends): (Vec<i64>, Vec<Backend>) = (asked.iter())
            .map(|(id, backend)| (id.cast_signed(), *backend))
            .unzip();
        let pids: Vec<i32> = backends.iter().map(|backend| backend.pid).collect();
        let starts: Vec<Timestamp> = backends.iter().map(|b| b.started_at).collect();
        let mut connection = self.0.options.connect().await?;
        let gone = sqlx::query_scalar!(
            r#"
            SELECT asked.id AS "id!"
              FROM unnest($1::BIGINT[], $2::INT[], $3::TIMESTAMPTZ[]) AS asked (id, pid, started_at)
              LEFT JOIN pg_stat_activity AS a
                ON a.pid = asked.pid AND a.backend_start = asked.started_at
             WHERE CASE
                   WHEN a.pid IS NULL THEN TRUE
                   WHEN (a.state LIKE 'idle%' OR a.wait_event_type = 'Client')
                        AND a.state_change < clock_timestamp() - INTERVAL '1 second'
                   THEN pg_terminate_backend(a.pid, 50)
                   ELSE FALSE
                   END
            "#,
            &ids,
            &pids,
            &starts,
        )
        .fetch_all(&mut connection)
        .await?;
        connection.close().await?;
        Ok(gone.into_iter().map(i64::cast_unsigned).collect())
    }
}
