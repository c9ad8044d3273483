//! phpass with MD5, as WordPress before 6.8 and phpBB have it, and with SHA-512, as Drupal 7 has it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA512, digest};
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::super::kind::{Digest, Kind};
use super::super::refusal::Flaw;
use super::super::slot::{OutOfMemory, Slot};
use super::super::stored_hash::{Reading, StoredHash, reading};
use super::wordpress;

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A hash of phpass.
pub(super) struct PhpassHash {
    digest: Digest,
    log_rounds: u8,
    salt: Vec<u8>,
    /// The hash as it is written. Drupal cuts it.
    text: Vec<u8>,
    is_wordpress: bool,
}

impl PhpassHash {
    /// A hash of a kind that no password is known for.
    pub(super) fn sample(digest: Digest, log_rounds: u8) -> Self {
        Self {
            digest,
            log_rounds,
            salt: vec![b'.'; 8],
            text: vec![b'.'; 22],
            is_wordpress: false,
        }
    }

    fn digest_of(&self, before: &[u8], password: &[u8]) -> Zeroizing<Vec<u8>> {
        let input = Zeroizing::new([before, password].concat());
        Zeroizing::new(match self.digest {
            Digest::Sha512 => digest(&SHA512, &input).as_ref().to_vec(),
            _ => Md5::digest(&*input).to_vec(),
        })
    }
}

impl StoredHash for PhpassHash {
    fn kind(&self) -> Kind {
        Kind::Phpass {
            digest: self.digest,
            log_rounds: self.log_rounds,
        }
    }

    fn verify(&self, password: &[u8], _slot: &mut Slot) -> Result<bool, OutOfMemory> {
        let password = if self.is_wordpress {
            wordpress::received(password)
        } else {
            Zeroizing::new(password.to_vec())
        };
        let mut hash = self.digest_of(&self.salt, &password);
        for _ in 0..1_u64 << self.log_rounds.min(31) {
            hash = self.digest_of(&hash, &password);
        }
        let computed = encode(&hash);
        let computed = computed.get(..self.text.len()).unwrap_or(&computed);
        Ok(verify_slices_are_equal(computed, &self.text).is_ok())
    }

    fn cuts(&self, password: &[u8]) -> bool {
        self.is_wordpress && wordpress::trims(password)
    }
}

/// phpass's own base64: the lowest bits first.
fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len() * 4 / 3 + 1);
    for group in bytes.chunks(3) {
        let bits = (group.iter().rev()).fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte));
        text.extend((0..=group.len()).map(|place| ALPHABET[bits >> (6 * place) & 63]));
    }
    text
}

pub(super) fn read(stored: &str) -> Option<Reading> {
    let (digest, hash_len, is_wordpress) = match stored.get(..3)? {
        "$P$" => (Digest::Md5, 22, true),
        "$H$" => (Digest::Md5, 22, false),
        "$S$" => (Digest::Sha512, 43, false),
        _ => return None,
    };
    let read =
        read_parts(&stored.as_bytes()[3..], hash_len).map(|(log_rounds, salt, hash)| PhpassHash {
            digest,
            log_rounds,
            salt: salt.to_vec(),
            text: hash.to_vec(),
            is_wordpress,
        });
    Some(reading("phpass", read))
}

fn read_parts(rest: &[u8], hash_len: usize) -> Result<(u8, &[u8], &[u8]), Flaw> {
    let rest_len = 1 + 8 + hash_len;
    if rest.len() != rest_len {
        return Err(Flaw::Length {
            what: "its text",
            least: 3 + rest_len,
            most: 3 + rest_len,
            bytes: 3 + rest.len(),
        });
    }
    let (salt, hash) = rest[1..].split_at(8);
    let is_known = |byte: &u8| ALPHABET.contains(byte);
    if !hash.iter().all(is_known) {
        return Err(Flaw::NotBase64("the hash"));
    }
    let log_rounds = ALPHABET.iter().position(|byte| *byte == rest[0]);
    let log_rounds = log_rounds.and_then(|log_rounds| u8::try_from(log_rounds).ok());
    match log_rounds {
        Some(log_rounds @ 7..=30) => Ok((log_rounds, salt, hash)),
        _ => Err(Flaw::OutOfBounds {
            what: "the logarithm of the rounds",
            least: 7,
            most: 30,
        }),
    }
}
