//! Rotating the keys: making those that take over.

use std::time::Duration;

use super::{KeyChangeError, changed, refuse_second};
use crate::admin::Admin;
use crate::auth::{LockedKeys, NewKey, Successor};
use crate::domain::{
    KeyChange, KeyPurpose, Operator, SigningKeyRecord, Timestamp, active_key, pending_key,
};
use crate::store::Tx;

/// The keys that a rotation made.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// Signs access tokens, or will.
    pub access: Option<Successor>,
    /// Signs refresh tokens. `None` also while an older release is at work.
    pub refresh: Option<Successor>,
}

/// When a new key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// After it was published for `keys.publish_seconds`.
    AfterPublishing,
    /// At once: verifiers that cache the key set refuse its tokens until they read it again.
    Now,
}

impl Admin {
    /// Makes keys that take over, for one purpose or for each. The one for access tokens does after it
    /// was published, or at once; if one is published already, it can be told to sign at once, and
    /// nothing else. The one for refresh tokens does at once.
    pub async fn rotate_keys(
        &self,
        actor: &Operator,
        activation: Activation,
        purpose: Option<KeyPurpose>,
    ) -> Result<Rotated, KeyChangeError> {
        let made = self.make_successors(activation, purpose).await?;
        let LockedKeys { mut tx, keys, now } = self.keys.lock().await?;
        let access = match &made.access {
            Some(key) => {
                refuse_second(&keys, now)?;
                let publish_before = match activation {
                    Activation::AfterPublishing => self.keys.publish_before(),
                    Activation::Now => Duration::ZERO,
                };
                Some(self.succeed(actor, &mut tx, key, publish_before).await?)
            }
            None if concerns(purpose, KeyPurpose::Access) => {
                Some(self.hasten(actor, &mut tx, &keys, now).await?)
            }
            None => None,
        };
        let refresh = match &made.refresh {
            Some(key) => Some(self.succeed(actor, &mut tx, key, Duration::ZERO).await?),
            None => None,
        };
        tx.commit().await?;
        Ok(Rotated { access, refresh })
    }

    /// Makes the keys that will be needed, before the lock: that takes longer than one should be held.
    async fn make_successors(
        &self,
        activation: Activation,
        purpose: Option<KeyPurpose>,
    ) -> Result<Successors, KeyChangeError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        self.keys.check_master_key(&keys, now)?;
        let mut made = Successors::default();
        if concerns(purpose, KeyPurpose::Access) {
            if activation == Activation::AfterPublishing {
                refuse_second(&keys, now)?;
            }
            if pending_key(&keys, now).is_none() {
                made.access = Some(self.keys.generate(KeyPurpose::Access).await?);
            }
        }
        // Before the first key for refresh tokens, an older release is at work.
        let has_refresh_key = active_key(&keys, KeyPurpose::Refresh, now).is_some();
        if concerns(purpose, KeyPurpose::Refresh) && has_refresh_key {
            made.refresh = Some(self.keys.generate(KeyPurpose::Refresh).await?);
        }
        Ok(made)
    }

    /// Stores a key that takes over.
    pub(super) async fn succeed(
        &self,
        actor: &Operator,
        tx: &mut Tx,
        key: &NewKey,
        publish_before: Duration,
    ) -> Result<Successor, KeyChangeError> {
        let successor = self.keys.insert(tx, key, publish_before).await?;
        tx.record(&changed(KeyChange::Rotated, key.about(), actor))
            .await?;
        Ok(successor)
    }

    /// Lets the key that is published sign at once.
    async fn hasten(
        &self,
        actor: &Operator,
        tx: &mut Tx,
        keys: &[SigningKeyRecord],
        now: Timestamp,
    ) -> Result<Successor, KeyChangeError> {
        let pending = pending_key(keys, now).ok_or(KeyChangeError::ChangedMeanwhile)?;
        Ok(self
            .activate(actor, tx, (&pending.key_id, pending.purpose))
            .await?)
    }
}

/// Keys that were made to take over, and are not stored yet.
#[derive(Default)]
struct Successors {
    access: Option<NewKey>,
    refresh: Option<NewKey>,
}

/// Whether a rotation for one `purpose`, or for each, is also one for `other`.
fn concerns(purpose: Option<KeyPurpose>, other: KeyPurpose) -> bool {
    purpose.is_none_or(|purpose| purpose == other)
}
