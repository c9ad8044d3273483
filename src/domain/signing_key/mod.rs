//! A signing key as it is stored, and the stages of its life.
//!
//! At most one key is published to sign later: a second one is refused. When a key takes over, those
//! before it go on verifying until their last token has expired. That instant is set when the successor is
//! stored, so that no worker is needed for it.

mod revocation;

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::words::words;
use super::{KeyId, Timestamp};

pub use revocation::{Revocation, RevocationRefused, plan_revocation};

words! {
    /// The tokens that a key signs. Each purpose has keys of its own.
    pub enum KeyPurpose {
        /// Access tokens. It is in the JWKS, and was there for a while before it signs.
        Access = "access",
        /// Refresh tokens, which are for nobody but us: it is published nowhere, and signs at once.
        Refresh = "refresh",
    }
}

/// The keys that sign a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairKeys {
    /// Signs the access token.
    pub access: KeyId,
    /// Signs the refresh token. `None`, while an older release is at work: the other one does.
    pub refresh: Option<KeyId>,
}

/// A signing key's row: the private part sealed.
#[derive(Debug, Clone)]
pub struct SigningKeyRecord {
    /// `kid`.
    pub key_id: KeyId,
    /// The tokens that it signs.
    pub purpose: KeyPurpose,
    /// `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    /// PKCS#8, sealed; `None` if it only verifies.
    pub sealed_private_key: Option<Vec<u8>>,
    /// When it was made or imported.
    pub created_at: Timestamp,
    /// From when it signs.
    pub activates_at: Timestamp,
    /// When its last token has expired, once a later key has taken over.
    pub expires_at: Option<Timestamp>,
    /// When an operator revoked it.
    pub revoked_at: Option<Timestamp>,
    /// Whether it is the key of an older service, which verifies that one's access tokens alone.
    pub is_legacy: bool,
    /// Until when a key for access tokens verifies refresh tokens, too, which it signed before there
    /// were keys for them. `None`: as long as it verifies at all.
    pub refresh_expires_at: Option<Timestamp>,
}

impl SigningKeyRecord {
    /// Whether refresh tokens that it signed are good, if any tokens are.
    #[must_use]
    pub fn verifies_refresh_tokens(&self, now: Timestamp) -> bool {
        self.purpose == KeyPurpose::Refresh || self.refresh_expires_at.is_none_or(|at| at > now)
    }
}

/// A stage in a key's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStage {
    /// Verifiers can learn it; it does not sign yet.
    Published,
    /// It signs.
    Active,
    /// It signs no more; its tokens are still good.
    Retired,
    /// It is the key of an older service, whose access tokens are still accepted.
    Legacy,
    /// Its last token has expired.
    Expired,
    /// Its tokens are refused.
    Revoked,
}

impl KeyStage {
    /// All there are, in the order of a key's life.
    pub const ALL: [Self; 6] = [
        Self::Published,
        Self::Active,
        Self::Retired,
        Self::Legacy,
        Self::Expired,
        Self::Revoked,
    ];

    /// The word for it on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Legacy => "legacy",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// Whether tokens of ours that such a key signed are good.
    #[must_use]
    pub fn verifies(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retired)
    }
}

/// The key that signs for this purpose at `now`: of those that can sign and may, the one that came last.
#[must_use]
pub fn active_key(
    keys: &[SigningKeyRecord],
    purpose: KeyPurpose,
    now: Timestamp,
) -> Option<&SigningKeyRecord> {
    keys.iter()
        .filter(|key| key.purpose == purpose && key.sealed_private_key.is_some())
        .filter(|key| key.revoked_at.is_none() && key.activates_at <= now)
        .filter(|key| key.expires_at.is_none_or(|at| at > now))
        .max_by_key(|key| (key.activates_at, &key.key_id))
}

/// The stage that `key`, one of `keys`, is in at `now`.
#[must_use]
pub fn stage_of(key: &SigningKeyRecord, keys: &[SigningKeyRecord], now: Timestamp) -> KeyStage {
    if key.revoked_at.is_some() {
        KeyStage::Revoked
    } else if key.expires_at.is_some_and(|at| at <= now) {
        KeyStage::Expired
    } else if key.is_legacy {
        KeyStage::Legacy
    } else if key.activates_at > now {
        KeyStage::Published
    } else if active_key(keys, key.purpose, now).is_some_and(|k| k.key_id == key.key_id) {
        KeyStage::Active
    } else {
        KeyStage::Retired
    }
}

/// The state of a key at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The key's id: the `kid` of its tokens.
    pub key_id: KeyId,
    /// The tokens that it signs.
    pub purpose: KeyPurpose,
    /// Its stage at that time.
    pub stage: KeyStage,
    /// Whether it verifies refresh tokens, if any.
    pub verifies_refresh_tokens: bool,
}

/// The states of all keys at `now`, in the order of `keys`.
///
/// A key ring follows from these and from the keys themselves, which never change: two readings with
/// equal states need no new ring.
#[must_use]
pub fn states(keys: &[SigningKeyRecord], now: Timestamp) -> Vec<KeyState> {
    let state = |key: &SigningKeyRecord| KeyState {
        key_id: key.key_id.clone(),
        purpose: key.purpose,
        stage: stage_of(key, keys, now),
        verifies_refresh_tokens: key.verifies_refresh_tokens(now),
    };
    keys.iter().map(state).collect()
}

/// The key that is published and will sign later. It is one for access tokens, since others are not
/// published.
#[must_use]
pub fn pending_key(keys: &[SigningKeyRecord], now: Timestamp) -> Option<&SigningKeyRecord> {
    keys.iter()
        .filter(|key| key.sealed_private_key.is_some())
        .find(|key| stage_of(key, keys, now) == KeyStage::Published)
}

/// Whether the key that signs for this purpose has done so for `rotate_after` and nothing is published
/// to follow it. Zero means never.
#[must_use]
pub fn is_rotation_due(
    keys: &[SigningKeyRecord],
    purpose: KeyPurpose,
    now: Timestamp,
    rotate_after: Duration,
) -> bool {
    let is_old = |key: &SigningKeyRecord| key.activates_at + rotate_after <= now;
    let is_followed = pending_key(keys, now).is_some_and(|key| key.purpose == purpose);
    !rotate_after.is_zero() && active_key(keys, purpose, now).is_some_and(is_old) && !is_followed
}
