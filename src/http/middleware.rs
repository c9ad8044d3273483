//! The layers that every request passes, each with its reason. [`stack`](super::stack) says in
//! which order.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, DATE,
    HOST, REFERRER_POLICY, RETRY_AFTER, SERVER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::body::MAX_BODY_BYTES;
use super::client::{Proxies, X_REQUEST_ID, recognise, trace_parent};
use super::origin::is_loopback_page;
use super::problem::{Code, Problem, render};
use crate::config::HttpConfig;
use crate::store::on_a_budget;

/// Recognises the client, gives the request its id and finds its place in a trace; writes the id on every response, and the
/// bodies of problems, which carry it too.
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

/// Refuses an HTTP/1.1 request that does not say once for whom it is (RFC 9112, section 3.2): two
/// servers on its way could take it for two different ones.
pub async fn refuse_ambiguous_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        return Problem::new(Code::MalformedRequest)
            .because("not exactly one Host")
            .into_response();
    }
    next.run(request).await
}

/// A database in trouble must not keep anybody waiting: within two seconds the answer is there, and
/// be it 503.
pub async fn bound_database_time(request: Request, next: Next) -> Response {
    on_a_budget(next.run(request)).await
}

/// Tells browsers and caches to keep nothing, guess nothing, load nothing and frame nothing,
/// unless the handler knows better; and does not tell what is running here.
pub async fn harden(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    harden_headers(response.headers_mut());
    response
}

pub(super) fn harden_headers(headers: &mut HeaderMap) {
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

/// Lets pages of the allowed origins call us, with the headers that they need, and read what they
/// need of the answers. `None` where no origin may: then nothing is said, and browsers refuse by
/// themselves.
///
/// `Date` tells a page with a wrong clock how old an answer is that was repeated. Credentials are
/// not allowed: tokens travel in headers that a page sets on purpose, so there is
/// no cookie to misuse.
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

/// Turns a panic into a 500: the caller learns nothing of it, the log everything.
#[must_use]
#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `CatchPanicLayer` asks for"
)]
pub fn refuse_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied());
    Problem::internal(format!("panicked: {}", text.unwrap_or("(no text)"))).into_response()
}

/// Refuses a body that declares itself too long, on routes that read none too: otherwise the
/// connection would have to swallow it.
pub async fn refuse_large_bodies(request: Request, next: Next) -> Response {
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Problem::new(Code::BodyTooLarge).into_response();
    }
    next.run(request).await
}

/// 404, for every path without a route.
pub async fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}

/// 405, for every route without this method. The router adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}
