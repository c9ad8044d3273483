//! A quota for each network, in memory that does not grow with the number of networks.

use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// Networks are counted in this many buckets, so that a million networks take no more memory than
/// these. Two networks that share a bucket share its quota. The buckets are assigned at random in
/// each process, so that an attacker cannot choose to share a victim's.
pub(super) const BUCKETS: u64 = 1 << 17;

/// A `governor` limiter keyed by buckets.
pub(super) struct Buckets {
    limiter: RateLimiter<u32, DashMapStateStore<u32>, DefaultClock>,
    clock: DefaultClock,
    hasher: RandomState,
}

impl Buckets {
    /// Buckets with their whole quota left.
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::dashmap(quota),
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
        }
    }

    /// Counts one in the bucket of `key`. An error says how long to wait until the quota allows it.
    pub(super) fn check(&self, key: impl Hash) -> Result<(), Duration> {
        let bucket = self.hasher.hash_one(key) % BUCKETS;
        let bucket = u32::try_from(bucket).unwrap_or_default();
        self.limiter
            .check_key(&bucket)
            .map_err(|full| full.wait_time_from(self.clock.now()))
    }

    /// The number of buckets that have counted something.
    pub(super) fn len(&self) -> usize {
        self.limiter.len()
    }
}
