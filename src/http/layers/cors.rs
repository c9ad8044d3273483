//! CORS: which pages of other origins may call, and read the answers.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::origin::is_loopback_page;
use crate::config::HttpConfig;
use crate::http::extract::client::X_REQUEST_ID;

/// Lets pages of the allowed origins call, with the headers that they need, and read the answer's
/// headers that they need. `None` where no origin is allowed: without CORS headers, browsers refuse by
/// themselves.
///
/// From `Date`, a page with a wrong clock learns the age of a repeated answer. Credentials are not
/// allowed: tokens travel in headers that a page sets on purpose, so there is no cookie to misuse.
#[must_use]
pub fn cors(config: &HttpConfig) -> Option<CorsLayer> {
    let own = (config.allowed_headers.iter()).filter_map(|name| name.parse().ok());
    let headers: Vec<HeaderName> = own.chain([AUTHORIZATION, CONTENT_TYPE]).collect();
    let origins: Vec<_> = (config.allowed_origins.iter())
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    let with_loopback = config.allows_loopback_pages;
    let may_call = !origins.is_empty() || with_loopback;
    let layer = || {
        CorsLayer::new()
            .allow_origin(AllowOrigin::predicate(move |origin, _| {
                origins.contains(origin) || with_loopback && is_loopback_page(origin)
            }))
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers(headers.clone())
            .expose_headers([X_REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE, DATE])
            .max_age(Duration::from_hours(1))
    };
    may_call.then(layer)
}
