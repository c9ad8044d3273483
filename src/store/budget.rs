//! How long one request may wait for the database, all its statements together.
//!
//! [`DEADLINE`] bounds one operation; a sign-in has five, or eight. A database that answers each of them late
//! but in time, or that dies after the first, would keep its caller for many seconds and then say 503
//! after all.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};

/// How long one operation may wait for the database, a free connection included. Short enough that
/// a request that meets a dead database is answered within two seconds.
pub const DEADLINE: Duration = Duration::from_millis(1_500);

/// Time for the database in one request. With what is left of two seconds the answer reaches the
/// client, whatever the database does.
const BUDGET: Duration = Duration::from_millis(1_750);

tokio::task_local! {
    static LEFT: Cell<Duration>;
}

/// Works on a request whose statements together wait no longer than they may. Tasks that the request
/// spawns, and work that no request asked for, are bound by [`DEADLINE`] alone.
pub async fn on_a_budget<T>(request: impl Future<Output = T>) -> T {
    LEFT.scope(Cell::new(BUDGET), request).await
}

/// Waits for an operation for as long as it and its request may.
pub(super) async fn spend<T>(operation: impl Future<Output = T>) -> Result<T, Elapsed> {
    let left = LEFT.try_with(Cell::get).unwrap_or(DEADLINE);
    let since = Instant::now();
    let outcome = timeout(DEADLINE.min(left), operation).await;
    // Outside of a request there is no account to charge.
    let _ = LEFT.try_with(|account| account.set(left.saturating_sub(since.elapsed())));
    outcome
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    /// Red where `spend` charges nothing.
    #[tokio::test(start_paused = true)]
    async fn the_statements_of_a_request_share_its_time() {
        let began = Instant::now();
        let request = async {
            let late = sleep(Duration::from_millis(900));
            assert!(spend(late).await.is_ok());
            assert!(spend(pending::<()>()).await.is_err());
            assert!(spend(pending::<()>()).await.is_err());
        };
        on_a_budget(request).await;
        assert_eq!(began.elapsed(), BUDGET);
    }

    #[tokio::test(start_paused = true)]
    async fn statements_outside_of_a_request_are_bound_one_by_one() {
        let began = Instant::now();
        for _ in 0..3 {
            assert!(spend(pending::<()>()).await.is_err());
        }
        assert_eq!(began.elapsed(), DEADLINE * 3);
    }
}
