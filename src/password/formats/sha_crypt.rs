//! SHA-crypt, the `$5$` and `$6$` of `/etc/shadow`.

use sha_crypt::{PasswordVerifier as _, ShaCrypt};

use super::super::kind::{Digest, Kind};
use super::super::refusal::Flaw;
use super::super::slot::{OutOfMemory, Slot};
use super::super::stored_hash::{Reading, StoredHash, reading};
use super::super::text;
use crate::domain::PasswordHash;

const DEFAULT_ROUNDS: u32 = 5000;

/// A hash of SHA-crypt.
pub(super) struct ShaCryptHash {
    text: PasswordHash,
    digest: Digest,
    rounds: u32,
}

impl ShaCryptHash {
    /// A hash of a kind that no password is known for.
    pub(super) fn sample(digest: Digest, rounds: u32) -> Self {
        let (number, len) = match digest {
            Digest::Sha256 => (5, 43),
            _ => (6, 86),
        };
        let hash = ".".repeat(len);
        let text = format!("${number}$rounds={rounds}$saltsaltsaltsalt${hash}");
        Self {
            text: PasswordHash::new(text),
            digest,
            rounds,
        }
    }
}

impl StoredHash for ShaCryptHash {
    fn kind(&self) -> Kind {
        Kind::ShaCrypt {
            digest: self.digest,
            rounds: self.rounds,
        }
    }

    fn verify(&self, password: &[u8], _slot: &mut Slot) -> Result<bool, OutOfMemory> {
        let verified = ShaCrypt::default().verify_password(password, self.text.expose());
        Ok(verified.is_ok())
    }
}

pub(super) fn read(stored: &str) -> Option<Reading> {
    let (digest, len) = match stored.get(..3)? {
        "$5$" => (Digest::Sha256, 43),
        "$6$" => (Digest::Sha512, 86),
        _ => return None,
    };
    let read = read_rounds(&stored[3..], len).map(|rounds| ShaCryptHash {
        text: PasswordHash::new(stored.to_owned()),
        digest,
        rounds,
    });
    Some(reading("SHA-crypt", read))
}

fn read_rounds(rest: &str, hash_len: usize) -> Result<u32, Flaw> {
    let parts: Vec<&str> = rest.split('$').collect();
    let (rounds, salt, hash) = match parts[..] {
        [salt, hash] => (DEFAULT_ROUNDS, salt, hash),
        [rounds, salt, hash] => {
            let rounds = rounds.strip_prefix("rounds=").ok_or(Flaw::Parts)?;
            let rounds = text::number("rounds", rounds, 1000..=999_999_999)?;
            (rounds, salt, hash)
        }
        _ => return Err(Flaw::Parts),
    };
    text::salt(salt, 1..=16)?;
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
    if !hash.bytes().all(is_known) {
        return Err(Flaw::NotBase64("the hash"));
    }
    text::check_length(
        "the hash's text",
        hash.as_bytes().to_vec(),
        hash_len..=hash_len,
    )?;
    Ok(rounds)
}
