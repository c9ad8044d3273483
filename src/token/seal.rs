//! The seal of private keys in the database: AES-256-GCM under a key derived from the master key.

use zeroize::Zeroizing;

use crate::domain::{KeyId, MasterKey, Purpose, Seal};

/// Seals and unseals private keys. The key's id is authenticated with it.
#[derive(Debug, Clone)]
pub struct Sealer(Seal);

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
        Self(Seal::new(&master_key.derive(Purpose::SealSigningKeys)))
    }

    /// Seals a private key.
    #[must_use]
    pub fn seal(&self, key_id: &KeyId, private_key: &[u8]) -> Vec<u8> {
        self.0.seal(key_id.0.as_bytes(), private_key)
    }

    /// Opens what [`Sealer::seal`] made.
    pub fn unseal(&self, key_id: &KeyId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let opened = self.0.open(key_id.0.as_bytes(), sealed);
        opened.ok_or_else(|| UnsealError(key_id.clone()))
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
