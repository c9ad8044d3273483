//! How hashes are made here.

use argon2::{Algorithm, Params, Version};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::kind::Kind;
use super::slot::{Parameters, Slot};
use crate::config::PasswordsConfig;
use crate::domain::{NewPasswordHash, PasswordHash, PlainPassword};

/// The algorithm of new hashes.
const ALGORITHM: Algorithm = Algorithm::Argon2id;
const VERSION: Version = Version::V0x13;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

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

/// Whether a hash of this kind and length, in bytes, is at least as strong as one that [`make`] makes, and of the
/// same format.
pub(super) fn is_as_made_today(kind: Kind, hash_len: usize, config: &PasswordsConfig) -> bool {
    let Kind::Argon2 {
        variant,
        version,
        memory_kib,
        passes,
        lanes,
    } = kind
    else {
        return false;
    };
    (variant, version) == (ALGORITHM.as_str(), u32::from(VERSION))
        && memory_kib >= config.memory_kib
        && passes >= config.iterations
        && lanes == config.parallelism
        && hash_len == HASH_BYTES
}
