//! The user, the session and the tokens that every example of the description shows.
//!
//! The tokens are real and expired long ago. Keys that were thrown away signed them;
//! `sample/jwks.json` verifies the access token.

use chrono::DateTime;
use serde::Serialize;
use serde_json::Value;
use uuid::{Uuid, uuid};

use crate::domain::{SessionId, Timestamp, UserId};
use crate::token::{AccessClaims, IssuedToken, TokenPair};

pub(super) const ISSUER: &str = "https://host.name";
pub(super) const EMAIL: &str = "foo@bar.com";
pub(super) const SESSION: SessionId = SessionId(uuid!("017e12ef-9c00-7c3a-9d1e-5b2f8a4c6e10"));
pub(super) const OTHER_SESSION: SessionId =
    SessionId(uuid!("017e12ef-9c00-7b21-8e40-1c9d3f7a2b58"));
pub(super) const CHALLENGE: Uuid = uuid!("b2fcf999-2b0b-451d-9888-094a79117aa5");
pub(super) const LINK: &str = "sPz5mSsLRR2YiAlKeRF6pdqPU0Gl6tBnWvMyJ8cXqLs";
pub(super) const ACCESS_TOKEN: &str = include_str!("sample/access-token.txt").trim_ascii_end();
pub(super) const REFRESH_TOKEN: &str = include_str!("sample/refresh-token.txt").trim_ascii_end();
pub(super) const JWKS: &str = include_str!("sample/jwks.json");
pub(super) const PEM: &str = include_str!("sample/jwks.pem");

/// When the sample sign-in takes place: 2022-01-01T00:00:00+00:00, in seconds since 1970.
const NOW: i64 = 1_640_995_200;
pub(super) const ACCESS_TTL: i64 = 900;
pub(super) const REFRESH_TTL: i64 = 86_400;
pub(super) const SESSION_TTL: i64 = 2_592_000;
pub(super) const FRESH: i64 = 900;
pub(super) const CODE_TTL: i64 = 600;
pub(super) const LINK_TTL: i64 = 1800;

/// The time so many seconds after the sample sign-in.
pub(super) fn at(seconds_later: i64) -> Timestamp {
    DateTime::from_timestamp(NOW + seconds_later, 0).unwrap_or_default()
}

/// An answer as it is written on the wire.
pub(super) fn wire(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

/// The tokens of the sample session.
pub(super) fn token_pair() -> TokenPair {
    let token = |text: &str, ttl| IssuedToken {
        token: text.to_owned(),
        created_at: at(0),
        expires_at: at(ttl),
    };
    TokenPair {
        access: token(ACCESS_TOKEN, ACCESS_TTL),
        refresh: token(REFRESH_TOKEN, REFRESH_TTL),
    }
}

/// The claims of the sample access token.
pub(super) fn claims() -> AccessClaims {
    AccessClaims {
        iss: ISSUER.to_owned(),
        sub: UserId(1),
        aud: "back-office".to_owned(),
        client_id: "back-office".to_owned(),
        iat: NOW,
        exp: NOW + ACCESS_TTL,
        jti: uuid!("a12773e5-5fd4-8f36-9c07-ebbea6d886b1"),
        sid: SESSION,
        auth_time: NOW,
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        email: EMAIL.parse().expect("it is an address"),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::token::RefreshClaims;

    fn part(token: &str, index: usize) -> Vec<u8> {
        let part = token.split('.').nth(index).unwrap();
        URL_SAFE_NO_PAD.decode(part).unwrap()
    }

    #[test]
    fn the_tokens_say_what_the_answers_around_them_say() {
        let access: AccessClaims = serde_json::from_slice(&part(ACCESS_TOKEN, 1)).unwrap();
        assert_eq!(access, claims());
        let refresh: RefreshClaims = serde_json::from_slice(&part(REFRESH_TOKEN, 1)).unwrap();
        assert_eq!((refresh.sid, refresh.iss.as_str()), (SESSION, ISSUER));
        assert_eq!((refresh.iat, refresh.exp), (NOW, NOW + REFRESH_TTL));
    }

    #[test]
    fn the_key_set_has_the_key_that_signed_the_access_token_and_no_other() {
        let kid = |token| serde_json::from_slice::<Value>(&part(token, 0)).unwrap()["kid"].clone();
        let keys: Value = serde_json::from_str(JWKS).unwrap();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
        assert_eq!(kid(ACCESS_TOKEN), keys["keys"][0]["kid"]);
        assert_ne!(kid(REFRESH_TOKEN), keys["keys"][0]["kid"]);
    }
}
