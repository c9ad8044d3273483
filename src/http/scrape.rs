//! `GET /metrics`: what the process has counted, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

use super::health::Health;
use crate::auth::Auth;
use crate::store::Store;
use crate::telemetry;
use crate::telemetry::metrics::DRAINING;

/// The text format of Prometheus.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a scrape looks at. None of it asks the database.
#[derive(Debug, Clone)]
pub struct Measured {
    /// For the hashing pool and the view of ended sessions.
    pub auth: Auth,
    /// For the pool of connections.
    pub store: Store,
    /// For whether it is about to stop.
    pub health: Arc<Health>,
}

/// Measures what is measured now, and shows it with all that was counted.
pub(super) async fn show(
    State(measured): State<Measured>,
) -> ([(HeaderName, &'static str); 1], String) {
    measured.auth.measure();
    measured.store.record_metrics();
    DRAINING.count(measured.health.is_draining().into(), []);
    show_counted().await
}

/// Shows all that was counted.
pub(super) async fn show_counted() -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, TEXT)], telemetry::metrics::render())
}
