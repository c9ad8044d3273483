//! The process clock, handed in so that tests can move it, and the form in which times are told.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};

/// An instant in UTC.
pub type Timestamp = DateTime<Utc>;

/// Cuts an instant to whole seconds, downwards: the resolution of every time on the wire.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(0)
}

/// Tells the time of this process.
///
/// It decides one thing only: whether a token's `exp` has passed. All that instances share
/// (limits, challenges, sessions) goes by the database's clock.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the clock"
        )]
        Self::new(Utc::now)
    }

    /// A clock that tells whatever `now` returns.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}
