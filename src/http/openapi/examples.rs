//! The examples of the description: what one user, one session and one challenge would get, made
//! by the types that make real answers.
//!
//! Their tokens are real too, and long expired: keys that were thrown away signed them, and
//! `examples/jwks.json` verifies the access token.

use std::net::Ipv4Addr;
use std::time::Duration;

use chrono::DateTime;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use crate::auth::{Caller, Introspection, Revocations};
use crate::domain::{
    Challenge, ChallengeId, ClientNetwork, CodeNonce, FeedCursor, FeedPosition, RequestId,
    SessionId, Timestamp, UserId,
};
use crate::http::introspect::IntrospectResponse;
use crate::http::problem::Problem;
use crate::http::revocations::RevocationsResponse;
use crate::http::session::SessionResponse;
use crate::http::sessions::SessionsResponse;
use crate::http::signin::SigninResponse;
use crate::http::tokens::TokenPairBody;
use crate::http::well_known::MetadataResponse;
use crate::store::{EndedSession, SessionRecord};
use crate::token::{AccessClaims, IssuedToken, TokenPair};

/// How long a block is.
pub(super) const BLOCK: Duration = Duration::from_mins(5);

const ISSUER: &str = "https://host.name";
const EMAIL: &str = "foo@bar.com";
const SESSION: SessionId = SessionId(uuid!("017e12ef-9c00-7c3a-9d1e-5b2f8a4c6e10"));
const OTHER_SESSION: SessionId = SessionId(uuid!("017e12ef-9c00-7b21-8e40-1c9d3f7a2b58"));
const CHALLENGE: Uuid = uuid!("b2fcf999-2b0b-451d-9888-094a79117aa5");
const ACCESS_TOKEN: &str = include_str!("examples/access-token.txt").trim_ascii_end();
const REFRESH_TOKEN: &str = include_str!("examples/refresh-token.txt").trim_ascii_end();

/// When it all happens: 2022-01-01T00:00:00+00:00, in seconds since 1970.
const NOW: i64 = 1_640_995_200;
const ACCESS_TTL: i64 = 900;
const REFRESH_TTL: i64 = 86_400;
const SESSION_TTL: i64 = 2_592_000;
const CODE_TTL: i64 = 600;

fn at(seconds_later: i64) -> Timestamp {
    DateTime::from_timestamp(NOW + seconds_later, 0).unwrap_or_default()
}

fn wire(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

fn tokens() -> TokenPairBody {
    let token = |text: &str, ttl| IssuedToken {
        token: text.to_owned(),
        created_at: at(0),
        expires_at: at(ttl),
    };
    let pair = TokenPair {
        access: token(ACCESS_TOKEN, ACCESS_TTL),
        refresh: token(REFRESH_TOKEN, REFRESH_TTL),
    };
    pair.into()
}

fn claims() -> AccessClaims {
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

/// To `POST /signin`.
pub(in crate::http) fn signin_request() -> Value {
    json!({"email": EMAIL, "password": "Secret123"})
}

/// From `POST /signin`, with the second factor off.
pub(in crate::http) fn signed_in() -> Value {
    wire(SigninResponse::signed_in(tokens()))
}

/// From `POST /signin`, with the second factor on.
pub(in crate::http) fn challenged() -> Value {
    wire(SigninResponse::challenged(&Challenge {
        challenge_id: ChallengeId(CHALLENGE),
        user_id: UserId(1),
        nonce: CodeNonce::random(),
        expires_at: at(CODE_TTL),
    }))
}

/// To `POST /2fa/confirm`.
pub(in crate::http) fn confirm_request() -> Value {
    json!({"token": CHALLENGE, "code": "123456"})
}

/// To `POST /refresh`.
pub(in crate::http) fn refresh_request() -> Value {
    json!({"refreshToken": REFRESH_TOKEN})
}

/// From `POST /2fa/confirm` and `POST /refresh`.
pub(in crate::http) fn token_pair() -> Value {
    wire(tokens())
}

/// From `GET /session`.
pub(in crate::http) fn session() -> Value {
    wire(SessionResponse::from(claims()))
}

/// From `GET /sessions`.
pub(in crate::http) fn sessions() -> Value {
    let record = |session_id, address: [u8; 4], user_agent: Option<&str>| SessionRecord {
        session_id,
        created_at: at(0),
        last_used_at: at(0),
        idle_expires_at: at(REFRESH_TTL),
        expires_at: at(SESSION_TTL),
        network: ClientNetwork::of(Ipv4Addr::from(address).into()),
        user_agent: user_agent.map(str::to_owned),
        last_network: ClientNetwork::of(Ipv4Addr::from(address).into()),
        last_user_agent: user_agent.map(str::to_owned),
    };
    let records = vec![
        record(SESSION, [203, 0, 113, 7], Some("curl/8.5.0")),
        record(OTHER_SESSION, [198, 51, 100, 24], None),
    ];
    wire(SessionsResponse::new(records, SESSION))
}

/// To `POST /oauth2/introspect`.
pub(in crate::http) fn introspect_form() -> Value {
    json!({"token": ACCESS_TOKEN})
}

/// From `POST /oauth2/introspect`, for a good token.
pub(in crate::http) fn active_token() -> Value {
    let active = Introspection::Active(Caller::OfSession(Box::new(claims())));
    wire(IntrospectResponse::from(active))
}

/// From `POST /oauth2/introspect`, for any other.
pub(in crate::http) fn inactive_token() -> Value {
    wire(IntrospectResponse::from(Introspection::Inactive))
}

/// From `GET /revocations`.
pub(in crate::http) fn revocations() -> Value {
    wire(RevocationsResponse::from(Revocations {
        ended: vec![EndedSession {
            session_id: SESSION,
            ended_at: at(60),
            horizon: at(ACCESS_TTL),
        }],
        cursor: FeedCursor::new(
            0x3c1f_8a90_b2d4_e657,
            FeedPosition {
                xid: 0x2f1a,
                session_id: SESSION,
            },
            vec![],
        ),
        is_anew: false,
    }))
}

/// From `GET /.well-known/jwks.json`.
pub(in crate::http) fn keys() -> Value {
    serde_json::from_str(include_str!("examples/jwks.json")).unwrap_or_default()
}

/// The same key, from `GET /.well-known/jwks.pem`.
pub(in crate::http) fn pem() -> Value {
    include_str!("examples/jwks.pem").into()
}

/// From `GET /.well-known/oauth-authorization-server`.
pub(in crate::http) fn metadata() -> Value {
    wire(MetadataResponse::new(ISSUER))
}

/// A refusal.
pub(super) fn body(problem: &Problem) -> Value {
    let id = RequestId::parse("6f1c8f0e-3d0b-4c53-9f5d-2a7e8b9c0d1e");
    id.map(|id| wire(problem.body(&id))).unwrap_or_default()
}

/// What is wrong with a field.
pub(super) fn message(field: &str) -> &'static str {
    match field {
        "since" => "must be a cursor of an earlier answer",
        "wait" => "must be a whole number of seconds up to 30",
        _ => "is required",
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
        let keys = keys();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
        assert_eq!(kid(ACCESS_TOKEN), keys["keys"][0]["kid"]);
        assert_ne!(kid(REFRESH_TOKEN), keys["keys"][0]["kid"]);
    }

    #[test]
    fn times_are_written_as_on_the_wire() {
        assert_eq!(
            signed_in()["accessToken"]["createdAt"],
            "2022-01-01T00:00:00+00:00"
        );
    }
}
