//! Bounds that hold before a route is asked: one host, a declared length, a time with the database.

use axum::extract::Request;
use axum::http::Version;
use axum::http::header::{CONTENT_LENGTH, HOST};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::http::extract::body::MAX_BODY_BYTES;
use crate::http::problem::{Code, Problem};
use crate::store::on_a_budget;

/// Refuses an HTTP/1.1 request without exactly one `Host` (RFC 9112, section 3.2): two servers on its
/// way could read two different hosts.
pub async fn refuse_ambiguous_host(request: Request, next: Next) -> Response {
    let hosts = request.headers().get_all(HOST).iter().count();
    if request.version() == Version::HTTP_11 && hosts != 1 {
        return Problem::new(Code::MalformedRequest)
            .because("not exactly one Host")
            .into_response();
    }
    next.run(request).await
}

/// Bounds the time that a request waits for the database. Within two seconds it has its answer, which
/// may be 503.
pub async fn bound_database_time(request: Request, next: Next) -> Response {
    on_a_budget(next.run(request)).await
}

/// Refuses a request that declares too long a body, on routes that read no body too: otherwise the
/// connection would have to read it all.
pub async fn refuse_large_bodies(request: Request, next: Next) -> Response {
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Problem::new(Code::BodyTooLarge).into_response();
    }
    next.run(request).await
}
