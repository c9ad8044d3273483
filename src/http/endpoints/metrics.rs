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

/// What a scrape reads. None of it asks the database.
#[derive(Debug, Clone)]
pub struct MetricsSources {
    /// For the hashing pool and the view of ended sessions.
    pub auth: Auth,
    /// For the pool of connections.
    pub store: Store,
    /// For whether it is about to stop.
    pub health: Arc<Health>,
}

/// Records what is read at the moment of a scrape, and shows it with all that was counted.
pub(in crate::http) async fn show(
    State(sources): State<MetricsSources>,
) -> ([(HeaderName, &'static str); 1], String) {
    sources.auth.record_metrics();
    sources.store.record_metrics();
    DRAINING.count(sources.health.is_draining().into(), []);
    show_recorded().await
}

/// Shows all that was counted.
pub(in crate::http) async fn show_recorded() -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, TEXT)], telemetry::metrics::render())
}
