//! The throttle on how many refusals are written down one by one.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::buckets::Buckets;

/// A rate: so many at once, and then one in each `every`.
#[derive(Debug, Clone, Copy)]
struct Rate {
    at_once: u32,
    every: Duration,
}

impl Rate {
    fn quota(self) -> Quota {
        let at_once = NonZeroU32::new(self.at_once).expect("more than none");
        let quota = Quota::with_period(self.every).expect("a period that is not zero");
        quota.allow_burst(at_once)
    }
}

/// Decides which refusals are written down, and counts the others.
///
/// A refusal costs its sender nothing, so refusals must not fill the disk. Each network's first
/// refusals are written down, and then one now and then. All networks together have a rate too, since
/// a client with IPv6 may have any number of networks.
pub struct AuditThrottle {
    networks: Buckets,
    all: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

impl AuditThrottle {
    /// The throttle of the audit log. The rate of a network is enough for a person who tries again and
    /// again; that of all networks is 86 400 lines a day.
    #[must_use]
    pub fn of_audit() -> Self {
        let of_a_network = Rate {
            at_once: 20,
            every: Duration::from_secs(30),
        };
        let of_all = Rate {
            at_once: 1_000,
            every: Duration::from_secs(1),
        };
        Self::new(of_a_network, of_all)
    }

    /// The throttle of the log. The rate of a network is twice as high as the limits let through; that
    /// of all networks is some 150 KB a second.
    #[must_use]
    pub fn of_lines() -> Self {
        let of_a_network = Rate {
            at_once: 400,
            every: Duration::from_millis(20),
        };
        let of_all = Rate {
            at_once: 4_000,
            every: Duration::from_millis(2),
        };
        Self::new(of_a_network, of_all)
    }

    fn new(of_a_network: Rate, of_all: Rate) -> Self {
        Self {
            networks: Buckets::new(of_a_network.quota()),
            all: RateLimiter::direct(of_all.quota()),
            left_out: AtomicU64::new(0),
        }
    }

    /// Whether a refusal is written down. If not, it is counted as left out. `of` is its network, or
    /// another subject with a rate of its own.
    #[must_use]
    pub fn take(&self, of: impl Hash) -> bool {
        let has_room = self.networks.check(of).is_ok() && self.all.check().is_ok();
        if !has_room {
            self.leave_out(1);
        }
        has_room
    }

    /// Counts refusals that are not written down.
    pub fn leave_out(&self, count: u64) {
        self.left_out.fetch_add(count, Ordering::Relaxed);
    }

    /// The number of refusals left out since it was last taken.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// The same number, which then starts at zero again.
    #[must_use]
    pub fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }
}

impl fmt::Debug for AuditThrottle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditThrottle")
            .field("left_out", &self.left_out)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::domain::ClientNetwork;

    fn network(n: u32) -> ClientNetwork {
        ClientNetwork::of(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn a_network_that_goes_on_knocking_is_written_down_no_more_and_counted() {
        let budget = AuditThrottle::of_audit();
        let taken = (0..1_000).filter(|_| budget.take(network(1))).count();
        assert_eq!(taken, 20);
        assert!(budget.take(network(2)));
        assert_eq!(budget.take_left_out(), 980);
        assert_eq!(budget.take_left_out(), 0);
    }

    #[test]
    fn many_networks_together_fill_no_more_than_one_budget() {
        let budget = AuditThrottle::of_audit();
        let taken = (0..100_000).filter(|n| budget.take(network(*n))).count();
        // A few more come in while this runs.
        assert!((1_000..1_100).contains(&taken), "{taken}");
        assert_eq!(budget.take_left_out(), 100_000 - taken as u64);
    }
}
