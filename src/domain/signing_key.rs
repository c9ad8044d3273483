//! A signing key as it is stored, the stages of its life, and what moves it from one to the next.
//!
//! At most one key is published to sign later: whoever would add a second one is refused. When a
//! key takes over, those before it go on verifying until their last token has expired; that instant
//! is set when the successor is stored, so that it needs no worker to come true.

use std::time::Duration;

use super::words::words;
use super::{KeyId, Timestamp};

words! {
    /// What a key signs. Each purpose has keys of its own.
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
    /// What it signs.
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
    /// It is the key of an older service, whose access tokens are still taken.
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

/// What a key does at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// The key.
    pub key_id: KeyId,
    /// What it signs.
    pub purpose: KeyPurpose,
    /// Its stage.
    pub stage: KeyStage,
    /// Whether it verifies refresh tokens, if any.
    pub verifies_refresh_tokens: bool,
}

/// What each key does at `now`, in the order of `keys`.
///
/// What a key ring holds follows from this and from the keys themselves, which never change: two
/// readings with equal states need no new ring.
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

/// What else has to happen when a key is revoked, so that there is always one that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revocation {
    /// Nothing: another key signs and goes on.
    Alone,
    /// It was to take over: the key that signs stays in office.
    OfSuccessor {
        /// The key whose end is called off.
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
    #[error("this key was revoked already, on {}", super::rfc3339(*at))]
    AlreadyRevoked {
        /// When.
        at: Timestamp,
    },
}

