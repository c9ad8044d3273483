//! The use cases of the people who sign in. They read like the contract, and know neither HTTP nor
//! SQL.
//!
//! Each returns an error enum of its own whose variants say why. One place in `http` decides how much
//! of that a client learns.

mod account;
mod administration;
mod caller;
mod confirm;
mod delivery;
mod factors;
mod feed;
mod forgot;
mod hashes;
mod keys;
mod legacy;
mod link;
mod passkey_party;
mod passkeys;
mod password_attempt;
mod record;
mod refresh;
mod reserve;
mod revocation_cache;
mod ring;
mod ring_reader;
mod services;
mod session;
mod sessions;
mod signin;
mod signout;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};

use crate::config::{Config, IntrospectionClient, LinksConfig};
use crate::domain::{
    AdministrationRule, Blocklist, DerivedKey, Limit, MasterKey, Purpose, RotationRule, TotpSealer,
};
use crate::limits::{AttemptKeys, AuditThrottle, Ceilings, FloodLimit, Strangers};
use crate::password::HashingPool;
use crate::store::{LinkLifetimes, SessionLifetimes, Store};
use crate::token::{PublicKeys, Tokens};

use feed::Feed;
use passkey_party::Passkeys;
use revocation_cache::RevocationCache;
use ring_reader::RingReader;

pub use account::ChangePasswordError;
pub use administration::{Acting, AdministrationError};
pub use caller::{AuthenticateError, Caller, LegacyCaller};
pub use confirm::{ConfirmAnswer, ConfirmError, Confirmed};
pub use delivery::{Delivery, LeasedMail, Unfinished};
pub use factors::{FactorsError, TotpEnrolment};
pub use feed::RevocationsError;
pub use forgot::ForgotError;
pub use hashes::HashKindsError;
pub use keys::{KeyRefresh, KeysError, SigningKeys, Successor};
pub(crate) use keys::{LockedKeys, NewKey, about};
pub use link::LinkError;
pub use passkeys::{PasskeyAdded, PasskeyAsked, PasskeyOptions, PasskeySigninError, PasskeyWanted};
pub use refresh::RefreshError;
use refresh::Unanswered;
pub use reserve::Limited;
pub use revocation_cache::Revocations;
pub use services::{Introspection, UnknownClient};
pub use sessions::EndSessionError;
pub use signin::{SignedIn, SigninError};
pub use signout::SignoutError;

/// Requests whose attempts are settled after they have gone, at a time. The attempts of others stay in
/// flight until they give up their room, and count for nothing: their clients have not seen an answer.
const MAX_LATE: usize = 1_000;

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
    /// For requests for links, which anybody can have for any address.
    askers: Strangers,
    /// For refusals by a limit that is reached: repeated attempts at an account cost nothing.
    knocking: AuditThrottle,
    /// For starts of a block on an account.
    blocks: AuditThrottle,
    /// For refusals of strangers.
    foreign: AuditThrottle,
    /// A permit for each request whose attempts are settled after it has gone.
    late: Arc<Semaphore>,
    code_key: DerivedKey,
    link_key: DerivedKey,
    recovery_key: DerivedKey,
    totp_sealer: TotpSealer,
    totp_issuer: String,
    passkeys: Passkeys,
    offers_links: bool,
    rules: Rules,
    blocklist: Blocklist,
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
    account: Limit,
    administration: Limit,
    administrators: AdministrationRule,
    forgot: Limit,
    ceilings: Ceilings,
    max_wrong_codes: u32,
    code_ttl: Duration,
    offers_totp: bool,
    fresh: Duration,
    link_lifetimes: LinkLifetimes,
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
            account: config.limits.account,
            administration: config.limits.administration,
            administrators: administration_rule(config),
            forgot: config.limits.forgot,
            ceilings: Ceilings::new(&config.limits),
            max_wrong_codes: config.limits.confirm_failures_per_account,
            code_ttl: config.two_factor.ttl,
            offers_totp: config.two_factor.totp,
            fresh: config.tokens.fresh,
            link_lifetimes: link_lifetimes(&config.links),
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

/// The rule that administrators are held to, by a configuration.
pub(crate) fn administration_rule(config: &Config) -> AdministrationRule {
    AdministrationRule {
        requires_mfa: config.administration.requires_mfa,
        fresh: config.tokens.fresh,
    }
}

/// How long links work, by a configuration.
pub(crate) fn link_lifetimes(config: &LinksConfig) -> LinkLifetimes {
    LinkLifetimes {
        reset: config.reset_ttl,
        invitation: config.invitation_ttl,
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
        let of_strangers = FloodLimit {
            burst: config.limits.strangers_burst,
            per_second: config.limits.strangers_per_second,
        };
        Self(Arc::new(Parts {
            store,
            ring_reader: RingReader::new(signing_keys, Arc::clone(&tokens)),
            tokens,
            pool,
            attempt_keys: AttemptKeys::new(master_key),
            strangers: Strangers::new(of_strangers),
            askers: Strangers::new(of_strangers),
            knocking: AuditThrottle::of_audit(),
            blocks: AuditThrottle::of_audit(),
            foreign: AuditThrottle::of_audit(),
            late: Arc::new(Semaphore::new(MAX_LATE)),
            code_key: master_key.derive(Purpose::OneTimeCodes),
            link_key: master_key.derive(Purpose::Links),
            recovery_key: master_key.derive(Purpose::RecoveryCodes),
            totp_sealer: TotpSealer::new(master_key),
            totp_issuer: config.two_factor.totp_issuer.clone(),
            passkeys: Passkeys::new(&config.passkeys, master_key),
            offers_links: config.links.password_url.is_some(),
            rules: Rules::new(config),
            blocklist: config.blocklist.clone(),
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

    /// Whether people can have links to set their passwords.
    #[must_use]
    pub fn offers_links(&self) -> bool {
        self.0.offers_links
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

    /// Wakes the sender of mails, since there may be one to send.
    pub(crate) fn note_mail(&self) {
        self.0.mail_is_due.notify_one();
    }

    /// Records the load of the hashing pool and the age of the revocation cache in the metrics. Asks
    /// no database.
    pub fn record_metrics(&self) {
        self.0.pool.record_metrics();
        self.0.revocations.record_metrics();
    }
}
