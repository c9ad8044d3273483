//! The parts of the tests: the running server, the people who use it, and the answers that they get.

mod answer;
mod app;
pub mod cluster;
mod database;
mod http2;
mod jwt;
mod person;
mod program;
mod raw;
pub mod scanner;
mod signer;
mod stall;

pub use answer::{Answer, Pair, assert_keys, seconds};
pub use app::{MASTER_KEY, TestApp, settings};
pub use database::Database;
pub use http2::Http2;
pub use jwt::{Jwt, decode};
pub use person::{PASSWORD, Person, other_than};
pub use program::{Program, Run, Serving};
pub use raw::{Held, hold, parse, post, race, request, send};
pub use signer::{Signer, but, pem};
pub use stall::Stallable;

use std::sync::LazyLock;
use std::time::Duration;

use backoffice_auth::domain::Operator;

/// The operator in whose name tests act.
pub static OPERATOR: LazyLock<Operator> = LazyLock::new(|| Operator::named("tests"));

/// How long anything may take that is waited for. Far more than it takes: reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a race is run, each time from the start: without its guard, a race need not fail at once.
pub const ROUNDS: usize = 20;

/// A length of time in the unit of the settings.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Waits for an event that must happen.
pub async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    let happened = tokio::time::timeout(PATIENCE, happens).await;
    happened.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Asks again and again until the answer is yes.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, asking).await;
}
