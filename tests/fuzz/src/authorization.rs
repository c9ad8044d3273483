//! One `Authorization` header names one bearer token or one service, or nothing at all.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use backoffice_auth::http::extract::basic;
use backoffice_auth::http::extract::bearer::BearerToken;
use backoffice_auth::http::problem::Code;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Takes the values of the `Authorization` headers of a request, a line each.
pub fn holds(data: &[u8]) {
    let mut headers = HeaderMap::new();
    if !data.is_empty() {
        for line in data.split(|b| *b == b'\n') {
            let Ok(value) = HeaderValue::from_bytes(line) else {
                return;
            };
            headers.append(AUTHORIZATION, value);
        }
    }
    let bearer = BearerToken::from_headers(&headers);
    let basic = basic::credentials(&headers);
    assert!(bearer.is_err() || basic.is_none());
    if let Ok(token) = &bearer {
        assert_eq!(format!("{token:?}"), "BearerToken(…)");
    }

    let mut values = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(HeaderValue::as_bytes);
    let (expected_bearer, expected_basic) = match (values.next(), values.next()) {
        (None, _) => (Err(Code::MissingAccessToken), None),
        (Some(value), None) => (bearer_token(value), basic_credentials(value)),
        (Some(_), Some(_)) => (Err(Code::InvalidAccessToken), None),
    };
    assert_eq!(
        bearer.as_ref().map(BearerToken::expose),
        expected_bearer.as_deref()
    );
    assert_eq!(basic.map(|text| text.to_string()), expected_basic);
}

/// A scheme, spaces, and the rest after the last of them (RFC 9110, section 11.4).
fn scheme_and_rest(value: &[u8]) -> Option<(String, &[u8])> {
    let last_space = value.iter().rposition(|b| *b == b' ')?;
    let (head, rest) = value.split_at(last_space + 1);
    let scheme = str::from_utf8(head).ok()?.trim_end_matches(' ');
    Some((scheme.to_ascii_lowercase(), rest))
}

fn bearer_token(value: &[u8]) -> Result<String, Code> {
    if let Some((scheme, token)) = scheme_and_rest(value)
        && scheme == "bearer"
        && let Ok(token) = str::from_utf8(token)
        && is_b64token(token)
    {
        return Ok(token.to_owned());
    }
    let lower = value.to_ascii_lowercase();
    if lower == b"bearer" || lower.starts_with(b"bearer ") {
        Err(Code::InvalidAccessToken)
    } else {
        Err(Code::MissingAccessToken)
    }
}

/// RFC 6750, section 2.1.
fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    !body.is_empty()
        && body
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c))
}

/// The one text of base64 that stands for these credentials (RFC 7617, section 2).
fn basic_credentials(value: &[u8]) -> Option<String> {
    let (scheme, encoded) = scheme_and_rest(value)?;
    let decoded = BASE64_STANDARD.decode(encoded).ok()?;
    let is_the_one = scheme == "basic" && BASE64_STANDARD.encode(&decoded).as_bytes() == encoded;
    is_the_one.then(|| String::from_utf8(decoded).ok())?
}
