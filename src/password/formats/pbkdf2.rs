//! PBKDF2 (RFC 8018), as Django, Werkzeug, passlib, Dovecot and MediaWiki write it.

use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;

use super::super::kind::{Digest, Kind};
use super::super::refusal::Flaw;
use super::super::slot::{OutOfMemory, Slot};
use super::super::stored_hash::{Reading, StoredHash, reading};
use super::super::text;

/// A salt that is text or bytes.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 1..=64;
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
const ITERATIONS: std::ops::RangeInclusive<u32> = 1..=2_000_000;

/// A hash of PBKDF2.
pub(super) struct Pbkdf2Hash {
    digest: Digest,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Pbkdf2Hash {
    /// The parts of a hash within bounds.
    pub(super) fn new(
        digest: Digest,
        iterations: u32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    ) -> Result<Self, Flaw> {
        let bounds = Flaw::OutOfBounds {
            what: "the iterations",
            least: *ITERATIONS.start(),
            most: *ITERATIONS.end(),
        };
        let is_within = ITERATIONS.contains(&iterations);
        Ok(Self {
            digest,
            iterations: NonZeroU32::new(iterations)
                .filter(|_| is_within)
                .ok_or(bounds)?,
            salt: text::check_length("the salt", salt, SALT_BYTES)?,
            hash: text::check_length("the hash", hash, HASH_BYTES)?,
        })
    }

    /// A hash of a kind that no password is known for.
    pub(super) fn sample(digest: Digest, rounds: u32) -> Option<Self> {
        Some(Self {
            digest,
            iterations: NonZeroU32::new(rounds)?,
            salt: vec![0; 16],
            hash: vec![0; digest.len()],
        })
    }
}

impl StoredHash for Pbkdf2Hash {
    fn kind(&self) -> Kind {
        let blocks = self.hash.len().div_ceil(self.digest.len());
        let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
        Kind::Pbkdf2 {
            digest: self.digest,
            rounds: self.iterations.get().saturating_mul(blocks),
        }
    }

    fn verify(&self, password: &[u8], _slot: &mut Slot) -> Result<bool, OutOfMemory> {
        let algorithm = match self.digest {
            Digest::Md5 | Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut computed = vec![0; self.hash.len()];
        pbkdf2::derive(
            algorithm,
            self.iterations,
            &self.salt,
            password,
            &mut computed,
        );
        Ok(verify_slices_are_equal(&computed, &self.hash).is_ok())
    }
}

/// `pbkdf2_sha256$ITERATIONS$SALT$BASE64`: Django.
pub(super) fn read_django(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("pbkdf2_")?;
    let read = || {
        let [digest, iterations, salt, hash] = text::parts(rest, '$')?;
        let digest = digest_named(digest)?;
        let hash = text::padded_base64("the hash", hash, digest.len()..=digest.len())?;
        made(digest, iterations, salt.as_bytes().to_vec(), hash)
    };
    Some(reading("Django's PBKDF2", read()))
}

/// `pbkdf2:sha256:ITERATIONS$SALT$HEX`: Werkzeug.
pub(super) fn read_werkzeug(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("pbkdf2:")?;
    let read = || {
        let [method, salt, hash] = text::parts(rest, '$')?;
        let (digest, iterations) = (method.split_once(':')).ok_or(Flaw::Missing("iterations"))?;
        let digest = digest_named(digest)?;
        let hash = text::hex("the hash", hash, digest.len()..=digest.len())?;
        made(digest, iterations, salt.as_bytes().to_vec(), hash)
    };
    Some(reading("Werkzeug's PBKDF2", read()))
}

/// `$pbkdf2-sha256$ITERATIONS$SALT$HASH` in passlib's base64, and `$pbkdf2$` with SHA-1.
pub(super) fn read_passlib(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("$pbkdf2")?;
    let (digest, rest) = match rest.strip_prefix('-') {
        Some(rest) => rest.split_once('$')?,
        None => ("sha1", rest.strip_prefix('$')?),
    };
    let read = || {
        let [iterations, salt, hash] = text::parts(rest, '$')?;
        let digest = digest_named(digest)?;
        let salt = text::adapted_base64("the salt", salt, SALT_BYTES)?;
        let hash = text::adapted_base64("the hash", hash, HASH_BYTES)?;
        made(digest, iterations, salt, hash)
    };
    Some(reading("passlib's PBKDF2", read()))
}

/// `{PBKDF2}$1$SALT$ITERATIONS$HEX`: Dovecot, with SHA-1.
pub(super) fn read_dovecot(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("{PBKDF2}$1$")?;
    let read = || {
        let [salt, iterations, hash] = text::parts(rest, '$')?;
        let hash = text::hex("the hash", hash, 20..=20)?;
        made(Digest::Sha1, iterations, salt.as_bytes().to_vec(), hash)
    };
    Some(reading("Dovecot's PBKDF2", read()))
}

/// `:pbkdf2:sha512:ITERATIONS:LENGTH:BASE64:BASE64`: MediaWiki.
pub(super) fn read_mediawiki(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix(":pbkdf2:")?;
    let read = || {
        let [digest, iterations, length, salt, hash] = text::parts(rest, ':')?;
        let length = text::number("the length", length, 16..=64)? as usize;
        let salt = text::padded_base64("the salt", salt, SALT_BYTES)?;
        let hash = text::padded_base64("the hash", hash, length..=length)?;
        made(digest_named(digest)?, iterations, salt, hash)
    };
    Some(reading("MediaWiki's PBKDF2", read()))
}

fn digest_named(name: &str) -> Result<Digest, Flaw> {
    let digest = Digest::named(name).filter(|digest| *digest != Digest::Md5);
    digest.ok_or(Flaw::UnknownVersion)
}

fn made(
    digest: Digest,
    iterations: &str,
    salt: Vec<u8>,
    hash: Vec<u8>,
) -> Result<Pbkdf2Hash, Flaw> {
    let iterations = text::number("the iterations", iterations, ITERATIONS)?;
    Pbkdf2Hash::new(digest, iterations, salt, hash)
}
