//! The use cases of the people who sign in. They read like the contract, and know neither HTTP nor
//! SQL.
//!
//! Each returns an error enum of its own whose variants say why. One place in `http` decides how much
//! of that a client learns.

mod confirm;
mod delivery;
mod feed;
mod hashes;
mod keys;
mod legacy;
mod record;
mod refresh;
mod reserve;
mod revocation_cache;
mod ring;
mod services;
mod session;
mod sessions;
mod signin;
mod signout;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::config::{Config, IntrospectionClient};
use crate::domain::{DerivedKey, Limit, MasterKey, Purpose, RotationRule};
use crate::limits::{AttemptKeys, AuditThrottle, Ceilings, FloodLimit, Strangers};
use crate::password::HashingPool;
use crate::store::{SessionLifetimes, Store};
use crate::token::{PublicKeys, Tokens};

use feed::Feed;
use record::lasting;
use reserve::{MAX_LATE, NotReserved, Pending};
use revocation_cache::RevocationCache;
use ring::RingReader;

pub use confirm::ConfirmError;
pub use delivery::{Delivery, LeasedMail, Unfinished};
pub use feed::RevocationsError;
pub use hashes::HashKindsError;
pub use keys::{KeyRefresh, KeysError, SigningKeys, Successor};
pub(crate) use keys::{LockedKeys, NewKey, about};
pub use legacy::LegacyCaller;
pub use refresh::RefreshError;
use refresh::Unanswered;
pub use reserve::Limited;
pub use revocation_cache::Revocations;
pub use services::{Introspection, UnknownClient};
pub use sessions::{AuthenticateError, Caller, EndSessionError};
pub use signin::{SignedIn, SigninError};
pub use signout::SignoutError;

/// The use cases with all that they need; cheap to clone.
#[derive(Debug, Clone)]
pub struct Auth(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Store,
    tokens: Arc<Tokens>,
    ring_reader: RingReader,
    pool: HashingPool,
    attempt_keys: AttemptKeys,
    strangers: Strangers,
    /// For refusals by a limit that is reached: knocking on an account costs nothing.
    knocking: AuditThrottle,
    /// For starts of a block on an account.
    blocks: AuditThrottle,
    /// For refusals of strangers.
    foreign: AuditThrottle,
    /// A permit for each request whose attempts are settled after it has gone.
    late: Arc<Semaphore>,
    code_key: DerivedKey,
    rules: Rules,
    mail_is_due: Arc<Notify>,
    revocations: RevocationCache,
    feed: Feed,
    unanswered: Unanswered,
    clients: Vec<IntrospectionClient>,
}

/// The settings that the use cases go by.
#[derive(Debug, Clone, Copy)]
struct Rules {
    signin: Limit,
    confirm: Limit,
    ceilings: Ceilings,
    max_wrong_codes: u32,
    code_ttl: Duration,
    lifetimes: SessionLifetimes,
    max_sessions: u32,
    rotation: RotationRule,
    key_publish_time: Duration,
}

impl Rules {
    fn new(config: &Config) -> Self {
        Self {
            signin: config.limits.signin,
            confirm: config.limits.confirm,
            ceilings: Ceilings::new(&config.limits),
            max_wrong_codes: config.limits.confirm_failures_per_account,
            code_ttl: config.two_factor.ttl,
            lifetimes: SessionLifetimes {
                access: config.tokens.access_ttl,
                idle: config.tokens.refresh_idle_ttl,
                session: config.tokens.session_ttl,
            },
            max_sessions: config.tokens.max_sessions_per_user,
            rotation: RotationRule {
                grace: config.tokens.refresh_grace,
                limit: config.limits.refresh,
            },
            key_publish_time: config.keys.publish_before,
        }
    }
}

impl Auth {
    /// Puts the use cases together. `mail_is_due` is told when a mail was put into the outbox.
    #[must_use]
    pub fn new(
        config: &Config,
        store: Store,
        tokens: Arc<Tokens>,
        pool: HashingPool,
        mail_is_due: Arc<Notify>,
    ) -> Self {
        let master_key: &MasterKey = &config.secrets.master_key;
        let signing_keys = SigningKeys::new(store.clone(), config);
        Self(Arc::new(Parts {
            store,
            ring_reader: RingReader::new(signing_keys, Arc::clone(&tokens)),
            tokens,
            pool,
            attempt_keys: AttemptKeys::new(master_key),
            strangers: Strangers::new(FloodLimit {
                burst: config.limits.strangers_burst,
                per_second: config.limits.strangers_per_second,
            }),
            knocking: AuditThrottle::of_audit(),
            blocks: AuditThrottle::of_audit(),
            foreign: AuditThrottle::of_audit(),
            late: Arc::new(Semaphore::new(MAX_LATE)),
            code_key: master_key.derive(Purpose::OneTimeCodes),
            rules: Rules::new(config),
            mail_is_due,
            revocations: RevocationCache::default(),
            feed: Feed::new(config.introspection.max_waiting),
            unanswered: Unanswered::default(),
            clients: config.introspection.clients.clone(),
        }))
    }

    /// The public keys that verify our tokens.
    #[must_use]
    pub fn public_keys(&self) -> Arc<PublicKeys> {
        self.0.tokens.ring().current().public_keys()
    }

    /// The issuer of the tokens: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.0.tokens.issuer()
    }

    /// For how long a new key is published before it signs.
    #[must_use]
    pub fn key_publish_time(&self) -> Duration {
        self.0.rules.key_publish_time
    }

    /// Records the load of the hashing pool and the age of the revocation cache in the metrics. Asks
    /// no database.
    pub fn record_metrics(&self) {
        self.0.pool.record_metrics();
        self.0.revocations.record_metrics();
    }
}
