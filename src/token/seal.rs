//! The seal of private keys in the database: AES-256-GCM under a key derived from the master key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::domain::{KeyId, MasterKey, Purpose};

/// Seals and unseals private keys. The key's id is authenticated with it, so that a sealed key
/// cannot be moved to another row.
#[derive(Clone)]
pub struct Sealer(Arc<RandomizedNonceKey>);

/// The seal does not open: another master key, or a row that was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the master key does not open the signing key {0}: set secrets.master_key to the one that \
     this database was set up with"
)]
pub struct UnsealError(pub KeyId);

impl Sealer {
    /// The sealer of a master key.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Self {
        let key = master_key.derive(Purpose::SealSigningKeys);
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose());
        Self(Arc::new(key.expect("the key has 32 bytes")))
    }

    /// Seals: a random nonce, then the ciphertext with its tag.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    #[must_use]
    pub fn seal(&self, key_id: &KeyId, private_key: &[u8]) -> Vec<u8> {
        let mut sealed = private_key.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(key_id.0.as_bytes()), &mut sealed)
            .expect("the operating system gives randomness");
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        out
    }

    /// Opens what [`Sealer::seal`] made.
    pub fn unseal(&self, key_id: &KeyId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let refuse = || UnsealError(key_id.clone());
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or_else(refuse)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refuse())?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let length = self
            .0
            .open_in_place(nonce, Aad::from(key_id.0.as_bytes()), &mut opened)
            .map_err(|_| refuse())?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(last: u8) -> Sealer {
        use base64::Engine as _;
        let mut key: Vec<u8> = (0..31).collect();
        key.push(last);
        let text = base64::engine::general_purpose::STANDARD.encode(key);
        Sealer::new(&MasterKey::from_base64(&text).unwrap())
    }

    #[test]
    fn a_sealed_key_opens_under_its_own_master_key_and_id_alone() {
        let (id, other) = (KeyId("a".to_owned()), KeyId("b".to_owned()));
        let sealed = sealer(1).seal(&id, b"private");
        assert_eq!(
            sealer(1).unseal(&id, &sealed).unwrap().as_slice(),
            b"private"
        );
        assert!(sealer(2).unseal(&id, &sealed).is_err());
        assert!(sealer(1).unseal(&other, &sealed).is_err());
        assert!(sealer(1).unseal(&id, &sealed[..5]).is_err());
        let mut changed = sealed.clone();
        changed[20] ^= 1;
        assert!(sealer(1).unseal(&id, &changed).is_err());
        assert_ne!(
            sealed,
            sealer(1).seal(&id, b"private"),
            "a new nonce each time"
        );
    }
}
