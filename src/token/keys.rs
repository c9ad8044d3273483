//! The key ring: what signs, what verifies, and what verifiers may learn.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse,
    RSAKeyParameters, RSAKeyType, ThumbprintHash,
};
use jsonwebtoken::{DecodingKey, EncodingKey, Header};
use serde::Serialize;

use super::{Sealer, UnsealError};
use crate::domain::{
    KeyId, KeyPurpose, KeyStage, PairKeys, SigningKeyRecord, Timestamp, active_key, stage_of,
};

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The seal does not open.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// Not an RSA key of one of the sizes that we use.
    #[error("not an RSA key or certificate in PEM form, of 2048, 3072 or 4096 bits")]
    NotRsa,
    /// There is no key that signs access tokens.
    #[error("there is no active signing key")]
    NoActiveKey,
    /// There is no key that signs refresh tokens any more.
    #[error("there is no active key for refresh tokens")]
    NoRefreshKey,
    /// The key signs, but its own public part does not verify it.
    #[error("the signing key {0} failed its self-test")]
    SelfTest(KeyId),
}

/// A key made or imported, ready to be stored.
#[derive(Debug)]
pub struct SealedKey {
    /// `kid`.
    pub key_id: KeyId,
    /// `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    /// PKCS#8, sealed; `None` if only the public part is known.
    pub sealed_private_key: Option<Vec<u8>>,
}

/// What a PEM file turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportedKey {
    /// A key that can sign.
    Private,
    /// A key that only verifies.
    Public,
}

impl SealedKey {
    /// Makes a new RSA key of `bits`, one of 2048, 3072 and 4096. Takes a moment of CPU.
    pub fn generate(bits: u32, sealer: &Sealer) -> Result<Self, KeyRingError> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(KeyRingError::NotRsa),
        };
        Self::of_pair(
            &KeyPair::generate(size).map_err(|_| KeyRingError::NotRsa)?,
            sealer,
        )
    }

    /// Reads a PEM file: a private key in PKCS#8 or PKCS#1, a public one, or a certificate, of which
    /// nothing but the key is looked at.
    pub fn import(pem: &[u8], sealer: &Sealer) -> Result<(Self, ImportedKey), KeyRingError> {
        if let Ok(key) = EncodingKey::from_rsa_pem(pem)
            && let Ok(pair) = RsaKeyPair::from_der(key.as_bytes())
        {
            return Ok((Self::of_pair(&pair, sealer)?, ImportedKey::Private));
        }
        let key = DecodingKey::from_rsa_pem(pem).map_err(|_| KeyRingError::NotRsa)?;
        let der = key.try_get_as_bytes().map_err(|_| KeyRingError::NotRsa)?;
        let public = PublicKey::from_der(der).map_err(|_| KeyRingError::NotRsa)?;
        check_size(public.modulus_len())?;
        let key_id = thumbprint(&public)?;
        let public_key = public_der(&public)?;
        Ok((
            Self {
                key_id,
                public_key,
                sealed_private_key: None,
            },
            ImportedKey::Public,
        ))
    }

    fn of_pair(pair: &RsaKeyPair, sealer: &Sealer) -> Result<Self, KeyRingError> {
        check_size(pair.public_modulus_len())?;
        let public = pair.public_key();
        let key_id = thumbprint(public)?;
        let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(pair)
            .map_err(|_| KeyRingError::NotRsa)?;
        Ok(Self {
            sealed_private_key: Some(sealer.seal(&key_id, private.as_ref())),
            public_key: public_der(public)?,
            key_id,
        })
    }
}

fn check_size(modulus_bytes: usize) -> Result<(), KeyRingError> {
    if matches!(modulus_bytes * 8, 2048 | 3072 | 4096) {
        Ok(())
    } else {
        Err(KeyRingError::NotRsa)
    }
}

fn public_der(public: &PublicKey) -> Result<Vec<u8>, KeyRingError> {
    AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(public)
        .map(|der| der.as_ref().to_vec())
        .map_err(|_| KeyRingError::NotRsa)
}

