//! The acts of operators: on users, imports of users and signing keys, and explanations.
//!
//! [`Admin`] is the one way in, for the command line and for any other interface of operators. Each
//! call that changes something names the operator, who goes into the audit log in the same
//! transaction. Calls that only read are not recorded.

mod act;
mod error;
mod explain;
mod import;
mod interface;
mod keys;
mod links;
mod users;

use std::time::Duration;

use crate::auth::{Auth, SigningKeys, administration_rule, link_lifetimes};
use crate::config::{Config, LimitsConfig};
use crate::domain::{AdministrationRule, Blocklist, TotpSealer};
use crate::limits::AttemptKeys;
use crate::store::{LinkLifetimes, Store};

pub use error::UserError;
pub use explain::{Explanation, MailState, Obstacle};
pub use import::{Clash, Conflict, Import, ImportError};
pub use interface::{ActError, Administration, Change};
pub use keys::{Activation, Imported, KeyChangeError, ListedKey, Revoked, Rotated};
pub use links::{MailLinkError, RequestedLink};
pub use users::Target;

/// The acts of operators on a database.
#[derive(Debug)]
pub struct Admin {
    store: Store,
    attempt_keys: AttemptKeys,
    blocklist: Blocklist,
    limits: LimitsConfig,
    keys: SigningKeys,
    totp_sealer: TotpSealer,
    /// How long links work. `None`: there are none.
    links: Option<LinkLifetimes>,
    /// The life of an access token of the older service. Zero: none is taken.
    legacy_life: Duration,
    /// The rule that administrators are held to.
    rule: AdministrationRule,
    /// The instance that is to know of consequences at once. `None` on the command line.
    instance: Option<Auth>,
}

impl Admin {
    /// Acts on a database, by the settings of the instances that use it.
    #[must_use]
    pub fn new(store: Store, config: &Config) -> Self {
        Self {
            attempt_keys: AttemptKeys::new(&config.secrets.master_key),
            blocklist: config.blocklist.clone(),
            limits: config.limits,
            rule: administration_rule(config),
            instance: None,
            legacy_life: config.tokens.legacy_ttl,
            totp_sealer: TotpSealer::new(&config.secrets.master_key),
            keys: SigningKeys::new(store.clone(), config),
            links: (config.links.password_url.as_ref()).map(|_| link_lifetimes(&config.links)),
            store,
        }
    }

    /// The same inside an instance of the server, for the interface of administrators.
    #[must_use]
    pub fn of_instance(store: Store, config: &Config, auth: Auth) -> Self {
        Self {
            instance: Some(auth),
            ..Self::new(store, config)
        }
    }
}
