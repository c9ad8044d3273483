//! The answers where no handler gives one: no route, no such method, a panic.

use std::any::Any;

use axum::response::{IntoResponse as _, Response};

use crate::http::problem::{Code, Problem};

/// 404, for every path without a route.
pub async fn not_found() -> Problem {
    Problem::new(Code::NotFound)
}

/// 405, for every route without this method. The router adds `Allow`.
pub async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}

/// Turns a panic into a 500. Its text goes into the log alone.
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
