//! bcrypt, and the steps by which some services make all of a long password count before it.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::super::kind::Kind;
use super::super::refusal::Flaw;
use super::super::slot::{OutOfMemory, Slot};
use super::super::stored_hash::{Reading, StoredHash, reading};
use super::super::text;
use super::wordpress;
use crate::domain::PasswordHash;

const FORMAT: &str = "bcrypt";
const PREFIXES: [&str; 3] = ["$2a$", "$2b$", "$2y$"];

/// A hash of bcrypt.
pub(super) struct BcryptHash {
    /// As bcrypt itself writes it.
    text: PasswordHash,
    cost: u32,
    input: Input,
}

/// The bytes that bcrypt gets.
enum Input {
    /// The password as it was typed. bcrypt looks at 72 bytes of it.
    Typed,
    /// Its SHA-256, in hexadecimal: Django.
    Sha256,
    /// Its HMAC-SHA-256 under the salt's text, in base64: passlib.
    HmacSha256(String),
    /// Its HMAC-SHA-384 under a fixed key, in base64: WordPress.
    WordPress,
}

impl BcryptHash {
    /// A hash in a text as bcrypt itself writes it.
    fn of(text: String, input: Input) -> Result<Self, Flaw> {
        let cost = cost(&text)?;
        Ok(Self {
            text: PasswordHash::new(text),
            cost,
            input,
        })
    }

    /// A hash of a cost that no password is known for.
    pub(super) fn sample(cost: u32) -> Self {
        let tail = "NcIb7vmIlIvS9gnEa0xkR.cZ5QwPt4sBzqGWs3rRkOeE2cPn3pKQe";
        Self {
            text: PasswordHash::new(format!("$2b${cost:02}${tail}")),
            cost,
            input: Input::Typed,
        }
    }
}

impl StoredHash for BcryptHash {
    fn kind(&self) -> Kind {
        Kind::Bcrypt { cost: self.cost }
    }

    fn verify(&self, password: &[u8], _slot: &mut Slot) -> Result<bool, OutOfMemory> {
        let password = self.input.of(password);
        Ok(bcrypt::verify(&*password, self.text.expose()).unwrap_or(false))
    }

    /// Bcrypt ignores everything after 72 bytes, of which the last can be the zero that ends a shorter password,
    /// and repeats a shorter password with that zero behind it. WordPress trims.
    fn cuts(&self, password: &[u8]) -> bool {
        match self.input {
            Input::Typed => password.len() >= 72 || password.contains(&0),
            Input::Sha256 | Input::HmacSha256(_) => false,
            Input::WordPress => wordpress::trims(password),
        }
    }
}

impl Input {
    fn of(&self, password: &[u8]) -> Zeroizing<Vec<u8>> {
        let base64 = |mac: hmac::Tag| STANDARD.encode(mac).into_bytes();
        Zeroizing::new(match self {
            Self::Typed => password.to_vec(),
            Self::Sha256 => to_hex(digest(&SHA256, password).as_ref()),
            Self::HmacSha256(salt) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, salt.as_bytes());
                base64(hmac::sign(&key, password))
            }
            Self::WordPress => {
                let key = hmac::Key::new(hmac::HMAC_SHA384, b"wp-sha384");
                base64(hmac::sign(&key, &wordpress::received(password)))
            }
        })
    }
}

fn to_hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    (bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]))
    .collect()
}

pub(super) fn read(stored: &str) -> Option<Reading> {
    let is_bcrypt = PREFIXES.iter().any(|prefix| stored.starts_with(prefix));
    is_bcrypt.then(|| reading(FORMAT, BcryptHash::of(stored.to_owned(), Input::Typed)))
}

/// `bcrypt_sha256$$2b$…`: Django's `BCryptSHA256PasswordHasher`.
pub(super) fn read_django_sha256(stored: &str) -> Option<Reading> {
    let bcrypt = stored.strip_prefix("bcrypt_sha256$")?;
    Some(reading(
        "bcrypt_sha256",
        BcryptHash::of(bcrypt.to_owned(), Input::Sha256),
    ))
}

/// `$wp$2y$…`: WordPress since 6.8.
pub(super) fn read_wordpress(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("$wp$")?;
    let bcrypt = format!("${rest}");
    Some(reading(
        "WordPress's bcrypt",
        BcryptHash::of(bcrypt, Input::WordPress),
    ))
}

/// `$bcrypt-sha256$v=2,t=2b,r=12$SALT$HASH`: passlib.
pub(super) fn read_passlib(stored: &str) -> Option<Reading> {
    const FORMAT: &str = "passlib's bcrypt_sha256";
    let rest = stored.strip_prefix("$bcrypt-sha256$")?;
    let read = passlib_parts(rest)
        .and_then(|(bcrypt, salt)| BcryptHash::of(bcrypt, Input::HmacSha256(salt)));
    Some(reading(FORMAT, read))
}

fn passlib_parts(rest: &str) -> Result<(String, String), Flaw> {
    let parts: Vec<&str> = rest.split('$').collect();
    let [parameters, salt, hash] = parts[..] else {
        return Err(Flaw::Parts);
    };
    let [version, variant, cost] = text::parameters(parameters, ["v", "t", "r"])?;
    if version != "2" || variant != "2b" {
        return Err(Flaw::UnknownVersion);
    }
    let cost = text::number("r", cost, 4..=31)?;
    Ok((format!("$2b${cost:02}${salt}{hash}"), salt.to_owned()))
}

/// The cost of a text that bcrypt itself would write.
fn cost(bcrypt: &str) -> Result<u32, Flaw> {
    if !PREFIXES.iter().any(|prefix| bcrypt.starts_with(prefix)) {
        return Err(Flaw::UnknownVersion);
    }
    let bytes = bcrypt.len();
    if bytes != 60 {
        return Err(Flaw::Length {
            what: "bcrypt's text",
            least: 60,
            most: 60,
            bytes,
        });
    }
    let parts: bcrypt::HashParts = bcrypt.parse().map_err(|_| Flaw::NotBase64("its text"))?;
    match parts.get_cost() {
        cost @ 4..=31 => Ok(cost),
        _ => Err(Flaw::OutOfBounds {
            what: "the cost",
            least: 4,
            most: 31,
        }),
    }
}
