//! Importing a key from a PEM file.

use std::time::Duration;

use super::{KeyChangeError, changed, refuse_second};
use crate::admin::Admin;
use crate::auth::{LockedKeys, NewKey, Successor};
use crate::domain::{
    KeyChange, KeyId, KeyPurpose, KeyStage, Operator, Timestamp, active_key, states,
};
use crate::store::NewSigningKey;
use crate::token::{ImportedKey, SealedKey};

/// Keys of older services at a time: a token that names none is tried against each.
pub(super) const MAX_LEGACY_KEYS: usize = 4;

/// The end of such a key is at most this many days away.
pub(super) const MAX_LEGACY_DAYS: u64 = 90;

/// The result of an import.
#[derive(Debug, Clone)]
pub enum Imported {
    /// It signs, or will.
    Private(Successor),
    /// It verifies the access tokens of an older service.
    Legacy {
        /// The imported key.
        key_id: KeyId,
        /// When it stops verifying.
        until: Timestamp,
    },
}

impl Admin {
    /// Imports a key from a PEM file. A private key is published at once and signs after
    /// `keys.publish_seconds`, like any new key. A public one is that of an older service: it verifies that
    /// service's access tokens `until` then, or for as long as one lives that is issued now.
    pub async fn import_key(
        &self,
        actor: &Operator,
        pem: &[u8],
        until: Option<Timestamp>,
    ) -> Result<Imported, KeyChangeError> {
        let (key, kind) = SealedKey::import(pem, self.keys.sealer())?;
        match (kind, until) {
            (ImportedKey::Private, None) => self.import_private(actor, key).await,
            (ImportedKey::Private, Some(_)) => Err(KeyChangeError::PrivateWithEnd),
            (ImportedKey::Public, _) => self.import_legacy(actor, key, until).await,
        }
    }

    /// Imports a private key for refresh tokens. It signs at once.
    pub async fn import_refresh_key(
        &self,
        actor: &Operator,
        pem: &[u8],
        until: Option<Timestamp>,
    ) -> Result<Successor, KeyChangeError> {
        if until.is_some() {
            return Err(KeyChangeError::PrivateWithEnd);
        }
        let (sealed, ImportedKey::Private) = SealedKey::import(pem, self.keys.sealer())? else {
            return Err(KeyChangeError::PublicRefreshKey);
        };
        let key = NewKey::of(KeyPurpose::Refresh, sealed);
        let mut tx = self.keys.lock().await?.tx;
        let successor = self.keys.insert(&mut tx, &key, Duration::ZERO).await?;
        tx.record(&changed(KeyChange::Imported, key.about(), actor))
            .await?;
        tx.commit().await?;
        Ok(successor)
    }

    async fn import_private(
        &self,
        actor: &Operator,
        sealed: SealedKey,
    ) -> Result<Imported, KeyChangeError> {
        let key = NewKey::of(KeyPurpose::Access, sealed);
        let LockedKeys { mut tx, keys, now } = self.keys.lock().await?;
        refuse_second(&keys, now)?;
        let publish_before = match active_key(&keys, KeyPurpose::Access, now) {
            Some(_) => self.keys.publish_before(),
            None => Duration::ZERO,
        };
        let successor = self.keys.insert(&mut tx, &key, publish_before).await?;
        tx.record(&changed(KeyChange::Imported, key.about(), actor))
            .await?;
        tx.commit().await?;
        Ok(Imported::Private(successor))
    }

    async fn import_legacy(
        &self,
        actor: &Operator,
        sealed: SealedKey,
        until: Option<Timestamp>,
    ) -> Result<Imported, KeyChangeError> {
        if self.legacy_life.is_zero() {
            return Err(KeyChangeError::LegacyOff);
        }
        let LockedKeys { mut tx, keys, now } = self.keys.lock().await?;
        let found = states(&keys, now);
        let legacy = found.iter().filter(|key| key.stage == KeyStage::Legacy);
        if legacy.count() >= MAX_LEGACY_KEYS {
            return Err(KeyChangeError::TooManyLegacy);
        }
        let until = until.unwrap_or(now + self.legacy_life);
        if until <= now || until > now + Duration::from_hours(24 * MAX_LEGACY_DAYS) {
            return Err(KeyChangeError::BadEnd);
        }
        let key = NewKey::of(KeyPurpose::Access, sealed);
        tx.insert_signing_key(&NewSigningKey {
            key_id: &key.sealed.key_id,
            purpose: key.purpose,
            public_key: &key.sealed.public_key,
            sealed_private_key: None,
            publish_before: Duration::ZERO,
            legacy_until: Some(until),
        })
        .await?;
        tx.record(&changed(KeyChange::Imported, key.about(), actor))
            .await?;
        tx.commit().await?;
        let key_id = key.sealed.key_id;
        Ok(Imported::Legacy { key_id, until })
    }
}
