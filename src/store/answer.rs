//! The futures of statements, boxed: every use case would carry the future's type and a copy or two of it.

use std::pin::Pin;

use super::StoreError;

/// The driver's answer to a statement, before its error is sorted.
pub(super) type BoxFuture<'c, T> =
    Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// The answer to a statement.
pub(super) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;
