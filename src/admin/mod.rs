//! The acts of operators: on users, imports of users and signing keys, and explanations.
//!
//! [`Admin`] is the one way in, for the command line and for any other interface of operators. Each
//! call that changes something names the operator, who goes into the audit log in the same
//! transaction. Calls that only read are not recorded.

mod explain;
mod import;
mod keys;
mod users;

use std::time::Duration;

use crate::auth::SigningKeys;
use crate::config::{Config, LimitsConfig};
use crate::limits::AttemptKeys;
use crate::store::Store;

pub use explain::{Explanation, MailState, Obstacle};
pub use import::{Clash, Conflict, ImportError};
pub use keys::{Activation, Imported, KeyChangeError, ListedKey, Revoked, Rotated};
pub use users::UserError;

/// The acts of operators on a database.
#[derive(Debug)]
pub struct Admin {
    store: Store,
    attempt_keys: AttemptKeys,
    limits: LimitsConfig,
    keys: SigningKeys,
    /// The life of an access token of the older service. Zero: none is taken.
    legacy_life: Duration,
}

impl Admin {
    /// Acts on a database, by the settings of the instances that use it.
    #[must_use]
    pub fn new(store: Store, config: &Config) -> Self {
        Self {
            attempt_keys: AttemptKeys::new(&config.secrets.master_key),
            limits: config.limits,
            legacy_life: config.tokens.legacy_ttl,
            keys: SigningKeys::new(store.clone(), config),
            store,
        }
    }
}
