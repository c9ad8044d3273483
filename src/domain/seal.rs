//! The seal of secrets in the database: AES-256-GCM.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::DerivedKey;

/// Seals secrets under a derived key, and opens them again. The name of a secret's row is authenticated with
/// it, so that a sealed secret cannot be moved to another row.
#[derive(Clone)]
pub struct Seal(Arc<RandomizedNonceKey>);

impl Seal {
    /// The seal of a key.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "a derived key always has the right length"
    )]
    pub fn new(key: &DerivedKey) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose());
        Self(Arc::new(key.expect("the key has 32 bytes")))
    }

    /// Seals: a random nonce, then the ciphertext with its tag.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn seal(&self, name: &[u8], secret: &[u8]) -> Vec<u8> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(name), &mut sealed)
            .expect("the operating system gives randomness");
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        out
    }

    /// Opens what [`Seal::seal`] made; `None` for another key, another name, or bytes that were changed.
    #[must_use]
    pub fn open(&self, name: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(name), &mut opened)
            .ok()?
            .len();
        opened.truncate(length);
        Some(opened)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(…)")
    }
}
