//! The rule by which a key is revoked, so that there is always one that signs.

use super::{SigningKeyRecord, active_key, pending_key};
use crate::domain::{KeyId, Timestamp, rfc3339};

/// The consequence of a revocation for the other keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// Nothing: another key signs and goes on.
    Alone,
    /// It was to take over: the key that signs goes on.
    OfSuccessor {
        /// The key that signs, and has no end any more.
        stays: KeyId,
    },
    /// It signs: the key that was published to follow it signs at once.
    PassedOn {
        /// The key that takes over early.
        successor: KeyId,
    },
    /// It signs and nothing follows it: a new key is made and signs at once.
    WithNewKey,
}

/// Why a key is not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RevocationRefused {
    /// There is no such key.
    #[error("there is no key with this id; `key list` shows those that there are")]
    Unknown,
    /// It was revoked before.
    #[error("this key was revoked already, on {}", rfc3339(*at))]
    AlreadyRevoked {
        /// When it was revoked.
        at: Timestamp,
    },
}

/// Decides what else has to happen when the key `key_id` is revoked.
pub fn plan_revocation(
    keys: &[SigningKeyRecord],
    key_id: &KeyId,
    now: Timestamp,
) -> Result<Revocation, RevocationRefused> {
    let key = keys.iter().find(|key| key.key_id == *key_id);
    let key = key.ok_or(RevocationRefused::Unknown)?;
    if let Some(at) = key.revoked_at {
        return Err(RevocationRefused::AlreadyRevoked { at });
    }
    let is = |other: Option<&SigningKeyRecord>| other.is_some_and(|k| k.key_id == *key_id);
    let active = active_key(keys, key.purpose, now);
    let pending = pending_key(keys, now).filter(|pending| pending.purpose == key.purpose);
    Ok(match (active, pending) {
        (_, Some(successor)) if is(active) => Revocation::PassedOn {
            successor: successor.key_id.clone(),
        },
        (_, None) if is(active) => Revocation::WithNewKey,
        (Some(active), _) if is(pending) => Revocation::OfSuccessor {
            stays: active.key_id.clone(),
        },
        (None, _) => Revocation::WithNewKey,
        (Some(_), _) => Revocation::Alone,
    })
}
