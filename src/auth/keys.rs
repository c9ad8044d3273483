//! The signing keys: made, imported, rotated, revoked, and read into the ring.
//!
//! Every change reads the keys under a lock, decides by the rules of
//! [`domain::signing_key`](crate::domain), and writes all that follows in the same transaction.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::{Config, KeysConfig};
use crate::domain::{
    AuditEvent, AuditKind, AuditReason, EndReason, KeyId, KeyStage, Outcome, Revocation,
    RevocationRefused, SigningKeyRecord, Timestamp, active_key, is_rotation_due, pending_key,
    plan_revocation, stage_of, stages, whole_seconds,
};
use crate::store::{NewSigningKey, Store, StoreError, Tx};
use crate::telemetry::metrics::SESSIONS_ENDED;
use crate::token::{ImportedKey, KeyRingError, Ring, SealedKey, Sealer};

/// Sessions ended in one transaction when a key is revoked.
const BATCH: i64 = 1_000;

/// How long a revocation waits for what began before it: longer than a statement of ours may take.
const READERS_END: Duration = Duration::from_secs(3);

/// How often it looks whether they are over.
const READERS_LOOK: Duration = Duration::from_millis(5);

/// Keys of older services at a time: a token that names none is tried against each.
const MAX_LEGACY_KEYS: usize = 4;

/// How far away the end of such a key may be.
const MAX_LEGACY_DAYS: u64 = 90;

/// Why something with the signing keys failed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The keys themselves.
    #[error(transparent)]
    Ring(#[from] KeyRingError),
    /// The key is there already.
    #[error("this key is there already")]
    Known,
    /// A public key, but no token of an older service is taken.
    #[error(
        "this is a public key, of an older service: set tokens.legacy_ttl_seconds to the life of its \
         access tokens first, or they are not taken"
    )]
    LegacyOff,
    /// There are as many keys of older services as are tried.
    #[error("there are {MAX_LEGACY_KEYS} keys of older services already; revoke one of them first")]
    TooManyLegacy,
    /// The end of a key of an older service is no instant that will do.
    #[error("--until must be later than now, and at most {MAX_LEGACY_DAYS} days away")]
    BadEnd,
    /// An end was given for a key that signs.
    #[error("--until is for the public key of an older service, and this one is private")]
    PrivateWithEnd,
    /// A key is published already and has yet to take over.
    #[error(
        "the key {key_id} is published already and signs from {}; wait for that, or let it sign \
         at once with `key rotate --now`",
        whole_seconds(*activates_at).to_rfc3339()
    )]
    Pending {
        /// The key.
        key_id: KeyId,
        /// From when it signs.
        activates_at: Timestamp,
    },
    /// The key cannot be revoked.
    #[error(transparent)]
    NotRevoked(#[from] RevocationRefused),
    /// Somebody else changed the keys in the middle of it.
    #[error("the keys were changed by somebody else meanwhile; look at `key list` and try again")]
    ChangedMeanwhile,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for KeysError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Constraint(name) if name == "signing_keys_pkey" => Self::Known,
            _ => Self::Store(error),
        }
    }
}

/// A key with the stage that it is in.
#[derive(Debug, Clone)]
pub struct ListedKey {
    /// The key.
    pub record: SigningKeyRecord,
    /// Its stage by the database's clock.
    pub stage: KeyStage,
}

/// A key that signs now or will.
#[derive(Debug, Clone)]
pub struct Successor {
    /// The key.
    pub key_id: KeyId,
    /// From when it signs.
    pub activates_at: Timestamp,
    /// Whether it signs already.
    pub is_active: bool,
}

/// What became of a key to import.
#[derive(Debug, Clone)]
pub enum Imported {
    /// It signs, or will.
    Private(Successor),
    /// It verifies the access tokens of an older service.
    Legacy {
        /// The key.
        key_id: KeyId,
        /// Until when.
        until: Timestamp,
    },
}

/// What revoking a key took.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// What happened to the other keys.
    pub plan: Revocation,
    /// The new key, if one was made.
    pub made: Option<KeyId>,
    /// Sessions that ended because their tokens died with the key.
    pub ended_sessions: u64,
}

/// What a look at the keys found.
#[derive(Debug)]
pub struct Look {
    /// The keys to put in force, if they are others than before.
    pub ring: Option<Ring>,
    /// Whether the signing key is old and nothing follows it.
    pub is_rotation_due: bool,
    /// Since when the active key signs.
    pub active_since: Option<Timestamp>,
    /// The database's clock when it looked.
    pub now: Timestamp,
}

/// When a new key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// After it was published for `keys.publish_seconds`.
    AfterPublishing,
    /// At once: verifiers that cache the key set refuse its tokens until they read it again.
    Now,
}