/// RFC 7638: the same key has the same id wherever it is imported.
fn thumbprint(public: &PublicKey) -> Result<KeyId, KeyRingError> {
    let print = jwk(public, None).thumbprint(ThumbprintHash::SHA256);
    print.map(KeyId).map_err(|_| KeyRingError::NotRsa)
}

fn jwk(public: &PublicKey, key_id: Option<&KeyId>) -> Jwk {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Jwk {
        common: CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(KeyAlgorithm::RS256),
            key_id: key_id.map(|id| id.0.clone()),
            ..CommonParameters::default()
        },
        algorithm: AlgorithmParameters::RSA(RSAKeyParameters {
            key_type: RSAKeyType::RSA,
            n: part(public.modulus().big_endian_without_leading_zero()),
            e: part(public.exponent().big_endian_without_leading_zero()),
        }),
    }
}

/// A key that signs, parsed once: parsing it for each signature would cost more than the signature.
pub(super) struct Signer(RsaKeyPair);

impl Signer {
    /// The compact serialisation (RFC 7515, section 7.1).
    pub(super) fn sign(&self, header: &Header, claims: &impl Serialize) -> String {
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let header = serde_json::to_vec(header).expect("a header has string keys");
        let claims = serde_json::to_vec(claims).expect("claims have string keys");
        let mut token = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .expect("a parsed RSA key signs any message");
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token
    }
}

/// A key that was opened. It never changes.
struct OpenKey {
    signer: Option<Signer>,
    verifier: DecodingKey,
    jwk: Jwk,
    pem: String,
}

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

/// The public keys, for those who verify.
pub struct PublicKeys {
    /// A JWK Set (RFC 7517).
    pub keys: serde_json::Value,
    /// Names this very set: an entity tag (RFC 9110, section 8.8.3).
    pub etag: String,
    /// The same keys in PEM form (RFC 7468), the one that signs first.
    pub pem: String,
    /// Names this very text.
    pub pem_etag: String,
    each: HashMap<KeyId, Arc<OpenKey>>,
}

impl PublicKeys {
    fn of(keys: &HashMap<KeyId, RingKey>, active: &KeyId) -> Self {
        let published = || {
            keys.iter()
                .filter(|(_, key)| key.purpose == KeyPurpose::Access)
        };
        let mut jwks: Vec<Jwk> = published().map(|(_, key)| key.open.jwk.clone()).collect();
        let mut pems: Vec<(&KeyId, &str)> = published()
            .map(|(id, key)| (id, key.open.pem.as_str()))
            .collect();
        pems.sort_by_key(|&(id, _)| (id != active, id));
        let pem: String = pems.into_iter().map(|(_, pem)| pem).collect();
        let each = published().map(|(id, key)| (id.clone(), Arc::clone(&key.open)));
        jwks.sort_by(|a, b| a.common.key_id.cmp(&b.common.key_id));
        let keys = serde_json::to_value(JwkSet { keys: jwks }).expect("a JWK is JSON");
        let etag = |text: &str| {
            let hash = digest(&SHA256, text.as_bytes());
            format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash))
        };
        Self {
            etag: etag(&keys.to_string()),
            keys,
            pem_etag: etag(&pem),
            pem,
            each: each.collect(),
        }
    }

    /// One of them in PEM form.
    #[must_use]
    pub fn pem_of(&self, key_id: &KeyId) -> Option<&str> {
        self.each.get(key_id).map(|key| key.pem.as_str())
    }
}

/// The keys at one moment.
pub struct Ring {
    keys: HashMap<KeyId, RingKey>,
    /// Keys of an older service. Apart from ours, so that whoever holds one of them can make neither
    /// a refresh token nor a token that names its key; and not published, so that nobody else comes
    /// to trust them by us.
    legacy: Vec<DecodingKey>,
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

