//! A stored hash, parsed.

use super::kind::Kind;
use super::refusal::{Flaw, UnsupportedHash};
use super::slot::{OutOfMemory, Slot};
use crate::config::PasswordsConfig;

/// A stored hash, parsed. Each algorithm has one implementation, whatever formats it is written in.
pub(super) trait StoredHash: Send + Sync {
    /// The algorithm with its parameters.
    fn kind(&self) -> Kind;

    /// Computes the hash of one form of a password and compares. Argon2 computes in the slot, if that suffices.
    fn verify(&self, password: &[u8], slot: &mut Slot) -> Result<bool, OutOfMemory>;

    /// Whether a match of these bytes leaves open whether they are the whole password. Then the typed text is
    /// not known to be the password, and must not become the password.
    fn cuts(&self, _password: &[u8]) -> bool {
        false
    }

    /// Whether this is weaker than a hash that [`make`](super::make::make) makes today, or of another format.
    fn is_outdated(&self, _config: &PasswordsConfig) -> bool {
        true
    }
}

/// The result of reading a text that begins like a format.
pub(super) type Reading = Result<Box<dyn StoredHash>, UnsupportedHash>;

/// The reading of a text in a format, by its name.
pub(super) fn reading<H: StoredHash + 'static>(
    format: &'static str,
    read: Result<H, Flaw>,
) -> Reading {
    match read {
        Ok(hash) => Ok(Box::new(hash)),
        Err(flaw) => Err(UnsupportedHash::Malformed { format, flaw }),
    }
}
