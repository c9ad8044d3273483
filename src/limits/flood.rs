//! The flood layer: a keyed `governor` limiter in this process.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;

use super::buckets::Buckets;
use crate::domain::ClientNetwork;

/// How many requests a network may send, for each method by itself.
#[derive(Debug, Clone, Copy)]
pub struct FloodLimit {
    /// Requests that may come at once.
    pub burst: u32,
    /// Requests a second, once the burst is used up.
    pub per_second: u32,
}

impl FloodLimit {
    pub(super) fn quota(self) -> Quota {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(at_least_one(self.per_second)).allow_burst(at_least_one(self.burst))
    }
}

/// Refuses more requests of a network than any person sends.
pub struct Flood(Buckets);

impl Flood {
    /// A limiter that has counted nothing yet.
    #[must_use]
    pub fn new(limit: FloodLimit) -> Self {
        Self(Buckets::new(limit.quota()))
    }

    /// Counts a request for `method` from a network. An error says how long to wait.
    pub fn check(&self, method: &str, network: ClientNetwork) -> Result<(), Duration> {
        self.0.check((method, network))
    }
}

impl fmt::Debug for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flood")
            .field("buckets", &self.0.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::buckets::BUCKETS;
    use super::*;

    fn network(n: u32) -> ClientNetwork {
        ClientNetwork::of(IpAddr::V4(Ipv4Addr::from_bits(n)))
    }

    #[test]
    fn a_network_gets_its_burst_for_each_method_and_then_a_wait() {
        let flood = Flood::new(FloodLimit {
            burst: 3,
            per_second: 1,
        });
        for method in ["signin", "refresh"] {
            for _ in 0..3 {
                assert_eq!(flood.check(method, network(1)), Ok(()));
            }
            let wait = flood.check(method, network(1)).unwrap_err();
            assert!(wait <= Duration::from_secs(1));
        }
        assert_eq!(flood.check("signin", network(2)), Ok(()));
    }

    #[test]
    fn a_million_networks_take_no_more_than_the_buckets() {
        let flood = Flood::new(FloodLimit {
            burst: 100,
            per_second: 50,
        });
        for n in 0..1_000_000 {
            let _ = flood.check("signin", network(n));
        }
        assert!(flood.0.len() as u64 <= BUCKETS);
    }
}
