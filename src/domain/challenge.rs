//! The second factor: a challenge that holds no code, and the code that follows from it.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;

use super::words::words;
use super::{ChallengeId, DerivedKey, Timestamp, UserId};

/// Sixteen random bytes in a challenge's row, from which its code follows under a key that the
/// database does not hold. A copy of the database gives no code away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CodeNonce([u8; 16]);

impl CodeNonce {
    /// A new random nonce.
    ///
    /// # Panics
    /// If the operating system has no randomness to give, as nothing safe could be done then.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).expect("the operating system gives randomness");
        Self(bytes)
    }

    /// Reads a nonce back from where it was stored.
    #[must_use]
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CodeNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeNonce(…)")
    }
}

/// Six decimal digits, leading zeros kept. Not printed; shown to the mail template alone.
#[derive(Clone)]
pub struct OneTimeCode(String);

impl OneTimeCode {
    /// The code of a challenge: an HMAC of its id and nonce, cut to six digits.
    ///
    /// Cutting 64 bits to a million values favours none by more than one part in 10^13, so a
    /// guess is worth 10^-6 as it is with the dynamic truncation of RFC 4226.
    #[must_use]
    pub fn derive(key: &DerivedKey, challenge_id: ChallengeId, nonce: CodeNonce) -> Self {
        let mac = key.mac(&[challenge_id.0.as_bytes(), nonce.as_bytes()]);
        let mut head = [0; 8];
        head.copy_from_slice(&mac[..8]);
        Self(format!("{:06}", u64::from_be_bytes(head) % 1_000_000))
    }

    /// A code that opens nothing, to try templates and relays with.
    #[must_use]
    pub fn sample() -> Self {
        Self("012345".to_owned())
    }

    /// Whether a person typed this code; takes the same time wherever the first difference is.
    #[must_use]
    pub fn matches(&self, typed: &str) -> bool {
        verify_slices_are_equal(self.0.as_bytes(), typed.as_bytes()).is_ok()
    }

    /// The digits, for the mail.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeCode(…)")
    }
}

/// A sign-in that waits for its code.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The 2FA token.
    pub challenge_id: ChallengeId,
    /// The user who signs in.
    pub user_id: UserId,
    /// The nonce from which the mailed code follows.
    pub nonce: CodeNonce,
    /// All that it can be confirmed with, best first; never empty.
    pub providers: Vec<ChallengeProvider>,
    /// When it stops working.
    pub expires_at: Timestamp,
}

words! {
    /// The proof that confirms a challenge, named by the source of its code.
    pub enum ChallengeProvider {
        /// It is mailed.
        Email = "email",
        /// No code: a passkey signs.
        Passkey = "passkey",
        /// An authenticator app shows it.
        Totp = "totp",
        /// The person wrote it down, and each works once. The only one where all passkeys are for another domain.
        RecoveryCode = "recovery_code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{MasterKey, Purpose};

    fn key() -> DerivedKey {
        MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .unwrap()
            .derive(Purpose::OneTimeCodes)
    }

    #[test]
    fn a_code_is_six_digits_with_leading_zeros_kept() {
        let leading_zero = (0..100).any(|_| {
            let code = OneTimeCode::derive(&key(), ChallengeId::random(), CodeNonce::random());
            assert!(code.expose().len() == 6 && code.expose().bytes().all(|b| b.is_ascii_digit()));
            code.expose().starts_with('0')
        });
        assert!(leading_zero, "one in ten codes starts with a zero");
    }

    #[test]
    fn a_code_follows_from_its_challenge_and_from_no_other() {
        let (id, nonce) = (ChallengeId::random(), CodeNonce::random());
        let code = OneTimeCode::derive(&key(), id, nonce);
        assert!(code.matches(OneTimeCode::derive(&key(), id, nonce).expose()));
        for typed in ["", "12345", "1234567", &format!(" {}", code.expose())] {
            assert!(!code.matches(typed));
        }
    }
}
