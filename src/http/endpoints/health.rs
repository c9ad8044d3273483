//! `GET /health/live` and `GET /health/ready`: the probes of the management listener.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::Clock;
use crate::serve::Shutdown;
use crate::store::{Fitness, Store, StoreError};

/// How long an answer is repeated. However many probes there are, at most one statement at a time runs
/// for them.
const FRESH: Duration = Duration::from_millis(500);

/// How long a probe waits for its answer. It is longer than the database's deadline, since a probe may
/// first wait for another one that runs into that deadline.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// The state behind the probes.
#[derive(Debug)]
pub struct Health {
    store: Store,
    clock: Clock,
    shutdown: Shutdown,
    misses_worker: CancellationToken,
    last: Mutex<Option<(Instant, Readiness)>>,
}

/// Whether this instance should get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// It should: it has all that it needs to serve them.
    Ready,
    /// It waits for its database, or migrates it.
    Starting,
    /// It is about to stop.
    Draining,
    /// A worker beside the requests is gone.
    WorkerStopped,
    /// The database cannot be reached.
    DatabaseUnavailable,
    /// The database cannot be written to.
    DatabaseReadOnly,
    /// The database lacks migrations.
    MigrationsMissing,
    /// The database has no room left on its disk.
    DatabaseFull,
    /// The database does not answer commits.
    CommitsStalled,
    /// No signing key is active.
    NoSigningKey,
    /// This machine's clock differs from the database's.
    ClockOff,
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct Answer {
    status: Readiness,
}

impl Health {
    /// Probes for a server over `store` that goes by `clock` and ends by `shutdown`. `misses_worker`
    /// is cancelled once a worker is gone.
    #[must_use]
    pub fn new(
        store: Store,
        clock: Clock,
        shutdown: Shutdown,
        misses_worker: CancellationToken,
    ) -> Self {
        Self {
            store,
            clock,
            shutdown,
            misses_worker,
            last: Mutex::new(None),
        }
    }

    /// Whether the server was told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shutdown.is_draining()
    }

    /// Asks, or repeats an answer that is still fresh. Takes less than two seconds.
    pub async fn readiness(&self) -> Readiness {
        if let Some(known) = known(&self.shutdown, &self.misses_worker) {
            return known;
        }
        let answer = timeout(PATIENCE, self.ask()).await;
        answer.unwrap_or(Readiness::DatabaseUnavailable)
    }

    async fn ask(&self) -> Readiness {
        let mut last = self.last.lock().await;
        if let Some((asked_at, answer)) = *last
            && asked_at.elapsed() < FRESH
        {
            return answer;
        }
        let answer = judge(&self.store.fitness(&self.clock).await);
        *last = Some((Instant::now(), answer));
        answer
    }
}

/// The answer that this instance knows without the database, and that the database could not change.
fn known(shutdown: &Shutdown, misses_worker: &CancellationToken) -> Option<Readiness> {
    if shutdown.is_draining() {
        Some(Readiness::Draining)
    } else {
        misses_worker
            .is_cancelled()
            .then_some(Readiness::WorkerStopped)
    }
}

fn judge(fitness: &Result<Fitness, StoreError>) -> Readiness {
    match fitness {
        Ok(Fitness::Fit) => Readiness::Ready,
        Ok(Fitness::ReadOnly) => Readiness::DatabaseReadOnly,
        Ok(Fitness::NotMigrated) => Readiness::MigrationsMissing,
        Ok(Fitness::DiskFull) => Readiness::DatabaseFull,
        Ok(Fitness::CommitsStalled) => Readiness::CommitsStalled,
        Ok(Fitness::NoSigningKey) => Readiness::NoSigningKey,
        Ok(Fitness::ClockOff) => Readiness::ClockOff,
        Err(_) => Readiness::DatabaseUnavailable,
    }
}

/// 200 while the process runs. Checks nothing else.
pub(in crate::http) async fn live() -> StatusCode {
    StatusCode::OK
}

/// 200 or 503, with the reason in one word.
pub(in crate::http) async fn ready(
    State(health): State<Arc<Health>>,
) -> (StatusCode, Json<Answer>) {
    let status = health.readiness().await;
    let code = match status {
        Readiness::Ready => StatusCode::OK,
        Readiness::Starting
        | Readiness::Draining
        | Readiness::WorkerStopped
        | Readiness::DatabaseUnavailable
        | Readiness::DatabaseReadOnly
        | Readiness::MigrationsMissing
        | Readiness::DatabaseFull
        | Readiness::CommitsStalled
        | Readiness::NoSigningKey
        | Readiness::ClockOff => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(Answer { status }))
}

/// The answer while the server starts.
pub(in crate::http) async fn starting() -> (StatusCode, Json<Answer>) {
    let status = Readiness::Starting;
    (StatusCode::SERVICE_UNAVAILABLE, Json(Answer { status }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_misses_a_worker_says_so_until_it_stops() {
        let (shutdown, misses_worker) = (Shutdown::default(), CancellationToken::new());
        assert_eq!(known(&shutdown, &misses_worker), None);
        misses_worker.cancel();
        assert_eq!(
            known(&shutdown, &misses_worker),
            Some(Readiness::WorkerStopped)
        );
        shutdown.drain();
        assert_eq!(known(&shutdown, &misses_worker), Some(Readiness::Draining));
    }
}
