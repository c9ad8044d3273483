//! The bound on the attempts of clients without a token of this service, over all networks.

use std::fmt;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, RateLimiter};

use super::FloodLimit;

/// Bounds the attempts that are counted by network, for foreign tokens and for challenges that do not exist.
///
/// Each such attempt makes a row for its network, and one client may have any number of IPv6 networks.
/// Past this bound, an attempt is refused before it makes a row. A client with a token that this
/// service issued is never refused here: its token is verified before.
pub struct Strangers {
    all: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Strangers {
    /// A bound that has counted nothing yet.
    #[must_use]
    pub fn new(limit: FloodLimit) -> Self {
        Self {
            all: RateLimiter::direct(limit.quota()),
            clock: DefaultClock::default(),
        }
    }

    /// Lets one more be counted. An error says how long to wait.
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
