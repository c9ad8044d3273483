//! The list of the signing keys.

use crate::admin::Admin;
use crate::auth::KeysError;
use crate::domain::{KeyPurpose, KeyStage, SigningKeyRecord, stage_of};

/// A key with the stage that it is in.
#[derive(Debug, Clone)]
pub struct ListedKey {
    /// The key as stored.
    pub record: SigningKeyRecord,
    /// Its stage by the database's clock.
    pub stage: KeyStage,
    /// Whether the master key opens the private part, where there is one.
    pub opens: Option<bool>,
}

impl ListedKey {
    /// Whether it signs or is to sign, but cannot be opened with this master key. A server with that master
    /// key does not start.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.opens == Some(false) && self.stage.verifies()
    }

    /// Whether it is in the JWKS.
    #[must_use]
    pub fn is_published(&self) -> bool {
        self.record.purpose == KeyPurpose::Access && self.stage.verifies()
    }
}

impl Admin {
    /// All keys with their stages, oldest first.
    pub async fn list_keys(&self) -> Result<Vec<ListedKey>, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let listed = keys.iter().map(|record| ListedKey {
            stage: stage_of(record, &keys, now),
            opens: (record.sealed_private_key.as_ref())
                .map(|sealed| self.keys.sealer().unseal(&record.key_id, sealed).is_ok()),
            record: record.clone(),
        });
        Ok(listed.collect())
    }

    /// Fails if a server with this master key would not start.
    pub async fn open_keys(&self) -> Result<(), KeysError> {
        self.keys.open_ring().await.map(drop)
    }
}
