//! The one canonical form of an email address.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The longest address that SMTP can carry (RFC 5321, section 4.5.3.1.3, less the brackets).
const MAX_BYTES: usize = 254;

/// An email address in canonical form: ASCII, lower case, one `@` with something on both sides, at
/// most 254 bytes, and no form that mail servers read differently.
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
    /// A space or a line's end before or behind it, as copied.
    #[error("must not have a space before or behind it")]
    Space,
    /// A space, a control character, a character outside ASCII, or one that mail syntax reserves.
    #[error("must be made of ASCII letters, digits and the usual signs")]
    Character,
    /// A dot or a sign where mail servers refuse it, or take it for something else.
    #[error("must not have a dot or a sign where mail servers do not expect it")]
    Place,
}

impl EmailAddress {
    /// Reads an address back from where it was stored. A row may be older than a rule: it is listed
    /// like any other, but nobody can sign in as one that `parse` refuses.
    #[must_use]
    pub fn from_stored(text: String) -> Option<Self> {
        let is_shaped = text.len() <= MAX_BYTES && text.matches('@').count() == 1;
        let is_plain = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase();
        (is_shaped && text.bytes().all(is_plain)).then_some(Self(text))
    }

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
        if text.trim() != text {
            return Err(InvalidEmailAddress::Space);
        }
        let (local, domain) = text.split_once('@').ok_or(InvalidEmailAddress::Shape)?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') {
            return Err(InvalidEmailAddress::Shape);
        }
        if !local.bytes().all(is_local_byte) || !domain.bytes().all(is_domain_byte) {
            return Err(InvalidEmailAddress::Character);
        }
        if !is_local_part(local) || !domain.split('.').all(is_label) {
            return Err(InvalidEmailAddress::Place);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// `atext` and the dot (RFC 5321, section 4.1.2), without the forms that mail servers disagree about:
/// quoted local parts, and the signs of old routes. A relay that knows those (Postfix does unless told
/// otherwise) takes `user%host@relay`, and `host!user@relay`, for `user@host`.
fn is_local_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"#$&'*+-/=?^_`{|}~.".contains(&byte)
}

fn is_domain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

/// Words with a dot between them (a `Dot-string` of RFC 5321). A word that begins like an option, a
/// file or a pipe is taken for one by some program on the way; Postfix or Exim refuses it unless told
/// otherwise.
fn is_local_part(local: &str) -> bool {
    local.split('.').all(|word| !word.is_empty()) && !local.starts_with(['-', '/', '|'])
}

/// So that a name has no second spelling: `example.com.` is `example.com` to a resolver.
fn is_label(label: &str) -> bool {
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
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
    fn addresses_that_a_mail_server_could_misread_are_refused() {
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
            "a%b@c.d",
            "a!b@c.d",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "-a@b.c",
            "/a@b.c",
            "|a@b.c",
            "a@b.c.",
            "a@.b.c",
            "a@b..c",
            "a@-b.c",
            "a@b-.c",
        ] {
            assert!(bad.parse::<EmailAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_space_that_was_copied_along_is_told_from_one_within() {
        let told = |text: &str| text.parse::<EmailAddress>().unwrap_err();
        for text in ["a@b.c ", " a@b.c", "a@b.c\n", "a@b.c\u{a0}", " "] {
            assert_eq!(told(text), InvalidEmailAddress::Space, "{text:?}");
        }
        assert_eq!(told("a b@c.d"), InvalidEmailAddress::Character);
    }

    #[test]
    fn a_stored_address_is_read_even_if_it_is_older_than_a_rule() {
        let stored = |text: &str| EmailAddress::from_stored(text.to_owned());
        for text in ["foo@bar.com", "a%b@c.d", "a..b@c.d."] {
            assert_eq!(stored(text).unwrap().as_str(), text);
        }
        for text in ["", "Foo@bar.com", "a@b@c", "a b@c.d", "ä@b.c"] {
            assert!(stored(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_usual_signs_are_allowed_in_their_usual_places() {
        for good in [
            "o'brien+tag@example.com",
            "a-b_c.d=e@mail-1.example.co.uk",
            "{a}/b|c#$&*?^`~-@b_c",
            "a@localhost",
        ] {
            assert_eq!(good.parse::<EmailAddress>().unwrap().as_str(), good);
        }
    }
}
