//! Hashes that other services wrote: which can be imported, and the cost of a check.

use super::formats;
use super::kind::Kind;
use super::refusal::UnsupportedHash;
use crate::config::PasswordsConfig;
use crate::domain::{HashKind, NewPasswordHash, PasswordHash};

/// The longest text that is looked at, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

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
