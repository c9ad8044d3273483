//! A stored hash, parsed; and how hashes are made here.

use argon2::{Algorithm, Params, Version};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::formats;
use super::formats::argon2::Argon2Hash;
use super::formats::bcrypt::BcryptHash;
use super::formats::pbkdf2::Pbkdf2Hash;
use super::formats::phpass::PhpassHash;
use super::formats::salted::SaltedDigest;
use super::formats::scrypt::ScryptHash;
use super::formats::sha_crypt::ShaCryptHash;
use super::kind::Kind;
use super::refusal::UnsupportedHash;
use super::slot::{OutOfMemory, Parameters, Slot};
use crate::config::PasswordsConfig;
use crate::domain::{HashKind, NewPasswordHash, PasswordHash, PlainPassword};

/// The algorithm of new hashes.
const ALGORITHM: Algorithm = Algorithm::Argon2id;
const VERSION: Version = Version::V0x13;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The longest text that is looked at, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// A stored hash, parsed.
pub(super) enum Scheme {
    Argon2(Argon2Hash),
    Bcrypt(BcryptHash),
    Pbkdf2(Pbkdf2Hash),
    Scrypt(ScryptHash),
    Phpass(PhpassHash),
    ShaCrypt(ShaCryptHash),
    Salted(SaltedDigest),
}

impl Scheme {
    pub(super) fn parse(stored: &PasswordHash) -> Result<Self, UnsupportedHash> {
        formats::read(stored.expose())
    }

    /// A hash of a kind. A check of it costs what a check of any hash of the kind costs.
    pub(super) fn sample(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Argon2 { .. } => Argon2Hash::sample(kind).map(Self::Argon2),
            Kind::Bcrypt { cost } => Some(Self::Bcrypt(BcryptHash::sample(cost))),
            Kind::Pbkdf2 { digest, rounds } => Pbkdf2Hash::sample(digest, rounds).map(Self::Pbkdf2),
            Kind::Scrypt { log_n, r, p } => Some(Self::Scrypt(ScryptHash::sample(log_n, r, p))),
            Kind::Phpass { digest, log_rounds } => {
                Some(Self::Phpass(PhpassHash::sample(digest, log_rounds)))
            }
            Kind::ShaCrypt { digest, rounds } => {
                Some(Self::ShaCrypt(ShaCryptHash::sample(digest, rounds)))
            }
            Kind::Salted { digest } => Some(Self::Salted(SaltedDigest::sample(digest))),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Argon2(hash) => hash.kind(),
            Self::Bcrypt(hash) => hash.kind(),
            Self::Pbkdf2(hash) => hash.kind(),
            Self::Scrypt(hash) => hash.kind(),
            Self::Phpass(hash) => hash.kind(),
            Self::ShaCrypt(hash) => hash.kind(),
            Self::Salted(hash) => hash.kind(),
        }
    }

    /// Whether a match of these bytes leaves open whether they are the whole password. Then the typed text is
    /// not known to be the password, and must not become the password.
    pub(super) fn cuts(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => hash.cuts(password),
            Self::Phpass(hash) => hash.cuts(password),
            Self::Argon2(_)
            | Self::Pbkdf2(_)
            | Self::Scrypt(_)
            | Self::ShaCrypt(_)
            | Self::Salted(_) => false,
        }
    }

    /// Whether this is weaker than a hash that [`make`] makes today, or of another format.
    pub(super) fn is_outdated(&self, config: &PasswordsConfig) -> bool {
        let Self::Argon2(hash) = self else {
            return true;
        };
        let is_as_made_now = match hash.kind() {
            Kind::Argon2 {
                variant,
                version,
                memory_kib,
                passes,
                lanes,
            } => {
                (variant, version) == (ALGORITHM.as_str(), u32::from(VERSION))
                    && memory_kib >= config.memory_kib
                    && passes >= config.iterations
                    && lanes == config.parallelism
            }
            _ => false,
        };
        !is_as_made_now || hash.hash_len() != HASH_BYTES
    }

    /// Computes the hash of one form of a password and compares. Argon2 computes in the slot, if that suffices.
    pub(super) fn verify(&self, password: &[u8], slot: &mut Slot) -> Result<bool, OutOfMemory> {
        match self {
            Self::Argon2(hash) => hash.matches(password, slot),
            Self::Scrypt(hash) => hash.matches(password),
            Self::Bcrypt(hash) => Ok(hash.matches(password)),
            Self::Pbkdf2(hash) => Ok(hash.matches(password)),
            Self::Phpass(hash) => Ok(hash.matches(password)),
            Self::ShaCrypt(hash) => Ok(hash.matches(password)),
            Self::Salted(hash) => Ok(hash.matches(password)),
        }
    }
}

