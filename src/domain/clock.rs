//! The process clock, handed in so that tests can move it, and the form of a time as text.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};

/// An instant in UTC.
pub type Timestamp = DateTime<Utc>;

/// Cuts an instant to whole seconds, downwards: the resolution of every time on the wire.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(0)
}

/// An instant as text: RFC 3339 in UTC and whole seconds, `2022-01-01T00:00:00+00:00`, never `Z`. The wire,
/// the command line and the audit log all have this form.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, false)
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

    /// A clock that tells the time that `now` returns.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_whole_seconds_with_an_offset() {
        let at = Timestamp::from_timestamp_millis(1_640_995_200_999).unwrap();
        assert_eq!(rfc3339(at), "2022-01-01T00:00:00+00:00");
    }
}
