//! The acts of operators on the signing keys.

mod import;
mod list;
mod reseal;
mod revoke;
mod rotate;

use super::Admin;
use crate::auth::{KeysError, Successor, about};
use crate::domain::{
    AuditEvent, AuditKind, KeyChange, KeyId, KeyPurpose, Operator, RevocationRefused,
    SigningKeyRecord, Timestamp, pending_key, rfc3339,
};
use crate::store::{StoreError, Tx, Unique};
use crate::token::KeyRingError;

use import::{MAX_LEGACY_DAYS, MAX_LEGACY_KEYS};

pub use import::Imported;
pub use list::ListedKey;
pub use revoke::Revoked;
pub use rotate::{Activation, Rotated};

/// Why an operator's change to the signing keys was not made.
#[derive(Debug, thiserror::Error)]
pub enum KeyChangeError {
    /// The key is there already.
    #[error("this key is there already")]
    Known,
    /// A public key, but no token of an older service is taken.
    #[error(
        "this is a public key, of an older service: set tokens.legacy_ttl_seconds to the life of its \
         access tokens first, or they are not taken"
    )]
    LegacyOff,
    /// There are as many keys of older services as are tried.
    #[error("there are {MAX_LEGACY_KEYS} keys of older services already; revoke one of them first")]
    TooManyLegacy,
    /// The end of a key of an older service is no instant that will do.
    #[error("--until must be later than now, and at most {MAX_LEGACY_DAYS} days away")]
    BadEnd,
    /// An end was given for a key that signs.
    #[error("--until is for the public key of an older service, and this one is private")]
    PrivateWithEnd,
    /// A key for refresh tokens that cannot sign.
    #[error("this is a public key, and a key for refresh tokens has to sign")]
    PublicRefreshKey,
    /// A key is published already and has yet to take over.
    #[error(
        "the key {key_id} is published already and signs from {}; wait for that, or let it sign \
         at once with `key rotate --now`",
        rfc3339(*activates_at)
    )]
    Pending {
        /// The key that is published.
        key_id: KeyId,
        /// From when it signs.
        activates_at: Timestamp,
    },
    /// The key cannot be revoked.
    #[error(transparent)]
    NotRevoked(#[from] RevocationRefused),
    /// Somebody else changed the keys in the middle of it.
    #[error("the keys were changed by somebody else meanwhile; look at `key list` and try again")]
    ChangedMeanwhile,
    /// The master key to seal under is the one that seals already.
    #[error(
        "the keys are sealed under this master key already: set secrets.master_key to it, or make another \
         one with `openssl rand -base64 32`"
    )]
    SameMasterKey,
    /// The keys could not be read or made.
    #[error(transparent)]
    Keys(KeysError),
}

impl From<KeysError> for KeyChangeError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Store(StoreError::Taken(Unique::SigningKey)) => Self::Known,
            error => Self::Keys(error),
        }
    }
}

impl From<StoreError> for KeyChangeError {
    fn from(error: StoreError) -> Self {
        KeysError::from(error).into()
    }
}

impl From<KeyRingError> for KeyChangeError {
    fn from(error: KeyRingError) -> Self {
        KeysError::from(error).into()
    }
}

impl Admin {
    /// Lets the key `key_id` sign at once, and tells from when.
    async fn activate(
        &self,
        actor: &Operator,
        tx: &mut Tx,
        (key_id, purpose): (&KeyId, KeyPurpose),
    ) -> Result<Successor, StoreError> {
        let activates_at = tx.activate_signing_key(key_id).await?;
        let detail = about(key_id, purpose);
        tx.record(&changed(KeyChange::Activated, detail, actor))
            .await?;
        Ok(Successor {
            key_id: key_id.clone(),
            activates_at,
            is_active: true,
        })
    }
}

/// At most one key waits to take over.
fn refuse_second(keys: &[SigningKeyRecord], now: Timestamp) -> Result<(), KeyChangeError> {
    match pending_key(keys, now) {
        Some(pending) => Err(KeyChangeError::Pending {
            key_id: pending.key_id.clone(),
            activates_at: pending.activates_at,
        }),
        None => Ok(()),
    }
}

/// The event that an operator changed the keys.
fn changed(change: KeyChange, detail: String, actor: &Operator) -> AuditEvent {
    AuditEvent {
        detail: Some(detail),
        ..AuditEvent::by_operator(AuditKind::KeysChanged, change, actor)
    }
}
