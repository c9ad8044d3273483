//! The headers that every answer gets.

use axum::extract::Request;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, SERVER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// Tells browsers and caches not to store, sniff, load or frame anything, unless the handler sets its
/// own policy. Removes `Server`, which would name the software.
pub async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    harden_headers(response.headers_mut());
    response
}

pub(in crate::http) fn harden_headers(headers: &mut HeaderMap) {
    headers.remove(SERVER);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    insert_absent(headers, CACHE_CONTROL, "no-store");
    let policy = "default-src 'none'; frame-ancestors 'none'";
    insert_absent(headers, CONTENT_SECURITY_POLICY, policy);
}

fn insert_absent(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers
        .entry(name)
        .or_insert(HeaderValue::from_static(value));
}
