//! How much strangers together may have counted, whichever networks they come from.

use std::fmt;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, RateLimiter};

use super::FloodLimit;

/// Bounds what is counted by network for tokens that are not ours and challenges that do not exist.
///
/// Each of them makes a row of the network that it comes from, and a stranger has as many IPv6 networks
/// as they like. Past this, one is refused before it makes a row. Nobody with a token of ours is
/// concerned: that it is one is known before this is asked.
pub struct Strangers {
    all: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Strangers {
    /// None has come yet.
    #[must_use]
    pub fn new(limit: FloodLimit) -> Self {
        Self {
            all: RateLimiter::direct(limit.quota()),
            clock: DefaultClock::default(),
        }
    }

    /// Lets one more be counted; an error says after how long there is room.
    pub fn check(&self) -> Result<(), Duration> {
        let full = self.all.check();
        full.map_err(|full| full.wait_time_from(self.clock.now()))
    }
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Strangers").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_together_get_their_burst_and_then_a_wait() {
        let strangers = Strangers::new(FloodLimit {
            burst: 1_000,
            per_second: 100,
        });
        let counted = (0..10_000).filter(|_| strangers.check().is_ok()).count();
        assert!((1_000..1_100).contains(&counted), "{counted}");
        assert!(strangers.check().unwrap_err() <= Duration::from_millis(10));
    }
}