/// The signing keys of a database.
#[derive(Debug)]
pub struct SigningKeys {
    store: Store,
    sealer: Sealer,
    config: KeysConfig,
    /// The longest life that a token can have, and so how long a key is needed after another has
    /// taken over: for refresh tokens too, and for a repeat of what a session's row says it signed.
    /// What an instance signs before it notices the takeover loses half a second of that.
    token_life: Duration,
    /// The life of an access token of the older service. Zero: none is taken.
    legacy_life: Duration,
}

impl SigningKeys {
    /// The keys of a database, sealed under the configuration's master key.
    #[must_use]
    pub fn new(store: Store, config: &Config) -> Self {
        Self {
            store,
            sealer: Sealer::new(&config.secrets.master_key),
            config: config.keys.clone(),
            token_life: (config.tokens.access_ttl).max(config.tokens.refresh_idle_ttl),
            legacy_life: config.tokens.legacy_ttl,
        }
    }

    /// Makes the first key, if there is none. Of several instances that start at once, one does.
    pub async fn ensure_first(&self) -> Result<(), KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        if active_key(&keys, now).is_some() {
            return Ok(());
        }
        let key = self.generate().await?;
        let (mut tx, keys, now) = self.lock().await?;
        if active_key(&keys, now).is_some() {
            return Ok(());
        }
        self.insert(&mut tx, &key, Duration::ZERO).await?;
        let event = by_server(AuditReason::FirstKeyMade, &key.key_id);
        tx.record(&event).await?;
        Ok(tx.commit().await?)
    }

    /// Reads the keys into a ring, ready to sign and verify.
    pub async fn open_ring(&self) -> Result<Ring, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        Ok(Ring::open(&keys, now, &self.sealer)?)
    }

    /// Looks whether anything changed since the stages in `seen`, which are brought up to date. A
    /// ring is opened only then: that unseals and tries keys, which is too dear for every look.
    pub async fn look(&self, seen: &mut Vec<(KeyId, KeyStage)>) -> Result<Look, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let found = stages(&keys, now);
        let ring = if found == *seen {
            None
        } else {
            Some(Ring::open(&keys, now, &self.sealer)?)
        };
        *seen = found;
        Ok(Look {
            ring,
            is_rotation_due: is_rotation_due(&keys, now, self.config.rotate_after),
            active_since: active_key(&keys, now).map(|key| key.activates_at),
            now,
        })
    }

    /// The age at which the active key is replaced; `None` if it never is.
    #[must_use]
    pub fn rotate_after(&self) -> Option<Duration> {
        Some(self.config.rotate_after).filter(|age| !age.is_zero())
    }

    /// All keys with their stages, oldest first.
    pub async fn list(&self) -> Result<Vec<ListedKey>, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let listed = keys.iter().map(|record| ListedKey {
            stage: stage_of(record, &keys, now),
            record: record.clone(),
        });
        Ok(listed.collect())
    }

    /// Takes over a key from a PEM file. A private key is published at once and signs after
    /// `keys.publish_seconds`, like any new key. A public one is that of an older service, whose access
    /// tokens it verifies `until` then, or for as long as one lives that is issued now.
    pub async fn import(
        &self,
        pem: &[u8],
        until: Option<Timestamp>,
        actor: &str,
    ) -> Result<Imported, KeysError> {
        let (key, kind) = SealedKey::import(pem, &self.sealer)?;
        match (kind, until) {
            (ImportedKey::Private, None) => self.import_private(&key, actor).await,
            (ImportedKey::Private, Some(_)) => Err(KeysError::PrivateWithEnd),
            (ImportedKey::Public, _) => self.import_legacy(&key, until, actor).await,
        }
    }

    async fn import_private(&self, key: &SealedKey, actor: &str) -> Result<Imported, KeysError> {
        let (mut tx, keys, now) = self.lock().await?;
        refuse_second(&keys, now)?;
        let publish_before = match active_key(&keys, now) {
            Some(_) => self.config.publish_before,
            None => Duration::ZERO,
        };
        let successor = self.insert(&mut tx, key, publish_before).await?;
        tx.record(&by_operator(AuditReason::KeyImported, &key.key_id, actor))
            .await?;
        tx.commit().await?;
        Ok(Imported::Private(successor))
    }

    async fn import_legacy(
        &self,
        key: &SealedKey,
        until: Option<Timestamp>,
        actor: &str,
    ) -> Result<Imported, KeysError> {
        if self.legacy_life.is_zero() {
            return Err(KeysError::LegacyOff);
        }
        let (mut tx, keys, now) = self.lock().await?;
        let found = stages(&keys, now);
        if found
            .iter()
            .filter(|(_, stage)| *stage == KeyStage::Legacy)
            .count()
            >= MAX_LEGACY_KEYS
        {
            return Err(KeysError::TooManyLegacy);
        }
        let until = until.unwrap_or(now + self.legacy_life);
        if until <= now || until > now + Duration::from_hours(24 * MAX_LEGACY_DAYS) {
            return Err(KeysError::BadEnd);
        }
        tx.insert_signing_key(&NewSigningKey {
            key_id: &key.key_id,
            public_key: &key.public_key,
            sealed_private_key: None,
            publish_before: Duration::ZERO,
            legacy_until: Some(until),
        })
        .await?;
        tx.record(&by_operator(AuditReason::KeyImported, &key.key_id, actor))
            .await?;
        tx.commit().await?;
        let key_id = key.key_id.clone();
        Ok(Imported::Legacy { key_id, until })
    }

    /// Makes a key that takes over: after it was published, or at once. If one is published
    /// already, it can be told to sign at once, and nothing else.
    pub async fn rotate(
        &self,
        activation: Activation,
        actor: &str,
    ) -> Result<Successor, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        self.check_master_key(&keys, now)?;
        if pending_key(&keys, now).is_some() {
            return self.hasten(activation, actor).await;
        }
        let key = self.generate().await?;
        let (mut tx, keys, now) = self.lock().await?;
        refuse_second(&keys, now)?;
        let publish_before = match activation {
            Activation::AfterPublishing => self.config.publish_before,
            Activation::Now => Duration::ZERO,
        };
        let successor = self.insert(&mut tx, &key, publish_before).await?;
        tx.record(&by_operator(AuditReason::KeyRotated, &key.key_id, actor))
            .await?;
        tx.commit().await?;
        Ok(successor)
    }

    async fn hasten(&self, activation: Activation, actor: &str) -> Result<Successor, KeysError> {
        let (mut tx, keys, now) = self.lock().await?;
        if activation == Activation::AfterPublishing {
            refuse_second(&keys, now)?;
        }
        let pending = pending_key(&keys, now).ok_or(KeysError::ChangedMeanwhile)?;
        let activates_at = tx.activate_signing_key(&pending.key_id).await?;
        let event = by_operator(AuditReason::KeyActivated, &pending.key_id, actor);
        tx.record(&event).await?;
        tx.commit().await?;
        Ok(Successor {
            key_id: pending.key_id.clone(),
            activates_at,
            is_active: true,
        })
    }

    /// Makes the next key if the signing one has grown old, and tells its id. Of any number of
    /// instances one makes it.
    pub async fn rotate_if_due(&self) -> Result<Option<KeyId>, KeysError> {
        let (mut tx, keys, now) = self.lock().await?;
        if !is_rotation_due(&keys, now, self.config.rotate_after) {
            return Ok(None);
        }
        // Under the lock, unlike elsewhere: all instances come here at once, and one need work.
        let key = self.generate().await?;
        let publish_before = self.config.publish_before;
        self.insert(&mut tx, &key, publish_before).await?;
        let event = by_server(AuditReason::KeyRotated, &key.key_id);
        tx.record(&event).await?;
        tx.commit().await?;
        Ok(Some(key.key_id))
    }

    /// Lets a key and all that it signed die. Another one signs from the same instant.
    ///
    /// Sessions whose tokens it signed are ended, so that those who follow ended sessions learn of
    /// it.
    pub async fn revoke(&self, key_id: &KeyId, actor: &str) -> Result<Revoked, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let spare = match plan_revocation(&keys, key_id, now)? {
            Revocation::WithNewKey => Some(self.generate().await?),
            _ => None,
        };
        let (mut tx, keys, now) = self.lock().await?;
        let plan = plan_revocation(&keys, key_id, now)?;
        tx.revoke_signing_key(key_id).await?;
        let made = self.replace(&mut tx, &plan, spare, actor).await?;
        tx.record(&by_operator(AuditReason::KeyRevoked, key_id, actor))
            .await?;
        tx.commit().await?;
        self.wait_for_readers().await?;
        Ok(Revoked {
            plan,
            made,
            ended_sessions: self.end_sessions_of(key_id).await?,
        })
    }

    /// Waits for the statements that began before a revocation was committed, and so may yet open or
    /// refresh a session under the key. All later ones see it. A backup may read for hours, so there is
    /// an end to the patience; what comes to light later is ended by the server.
    async fn wait_for_readers(&self) -> Result<(), StoreError> {
        let patience = Instant::now() + READERS_END;
        let mut before = self.store.list_readers_of_signing_keys().await?;
        while !before.is_empty() && Instant::now() < patience {
            sleep(READERS_LOOK).await;
            let now = self.store.list_readers_of_signing_keys().await?;
            before.retain(|reader| now.contains(reader));
        }
        Ok(())
    }

    /// Does to the other keys what the plan says, and tells which one was made.
    async fn replace(
        &self,
        tx: &mut Tx,
        plan: &Revocation,
        spare: Option<SealedKey>,
        actor: &str,
    ) -> Result<Option<KeyId>, KeysError> {
        match plan {
            Revocation::Alone => {}
            Revocation::OfSuccessor { stays } => tx.keep_signing_key(stays).await?,
            Revocation::PassedOn { successor } => {
                tx.activate_signing_key(successor).await?;
                let event = by_operator(AuditReason::KeyActivated, successor, actor);
                tx.record(&event).await?;
            }
            Revocation::WithNewKey => {
                let key = spare.ok_or(KeysError::ChangedMeanwhile)?;
                self.insert(tx, &key, Duration::ZERO).await?;
                let event = by_operator(AuditReason::KeyRotated, &key.key_id, actor);
                tx.record(&event).await?;
                return Ok(Some(key.key_id));
            }
        }
        Ok(None)
    }

    async fn end_sessions_of(&self, key_id: &KeyId) -> Result<u64, StoreError> {
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

    /// Ends what sessions of revoked keys there still are: those that an instance refreshed before
    /// it learned of the revocation, and those that were left when the command was cut short.
    pub async fn end_sessions_of_revoked(&self) -> Result<(), KeysError> {
        let (keys, _) = self.store.list_signing_keys().await?;
        for key in keys.iter().filter(|key| key.revoked_at.is_some()) {
            self.end_sessions_of(&key.key_id).await?;
        }
        Ok(())
    }

    async fn lock(&self) -> Result<(Tx, Vec<SigningKeyRecord>, Timestamp), KeysError> {
        let mut tx = self.store.begin().await?;
        tx.lock_signing_keys().await?;
        let (keys, now) = tx.list_signing_keys().await?;
        self.check_master_key(&keys, now)?;
        Ok((tx, keys, now))
    }

    /// A key sealed under another master key than the rest would be one that no server opens, and
    /// none would follow the keys any more.
    fn check_master_key(&self, keys: &[SigningKeyRecord], now: Timestamp) -> Result<(), KeysError> {
        if active_key(keys, now).is_some() {
            Ring::open(keys, now, &self.sealer)?;
        }
        Ok(())
    }

    /// Stores a key that signs; it sets the end of those before it.
    async fn insert(
        &self,
        tx: &mut Tx,
        key: &SealedKey,
        publish_before: Duration,
    ) -> Result<Successor, KeysError> {
        let new = NewSigningKey {
            key_id: &key.key_id,
            public_key: &key.public_key,
            sealed_private_key: key.sealed_private_key.as_deref(),
            publish_before,
            legacy_until: None,
        };
        let activates_at = tx.insert_signing_key(&new).await?;
        tx.retire_signing_keys_before(&key.key_id, self.token_life)
            .await?;
        Ok(Successor {
            key_id: key.key_id.clone(),
            activates_at,
            is_active: publish_before.is_zero(),
        })
    }

    /// Making an RSA key takes a moment of CPU, which the other tasks must not wait for, and which
    /// is longer than a lock should be held.
    async fn generate(&self) -> Result<SealedKey, KeysError> {
        let (bits, sealer) = (self.config.bits, self.sealer.clone());
        let made = tokio::task::spawn_blocking(move || SealedKey::generate(bits, &sealer)).await;
        Ok(made.map_err(|_| KeyRingError::NotRsa)??)
    }
}

/// At most one key waits to take over.
fn refuse_second(keys: &[SigningKeyRecord], now: Timestamp) -> Result<(), KeysError> {
    match pending_key(keys, now) {
        Some(pending) => Err(KeysError::Pending {
            key_id: pending.key_id.clone(),
            activates_at: pending.activates_at,
        }),
        None => Ok(()),
    }
}

fn by_operator(reason: AuditReason, key_id: &KeyId, actor: &str) -> AuditEvent {
    AuditEvent {
        detail: Some(key_id.to_string()),
        ..AuditEvent::by_operator(AuditKind::KeysChanged, reason, actor)
    }
}

fn by_server(reason: AuditReason, key_id: &KeyId) -> AuditEvent {
    AuditEvent {
        detail: Some(key_id.to_string()),
        ..AuditEvent::bare(AuditKind::KeysChanged, Outcome::Granted, reason)
    }
}
