//! scrypt (RFC 7914), as Werkzeug, Django, passlib, Kratos and Better Auth write it, and Firebase's own use of it.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use scrypt::Params;
use zeroize::Zeroizing;

use super::super::kind::Kind;
use super::super::refusal::Flaw;
use super::super::slot::{OutOfMemory, Slot};
use super::super::stored_hash::{Reading, StoredHash, reading};
use super::super::text;

const SALT_BYTES: std::ops::RangeInclusive<usize> = 1..=64;
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// A hash of scrypt.
pub(super) struct ScryptHash {
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
    /// Firebase: what is encrypted under scrypt's output.
    signer_key: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Cost {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Cost {
    /// The cost that Better Auth and Lucia use and do not write: N is 16384.
    const BETTER_AUTH: Self = Self {
        log_n: 14,
        r: 16,
        p: 1,
    };

    fn of_log(log_n: &str, r: &str, p: &str) -> Result<Self, Flaw> {
        let log_n = text::number("ln", log_n, 1..=30)?;
        Self::new(u8::try_from(log_n).unwrap_or(u8::MAX), r, p)
    }

    fn of_n(n: &str, r: &str, p: &str) -> Result<Self, Flaw> {
        let n = text::number("N", n, 2..=1 << 30)?;
        if !n.is_power_of_two() {
            return Err(Flaw::NotAPowerOfTwo);
        }
        Self::new(u8::try_from(n.ilog2()).unwrap_or(u8::MAX), r, p)
    }

    fn new(log_n: u8, r: &str, p: &str) -> Result<Self, Flaw> {
        Ok(Self {
            log_n,
            r: text::number("r", r, 1..=16)?,
            p: text::number("p", p, 1..=8)?,
        })
    }
}

impl ScryptHash {
    /// A hash of a kind that no password is known for.
    pub(super) fn sample(log_n: u8, r: u32, p: u32) -> Self {
        Self {
            cost: Cost { log_n, r, p },
            salt: vec![0; 16],
            hash: vec![0; 64],
            signer_key: None,
        }
    }

    fn derive(&self, password: &[u8], len: usize) -> Result<Zeroizing<Vec<u8>>, OutOfMemory> {
        // The crate takes its memory without asking, and a failure would end the process.
        let kib = usize::try_from(self.kind().memory_kib()).map_err(|_| OutOfMemory)?;
        let asked = Vec::<u8>::new().try_reserve_exact(kib * 1024);
        asked.map_err(|_| OutOfMemory)?;
        let Cost { log_n, r, p } = self.cost;
        let params = Params::new(log_n, r, p).map_err(|_| OutOfMemory)?;
        let mut output = Zeroizing::new(vec![0; len]);
        scrypt::scrypt(password, &self.salt, &params, &mut output).map_err(|_| OutOfMemory)?;
        Ok(output)
    }
}

impl StoredHash for ScryptHash {
    fn kind(&self) -> Kind {
        let Cost { log_n, r, p } = self.cost;
        Kind::Scrypt { log_n, r, p }
    }

    fn verify(&self, password: &[u8], _slot: &mut Slot) -> Result<bool, OutOfMemory> {
        let computed = match &self.signer_key {
            None => self.derive(password, self.hash.len())?,
            Some(signer_key) => encrypted(&self.derive(password, 32)?, signer_key),
        };
        Ok(verify_slices_are_equal(&computed, &self.hash).is_ok())
    }
}

/// Firebase's last step: AES-256 in counter mode, from zero.
fn encrypted(key: &[u8], signer_key: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(signer_key.to_vec());
    let key = UnboundCipherKey::new(&AES_256, key).expect("scrypt gave 32 bytes");
    let key = EncryptingKey::ctr(key).expect("AES has a counter mode");
    let from_zero = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    key.less_safe_encrypt(&mut text, from_zero)
        .expect("counter mode takes any length");
    text
}

/// `scrypt:N:r:p$SALT$HEX`: Werkzeug.
pub(super) fn read_werkzeug(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("scrypt:")?;
    let read = || {
        let [method, salt, hash] = text::parts(rest, '$')?;
        let [n, r, p] = text::parts(method, ':')?;
        Ok(ScryptHash {
            cost: Cost::of_n(n, r, p)?,
            salt: text::salt(salt, SALT_BYTES)?,
            hash: text::hex("the hash", hash, 64..=64)?,
            signer_key: None,
        })
    };
    Some(reading("Werkzeug's scrypt", read()))
}

/// `scrypt$N$SALT$r$p$BASE64`: Django.
pub(super) fn read_django(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("scrypt$")?;
    let read = || {
        let [n, salt, r, p, hash] = text::parts(rest, '$')?;
        Ok(ScryptHash {
            cost: Cost::of_n(n, r, p)?,
            salt: text::salt(salt, SALT_BYTES)?,
            hash: text::padded_base64("the hash", hash, 64..=64)?,
            signer_key: None,
        })
    };
    Some(reading("Django's scrypt", read()))
}

/// `$scrypt$ln=L,r=R,p=P$SALT$HASH`: passlib, where L is the logarithm of N, and Kratos, where it is N itself and
/// base64 has padding.
pub(super) fn read_phc(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("$scrypt$")?;
    let read = || {
        let [parameters, salt, hash] = text::parts(rest, '$')?;
        let [n, r, p] = text::parameters(parameters, ["ln", "r", "p"])?;
        let is_log = text::number_from("ln", n)? < 64;
        let cost = if is_log { Cost::of_log } else { Cost::of_n };
        let base64 = if is_log {
            text::base64
        } else {
            text::padded_base64
        };
        Ok(ScryptHash {
            cost: cost(n, r, p)?,
            salt: base64("the salt", salt, SALT_BYTES)?,
            hash: base64("the hash", hash, HASH_BYTES)?,
            signer_key: None,
        })
    };
    Some(reading("scrypt", read()))
}

/// `HEX:HEX` of 16 and 64 bytes: Better Auth and Lucia. The salt is the text of its digits.
pub(super) fn read_better_auth(stored: &str) -> Option<Reading> {
    let (salt, hash) = stored.split_once(':')?;
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if salt.len() != 32 || !salt.bytes().all(is_digit) {
        return None;
    }
    let read = || {
        Ok(ScryptHash {
            cost: Cost::BETTER_AUTH,
            salt: salt.as_bytes().to_vec(),
            hash: text::hex("the hash", hash, 64..=64)?,
            signer_key: None,
        })
    };
    Some(reading("Better Auth's scrypt", read()))
}

/// `$firescrypt$ln=L,r=R,p=1$SALT$HASH$SEPARATOR$KEY`: Firebase's hash with its project's parameters, as Kratos
/// writes it.
pub(super) fn read_firebase(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("$firescrypt$")?;
    let read = || {
        let [parameters, salt, hash, separator, key] = text::parts(rest, '$')?;
        let [log_n, r, p] = text::parameters(parameters, ["ln", "r", "p"])?;
        let mut salt = text::padded_base64("the salt", salt, SALT_BYTES)?;
        salt.extend(text::padded_base64("the separator", separator, 0..=16)?);
        let hash = text::padded_base64("the hash", hash, 16..=128)?;
        let key = text::padded_base64("the signer key", key, hash.len()..=hash.len())?;
        Ok(ScryptHash {
            cost: Cost::of_log(log_n, r, p)?,
            salt,
            hash,
            signer_key: Some(key),
        })
    };
    Some(reading("Firebase's scrypt", read()))
}
