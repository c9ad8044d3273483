//! Reading the keys into a ring.

use std::time::Duration;

use super::{KeysError, SigningKeys};
use crate::domain::{KeyPurpose, KeyState, Timestamp, active_key, states};
use crate::token::{KeyRingError, Ring};

/// The result of a reading of the keys.
#[derive(Debug)]
pub struct KeyRefresh {
    /// The keys to put in force, if they are others than before.
    pub ring: Option<Ring>,
    /// Whether a signing key is old and nothing follows it.
    pub is_rotation_due: bool,
    /// Whether no key is there for refresh tokens.
    pub lacks_refresh_key: bool,
    /// Since when the active key signs.
    pub active_since: Option<Timestamp>,
    /// The database's clock at the reading.
    pub now: Timestamp,
}

impl SigningKeys {
    /// Reads the keys into a ring, ready to sign and verify.
    pub async fn open_ring(&self) -> Result<Ring, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        Ok(Ring::open(&keys, now, &self.sealer)?)
    }

    /// Looks whether anything changed since the states in `seen`, which are brought up to date. A
    /// ring is opened only then, after the one `before`: that unseals and tries keys, which is too
    /// expensive for every refresh.
    pub async fn refresh(
        &self,
        before: &Ring,
        seen: &mut Vec<KeyState>,
    ) -> Result<KeyRefresh, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let found = states(&keys, now);
        let open = || Ring::open_after(Some(before), &keys, now, &self.sealer);
        let ring = match (found != *seen).then(open).transpose() {
            // It is made next, and until then nothing is signed or taken that was not before.
            Err(KeyRingError::NoRefreshKey) => None,
            ring => {
                let ring = ring?;
                *seen = found;
                ring
            }
        };
        let active = |purpose| active_key(&keys, purpose, now);
        let is_due = |&purpose: &KeyPurpose| self.is_due(&keys, purpose, now);
        Ok(KeyRefresh {
            ring,
            is_rotation_due: KeyPurpose::ALL.iter().any(is_due),
            lacks_refresh_key: active(KeyPurpose::Refresh).is_none(),
            active_since: active(KeyPurpose::Access).map(|key| key.activates_at),
            now,
        })
    }

    /// The age at which the active key is replaced; `None` if it never is.
    #[must_use]
    pub fn rotate_after(&self) -> Option<Duration> {
        Some(self.config.rotate_after).filter(|age| !age.is_zero())
    }
}
