//! The signing keys of a database: read, made and replaced by the server itself.
//!
//! Every change reads the keys under a lock, decides by the rules of
//! [`domain::signing_key`](crate::domain), and writes all that follows in the same transaction. The
//! acts of operators on the keys stand on the same parts, in [`admin`](crate::admin).

mod reading;
mod upkeep;

use std::time::Duration;

use crate::config::{Config, KeysConfig};
use crate::domain::{EndReason, KeyId, KeyPurpose, SigningKeyRecord, Timestamp, active_key};
use crate::store::{NewSigningKey, Store, StoreError, Tx};
use crate::telemetry::metrics::SESSIONS_ENDED;
use crate::token::{KeyRingError, SealedKey, Sealer};

pub use reading::KeyRefresh;

/// Sessions of a revoked key that are ended in one transaction.
const BATCH: i64 = 1_000;

/// Why the signing keys could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A key cannot be opened or made.
    #[error(transparent)]
    Ring(#[from] KeyRingError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that signs, or will.
#[derive(Debug, Clone)]
pub struct Successor {
    /// Its id: the `kid` of the tokens that it signs.
    pub key_id: KeyId,
    /// From when it signs.
    pub activates_at: Timestamp,
    /// Whether it signs already.
    pub is_active: bool,
}

/// The signing keys of a database.
#[derive(Debug)]
pub struct SigningKeys {
    store: Store,
    sealer: Sealer,
    config: KeysConfig,
    /// The life of a refresh token.
    refresh_life: Duration,
    /// The longest life that a token can have, and so how long a key is needed after another has taken
    /// over: for refresh tokens too, and to repeat the pair that a session's row says it signed. Tokens
    /// that an instance signs before it notices the takeover lose half a second of that.
    token_life: Duration,
}

impl SigningKeys {
    /// The keys of a database, sealed under the configuration's master key.
    #[must_use]
    pub fn new(store: Store, config: &Config) -> Self {
        Self {
            store,
            sealer: Sealer::new(&config.secrets.master_key),
            config: config.keys.clone(),
            refresh_life: config.tokens.refresh_idle_ttl,
            token_life: (config.tokens.access_ttl).max(config.tokens.refresh_idle_ttl),
        }
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// For how long a key for access tokens is published before it signs.
    pub(crate) fn publish_before(&self) -> Duration {
        self.config.publish_before
    }

    /// Ends the sessions whose tokens a key signed, and tells how many.
    pub(crate) async fn end_sessions_of(&self, key_id: &KeyId) -> Result<u64, StoreError> {
        let mut ended = 0;
        loop {
            let batch = self.store.end_sessions_of_key(key_id, BATCH).await?;
            ended += batch;
            SESSIONS_ENDED.add(batch, [EndReason::KeyRevoked.as_str().into()]);
            if batch < BATCH.unsigned_abs() {
                return Ok(ended);
            }
        }
    }

    /// Locks the keys for a change, and reads them. Nobody else changes them until the transaction ends.
    pub(crate) async fn lock(&self) -> Result<LockedKeys, KeysError> {
        let mut tx = self.store.begin().await?;
        tx.lock_signing_keys().await?;
        let (keys, now) = tx.list_signing_keys().await?;
        self.check_master_key(&keys, now)?;
        Ok(LockedKeys { tx, keys, now })
    }

    /// Fails if this is not the master key of the keys that sign. A key sealed under another one than the
    /// rest could be opened by no server, and then none would follow the keys any more.
    pub(crate) fn check_master_key(
        &self,
        keys: &[SigningKeyRecord],
        now: Timestamp,
    ) -> Result<(), KeysError> {
        for &purpose in KeyPurpose::ALL {
            if let Some(key) = active_key(keys, purpose, now)
                && let Some(sealed) = &key.sealed_private_key
            {
                let opened = self.sealer.unseal(&key.key_id, sealed);
                opened.map_err(KeyRingError::from)?;
            }
        }
        Ok(())
    }

    /// Stores a key that signs. It sets the end of those before it.
    pub(crate) async fn insert(
        &self,
        tx: &mut Tx,
        key: &NewKey,
        publish_before: Duration,
    ) -> Result<Successor, KeysError> {
        let sealed = &key.sealed;
        let new = NewSigningKey {
            key_id: &sealed.key_id,
            purpose: key.purpose,
            public_key: &sealed.public_key,
            sealed_private_key: sealed.sealed_private_key.as_deref(),
            publish_before,
            legacy_until: None,
        };
        let activates_at = tx.insert_signing_key(&new).await?;
        tx.retire_signing_keys_before(&sealed.key_id, self.token_life)
            .await?;
        if key.purpose == KeyPurpose::Refresh {
            tx.retire_access_keys_from_refresh_tokens(&sealed.key_id, self.refresh_life)
                .await?;
        }
        Ok(Successor {
            key_id: sealed.key_id.clone(),
            activates_at,
            is_active: publish_before.is_zero(),
        })
    }

    /// Makes a key. That takes a core for a moment, which other tasks must not wait for, and which is
    /// longer than a lock should be held.
    pub(crate) async fn generate(&self, purpose: KeyPurpose) -> Result<NewKey, KeysError> {
        let (bits, sealer) = (self.config.bits, self.sealer.clone());
        let made = tokio::task::spawn_blocking(move || SealedKey::generate(bits, &sealer)).await;
        let made = made.map_err(|_| KeyRingError::NotRsa)??;
        Ok(NewKey::of(purpose, made))
    }
}

/// The keys under a lock.
pub(crate) struct LockedKeys {
    pub(crate) tx: Tx,
    pub(crate) keys: Vec<SigningKeyRecord>,
    /// The database's clock.
    pub(crate) now: Timestamp,
}

/// A key that was made or imported, and for what.
pub(crate) struct NewKey {
    pub(crate) purpose: KeyPurpose,
    pub(crate) sealed: SealedKey,
}

impl NewKey {
    pub(crate) fn of(purpose: KeyPurpose, sealed: SealedKey) -> Self {
        Self { purpose, sealed }
    }

    /// The words of the audit log for it.
    pub(crate) fn about(&self) -> String {
        about(&self.sealed.key_id, self.purpose)
    }
}

/// The words of the audit log for a key.
pub(crate) fn about(key_id: &KeyId, purpose: KeyPurpose) -> String {
    match purpose {
        KeyPurpose::Access => key_id.to_string(),
        KeyPurpose::Refresh => format!("{key_id}, for refresh tokens"),
    }
}
