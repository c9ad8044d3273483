//! The public half of a key, which verifies signatures.

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};

use super::KeyRingError;

/// A key that verifies, parsed once: `jsonwebtoken` parses it again for each signature.
pub(super) struct Verifier(ParsedPublicKey);

impl Verifier {
    pub(super) fn open(der: &[u8]) -> Result<Self, KeyRingError> {
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
            .map(Self)
            .map_err(|_| KeyRingError::NotRsa)
    }

    /// Whether this is the key's signature of the message (RS256: RFC 7518, section 3.3).
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}
