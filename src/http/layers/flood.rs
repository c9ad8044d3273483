//! The flood layer of a method: it refuses before a body is read, the database asked or a password
//! hashed.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::domain::Client;
use crate::http::problem::Problem;
use crate::limits::Flood;

/// The limiter, and the method that a route counts for.
#[derive(Debug, Clone)]
pub struct FloodGate {
    /// The limiter, which all methods share.
    pub flood: Arc<Flood>,
    /// The name under which the requests are counted.
    pub method: &'static str,
}

/// Lets a request through, or answers 429 without reading its body.
pub async fn refuse_floods(
    State(gate): State<FloodGate>,
    client: Client,
    request: Request,
    next: Next,
) -> Response {
    match gate.flood.check(gate.method, client.network) {
        Ok(()) => next.run(request).await,
        Err(wait) => Problem::too_many_attempts(wait)
            .by_limit("flood")
            .because("flood")
            .into_response(),
    }
}
