//! The outermost layer: the client, the request's id, and the bodies of problems.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;

use crate::http::extract::client::{Proxies, X_REQUEST_ID, recognise, trace_parent};
use crate::http::problem::render;

/// Recognises the client, gives the request its id and finds its place in a trace. Writes the id on
/// every response, and the bodies of problems, which carry it too.
pub async fn identify(
    State(proxies): State<Arc<Proxies>>,
    mut request: Request,
    next: Next,
) -> Response {
    let client = recognise(&request, &proxies);
    let id = client.request_id.clone();
    if let Some(parent) = trace_parent(&request, &proxies) {
        request.extensions_mut().insert(parent);
    }
    request.extensions_mut().insert(client);
    let mut response = render(next.run(request).await, &id);
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}
