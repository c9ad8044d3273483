//! The signing keys: made, imported, rotated, revoked, and read into the ring.
//!
//! Every change reads the keys under a lock, decides by the rules of
//! [`domain::signing_key`](crate::domain), and writes all that follows in the same transaction.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::config::{Config, KeysConfig};
use crate::domain::{
    AuditEvent, AuditKind, AuditReason, EndReason, KeyId, KeyPurpose, KeyStage, KeyState,
    MasterKey, Outcome, Revocation, RevocationRefused, SigningKeyRecord, Timestamp, active_key,
    is_rotation_due, pending_key, plan_revocation, stage_of, states, whole_seconds,
};
use crate::store::{NewSigningKey, Store, StoreError, Tx, Unique};
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
    /// A key for refresh tokens that cannot sign.
    #[error("this is a public key, and a key for refresh tokens has to sign")]
    PublicRefreshKey,
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
    /// The master key to seal under is the one that seals already.
    #[error(
        "the keys are sealed under this master key already: set secrets.master_key to it, or make another \
         one with `openssl rand -base64 32`"
    )]
    SameMasterKey,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for KeysError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Taken(Unique::SigningKey) => Self::Known,
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
    /// Whether the master key opens the private part, where there is one.
    pub opens: Option<bool>,
}

impl ListedKey {
    /// Whether it signs now or is to sign, and never will with this master key. A server with that master
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

/// The keys that a rotation made.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// Signs access tokens, or will.
    pub access: Option<Successor>,
    /// Signs refresh tokens. `None` also while an older release is at work.
    pub refresh: Option<Successor>,
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

/// What a reading of the keys found.
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
    /// The database's clock when it refresh.
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
    /// The life of a refresh token.
    refresh_life: Duration,
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
            refresh_life: config.tokens.refresh_idle_ttl,
            token_life: (config.tokens.access_ttl).max(config.tokens.refresh_idle_ttl),
            legacy_life: config.tokens.legacy_ttl,
        }
    }

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
        let (mut tx, keys, now) = self.lock().await?;
        if active_key(&keys, purpose, now).is_some() {
            return Ok(None);
        }
        self.insert(&mut tx, &key, Duration::ZERO).await?;
        tx.record(&by_server(AuditReason::FirstKeyMade, &key))
            .await?;
        tx.commit().await?;
        Ok(Some(key.sealed.key_id))
    }

    /// Reads the keys into a ring, ready to sign and verify.
    pub async fn open_ring(&self) -> Result<Ring, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        Ok(Ring::open(&keys, now, &self.sealer)?)
    }

    /// Looks whether anything changed since the states in `seen`, which are brought up to date. A
    /// ring is opened only then, after the one `before`: that unseals and tries keys, which is too dear
    /// for every refresh.
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

    fn is_due(&self, keys: &[SigningKeyRecord], purpose: KeyPurpose, now: Timestamp) -> bool {
        is_rotation_due(keys, purpose, now, self.config.rotate_after)
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
            opens: (record.sealed_private_key.as_ref())
                .map(|sealed| self.sealer.unseal(&record.key_id, sealed).is_ok()),
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
            (ImportedKey::Private, None) => self.import_private(key, actor).await,
            (ImportedKey::Private, Some(_)) => Err(KeysError::PrivateWithEnd),
            (ImportedKey::Public, _) => self.import_legacy(key, until, actor).await,
        }
    }

    /// Takes over a private key for refresh tokens. It signs at once.
    pub async fn import_refresh_key(
        &self,
        pem: &[u8],
        until: Option<Timestamp>,
        actor: &str,
    ) -> Result<Successor, KeysError> {
        if until.is_some() {
            return Err(KeysError::PrivateWithEnd);
        }
        let (sealed, ImportedKey::Private) = SealedKey::import(pem, &self.sealer)? else {
            return Err(KeysError::PublicRefreshKey);
        };
        let key = NewKey::of(KeyPurpose::Refresh, sealed);
        let (mut tx, ..) = self.lock().await?;
        let successor = self.insert(&mut tx, &key, Duration::ZERO).await?;
        tx.record(&by_operator(AuditReason::KeyImported, &key, actor))
            .await?;
        tx.commit().await?;
        Ok(successor)
    }

    async fn import_private(&self, sealed: SealedKey, actor: &str) -> Result<Imported, KeysError> {
        let key = NewKey::of(KeyPurpose::Access, sealed);
        let (mut tx, keys, now) = self.lock().await?;
        refuse_second(&keys, now)?;
        let publish_before = match active_key(&keys, KeyPurpose::Access, now) {
            Some(_) => self.config.publish_before,
            None => Duration::ZERO,
        };
        let successor = self.insert(&mut tx, &key, publish_before).await?;
        tx.record(&by_operator(AuditReason::KeyImported, &key, actor))
            .await?;
        tx.commit().await?;
        Ok(Imported::Private(successor))
    }

    async fn import_legacy(
        &self,
        sealed: SealedKey,
        until: Option<Timestamp>,
        actor: &str,
    ) -> Result<Imported, KeysError> {
        if self.legacy_life.is_zero() {
            return Err(KeysError::LegacyOff);
        }
        let (mut tx, keys, now) = self.lock().await?;
        let found = states(&keys, now);
        let legacy = found.iter().filter(|key| key.stage == KeyStage::Legacy);
        if legacy.count() >= MAX_LEGACY_KEYS {
            return Err(KeysError::TooManyLegacy);
        }
        let until = until.unwrap_or(now + self.legacy_life);
        if until <= now || until > now + Duration::from_hours(24 * MAX_LEGACY_DAYS) {
            return Err(KeysError::BadEnd);
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
        tx.record(&by_operator(AuditReason::KeyImported, &key, actor))
            .await?;
        tx.commit().await?;
        let key_id = key.sealed.key_id;
        Ok(Imported::Legacy { key_id, until })
    }

    /// Makes keys that take over, for one purpose or for each. The one for access tokens does after it
    /// was published, or at once; if one is published already, it can be told to sign at once, and
    /// nothing else. The one for refresh tokens does at once.
    pub async fn rotate(
        &self,
        activation: Activation,
        purpose: Option<KeyPurpose>,
        actor: &str,
    ) -> Result<Rotated, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        self.check_master_key(&keys, now)?;
        let is_asked = |asked| purpose.is_none_or(|purpose| purpose == asked);
        let is_pending = pending_key(&keys, now).is_some();
        if is_asked(KeyPurpose::Access) && activation == Activation::AfterPublishing {
            refuse_second(&keys, now)?;
        }
        // Before the first one, an older release is at work.
        let has_refresh_key = active_key(&keys, KeyPurpose::Refresh, now).is_some();
        let access = if is_asked(KeyPurpose::Access) && !is_pending {
            Some(self.generate(KeyPurpose::Access).await?)
        } else {
            None
        };
        let refresh = if is_asked(KeyPurpose::Refresh) && has_refresh_key {
            Some(self.generate(KeyPurpose::Refresh).await?)
        } else {
            None
        };

        let (mut tx, keys, now) = self.lock().await?;
        let mut rotated = Rotated {
            access: None,
            refresh: None,
        };
        if let Some(key) = &access {
            refuse_second(&keys, now)?;
            let publish_before = match activation {
                Activation::AfterPublishing => self.config.publish_before,
                Activation::Now => Duration::ZERO,
            };
            rotated.access = Some(self.succeed(&mut tx, key, publish_before, actor).await?);
        } else if is_asked(KeyPurpose::Access) {
            rotated.access = Some(hasten(&mut tx, &keys, now, actor).await?);
        }
        if let Some(key) = &refresh {
            rotated.refresh = Some(self.succeed(&mut tx, key, Duration::ZERO, actor).await?);
        }
        tx.commit().await?;
        Ok(rotated)
    }

    async fn succeed(
        &self,
        tx: &mut Tx,
        key: &NewKey,
        publish_before: Duration,
        actor: &str,
    ) -> Result<Successor, KeysError> {
        let successor = self.insert(tx, key, publish_before).await?;
        tx.record(&by_operator(AuditReason::KeyRotated, key, actor))
            .await?;
        Ok(successor)
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
        let (mut tx, keys, now) = self.lock().await?;
        if !self.is_due(&keys, purpose, now) {
            return Ok(None);
        }
        let publish_before = match purpose {
            KeyPurpose::Access => self.config.publish_before,
            KeyPurpose::Refresh => Duration::ZERO,
        };
        self.insert(&mut tx, &key, publish_before).await?;
        tx.record(&by_server(AuditReason::KeyRotated, &key)).await?;
        tx.commit().await?;
        Ok(Some(key.sealed.key_id))
    }

    /// Lets a key and all that it signed die. Another one signs from the same instant.
    ///
    /// Sessions whose tokens it signed are ended, so that those who follow ended sessions learn of
    /// it.
    pub async fn revoke(&self, key_id: &KeyId, actor: &str) -> Result<Revoked, KeysError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let spare = match plan_revocation(&keys, key_id, now)? {
            Revocation::WithNewKey => Some(self.generate(purpose_of(&keys, key_id)).await?),
            _ => None,
        };
        let (mut tx, keys, now) = self.lock().await?;
        let plan = plan_revocation(&keys, key_id, now)?;
        tx.revoke_signing_key(key_id).await?;
        let made = self.replace(&mut tx, &plan, spare, actor).await?;
        let event = about(key_id, purpose_of(&keys, key_id));
        tx.record(&operator(AuditReason::KeyRevoked, event, actor))
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
        spare: Option<NewKey>,
        actor: &str,
    ) -> Result<Option<KeyId>, KeysError> {
        match plan {
            Revocation::Alone => {}
            Revocation::OfSuccessor { stays } => tx.keep_signing_key(stays).await?,
            Revocation::PassedOn { successor } => {
                tx.activate_signing_key(successor).await?;
                let event = about(successor, KeyPurpose::Access);
                tx.record(&operator(AuditReason::KeyActivated, event, actor))
                    .await?;
            }
            Revocation::WithNewKey => {
                let key = spare.ok_or(KeysError::ChangedMeanwhile)?;
                self.succeed(tx, &key, Duration::ZERO, actor).await?;
                return Ok(Some(key.sealed.key_id));
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

    /// Seals every private key under another master key, all of them or none, and tells how many.
    ///
    /// An instance with the master key from before goes on with the keys that it has in memory, and
    /// makes none: it would have to open the one in force first.
    pub async fn reseal(&self, master_key: &MasterKey, actor: &str) -> Result<usize, KeysError> {
        let new = Sealer::new(master_key);
        let mut tx = self.store.begin().await?;
        tx.lock_signing_keys().await?;
        let keys = tx.list_sealed_keys().await?;
        for (key_id, sealed) in &keys {
            if new.unseal(key_id, sealed).is_ok() {
                return Err(KeysError::SameMasterKey);
            }
            let private = self.sealer.unseal(key_id, sealed);
            let private = private.map_err(KeyRingError::from)?;
            tx.reseal_signing_key(key_id, &new.seal(key_id, &private))
                .await?;
        }
        let detail = format!("{} private keys", keys.len());
        tx.record(&operator(AuditReason::KeysResealed, detail, actor))
            .await?;
        tx.commit().await?;
        Ok(keys.len())
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

    /// Stores a key that signs; it sets the end of those before it.
    async fn insert(
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

    /// Making an RSA key takes a moment of CPU, which the other tasks must not wait for, and which
    /// is longer than a lock should be held.
    async fn generate(&self, purpose: KeyPurpose) -> Result<NewKey, KeysError> {
        let (bits, sealer) = (self.config.bits, self.sealer.clone());
        let made = tokio::task::spawn_blocking(move || SealedKey::generate(bits, &sealer)).await;
        let made = made.map_err(|_| KeyRingError::NotRsa)??;
        Ok(NewKey::of(purpose, made))
    }
}

/// A key that was made or imported, and for what.
struct NewKey {
    purpose: KeyPurpose,
    sealed: SealedKey,
}

impl NewKey {
    fn of(purpose: KeyPurpose, sealed: SealedKey) -> Self {
        Self { purpose, sealed }
    }
}

/// Lets the key that is published sign at once.
async fn hasten(
    tx: &mut Tx,
    keys: &[SigningKeyRecord],
    now: Timestamp,
    actor: &str,
) -> Result<Successor, KeysError> {
    let pending = pending_key(keys, now).ok_or(KeysError::ChangedMeanwhile)?;
    let activates_at = tx.activate_signing_key(&pending.key_id).await?;
    let event = about(&pending.key_id, pending.purpose);
    tx.record(&operator(AuditReason::KeyActivated, event, actor))
        .await?;
    Ok(Successor {
        key_id: pending.key_id.clone(),
        activates_at,
        is_active: true,
    })
}

/// What the key `key_id`, one of `keys`, signs.
fn purpose_of(keys: &[SigningKeyRecord], key_id: &KeyId) -> KeyPurpose {
    let key = keys.iter().find(|key| key.key_id == *key_id);
    key.map_or(KeyPurpose::Access, |key| key.purpose)
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

/// What the audit log says of a key.
fn about(key_id: &KeyId, purpose: KeyPurpose) -> String {
    match purpose {
        KeyPurpose::Access => key_id.to_string(),
        KeyPurpose::Refresh => format!("{key_id}, for refresh tokens"),
    }
}

fn operator(reason: AuditReason, detail: String, actor: &str) -> AuditEvent {
    AuditEvent {
        detail: Some(detail),
        ..AuditEvent::by_operator(AuditKind::KeysChanged, reason, actor)
    }
}

fn by_operator(reason: AuditReason, key: &NewKey, actor: &str) -> AuditEvent {
    operator(reason, about(&key.sealed.key_id, key.purpose), actor)
}

fn by_server(reason: AuditReason, key: &NewKey) -> AuditEvent {
    AuditEvent {
        detail: Some(about(&key.sealed.key_id, key.purpose)),
        ..AuditEvent::bare(AuditKind::KeysChanged, Outcome::Granted, reason)
    }
}
