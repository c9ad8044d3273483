//! A password as a person types it, and as it is stored: two types that never mix.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use unicode_normalization::UnicodeNormalization;

use super::weak_password::{compared, is_short};
use super::{Blocklist, EmailAddress, WeakPassword};

/// A password in the clear, after NFKC and as it was typed. It cannot be printed, compared or
/// serialised, and its memory is wiped when it goes.
///
/// It is never trimmed or cut: it counts as it was typed (NIST SP 800-63B-4, section 3.1.1.2, which
/// also asks for the normalisation). Hashes of ours are made of the normalised form; an older service
/// may have hashed what was typed.
#[derive(Clone)]
pub struct PlainPassword {
    normal: SecretString,
    /// `None` if it is the same.
    typed: Option<SecretString>,
}

/// Why a text cannot be a password at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// Nothing was typed.
    #[error("must not be empty")]
    Empty,
    /// Longer than any person types. Such a text would make hashing expensive.
    #[error("must be at most 1024 bytes long")]
    TooLong,
}

impl PlainPassword {
    const MAX_BYTES: usize = 1024;

    /// Takes a password as received.
    pub fn parse(text: &str) -> Result<Self, InvalidPassword> {
        match text.len() {
            0 => Err(InvalidPassword::Empty),
            1..=Self::MAX_BYTES => {
                // Into room that suffices: a text that grows leaves copies of itself behind.
                let mut normal = String::with_capacity(text.nfkc().map(char::len_utf8).sum());
                normal.extend(text.nfkc());
                Ok(Self {
                    typed: (normal != text).then(|| text.to_owned().into()),
                    normal: normal.into(),
                })
            }
            _ => Err(InvalidPassword::TooLong),
        }
    }

    /// The bytes to hash.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.normal.expose_secret().as_bytes()
    }

    /// The bytes as they were typed.
    #[must_use]
    pub fn expose_typed(&self) -> &[u8] {
        let typed = self.typed.as_ref().unwrap_or(&self.normal);
        typed.expose_secret().as_bytes()
    }

    /// The texts of which a stored hash may have been made: the normalised form, and the typed one
    /// where it is different.
    #[must_use]
    pub fn forms(&self) -> Vec<&[u8]> {
        let typed = self.typed.as_ref().map(|_| self.expose_typed());
        [Some(self.expose()), typed].into_iter().flatten().collect()
    }

    /// Checks the rules for setting a password: at least eight code points, not the address, not
    /// on the blocklist (NIST SP 800-63B-4, section 3.1.1.2: a blocklist rather than character classes).
    pub fn check_strength(
        &self,
        email: &EmailAddress,
        blocklist: &Blocklist,
    ) -> Result<(), WeakPassword> {
        let text = self.normal.expose_secret();
        if is_short(text) {
            return Err(WeakPassword::TooShort);
        }
        let form = compared(text);
        let local = email.as_str().split('@').next().unwrap_or_default();
        if *form == email.as_str() || *form == local {
            return Err(WeakPassword::IsAddress);
        }
        blocklist.check(text)
    }
}

impl fmt::Debug for PlainPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainPassword(…)")
    }
}

/// A password as stored: a PHC string, or a hash as another service writes it. Not printed: it can be attacked
/// offline.
#[derive(Clone)]
pub struct PasswordHash(SecretString);

impl PasswordHash {
    /// Wraps the output of a hashing function or a stored hash.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    /// The text to store or to verify against.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The kind of a stored hash, which decides the cost of a check: its algorithm with the parameters. No secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HashKind(String);

impl HashKind {
    /// Wraps what the password room says of a hash.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text to store and to show.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HashKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hash to be stored, with its kind. The password room makes it.
#[derive(Debug, Clone)]
pub struct NewPasswordHash {
    hash: PasswordHash,
    kind: HashKind,
}

impl NewPasswordHash {
    /// A hash of a kind.
    #[must_use]
    pub fn new(hash: PasswordHash, kind: HashKind) -> Self {
        Self { hash, kind }
    }

    /// The hash, as it is to be stored.
    #[must_use]
    pub fn hash(&self) -> &PasswordHash {
        &self.hash
    }

    /// The kind, which decides the cost of a check.
    #[must_use]
    pub fn kind(&self) -> &HashKind {
        &self.kind
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_normalised_but_never_trimmed_or_cut() {
        let password = PlainPassword::parse(" ﬁ\u{212b} ").unwrap();
        assert_eq!(password.expose(), " fi\u{c5} ".as_bytes());
        assert_eq!(password.expose_typed(), " ﬁ\u{212b} ".as_bytes());
        assert_eq!(
            password.forms(),
            [password.expose(), password.expose_typed()]
        );
        let plain = PlainPassword::parse(" fi\u{c5} ").unwrap();
        assert_eq!(plain.forms(), [password.expose()]);
        assert_eq!(plain.expose_typed(), plain.expose());
        assert!(PlainPassword::parse(&"x".repeat(1024)).is_ok());
        assert_eq!(
            PlainPassword::parse("").unwrap_err(),
            InvalidPassword::Empty
        );
        assert_eq!(
            PlainPassword::parse(&"x".repeat(1025)).unwrap_err(),
            InvalidPassword::TooLong
        );
    }

    #[test]
    fn a_weak_password_is_refused_with_its_reason() {
        let email = "longname@example.com".parse().unwrap();
        let list = Blocklist::with_words("acme-office");
        let check = |text| {
            let password = PlainPassword::parse(text).unwrap();
            password.check_strength(&email, &list)
        };
        assert_eq!(check("short"), Err(WeakPassword::TooShort));
        assert_eq!(check("ääää"), Err(WeakPassword::TooShort));
        assert_eq!(check("LongName@example.com"), Err(WeakPassword::IsAddress));
        assert_eq!(check("longname"), Err(WeakPassword::IsAddress));
        assert_eq!(check("Password123"), Err(WeakPassword::Common));
        assert_eq!(check("Ａcme-Office"), Err(WeakPassword::Blocked));
        assert_eq!(check("violet-anvil-67"), Ok(()));
    }

    #[test]
    fn neither_form_can_be_printed() {
        let plain = PlainPassword::parse("hunter2hunter2").unwrap();
        let stored = PasswordHash::new("$argon2id$v=19$abc".to_owned());
        assert_eq!(
            format!("{plain:?} {stored:?}"),
            "PlainPassword(…) PasswordHash(…)"
        );
    }
}
