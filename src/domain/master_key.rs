//! The one secret that a deployment must keep, and the keys that grow from it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize, Zeroizing};

/// 32 random bytes from which every server-side key is derived (HKDF-SHA256, RFC 5869).
#[derive(Clone)]
pub struct MasterKey(Prk);

/// Why a text is not a master key. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 random bytes in base64, as `openssl rand -base64 32` prints them")]
pub struct InvalidMasterKey;

/// The purpose of a derived key. Two purposes never share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Sealing private signing keys at rest.
    SealSigningKeys,
    /// Turning a challenge's nonce into its six digits.
    OneTimeCodes,
    /// Hashing the keys of attempts, so that the table names nobody.
    AttemptKeys,
    /// Turning a link's id into the token that its mail carries.
    Links,
    /// Sealing the secrets of authenticator apps at rest.
    SealTotpSecrets,
    /// Hashing recovery codes, so that the table opens nothing.
    RecoveryCodes,
    /// Making the challenges that passkeys sign.
    PasskeyChallenges,
}

impl Purpose {
    fn info(self) -> &'static [u8] {
        match self {
            Self::SealSigningKeys => b"backoffice-auth/seal-signing-keys/1",
            Self::OneTimeCodes => b"backoffice-auth/one-time-codes/1",
            Self::AttemptKeys => b"backoffice-auth/attempt-keys/1",
            Self::Links => b"backoffice-auth/links/1",
            Self::SealTotpSecrets => b"backoffice-auth/seal-totp-secrets/1",
            Self::RecoveryCodes => b"backoffice-auth/recovery-codes/1",
            Self::PasskeyChallenges => b"backoffice-auth/passkey-challenges/1",
        }
    }
}

impl MasterKey {
    /// Reads the key as the configuration gives it.
    pub fn from_base64(text: &str) -> Result<Self, InvalidMasterKey> {
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| InvalidMasterKey)?);
        if bytes.len() != 32 || bytes.iter().all(|b| *b == bytes[0]) {
            return Err(InvalidMasterKey);
        }
        Ok(Self(Salt::new(HKDF_SHA256, &[]).extract(&bytes)))
    }

    /// Derives the key for one purpose.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "a length of 32 bytes always fits"
    )]
    pub fn derive(&self, purpose: Purpose) -> DerivedKey {
        let mut key = [0; 32];
        self.0
            .expand(&[purpose.info()], Bytes32)
            .and_then(|okm| okm.fill(&mut key))
            .expect("HKDF-SHA256 yields up to 255 blocks of 32 bytes");
        DerivedKey(Zeroizing::new(key))
    }
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Bytes of the MAC in a token: 128 bits, which nobody guesses.
pub const TAG_BYTES: usize = 16;

/// A 256-bit key for one [`Purpose`]; wiped when it goes.
#[derive(Clone)]
pub struct DerivedKey(Zeroizing<[u8; 32]>);

impl DerivedKey {
    /// The raw key, for a cipher.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The MAC that a token carries of its parts: the first bytes of [`mac`](Self::mac).
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&self.mac(parts)[..TAG_BYTES]);
        tag
    }

    /// Whether this is the MAC of a token of these parts; takes the same time wherever the first difference is.
    #[must_use]
    pub fn is_tag(&self, parts: &[&[u8]], sent: &[u8]) -> bool {
        verify_slices_are_equal(&self.tag(parts), sent).is_ok()
    }

    /// HMAC-SHA256 over the parts, each preceded by its length so that no two lists collide.
    #[must_use]
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }
}

impl Drop for DerivedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MasterKey {
        MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
    }

    #[test]
    fn a_master_key_is_32_bytes_of_base64_that_are_not_all_alike() {
        for bad in [
            "",
            "x",
            "AAAA",
            &STANDARD.encode([7; 32]),
            &STANDARD.encode([1; 33]),
        ] {
            assert!(MasterKey::from_base64(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_purpose_has_its_own_key_and_the_same_one_every_time() {
        let seal = key().derive(Purpose::SealSigningKeys);
        assert_eq!(
            seal.expose(),
            key().derive(Purpose::SealSigningKeys).expose()
        );
        assert_ne!(seal.expose(), key().derive(Purpose::OneTimeCodes).expose());
    }

    #[test]
    fn a_mac_tells_where_one_part_ends_and_the_next_begins() {
        let key = key().derive(Purpose::AttemptKeys);
        assert_ne!(key.mac(&[b"ab", b"c"]), key.mac(&[b"a", b"bc"]));
    }
}