    /// The same, and takes over what was opened `before`: opening a key costs more than a signature.
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
                    None => Arc::new(open_key(record, sealer)?),
                },
            })
        };
        let keys = records
            .iter()
            .filter(|record| stage_of(record, records, now).verifies())
            .map(|record| Ok((record.key_id.clone(), open(record)?)))
            .collect::<Result<HashMap<_, _>, KeyRingError>>()?;
        let legacy = records
            .iter()
            .filter(|record| stage_of(record, records, now) == KeyStage::Legacy)
            .map(|record| DecodingKey::from_rsa_der(&record.public_key));
        let ring = Self {
            legacy: legacy.collect(),
            public: Arc::new(PublicKeys::of(&keys, &access.key_id)),
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
        let failed = || KeyRingError::SelfTest(key_id.clone());
        let key = &self.keys.get(key_id).ok_or_else(failed)?.open;
        let signer = key.signer.as_ref().ok_or_else(failed)?;
        let token = signer.sign(&Header::new(jsonwebtoken::Algorithm::RS256), &"self-test");
        let (message, signature) = token.rsplit_once('.').ok_or_else(failed)?;
        let algorithm = jsonwebtoken::Algorithm::RS256;
        match jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.verifier, algorithm)
        {
            Ok(true) => Ok(()),
            _ => Err(failed()),
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

    /// The public keys.
    #[must_use]
    pub fn public_keys(&self) -> Arc<PublicKeys> {
        Arc::clone(&self.public)
    }

    pub(super) fn signing(&self, purpose: KeyPurpose, key_id: &KeyId) -> Option<&Signer> {
        let key = self.keys.get(key_id).filter(|key| key.is_for(purpose))?;
        key.open.signer.as_ref()
    }

    pub(super) fn verifying(&self, purpose: KeyPurpose, key_id: &KeyId) -> Option<&DecodingKey> {
        let key = self.keys.get(key_id).filter(|key| key.is_for(purpose))?;
        Some(&key.open.verifier)
    }

    pub(super) fn legacy(&self) -> &[DecodingKey] {
        &self.legacy
    }
}

fn open_key(record: &SigningKeyRecord, sealer: &Sealer) -> Result<OpenKey, KeyRingError> {
    let public = PublicKey::from_der(&record.public_key).map_err(|_| KeyRingError::NotRsa)?;
    let open = |sealed: &Vec<u8>| -> Result<Signer, KeyRingError> {
        let private = sealer.unseal(&record.key_id, sealed)?;
        RsaKeyPair::from_pkcs8(&private)
            .map(Signer)
            .map_err(|_| KeyRingError::NotRsa)
    };
    Ok(OpenKey {
        signer: record.sealed_private_key.as_ref().map(open).transpose()?,
        verifier: DecodingKey::from_rsa_der(&record.public_key),
        jwk: jwk(&public, Some(&record.key_id)),
        pem: public_key_pem(&record.public_key),
    })
}

/// A `SubjectPublicKeyInfo` as text (RFC 7468, section 13).
#[must_use]
pub fn public_key_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("signers", &self.signers)
            .finish_non_exhaustive()
    }
}

/// The keys in force: read on every request, replaced as a whole when the database has others.
#[derive(Debug)]
pub struct KeyRing {
    ring: RwLock<Arc<Ring>>,
    /// When the database last had no other keys, by its clock, in seconds since 1970.
    complete_at: AtomicI64,
}

impl KeyRing {
    pub(super) fn new(ring: Ring) -> Self {
        Self {
            complete_at: AtomicI64::new(ring.read_at.timestamp()),
            ring: RwLock::new(Arc::new(ring)),
        }
    }

    /// The keys in force.
    #[must_use]
    pub fn current(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts other keys in force.
    pub fn replace(&self, ring: Ring) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// Notes that a reading at `now`, by the database's clock, found no other keys than those in force.
    pub fn confirm(&self, now: Timestamp) {
        self.complete_at.store(now.timestamp(), Ordering::Relaxed);
    }

    pub(super) fn complete_at(&self) -> i64 {
        self.complete_at.load(Ordering::Relaxed)
    }
}
