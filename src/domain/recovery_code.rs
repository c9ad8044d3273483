//! Recovery codes: for the day on which the authenticator app is gone.

use std::fmt;

use aws_lc_rs::rand;
use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;
use zeroize::Zeroizing;

use super::{DerivedKey, UserId};

/// Codes that a person is given at a time.
pub const RECOVERY_CODES: usize = 10;

/// Letters of a code: 80 bits, where NIST SP 800-63B-4 (section 3.1.2.1) asks for 64.
const LETTERS: usize = 16;
/// Letters between two hyphens.
const GROUP: usize = 4;

/// Douglas Crockford's base32: no I, L, O and U, and the first three are read as the digits that they look like.
static ALPHABET: LazyLock<Encoding> = LazyLock::new(|| {
    let mut alphabet = Specification::new();
    alphabet
        .symbols
        .push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    alphabet.encoding().expect("it has 32 letters, each once")
});

/// A code that confirms one sign-in instead of the app's; wiped when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    /// A new random code.
    ///
    /// # Panics
    /// If the operating system has no randomness to give, as nothing safe could be done then.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; LETTERS * 5 / 8]);
        rand::fill(bytes.as_mut_slice()).expect("the operating system gives randomness");
        Self(Zeroizing::new(ALPHABET.encode(bytes.as_slice())))
    }

    /// Reads what a person typed: case, spaces and hyphens do not matter, and O, I and L are the digits that
    /// they look like. `None` if it is no recovery code.
    #[must_use]
    pub fn parse(typed: &str) -> Option<Self> {
        let mut code = Zeroizing::new(String::with_capacity(LETTERS));
        for letter in typed.chars().filter(|letter| !matches!(letter, ' ' | '-')) {
            let letter = match letter.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                'U' => return None,
                letter if letter.is_ascii_alphanumeric() => letter,
                _ => return None,
            };
            if code.len() == LETTERS {
                return None;
            }
            code.push(letter);
        }
        (code.len() == LETTERS).then_some(Self(code))
    }

    /// The code as it is shown, once: four groups of four.
    #[must_use]
    pub fn expose(&self) -> String {
        let groups: Vec<&str> = (0..LETTERS / GROUP)
            .map(|group| &self.0[group * GROUP..][..GROUP])
            .collect();
        groups.join("-")
    }

    /// The stored form of it: a MAC of user and code, so that neither the database nor the key alone opens
    /// anything. No slow hash: the code is random, and long enough.
    #[must_use]
    pub fn hash(&self, key: &DerivedKey, user_id: UserId) -> [u8; 32] {
        key.mac(&[&user_id.0.to_be_bytes(), self.0.as_bytes()])
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{MasterKey, Purpose};

    #[test]
    fn a_code_is_read_as_people_type_it() {
        let code = RecoveryCode::parse("01AB-CDEF-GHJK-MNPQ").unwrap();
        for typed in [
            "01abcdefghjkmnpq",
            "O1AB CDEF GHJK MNPQ",
            "oiab-cdef-ghjk-mnpq",
            "  0L AB--CDEFGHJKMNPQ ",
        ] {
            assert_eq!(RecoveryCode::parse(typed), Some(code.clone()), "{typed}");
        }
        assert_eq!(code.expose(), "01AB-CDEF-GHJK-MNPQ");
    }

    #[test]
    fn all_else_is_no_code() {
        for typed in [
            "",
            "123456",
            "01AB-CDEF-GHJK-MNP",
            "01AB-CDEF-GHJK-MNPQ0",
            "U1AB-CDEF-GHJK-MNPQ",
            "01AB_CDEF_GHJK_MNPQ",
            "Ä1AB-CDEF-GHJK-MNPQ",
        ] {
            assert_eq!(RecoveryCode::parse(typed), None, "{typed}");
        }
    }

    #[test]
    fn a_random_code_is_read_back_and_hashed_for_its_user_alone() {
        let key = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .unwrap()
            .derive(Purpose::RecoveryCodes);
        let code = RecoveryCode::random();
        assert_eq!(RecoveryCode::parse(&code.expose()), Some(code.clone()));
        assert_ne!(code, RecoveryCode::random());
        assert_ne!(code.hash(&key, UserId(1)), code.hash(&key, UserId(2)));
        assert_eq!(format!("{code:?}"), "RecoveryCode(…)");
    }
}