/// Decides what revoking the key `key_id` takes.
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

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::KeyStage::{Active, Expired, Legacy, Published, Retired};
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn key(id: &str, activates_at: i64) -> SigningKeyRecord {
        SigningKeyRecord {
            key_id: KeyId(id.to_owned()),
            purpose: KeyPurpose::Access,
            public_key: vec![],
            sealed_private_key: Some(vec![]),
            created_at: at(0),
            activates_at: at(activates_at),
            expires_at: None,
            revoked_at: None,
            is_legacy: false,
            refresh_expires_at: None,
        }
    }

    fn refresh_key(id: &str, activates_at: i64) -> SigningKeyRecord {
        SigningKeyRecord {
            purpose: KeyPurpose::Refresh,
            ..key(id, activates_at)
        }
    }

    #[test]
    fn the_keys_of_one_purpose_do_not_follow_those_of_the_other() {
        let keys = [key("a", 10), refresh_key("r", 20), key("next", 200)];
        let active = |purpose| {
            active_key(&keys, purpose, at(100))
                .unwrap()
                .key_id
                .0
                .as_str()
        };
        assert_eq!(active(KeyPurpose::Access), "a");
        assert_eq!(active(KeyPurpose::Refresh), "r");
        let due = |purpose| is_rotation_due(&keys, purpose, at(100), Duration::from_secs(50));
        assert!(!due(KeyPurpose::Access), "a successor is published");
        assert!(due(KeyPurpose::Refresh));
        let revoked = |id: &str| plan_revocation(&keys, &KeyId(id.to_owned()), at(100));
        assert_eq!(revoked("r"), Ok(Revocation::WithNewKey));
        let successor = KeyId("next".to_owned());
        assert_eq!(revoked("a"), Ok(Revocation::PassedOn { successor }));
    }

    #[test]
    fn a_key_for_access_tokens_verifies_refresh_tokens_until_it_need_not() {
        let old = SigningKeyRecord {
            refresh_expires_at: Some(at(40)),
            ..key("old", 10)
        };
        assert!(old.verifies_refresh_tokens(at(39)));
        assert!(!old.verifies_refresh_tokens(at(40)));
        assert!(key("alone", 10).verifies_refresh_tokens(at(9999)));
        assert!(refresh_key("r", 10).verifies_refresh_tokens(at(9999)));
        let states = |now| states(std::slice::from_ref(&old), at(now));
        assert_ne!(states(39), states(40), "the ring has to be opened again");
    }

    #[test]
    fn a_key_is_published_then_active_then_retired_then_expired() {
        let old = SigningKeyRecord {
            expires_at: Some(at(40)),
            ..key("old", 10)
        };
        let keys = [old.clone(), key("new", 20)];
        let stages = [9, 10, 19, 20, 39, 40].map(|now| stage_of(&old, &keys, at(now)));
        assert_eq!(
            stages,
            [Published, Active, Active, Retired, Retired, Expired]
        );
    }

    #[test]
    fn neither_a_revoked_key_nor_one_without_a_private_part_signs() {
        let revoked = SigningKeyRecord {
            revoked_at: Some(at(30)),
            ..key("revoked", 25)
        };
        let public = SigningKeyRecord {
            sealed_private_key: None,
            ..key("public", 26)
        };
        let keys = [key("good", 10), revoked.clone(), public.clone()];
        let active = active_key(&keys, KeyPurpose::Access, at(30));
        assert_eq!(active.unwrap().key_id.0, "good");
        assert_eq!(stage_of(&revoked, &keys, at(30)), KeyStage::Revoked);
        assert_eq!(stage_of(&public, &keys, at(30)), Retired);
    }

    #[test]
    fn a_key_of_an_older_service_is_legacy_until_its_end_and_nothing_else() {
        let legacy = SigningKeyRecord {
            sealed_private_key: None,
            expires_at: Some(at(40)),
            is_legacy: true,
            ..key("legacy", 10)
        };
        let keys = [key("good", 5), legacy.clone()];
        let stages = [9, 10, 39, 40].map(|now| stage_of(&legacy, &keys, at(now)));
        assert_eq!(stages, [Legacy, Legacy, Legacy, Expired]);
        assert!(!Legacy.verifies(), "no token of ours");
        let plan = plan_revocation(&keys, &legacy.key_id, at(20));
        assert_eq!(plan, Ok(Revocation::Alone));
    }

    /// `old` signed from 10 and was followed by `now` at 100; `next` is published for 200.
    fn three_keys() -> [SigningKeyRecord; 3] {
        let old = SigningKeyRecord {
            expires_at: Some(at(150)),
            ..key("old", 10)
        };
        let now = SigningKeyRecord {
            expires_at: Some(at(250)),
            ..key("now", 100)
        };
        [old, now, key("next", 200)]
    }

    #[test]
    fn the_stages_of_all_keys_change_when_one_of_them_moves_on() {
        let keys = three_keys();
        let stages = |now| states(&keys, at(now)).into_iter().map(|state| state.stage);
        for (now, expected) in [
            (99, [Active, Published, Published]),
            (100, [Retired, Active, Published]),
            (149, [Retired, Active, Published]),
            (150, [Expired, Active, Published]),
            (200, [Expired, Retired, Active]),
            (250, [Expired, Expired, Active]),
        ] {
            assert!(stages(now).eq(expected), "at {now}");
        }
    }

    #[test]
    fn a_key_that_cannot_sign_is_never_pending() {
        let public = SigningKeyRecord {
            sealed_private_key: None,
            ..key("public", 200)
        };
        let keys = [key("now", 100), public];
        assert!(pending_key(&keys, at(150)).is_none());
        assert_eq!(
            pending_key(&three_keys(), at(150)).unwrap().key_id.0,
            "next"
        );
        assert!(pending_key(&three_keys(), at(200)).is_none());
    }

    #[test]
    fn a_rotation_is_due_once_the_key_is_old_and_nothing_follows_it() {
        let (alone, followed) = ([key("now", 100)], three_keys());
        let revoked = SigningKeyRecord {
            revoked_at: Some(at(120)),
            ..key("next", 200)
        };
        let follower_revoked = [key("now", 100), revoked];
        for (keys, now, rotate_after, is_due) in [
            (&alone[..], 149, 50, false),
            (&alone, 150, 50, true),
            (&alone, 9999, 0, false),
            (&followed, 199, 50, false),
            (&follower_revoked, 150, 50, true),
            (&[], 9999, 50, false),
        ] {
            let rotate_after = Duration::from_secs(rotate_after);
            let found = is_rotation_due(keys, KeyPurpose::Access, at(now), rotate_after);
            assert_eq!(found, is_due, "{rotate_after:?} after at {now}");
        }
    }

    #[test]
    fn whatever_is_revoked_one_key_signs_on() {
        let id = |id: &str| KeyId(id.to_owned());
        let keys = three_keys();
        let alone = &keys[..2];
        for (keys, revoked, now, plan) in [
            (&keys[..], "old", 120, Revocation::Alone),
            (&keys, "old", 199, Revocation::Alone),
            (
                &keys,
                "now",
                120,
                Revocation::PassedOn {
                    successor: id("next"),
                },
            ),
            (
                &keys,
                "next",
                120,
                Revocation::OfSuccessor { stays: id("now") },
            ),
            (&keys, "now", 200, Revocation::Alone),
            (&keys, "next", 200, Revocation::WithNewKey),
            (alone, "now", 120, Revocation::WithNewKey),
            (alone, "old", 120, Revocation::Alone),
            (alone, "old", 300, Revocation::WithNewKey),
        ] {
            let found = plan_revocation(keys, &id(revoked), at(now));
            assert_eq!(found, Ok(plan), "{revoked} at {now}");
        }
    }

    #[test]
    fn neither_an_unknown_key_nor_a_revoked_one_is_revoked() {
        let revoked = SigningKeyRecord {
            revoked_at: Some(at(30)),
            ..key("revoked", 25)
        };
        let keys = [key("good", 10), revoked];
        let plan = |id: &str| plan_revocation(&keys, &KeyId(id.to_owned()), at(40));
        assert_eq!(plan("nobody"), Err(RevocationRefused::Unknown));
        let already = RevocationRefused::AlreadyRevoked { at: at(30) };
        assert_eq!(plan("revoked"), Err(already));
    }
}
