//! The access token of a request: `Authorization: Bearer`, and nowhere else (RFC 6750, section 2.1).
//!
//! Form and query parameters are no place for a token: both end up in logs.

use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

use crate::http::problem::{Code, Problem};

/// The token as it was sent: of the right form, otherwise unchecked.
#[derive(Clone)]
pub struct BearerToken(SecretString);

impl BearerToken {
    /// The token, to verify it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Reads the one token of a request's headers.
    ///
    /// Another scheme counts as no token; a text that cannot be one token counts as a bad one.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, Code> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Err(Code::MissingAccessToken),
            (Some(value), None) => Self::from_value(value),
            (Some(_), Some(_)) => Err(Code::InvalidAccessToken),
        }
    }

    fn from_value(value: &HeaderValue) -> Result<Self, Code> {
        let bytes = value.as_bytes();
        let end = bytes.iter().position(|b| *b == b' ');
        let (scheme, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return Err(Code::MissingAccessToken);
        }
        // Only spaces may separate it (RFC 9110, section 11.4); a tab would be a second spelling.
        let spaces = rest.iter().take_while(|b| **b == b' ').count();
        let token = &rest[spaces..];
        std::str::from_utf8(token)
            .ok()
            .filter(|_| is_b64token(token))
            .map(|text| Self(text.into()))
            .ok_or(Code::InvalidAccessToken)
    }
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750, section 2.1).
fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|b| **b == b'=').count();
    let body = &token[..token.len() - padding];
    let is_allowed =
        |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    !body.is_empty() && body.iter().all(is_allowed)
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

impl<S: Sync> FromRequestParts<S> for BearerToken {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers).map_err(Problem::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&[u8]]) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        BearerToken::from_headers(&headers).map(|token| token.expose().to_owned())
    }

    #[test]
    fn one_token_is_read_whatever_the_case_of_its_scheme() {
        for value in [
            "Bearer aZ0-._~+/==",
            "bearer aZ0-._~+/==",
            "BEARER   aZ0-._~+/==",
        ] {
            assert_eq!(read(&[value.as_bytes()]).unwrap(), "aZ0-._~+/==");
        }
    }

    #[test]
    fn no_header_and_another_scheme_are_a_missing_token() {
        assert_eq!(read(&[]), Err(Code::MissingAccessToken));
        for value in [
            "",
            "Basic YTpi",
            "Bearerx",
            "a.b.c",
            "Token Bearer x",
            "DPoP x",
        ] {
            let read = read(&[value.as_bytes()]);
            assert_eq!(read, Err(Code::MissingAccessToken), "{value}");
        }
    }

    #[test]
    fn a_header_that_cannot_hold_one_token_is_an_invalid_one() {
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer =",
            "Bearer a b",
            "Bearer a,b",
            "Bearer a=b",
            "Bearer a, Bearer b",
            "Bearer \"a\"",
            "Bearer ä",
            "Bearer a\tb",
            "Bearer \ta",
            "Bearer token=a",
        ] {
            let read = read(&[value.as_bytes()]);
            assert_eq!(read, Err(Code::InvalidAccessToken), "{value}");
        }
        assert_eq!(read(&[b"Bearer \xff"]), Err(Code::InvalidAccessToken));
        assert_eq!(
            read(&[b"Bearer a", b"Bearer a"]),
            Err(Code::InvalidAccessToken)
        );
        assert_eq!(
            read(&[b"Basic a", b"Bearer a"]),
            Err(Code::InvalidAccessToken)
        );
    }

    #[test]
    fn a_token_cannot_be_printed() {
        let token = BearerToken("secret".into());
        assert_eq!(format!("{token:?}"), "BearerToken(…)");
    }
}
