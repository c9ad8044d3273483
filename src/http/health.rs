//! `GET /health/live` and `GET /health/ready`: the probes of the management listener.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::server::Shutdown;
use crate::store::{Store, StoreError};

/// For how long an answer is given again: however many probes there are, they take one connection
/// of the pool, and that rarely.
const FRESH: Duration = Duration::from_millis(500);

/// What the probes ask.
#[derive(Debug)]
pub struct Health {
    store: Store,
    shutdown: Shutdown,
    last: Mutex<Option<(Instant, Readiness)>>,
}

/// Whether this instance should get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Readiness {
    /// Yes. A signing key is there, or the server would not have started.
    Ready,
    /// It is about to stop.
    Draining,
    /// The database cannot be reached.
    DatabaseUnavailable,
    /// The database cannot be written to, or lacks migrations.
    DatabaseUnfit,
}

#[derive(Debug, Serialize)]
pub(super) struct Answer {
    status: Readiness,
}

impl Health {
    /// Probes for a server over `store` that ends by `shutdown`.
    #[must_use]
    pub fn new(store: Store, shutdown: Shutdown) -> Self {
        Self {
            store,
            shutdown,
            last: Mutex::new(None),
        }
    }

    /// Asks, or repeats an answer that is still fresh. Takes no longer than the database's
    /// deadline.
    pub async fn readiness(&self) -> Readiness {
        if self.shutdown.is_draining() {
            return Readiness::Draining;
        }
        let mut last = self.last.lock().await;
        if let Some((asked_at, answer)) = *last
            && asked_at.elapsed() < FRESH
        {
            return answer;
        }
        let answer = judge(self.store.is_ready().await);
        *last = Some((Instant::now(), answer));
        answer
    }
}

fn judge(database: Result<bool, StoreError>) -> Readiness {
    match database {
        Ok(true) => Readiness::Ready,
        Err(error) if error.is_unavailable() => Readiness::DatabaseUnavailable,
        // The statement itself fails when the table of migrations is not even there.
        Ok(false) | Err(_) => Readiness::DatabaseUnfit,
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
        Readiness::Draining | Readiness::DatabaseUnavailable | Readiness::DatabaseUnfit => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    (code, Json(Answer { status }))
}
