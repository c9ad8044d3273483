//! The key ring: the keys that sign and verify at one moment.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::legacy::LegacyKeys;
use super::open_key::{OpenKey, Signer};
use super::public_keys::PublicKeys;
use super::verified::VerifiedTokens;
use super::verifier::Verifier;
use super::{KeyRingError, Sealer};
use crate::domain::{
    KeyId, KeyPurpose, PairKeys, SigningKeyRecord, Timestamp, active_key, stage_of,
};

struct RingKey {
    purpose: KeyPurpose,
    verifies_refresh_tokens: bool,
    open: Arc<OpenKey>,
}

impl RingKey {
    fn is_for(&self, purpose: KeyPurpose) -> bool {
        match purpose {
            KeyPurpose::Access => self.purpose == KeyPurpose::Access,
            KeyPurpose::Refresh => self.verifies_refresh_tokens,
        }
    }
}

/// The keys at one moment.
pub struct Ring {
    keys: HashMap<KeyId, RingKey>,
    legacy: LegacyKeys,
    signers: PairKeys,
    public: Arc<PublicKeys>,
    /// When the keys were read, by the database's clock.
    read_at: Timestamp,
}

impl Ring {
    /// Opens the keys that the database holds, at `now` by its clock.
    ///
    /// The active keys are tried: a token that its own public part would refuse is never issued.
    pub fn open(
        records: &[SigningKeyRecord],
        now: Timestamp,
        sealer: &Sealer,
    ) -> Result<Self, KeyRingError> {
        Self::open_after(None, records, now, sealer)
    }

    /// The same, and keeps the keys that were opened `before`: opening a key costs more than a signature.
    pub fn open_after(
        before: Option<&Self>,
        records: &[SigningKeyRecord],
        now: Timestamp,
        sealer: &Sealer,
    ) -> Result<Self, KeyRingError> {
        let access = active_key(records, KeyPurpose::Access, now);
        let access = access.ok_or(KeyRingError::NoActiveKey)?;
        let refresh = active_key(records, KeyPurpose::Refresh, now);
        if refresh.is_none() && !access.verifies_refresh_tokens(now) {
            return Err(KeyRingError::NoRefreshKey);
        }
        let open = |record: &SigningKeyRecord| -> Result<RingKey, KeyRingError> {
            let known = before.and_then(|ring| ring.keys.get(&record.key_id));
            Ok(RingKey {
                purpose: record.purpose,
                verifies_refresh_tokens: record.verifies_refresh_tokens(now),
                open: match known {
                    Some(known) => Arc::clone(&known.open),
                    None => Arc::new(OpenKey::open(record, sealer)?),
                },
            })
        };
        let keys = records
            .iter()
            .filter(|record| stage_of(record, records, now).verifies())
            .map(|record| Ok((record.key_id.clone(), open(record)?)))
            .collect::<Result<HashMap<_, _>, KeyRingError>>()?;
        let published = keys
            .iter()
            .filter(|(_, key)| key.purpose == KeyPurpose::Access);
        let published = published.map(|(id, key)| (id.clone(), Arc::clone(&key.open)));
        let ring = Self {
            legacy: LegacyKeys::of(records, now)?,
            public: Arc::new(PublicKeys::of(published.collect(), &access.key_id)),
            signers: PairKeys {
                access: access.key_id.clone(),
                refresh: refresh.map(|key| key.key_id.clone()),
            },
            keys,
            read_at: now,
        };
        ring.self_test(&ring.signers.access)?;
        ring.signers
            .refresh
            .as_ref()
            .map_or(Ok(()), |key| ring.self_test(key))?;
        Ok(ring)
    }

    fn self_test(&self, key_id: &KeyId) -> Result<(), KeyRingError> {
        match self.keys.get(key_id) {
            Some(key) if key.open.is_sound() => Ok(()),
            _ => Err(KeyRingError::SelfTest(key_id.clone())),
        }
    }

    /// The key that signs access tokens now.
    #[must_use]
    pub fn active(&self) -> &KeyId {
        &self.signers.access
    }

    /// The keys that sign now.
    #[must_use]
    pub fn signers(&self) -> &PairKeys {
        &self.signers
    }

