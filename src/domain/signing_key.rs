//! A signing key as it is stored, the stages of its life, and what moves it from one to the next.
//!
//! At most one key is published to sign later: whoever would add a second one is refused. When a
//! key takes over, those before it go on verifying until their last token has expired; that instant
//! is set when the successor is stored, so that it needs no worker to come true.

use std::time::Duration;

use super::{KeyId, Timestamp};

/// A signing key's row: the private part sealed.
#[derive(Debug, Clone)]
pub struct SigningKeyRecord {
    /// `kid`.
    pub key_id: KeyId,
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

/// The key that signs at `now`: of those that can sign and may, the one that came last.
#[must_use]
pub fn active_key(keys: &[SigningKeyRecord], now: Timestamp) -> Option<&SigningKeyRecord> {
    keys.iter()
        .filter(|key| key.sealed_private_key.is_some())
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
    } else if active_key(keys, now).is_some_and(|active| active.key_id == key.key_id) {
        KeyStage::Active
    } else {
        KeyStage::Retired
    }
}

/// The stage of each key at `now`, in the order of `keys`.
///
/// What a key ring holds follows from this and from the keys themselves, which never change: two
/// readings with equal stages need no new ring.
#[must_use]
pub fn stages(keys: &[SigningKeyRecord], now: Timestamp) -> Vec<(KeyId, KeyStage)> {
    keys.iter()
        .map(|key| (key.key_id.clone(), stage_of(key, keys, now)))
        .collect()
}

/// The key that is published and will sign later.
#[must_use]
pub fn pending_key(keys: &[SigningKeyRecord], now: Timestamp) -> Option<&SigningKeyRecord> {
    keys.iter()
        .filter(|key| key.sealed_private_key.is_some())
        .find(|key| stage_of(key, keys, now) == KeyStage::Published)
}

/// Whether the signing key has signed for `rotate_after` and nothing is published to follow it.
/// Zero means never.
#[must_use]
pub fn is_rotation_due(keys: &[SigningKeyRecord], now: Timestamp, rotate_after: Duration) -> bool {
    let is_old = |key: &SigningKeyRecord| key.activates_at + rotate_after <= now;
    !rotate_after.is_zero()
        && active_key(keys, now).is_some_and(is_old)
        && pending_key(keys, now).is_none()
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
    #[error("this key was revoked already, on {}", super::whole_seconds(*at).to_rfc3339())]
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
    let (active, pending) = (active_key(keys, now), pending_key(keys, now));
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
            public_key: vec![],
            sealed_private_key: Some(vec![]),
            created_at: at(0),
            activates_at: at(activates_at),
            expires_at: None,
            revoked_at: None,
            is_legacy: false,
        }
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
        assert_eq!(active_key(&keys, at(30)).unwrap().key_id.0, "good");
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
        let stages = |now| stages(&keys, at(now)).into_iter().map(|(_, stage)| stage);
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
            let found = is_rotation_due(keys, at(now), Duration::from_secs(rotate_after));
            assert_eq!(found, is_due, "{rotate_after} s after at {now}");
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
