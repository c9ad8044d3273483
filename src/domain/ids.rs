//! Identifiers, each its own type, so that one cannot be passed where another belongs.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A user's number: `sub` in a token, as a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session's id: `sid` in a token. A version 7 UUID, so that new rows land side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl SessionId {
    /// A new id. Its time part only orders; nothing decides by it.
    #[must_use]
    pub fn random() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that makes session ids"
        )]
        Self(Uuid::now_v7())
    }
}

impl SessionId {
    /// Reads an id that a client sent: the hyphenated form of a UUID and no other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hyphenated(text).map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A two-factor challenge's id, which is also the 2FA token that the client holds.
///
/// A version 4 UUID: 122 random bits, and no order from which a stranger could guess a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChallengeId(pub Uuid);

impl ChallengeId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id that a client sent: the hyphenated form of a UUID and no other.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hyphenated(text).map(Self)
    }
}

/// A UUID as RFC 9562, section 4 writes it, in either case. The library also reads braces, a URN and
/// digits alone: one id under four names is one too many wherever names are compared.
fn parse_hyphenated(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    text.eq_ignore_ascii_case(&uuid.to_string()).then_some(uuid)
}

/// Never printed whole, since it is half of the proof that confirms a sign-in.
impl fmt::Debug for ChallengeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChallengeId({:.4}…)", self.0.simple().to_string())
    }
}

/// The id of a link by which a person sets a password. The mail carries it with a MAC.
///
/// A version 4 UUID: 122 random bits, and no order from which a stranger could guess a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(pub Uuid);

impl LinkId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

/// Never printed whole, since it is half of the link that opens an account.
impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({:.4}…)", self.0.simple().to_string())
    }
}

/// The id of an authenticator app that a user enrols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TotpId(pub Uuid);

impl TotpId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id as a client sends it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hyphenated(text).map(Self)
    }
}

/// The id of a passkey, by which its owner removes it. No authenticator knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PasskeyId(pub Uuid);

impl PasskeyId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id as a client sends it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        parse_hyphenated(text).map(Self)
    }
}

/// The key of a mail in the outbox. The database makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailId(pub Uuid);

/// The number of token pairs that a session has had; 1 when it opens. A refresh token carries it as
/// `gen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub i64);

impl Generation {
    /// The generation with which a session opens.
    pub const FIRST: Self = Self(1);

    /// Whether `self` is the one just before `current`.
    #[must_use]
    pub fn precedes(self, current: Self) -> bool {
        self >= Self::FIRST && self.0.checked_add(1) == Some(current.0)
    }
}

/// A signing key's id: `kid` in a token's header, its RFC 7638 thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl From<String> for KeyId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of an event in the audit log. A later event has a higher number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub i64);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a request: it ties the answer, the log lines and the audit events together. The header is
/// `X-Request-Id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RequestId(String);

impl RequestId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// Takes over an id that a trusted proxy chose: 1 to 128 of `[A-Za-z0-9._-]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        ((1..=128).contains(&text.len()) && text.bytes().all(allowed))
            .then(|| Self(text.to_owned()))
    }

    /// Reads an id back from where it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The id as it stands in the header.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_taken_over_only_if_it_can_forge_nothing() {
        assert!(RequestId::parse("abc-1.2_3").is_some());
        assert!(RequestId::parse(&"x".repeat(128)).is_some());
        for bad in ["", "a b", "a\nb", "é", "a/b", &"x".repeat(129)] {
            assert!(RequestId::parse(bad).is_none(), "{bad:?}");
        }
    }

    /// Red with `Uuid::try_parse` alone.
    #[test]
    fn an_id_has_one_form() {
        let id = ChallengeId::random().0;
        let hyphenated = id.to_string();
        for text in [&hyphenated, &hyphenated.to_uppercase()] {
            assert_eq!(ChallengeId::parse(text).unwrap().0, id);
            assert_eq!(SessionId::parse(text).unwrap().0, id);
        }
        for text in [
            "",
            &format!("{hyphenated} "),
            &format!(" {hyphenated}"),
            &hyphenated[1..],
            &hyphenated.replacen('-', "_", 1),
            &id.simple().to_string(),
            &id.braced().to_string(),
            &id.urn().to_string(),
        ] {
            assert!(ChallengeId::parse(text).is_none(), "{text}");
            assert!(SessionId::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_debug_form_of_a_challenge_id_does_not_give_the_token_away() {
        let id = ChallengeId::random();
        assert!(!format!("{id:?}").contains(&id.0.to_string()));
    }
}
