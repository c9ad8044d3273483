//! How many refusals are written down one by one, and how many were not.

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::buckets::Buckets;

/// So many at once, and then one in each `every`.
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

/// Says for which refusals there is room, and counts the others.
///
/// What costs its sender nothing must cost no more than so much of a disk: each network's first
/// refusals are written down, and then one now and then; and those of all networks together, since
/// whoever has one IPv6 address has as many networks as they like.
pub struct AuditThrottle {
    networks: Buckets,
    all: DefaultDirectRateLimiter,
    left_out: AtomicU64,
}

impl AuditThrottle {
    /// The budget of the audit log: of a network enough for a person who tries again and again, and
    /// of all networks 86 400 lines a day.
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

    /// The budget of the log: of a network twice as many as the limits let through, and of all networks
    /// some 150 KB a second.
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

    /// Takes the room for one refusal of a network (or of what else has room of its own), if there is any.
    /// If not, it counts as left out.
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

    /// How many were left out since they were last taken.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }

    /// The same, and begins anew.
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
