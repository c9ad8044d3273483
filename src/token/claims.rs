//! The claims of the two kinds of token, and how strictly they are read back.

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::domain::{EmailAddress, Generation, SessionId, UserId};

/// The claims of an access token (RFC 9068, section 2.2, and `sid`, `email`).
///
/// Reading fails on a claim that is missing, doubled, of another type or spelled otherwise than we do:
/// `exp` as a fraction or as text is refused, not rounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The issuer.
    pub iss: String,
    /// The user's number, in decimal.
    #[serde(with = "decimal")]
    pub sub: UserId,
    /// The services that it is for.
    pub aud: String,
    /// The application it was issued to.
    pub client_id: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it expires.
    #[serde(deserialize_with = "seconds_since_1970")]
    pub exp: i64,
    /// Its own id.
    #[serde(deserialize_with = "canonical_uuid")]
    pub jti: Uuid,
    /// The session's id.
    #[serde(deserialize_with = "canonical_session_id")]
    pub sid: SessionId,
    /// When the session was opened.
    pub auth_time: i64,
    /// The methods by which its owner proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// The owner's address.
    #[serde(deserialize_with = "canonical_email")]
    pub email: EmailAddress,
}

/// The claims of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshClaims {
    /// The issuer.
    pub iss: String,
    /// The user's number, in decimal.
    #[serde(with = "decimal")]
    pub sub: UserId,
    /// The issuer again: it is for us alone.
    pub aud: String,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// When it expires.
    #[serde(deserialize_with = "seconds_since_1970")]
    pub exp: i64,
    /// Its own id.
    #[serde(deserialize_with = "canonical_uuid")]
    pub jti: Uuid,
    /// The session's id.
    #[serde(deserialize_with = "canonical_session_id")]
    pub sid: SessionId,
    /// The session's generation that it stands for.
    #[serde(rename = "gen", deserialize_with = "issued_generation")]
    pub generation: Generation,
}

/// The members of a token's header that are read. All others are ignored.
#[derive(Debug, Deserialize)]
pub(super) struct TokenHeader {
    pub(super) alg: String,
    pub(super) typ: String,
    pub(super) kid: String,
    /// RFC 7515, section 4.1.11: an extension that we do not understand must be refused, and we understand
    /// none.
    #[serde(default, rename = "crit", deserialize_with = "is_present")]
    pub(super) has_crit: bool,
}

/// Even `null` is present.
pub(super) fn is_present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// A user's number as text, in the one spelling that we write.
pub(super) mod decimal {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::UserId;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(in crate::token) fn serialize<S: Serializer>(
        id: &UserId,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(in crate::token) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<UserId, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text
            .parse()
            .ok()
            .filter(|number: &i64| *number > 0 && number.to_string() == text);
        number
            .map(UserId)
            .ok_or_else(|| D::Error::custom("not a user's number"))
    }
}

/// A UUID in the one spelling that we write.
fn canonical_uuid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
    let text = String::deserialize(deserializer)?;
    let uuid = Uuid::try_parse(&text)
        .ok()
        .filter(|uuid| uuid.to_string() == text);
    uuid.ok_or_else(|| D::Error::custom("not a UUID"))
}

fn canonical_session_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
    canonical_uuid(deserializer).map(SessionId)
}

/// No token expires before 1970.
fn seconds_since_1970<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let seconds = i64::deserialize(deserializer)?;
    if seconds < 0 {
        return Err(D::Error::custom("before 1970"));
    }
    Ok(seconds)
}

/// A generation that can exist: they count from one.
fn issued_generation<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Generation, D::Error> {
    let generation = Generation::deserialize(deserializer)?;
    if generation.0 < 1 {
        return Err(D::Error::custom("no generation"));
    }
    Ok(generation)
}

fn canonical_email<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EmailAddress, D::Error> {
    let text = String::deserialize(deserializer)?;
    // As it was stored, for the token was made from that: an address may be older than a rule.
    EmailAddress::from_stored(text).ok_or_else(|| D::Error::custom("not an email address"))
}

/// Claims that live for a quarter of an hour, for tests.
#[cfg(test)]
pub(super) fn sample(email: &str, now: i64) -> AccessClaims {
    AccessClaims {
        iss: "https://auth.example.com".to_owned(),
        sub: UserId(1),
        aud: "back-office".to_owned(),
        client_id: "back-office".to_owned(),
        iat: now,
        exp: now + 900,
        jti: Uuid::nil(),
        sid: SessionId(Uuid::nil()),
        auth_time: now,
        amr: vec!["pwd".to_owned()],
        email: email.parse().expect("it is an address"),
    }
}
