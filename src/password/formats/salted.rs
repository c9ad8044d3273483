//! One digest of the password and a salt, as LDAP servers have it: `{SSHA}`, `{SSHA256}`, `{SSHA512}`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use super::super::kind::{Digest, Kind};
use super::super::refusal::Flaw;
use super::super::slot::{OutOfMemory, Slot};
use super::super::stored_hash::{Reading, StoredHash, reading};
use super::super::text;

const SALT_BYTES: std::ops::RangeInclusive<usize> = 4..=64;

/// A digest with its salt.
pub(super) struct SaltedDigest {
    digest: Digest,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl SaltedDigest {
    /// A hash of a kind that no password is known for.
    pub(super) fn sample(digest: Digest) -> Self {
        Self {
            digest,
            salt: vec![0; 8],
            hash: vec![0; digest.len()],
        }
    }
}

impl StoredHash for SaltedDigest {
    fn kind(&self) -> Kind {
        Kind::Salted {
            digest: self.digest,
        }
    }

    fn verify(&self, password: &[u8], _slot: &mut Slot) -> Result<bool, OutOfMemory> {
        let algorithm = match self.digest {
            Digest::Md5 | Digest::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Digest::Sha256 => &digest::SHA256,
            Digest::Sha512 => &digest::SHA512,
        };
        let mut context = digest::Context::new(algorithm);
        context.update(password);
        context.update(&self.salt);
        Ok(verify_slices_are_equal(context.finish().as_ref(), &self.hash).is_ok())
    }
}

pub(super) fn read(stored: &str) -> Option<Reading> {
    let (label, rest) = stored.strip_prefix('{')?.split_once('}')?;
    let digest = match label.to_ascii_uppercase().as_str() {
        "SSHA" => Digest::Sha1,
        "SSHA256" => Digest::Sha256,
        "SSHA512" => Digest::Sha512,
        _ => return None,
    };
    Some(reading("LDAP's salted digest", read_parts(digest, rest)))
}

fn read_parts(digest: Digest, rest: &str) -> Result<SaltedDigest, Flaw> {
    let bytes = text::padded_base64("the digest with its salt", rest, 0..=128)?;
    let (hash, salt) = (bytes.split_at_checked(digest.len())).ok_or(Flaw::Parts)?;
    Ok(SaltedDigest {
        digest,
        salt: text::check_length("the salt", salt.to_vec(), SALT_BYTES)?,
        hash: hash.to_vec(),
    })
}
