//! `GET /session`: the user and the session of an access token.

use axum::Json;
use axum::extract::State;
use chrono::DateTime;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::openapi::SESSIONS;
use super::sample;
use super::tokens::WireTime;
use crate::auth::{Auth, Caller, LegacyCaller};
use crate::domain::{SessionId, Timestamp};
use crate::http::extract::bearer::BearerToken;
use crate::http::problem::Problem;
use crate::token::AccessClaims;

/// The answer of `GET /session`; all of it is from the token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionResponse {
    user: UserBody,
    /// Absent for a token of an older service, which has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionBody>,
    access_token: AccessTokenBody,
}

/// The token's owner.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserBody {
    /// The user's number in decimal: the token's `sub`.
    pub(super) id: String,
    pub(super) email: String,
}

/// The token's session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
struct SessionBody {
    #[schema(value_type = Uuid)]
    id: SessionId,
    created_at: WireTime,
    /// How the user signed in (RFC 8176): the token's `amr`. With `mfa`, by several factors of which none is
    /// a mailbox.
    amr: Vec<String>,
}

/// The token itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AccessToken)]
struct AccessTokenBody {
    created_at: WireTime,
    expires_at: WireTime,
}

impl From<&AccessClaims> for SessionResponse {
    fn from(claims: &AccessClaims) -> Self {
        Self {
            user: UserBody {
                id: claims.sub.to_string(),
                email: claims.email.to_string(),
            },
            session: Some(SessionBody {
                id: claims.sid,
                created_at: wire_time(claims.auth_time),
                amr: claims.amr.clone(),
            }),
            access_token: AccessTokenBody {
                created_at: wire_time(claims.iat),
                expires_at: wire_time(claims.exp),
            },
        }
    }
}

impl From<LegacyCaller> for SessionResponse {
    fn from(LegacyCaller { claims, email }: LegacyCaller) -> Self {
        Self {
            user: UserBody {
                id: claims.sub.to_string(),
                email: email.to_string(),
            },
            session: None,
            access_token: AccessTokenBody {
                created_at: wire_time(claims.iat),
                expires_at: wire_time(claims.exp),
            },
        }
    }
}

/// A claim's seconds as a time. No claim that is out of range is signed.
fn wire_time(seconds: i64) -> WireTime {
    DateTime::from_timestamp(seconds, 0)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .into()
}

/// Tells whose token it is.
#[utoipa::path(
    get,
    path = "/session",
    operation_id = "showSession",
    tag = SESSIONS,
    security(("accessToken" = [])),
    responses((
        status = OK,
        description = "The user and session of the token",
        body = SessionResponse,
        example = example,
    )),
)]
pub async fn show(
    State(auth): State<Auth>,
    token: BearerToken,
) -> Result<Json<SessionResponse>, Problem> {
    Ok(Json(match auth.identify(token.expose()).await? {
        Caller::OfSession(claims) => (&*claims).into(),
        Caller::Legacy(caller) => caller.into(),
    }))
}

/// From `GET /session`.
fn example() -> Value {
    sample::wire(SessionResponse::from(&sample::claims()))
}
