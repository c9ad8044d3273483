//! `GET /metrics`: the metrics of this process, for Prometheus.

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

/// The sources of gauges that are read at each scrape. None of them asks the database.
#[derive(Debug, Clone)]
pub struct MetricsSources {
    /// For the hashing pool and the cache of revocations.
    pub auth: Auth,
    /// For the pool of database connections.
    pub store: Store,
    /// For whether the server is about to stop.
    pub health: Arc<Health>,
}

/// Records the gauges of the moment, and shows all metrics.
pub(in crate::http) async fn show(
    State(sources): State<MetricsSources>,
) -> ([(HeaderName, &'static str); 1], String) {
    sources.auth.record_metrics();
    sources.store.record_metrics();
    DRAINING.count(sources.health.is_draining().into(), []);
    show_recorded().await
}

/// Shows all metrics as they were last recorded.
pub(in crate::http) async fn show_recorded() -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, TEXT)], telemetry::metrics::render())
}