    /// The public keys of access tokens, in the forms that they are published in.
    #[must_use]
    pub fn public_keys(&self) -> Arc<PublicKeys> {
        Arc::clone(&self.public)
    }

    pub(super) fn signing(&self, purpose: KeyPurpose, key_id: &KeyId) -> Option<&Signer> {
        let key = self.keys.get(key_id).filter(|key| key.is_for(purpose))?;
        key.open.signer.as_ref()
    }

    pub(super) fn verifying(&self, purpose: KeyPurpose, key_id: &KeyId) -> Option<&Verifier> {
        let key = self.keys.get(key_id).filter(|key| key.is_for(purpose))?;
        Some(&key.open.verifier)
    }

    pub(super) fn legacy(&self) -> &LegacyKeys {
        &self.legacy
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("signers", &self.signers)
            .finish_non_exhaustive()
    }
}

/// The keys in force, and the tokens that they have verified.
pub(super) struct InForce {
    pub(super) ring: Arc<Ring>,
    pub(super) verified: VerifiedTokens,
}

impl InForce {
    fn new(ring: Ring, remembered: u32) -> Arc<Self> {
        Arc::new(Self {
            ring: Arc::new(ring),
            verified: VerifiedTokens::new(remembered),
        })
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ring.fmt(f)
    }
}

/// The keys in force: read on every request, replaced as a whole when the database has others.
#[derive(Debug)]
pub struct KeyRing {
    in_force: RwLock<Arc<InForce>>,
    /// How many verified tokens are remembered.
    remembered: u32,
    /// When the database last had no other keys, by its clock, in seconds since 1970.
    complete_at: AtomicI64,
}

impl KeyRing {
    pub(super) fn new(ring: Ring, remembered: u32) -> Self {
        Self {
            complete_at: AtomicI64::new(ring.read_at.timestamp()),
            in_force: RwLock::new(InForce::new(ring, remembered)),
            remembered,
        }
    }

    pub(super) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The keys in force.
    #[must_use]
    pub fn current(&self) -> Arc<Ring> {
        Arc::clone(&self.in_force().ring)
    }

    /// Puts other keys in force. Tokens that were verified before are verified again.
    pub fn replace(&self, ring: Ring) {
        let in_force = InForce::new(ring, self.remembered);
        *self
            .in_force
            .write()
            .unwrap_or_else(PoisonError::into_inner) = in_force;
    }

    /// Notes that a reading at `now`, by the database's clock, found no other keys than those in force.
    pub fn confirm(&self, now: Timestamp) {
        self.complete_at.store(now.timestamp(), Ordering::Relaxed);
    }

    pub(super) fn complete_at(&self) -> i64 {
        self.complete_at.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::MasterKey;
    use crate::token::SealedKey;
    use crate::token::claims::sample;

    const NOW: i64 = 1_800_000_000;

    fn ring() -> Ring {
        let sealer = Sealer::new(
            &MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap(),
        );
        let key = SealedKey::generate(2048, &sealer).unwrap();
        let now = Timestamp::from_timestamp(NOW, 0).unwrap();
        let record = SigningKeyRecord {
            key_id: key.key_id,
            purpose: KeyPurpose::Access,
            public_key: key.public_key,
            sealed_private_key: key.sealed_private_key,
            created_at: now,
            activates_at: now,
            expires_at: None,
            revoked_at: None,
            is_legacy: false,
            refresh_expires_at: None,
        };
        Ring::open(&[record], now, &sealer).unwrap()
    }

    /// Red where verified tokens outlive their keys.
    #[test]
    fn a_verified_token_is_verified_again_once_other_keys_are_in_force() {
        let keys = KeyRing::new(ring(), 10);
        let is_verified = || {
            let mut is_verified = false;
            let found = keys.in_force().verified.get_or_verify("a", NOW, || {
                is_verified = true;
                Ok::<_, ()>(sample("a@example.com", NOW))
            });
            assert!(found.is_ok());
            is_verified
        };
        assert_eq!([is_verified(), is_verified()], [true, false]);
        keys.replace(ring());
        assert_eq!([is_verified(), is_verified()], [true, false]);
    }
}
