//! The changes to the keys that the server makes by itself.

use std::time::Duration;

use super::{KeysError, LockedKeys, NewKey, SigningKeys};
use crate::domain::{
    AuditEvent, AuditKind, KeyChange, KeyId, KeyPurpose, Outcome, SigningKeyRecord, Timestamp,
    active_key, is_rotation_due,
};

impl SigningKeys {
    /// Makes the first keys, if there are none. Of several instances that start at once, one does.
    pub async fn ensure_first(&self) -> Result<(), KeysError> {
        self.ensure(KeyPurpose::Access).await?;
        self.ensure_refresh_key().await?;
        Ok(())
    }

    /// Makes the first key for refresh tokens, or one after an older release revoked it. Not while an
    /// older release is at work: it would repeat a pair with another refresh token, and publish the key.
    pub async fn ensure_refresh_key(&self) -> Result<Option<KeyId>, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let is_needed = active_key(&keys, KeyPurpose::Access, now).is_some()
            && active_key(&keys, KeyPurpose::Refresh, now).is_none();
        let is_first = keys.iter().all(|key| key.purpose == KeyPurpose::Access);
        if !is_needed || is_first && self.store.is_older_release_connected().await? {
            return Ok(None);
        }
        self.ensure(KeyPurpose::Refresh).await
    }

    async fn ensure(&self, purpose: KeyPurpose) -> Result<Option<KeyId>, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        if active_key(&keys, purpose, now).is_some() {
            return Ok(None);
        }
        let key = self.generate(purpose).await?;
        let LockedKeys { mut tx, keys, now } = self.lock().await?;
        if active_key(&keys, purpose, now).is_some() {
            return Ok(None);
        }
        self.insert(&mut tx, &key, Duration::ZERO).await?;
        tx.record(&by_server(KeyChange::FirstMade, &key)).await?;
        tx.commit().await?;
        Ok(Some(key.sealed.key_id))
    }

    pub(super) fn is_due(
        &self,
        keys: &[SigningKeyRecord],
        purpose: KeyPurpose,
        now: Timestamp,
    ) -> bool {
        is_rotation_due(keys, purpose, now, self.config.rotate_after)
    }

    /// Makes the next key for each purpose whose key has grown old, and tells their ids. Of any number
    /// of instances one makes them.
    pub async fn rotate_if_due(&self) -> Result<Vec<KeyId>, KeysError> {
        let mut made = Vec::new();
        for &purpose in KeyPurpose::ALL {
            made.extend(self.rotate_one_if_due(purpose).await?);
        }
        Ok(made)
    }

    async fn rotate_one_if_due(&self, purpose: KeyPurpose) -> Result<Option<KeyId>, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        if !self.is_due(&keys, purpose, now) {
            return Ok(None);
        }
        // Before a key is made in vain, twice a second: others may have another master key by now.
        self.check_master_key(&keys, now)?;
        let key = self.generate(purpose).await?;
        let LockedKeys { mut tx, keys, now } = self.lock().await?;
        if !self.is_due(&keys, purpose, now) {
            return Ok(None);
        }
        let publish_before = match purpose {
            KeyPurpose::Access => self.config.publish_before,
            KeyPurpose::Refresh => Duration::ZERO,
        };
        self.insert(&mut tx, &key, publish_before).await?;
        tx.record(&by_server(KeyChange::Rotated, &key)).await?;
        tx.commit().await?;
        Ok(Some(key.sealed.key_id))
    }

    /// Ends the sessions that revoked keys still have: those that an instance refreshed before it learned
    /// of the revocation, and those that were left when the command was cut short.
    pub async fn end_sessions_of_revoked(&self) -> Result<(), KeysError> {
        let (keys, _) = self.store.list_signing_keys().await?;
        for key in keys.iter().filter(|key| key.revoked_at.is_some()) {
            self.end_sessions_of(&key.key_id).await?;
        }
        Ok(())
    }
}

fn by_server(change: KeyChange, key: &NewKey) -> AuditEvent {
    AuditEvent {
        detail: Some(key.about()),
        ..AuditEvent::bare(AuditKind::KeysChanged, Outcome::Granted, change)
    }
}
