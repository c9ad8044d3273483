//! Tokens and times as the answers write them.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::sample;
use crate::domain::{Timestamp, rfc3339, whole_seconds};
use crate::token::{IssuedToken, TokenPair};

/// A time as the wire knows it: UTC, whole seconds, `2022-01-01T00:00:00+00:00`, never `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(
    as = Time,
    value_type = String,
    format = DateTime,
    pattern = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\+00:00$",
)]
pub struct WireTime(Timestamp);

impl From<Timestamp> for WireTime {
    fn from(at: Timestamp) -> Self {
        Self(whole_seconds(at))
    }
}

impl fmt::Display for WireTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A token with its own `iat` and `exp`.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub struct TokenBody {
    /// The token itself, a JWT.
    pub token: String,
    /// When it was issued: its `iat`.
    pub created_at: WireTime,
    /// When it expires: its `exp`.
    pub expires_at: WireTime,
}

/// The tokens that a session's owner goes on with: the answer of `/2fa/confirm`, of `/refresh`, and half
/// of that of `/signin`.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TokenPair)]
pub struct TokenPairBody {
    /// For services.
    pub access_token: TokenBody,
    /// For `/refresh`.
    pub refresh_token: TokenBody,
}

impl From<IssuedToken> for TokenBody {
    fn from(issued: IssuedToken) -> Self {
        Self {
            token: issued.token,
            created_at: issued.created_at.into(),
            expires_at: issued.expires_at.into(),
        }
    }
}

impl From<TokenPair> for TokenPairBody {
    fn from(pair: TokenPair) -> Self {
        Self {
            access_token: pair.access.into(),
            refresh_token: pair.refresh.into(),
        }
    }
}

/// From `POST /2fa/confirm` and `POST /refresh`.
pub(super) fn example() -> Value {
    sample::wire(TokenPairBody::from(sample::token_pair()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_whole_seconds_and_a_numeric_offset() {
        let at = Timestamp::from_timestamp_millis(1_640_995_200_999).unwrap();
        let json = serde_json::to_string(&WireTime::from(at)).unwrap();
        assert_eq!(json, r#""2022-01-01T00:00:00+00:00""#);
    }
}
