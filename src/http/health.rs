//! `GET /health/live` and `GET /health/ready`: the probes of the management listener.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::server::Shutdown;
use crate::domain::Clock;
use crate::store::{Fitness, Store, StoreError};

/// For how long an answer is given again: however many probes there are, one statement at a time
/// is under way for them, and that rarely.
const FRESH: Duration = Duration::from_millis(500);

/// How long a probe waits for its answer. Longer than the database's deadline: it is reached by a
/// probe that waited for another one which gave up.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// What the probes ask.
#[derive(Debug)]
pub struct Health {
    store: Store,
    clock: Clock,
    shutdown: Shutdown,
    last: Mutex<Option<(Instant, Readiness)>>,
}

/// Whether this instance should get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Yes.
    Ready,
    /// It waits for its database, or migrates it.
    Starting,
    /// It is about to stop.
    Draining,
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
pub(super) struct Answer {
    status: Readiness,
}

impl Health {
    /// Probes for a server over `store` that goes by `clock` and ends by `shutdown`.
    #[must_use]
    pub fn new(store: Store, clock: Clock, shutdown: Shutdown) -> Self {
        Self {
            store,
            clock,
            shutdown,
            last: Mutex::new(None),
        }
    }

    /// Whether it was told to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shutdown.is_draining()
    }

    /// Asks, or repeats an answer that is still fresh. Takes less than two seconds.
    pub async fn readiness(&self) -> Readiness {
        if self.is_draining() {
            return Readiness::Draining;
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

/// 200 while the process runs; asks nothing.
pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// 200 or 503, and in one word why.
pub(super) async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, Json<Answer>) {
    let status = health.readiness().await;
    let code = match status {
        Readiness::Ready => StatusCode::OK,
        Readiness::Starting
        | Readiness::Draining
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

/// The answer of a server that is not there yet.
pub(super) async fn starting() -> (StatusCode, Json<Answer>) {
    let status = Readiness::Starting;
    (StatusCode::SERVICE_UNAVAILABLE, Json(Answer { status }))
}
