//! ASP.NET Core Identity: PBKDF2 in base64 without a word before it, version 2 and 3.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::kind::Digest;
use super::super::refusal::Flaw;
use super::super::stored_hash::{Reading, reading};
use super::super::text;
use super::pbkdf2::Pbkdf2Hash;

/// The iterations of version 2, which does not write them.
const V2_ITERATIONS: u32 = 1000;
const V2_SALT_BYTES: usize = 16;
const V2_LEN: usize = 1 + V2_SALT_BYTES + 32;

pub(super) fn read(stored: &str) -> Option<Reading> {
    // Both versions begin with a byte below 4. Hexadecimal digests are base64 as well, so the length decides
    // what is left to be told apart.
    let is_likely = stored.starts_with('A') && stored.len() >= 60;
    let bytes = STANDARD.decode(stored).ok().filter(|_| is_likely)?;
    let made = match bytes[..] {
        [0, ref rest @ ..] if bytes.len() == V2_LEN => read_v2(rest),
        [1, ref rest @ ..] => read_v3(rest),
        _ => return None,
    };
    Some(reading("ASP.NET Core Identity", made))
}

fn read_v2(rest: &[u8]) -> Result<Pbkdf2Hash, Flaw> {
    let (salt, hash) = rest.split_at(V2_SALT_BYTES);
    Pbkdf2Hash::new(Digest::Sha1, V2_ITERATIONS, salt.to_vec(), hash.to_vec())
}

fn read_v3(rest: &[u8]) -> Result<Pbkdf2Hash, Flaw> {
    let (digest, rest) = number(rest)?;
    let (iterations, rest) = number(rest)?;
    let (salt_len, rest) = number(rest)?;
    let digest = match digest {
        0 => Digest::Sha1,
        1 => Digest::Sha256,
        2 => Digest::Sha512,
        _ => return Err(Flaw::UnknownVersion),
    };
    let salt_len = usize::try_from(salt_len).map_err(|_| Flaw::Parts)?;
    let (salt, hash) = rest.split_at_checked(salt_len).ok_or(Flaw::Parts)?;
    let salt = text::check_length("the salt", salt.to_vec(), 16..=64)?;
    Pbkdf2Hash::new(digest, iterations, salt, hash.to_vec())
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), Flaw> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Flaw::Parts)?;
    Ok((u32::from_be_bytes(*number), rest))
}
