//! How many refusals that cost nothing are written down one by one.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::buckets::Buckets;
use crate::domain::ClientNetwork;

/// Of one network: enough for a person who tries again and again.
const OF_A_NETWORK: NonZeroU32 = NonZeroU32::new(20).expect("not zero");
const EVERY: Duration = Duration::from_secs(30);

/// Of all networks together.
const OF_ALL: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");
const PER_SECOND: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// Says for which refusals there is room in the audit log.
///
/// What a limit counts bounds by itself how often it is written down. What is refused because a
/// limit is reached is not counted, and knocking costs nothing: each network's first refusals are
/// written down, and then one now and then. The rest is in the log of requests alone.
pub struct RecordBudget {
    networks: Buckets,
    all: DefaultDirectRateLimiter,
}

impl RecordBudget {
    /// A budget of which nothing is spent yet.
    #[must_use]
    pub fn new() -> Self {
        let of_a_network = Quota::with_period(EVERY).expect("a period that is not zero");
        Self {
            networks: Buckets::new(of_a_network.allow_burst(OF_A_NETWORK)),
            all: RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(OF_ALL)),
        }
    }

    /// Takes the room for one refusal of a network, if there is any.
    #[must_use]
    pub fn take(&self, network: ClientNetwork) -> bool {
        self.networks.check(network).is_ok() && self.all.check().is_ok()
    }
}

impl Default for RecordBudget {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RecordBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordBudget").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn network(n: u32) -> ClientNetwork {
        ClientNetwork::of(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn a_network_that_goes_on_knocking_is_written_down_no_more() {
        let budget = RecordBudget::new();
        let taken = (0..1_000).filter(|_| budget.take(network(1))).count();
        assert_eq!(taken, 20);
        assert!(budget.take(network(2)));
    }

    #[test]
    fn many_networks_together_fill_no_more_than_one_budget() {
        let budget = RecordBudget::new();
        let taken = (0..100_000).filter(|n| budget.take(network(*n))).count();
        // A few more come in while this runs.
        assert!((1_000..1_100).contains(&taken), "{taken}");
    }
}
