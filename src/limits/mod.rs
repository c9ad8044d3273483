//! The limits on attempts: the keys by which they are counted, and the flood limiter in front.
//!
//! The limits that users are promised are counted in the database, so that they hold over all
//! instances together. In front of them a [`Flood`] limiter in this process refuses more
//! requests than any person sends, before a body is read, the database asked or a password hashed.
//! [`Strangers`] bounds clients that can use any number of networks. Neither lets anything through
//! that the database would refuse. An [`AuditThrottle`] bounds how many refusals are written down,
//! since a refusal costs its sender nothing.

mod buckets;
mod flood;
mod keys;
mod strangers;
mod throttle;

pub use flood::{Flood, FloodLimit};
pub use keys::AttemptKeys;
pub use strangers::Strangers;
pub use throttle::AuditThrottle;

use std::time::Duration;

use crate::config::LimitsConfig;
use crate::domain::Limit;

/// The wide ceilings: they refuse until the oldest attempt leaves the window, and start no block,
/// since a block on a network or an account would be a weapon.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings {
    /// Sign-ins per network, over all addresses.
    pub signin_network: Limit,
    /// Failed sign-ins per address, over all networks.
    pub signin_failures: Limit,
    /// Code mails per user.
    pub mails: Limit,
    /// Requests for links per network, over all addresses.
    pub forgot_network: Limit,
    /// Mails with links per address.
    pub link_mails: Limit,
}

impl Ceilings {
    /// The ceilings of a configuration.
    #[must_use]
    pub fn new(config: &LimitsConfig) -> Self {
        let ceiling = |attempts, seconds| Limit {
            attempts,
            window: Duration::from_secs(seconds),
            block: None,
        };
        Self {
            signin_network: ceiling(config.signin_network_per_minute, 60),
            signin_failures: ceiling(config.signin_account_failures_per_hour, 3600),
            mails: ceiling(config.mails_per_account, 600),
            forgot_network: ceiling(config.forgot_network_per_minute, 60),
            link_mails: ceiling(config.link_mails_per_account, 3600),
        }
    }
}