/// The kind of the hashes that are made with this configuration.
pub(super) fn todays_kind(config: &PasswordsConfig) -> Kind {
    Kind::Argon2 {
        variant: ALGORITHM.as_str(),
        version: VERSION.into(),
        memory_kib: config.memory_kib,
        passes: config.iterations,
        lanes: config.parallelism,
    }
}

/// The parameters of new hashes.
pub(super) fn parameters(config: &PasswordsConfig) -> Parameters {
    let params = Params::new(
        config.memory_kib,
        config.iterations,
        config.parallelism,
        Some(HASH_BYTES),
    )
    .expect("a checked configuration holds valid Argon2 parameters");
    Parameters::new(ALGORITHM, VERSION, params)
}

/// Makes the hash of a password, as a PHC string.
pub(super) fn make(
    config: &PasswordsConfig,
    password: &PlainPassword,
    slot: &mut Slot,
) -> NewPasswordHash {
    let kind = todays_kind(config);
    let text = make_of(config, password.expose(), slot);
    NewPasswordHash::new(PasswordHash::new(text), kind.into())
}

/// Makes the hash of bytes, as a PHC string.
pub(super) fn make_of(config: &PasswordsConfig, password: &[u8], slot: &mut Slot) -> String {
    let (mut salt, mut hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
    rand::fill(&mut salt).expect("the operating system gives randomness");
    let filled = slot.fill(&parameters(config), password, &salt, &mut hash);
    assert!(
        matches!(filled, Ok(true)),
        "Argon2 takes any password of up to 1024 bytes, and a slot has the memory"
    );
    format!(
        "{}${}${}",
        todays_kind(config),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash),
    )
}

/// Reads a hash that another service wrote: what can be stored of it, or `None` if the text says that no password
/// is right (`!…` of Django and `/etc/shadow`, `*` of LDAP and `/etc/shadow`).
///
/// A label before a hash that says by itself what it is goes. Such a hash can be checked under `config`: it takes
/// neither too long nor more memory than `passwords.imported_memory_mib`.
pub fn read_foreign(
    text: &str,
    config: &PasswordsConfig,
) -> Result<Option<NewPasswordHash>, UnsupportedHash> {
    check_text(text)?;
    let text = formats::without_label(text);
    if text.starts_with(['!', '*']) {
        return Ok(None);
    }
    let kind = formats::read(text)?.kind();
    kind.check_importable(config)?;
    let hash = PasswordHash::new(text.to_owned());
    Ok(Some(NewPasswordHash::new(hash, kind.into())))
}

fn check_text(text: &str) -> Result<(), UnsupportedHash> {
    if text.is_empty() {
        Err(UnsupportedHash::Empty)
    } else if text.len() > MAX_TEXT_BYTES {
        Err(UnsupportedHash::TooLong)
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        Err(UnsupportedHash::Blank)
    } else {
        Ok(())
    }
}

/// Whether a check of a hash of this kind takes more memory than a worker has: it computes in the memory for
/// imported hashes.
#[must_use]
pub fn outgrows_worker(kind: &HashKind, config: &PasswordsConfig) -> bool {
    Kind::read(kind).is_some_and(|kind| kind.foreign_memory_kib(config) > 0)
}

/// Whether no hash of this kind can be checked: one takes more memory than all imported hashes may take.
#[must_use]
pub fn outgrows_budget(kind: &HashKind, config: &PasswordsConfig) -> bool {
    let budget = config.imported_memory_kib();
    Kind::read(kind).is_some_and(|kind| kind.foreign_memory_kib(config) > budget)
}

/// Whether one digest is all that protects a password of this kind: a stolen hash is soon broken.
#[must_use]
pub fn is_fast(kind: &HashKind) -> bool {
    Kind::read(kind).is_some_and(Kind::is_fast)
}
