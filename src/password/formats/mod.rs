//! The formats in which other services write hashes: a file each, with the vectors of their own libraries.
//!
//! A format is read by a function that says `None` to a text which does not begin like it, and otherwise reads it
//! or tells its flaw. To add one, write such a function and list it in [`FORMATS`].

mod argon2;
mod aspnet;
mod bcrypt;
mod firebase;
mod keycloak;
mod pbkdf2;
mod phpass;
mod salted;
mod scrypt;
mod sha_crypt;
mod wordpress;

pub use firebase::FirebaseProject;
pub use keycloak::read_keycloak;

use super::kind::Kind;
use super::refusal::UnsupportedHash;
use super::stored_hash::{Reading, StoredHash};

const FORMATS: [fn(&str) -> Option<Reading>; 19] = [
    argon2::read,
    bcrypt::read,
    bcrypt::read_django_sha256,
    bcrypt::read_wordpress,
    bcrypt::read_passlib,
    pbkdf2::read_django,
    pbkdf2::read_werkzeug,
    pbkdf2::read_passlib,
    pbkdf2::read_dovecot,
    pbkdf2::read_mediawiki,
    scrypt::read_werkzeug,
    scrypt::read_django,
    scrypt::read_phc,
    scrypt::read_firebase,
    scrypt::read_better_auth,
    phpass::read,
    sha_crypt::read,
    salted::read,
    aspnet::read,
];

/// The formats that are recognised and not taken.
const NOT_TAKEN: [(&str, &str); 12] = [
    ("$y$", "yescrypt is not taken"),
    ("$gy$", "yescrypt is not taken"),
    ("$7$", "scrypt as crypt(3) writes it is not taken"),
    ("$1$", "md5-crypt is not taken"),
    ("$apr1$", "md5-crypt is not taken"),
    (
        "$2x$",
        "bcrypt with the fault that $2x$ stands for is not taken",
    ),
    ("md5$", "MD5 is not taken"),
    ("sha1$", "SHA-1 without iterations is not taken"),
    ("{MD5}", "a digest without a salt is not taken"),
    ("{SHA}", "a digest without a salt is not taken"),
    ("{SMD5}", "MD5 is not taken"),
    ("{CRYPT}", "what stands behind {CRYPT} is not taken"),
];

/// Reads a hash as it is stored, or as another service writes it.
pub(super) fn read(text: &str) -> Reading {
    let text = without_label(text);
    let reading = FORMATS.iter().find_map(|read| read(text));
    reading.unwrap_or_else(|| Err(not_taken(text)))
}

/// A hash of a kind that no password is known for. A check of it costs what a check of any hash of the kind costs.
pub(super) fn sample(kind: Kind) -> Option<Box<dyn StoredHash>> {
    Some(match kind {
        Kind::Argon2 { .. } => Box::new(argon2::Argon2Hash::sample(kind)?),
        Kind::Bcrypt { cost } => Box::new(bcrypt::BcryptHash::sample(cost)),
        Kind::Pbkdf2 { digest, rounds } => Box::new(pbkdf2::Pbkdf2Hash::sample(digest, rounds)?),
        Kind::Scrypt { log_n, r, p } => Box::new(scrypt::ScryptHash::sample(log_n, r, p)),
        Kind::Phpass { digest, log_rounds } => {
            Box::new(phpass::PhpassHash::sample(digest, log_rounds))
        }
        Kind::ShaCrypt { digest, rounds } => {
            Box::new(sha_crypt::ShaCryptHash::sample(digest, rounds))
        }
        Kind::Salted { digest } => Box::new(salted::SaltedDigest::sample(digest)),
    })
}

fn not_taken(text: &str) -> UnsupportedHash {
    let mut known = NOT_TAKEN.iter().filter(|(start, _)| {
        let begin = text.get(..start.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    });
    known
        .next()
        .map_or(UnsupportedHash::Unknown, |(_, reason)| {
            UnsupportedHash::NotTaken(reason)
        })
}

/// Takes away what some services put before a hash that says by itself what it is.
pub(super) fn without_label(text: &str) -> &str {
    // Django: the name of its hasher.
    for (label, start) in [("argon2", "$argon2"), ("bcrypt$", "$2")] {
        if let Some(rest) = text.strip_prefix(label)
            && rest.starts_with(start)
        {
            return rest;
        }
    }
    // Dovecot, OpenLDAP, Spring: in braces, in any case, Spring with a version behind it.
    let labelled = (text.strip_prefix('{')).and_then(|rest| rest.split_once('}'));
    let Some((label, rest)) = labelled else {
        return text;
    };
    let label = label.split('@').next().unwrap_or(label);
    let starts: &[&str] = match label.to_ascii_uppercase().as_str() {
        "ARGON2" | "ARGON2I" | "ARGON2ID" => &["$argon2"],
        "BCRYPT" | "BLF-CRYPT" => &["$2a$", "$2b$", "$2y$"],
        "SHA256-CRYPT" => &["$5$"],
        "SHA512-CRYPT" => &["$6$"],
        "CRYPT" => &["$2a$", "$2b$", "$2y$", "$5$", "$6$", "!", "*"],
        _ => &[],
    };
    if starts.iter().any(|start| rest.starts_with(start)) {
        rest
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
