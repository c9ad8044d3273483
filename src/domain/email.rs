//! The one canonical form of an email address.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The longest address that SMTP can carry (RFC 5321, section 4.5.3.1.3, less the brackets).
const MAX_BYTES: usize = 254;

/// An email address in canonical form: ASCII, lower case, one `@` with something on both sides,
/// at most 254 bytes, and only characters that no mail server reads as syntax.
///
/// Sign-in, limits, the database's unique index and the command line all go through here, so an
/// address has one spelling everywhere.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct EmailAddress(String);

/// Why a text is not an email address. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEmailAddress {
    /// Longer than SMTP can carry.
    #[error("must be at most 254 bytes long")]
    TooLong,
    /// No `@`, more than one, or nothing on one side of it.
    #[error("must have exactly one @ with something on both sides")]
    Shape,
    /// A space, a control character, a character outside ASCII, or one that mail syntax reserves.
    #[error("must be made of ASCII letters, digits and the usual signs")]
    Character,
}

impl EmailAddress {
    /// The address in canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EmailAddress {
    type Err = InvalidEmailAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_BYTES {
            return Err(InvalidEmailAddress::TooLong);
        }
        let (local, domain) = text.split_once('@').ok_or(InvalidEmailAddress::Shape)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(InvalidEmailAddress::Shape);
        }
        if !local.bytes().all(is_local_byte) || !domain.bytes().all(is_domain_byte) {
            return Err(InvalidEmailAddress::Character);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// `atext` and the dot (RFC 5321, section 4.1.2). Quoted local parts are left out on purpose: they
/// are what mail servers disagree about.
fn is_local_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte)
}

fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Logs do not carry whole addresses: the first character and the domain are enough to help.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, domain) = self.0.split_once('@').unwrap_or((&self.0, ""));
        write!(f, "{local:.1}…@{domain}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_lower_cased_and_otherwise_kept() {
        let address: EmailAddress = "Foo+Tag@Bar.COM".parse().unwrap();
        assert_eq!(address.as_str(), "foo+tag@bar.com");
        assert_eq!(format!("{address:?}"), "f…@bar.com");
    }

    #[test]
    fn an_address_of_254_bytes_is_the_longest() {
        let local = "a".repeat(246);
        assert!(format!("{local}@bar.com").parse::<EmailAddress>().is_ok());
        assert_eq!(
            format!("{local}a@bar.com").parse::<EmailAddress>(),
            Err(InvalidEmailAddress::TooLong)
        );
    }

    #[test]
    fn what_a_mail_server_could_misread_is_refused() {
        for bad in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a@b@c",
            " a@b.c",
            "a@b.c ",
            "a b@c.d",
            "a@b\n.c",
            "ä@b.c",
            "a@bücher.de",
            "\"a\"@b.c",
            "<a@b.c>",
            "a,b@c.d",
            "a@[127.0.0.1]",
            "a\0@b.c",
            "a@b(c)",
            "\u{212a}@b.c",
        ] {
            assert!(bad.parse::<EmailAddress>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_a_fixed_point(text in "\\PC{0,20}@\\PC{0,20}") {
            if let Ok(once) = text.parse::<EmailAddress>() {
                let twice: EmailAddress = once.as_str().parse().unwrap();
                prop_assert_eq!(&twice, &once);
                prop_assert_eq!(once.as_str().matches('@').count(), 1);
                prop_assert!(once.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }
}
