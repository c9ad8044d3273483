//! `GET /sessions`, `DELETE /sessions/{id}`, `DELETE /sessions`: a user's own sessions.

use std::net::Ipv4Addr;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::openapi::SESSIONS;
use super::sample;
use super::tokens::WireTime;
use crate::auth::Auth;
use crate::domain::{Client, ClientNetwork, SessionId, UserAgent};
use crate::http::extract::bearer::BearerToken;
use crate::http::problem::{Code, FieldError, Problem};
use crate::store::SessionRecord;

/// The answer of `GET /sessions`, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionsResponse {
    sessions: Vec<ListedSession>,
}

/// A live session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ListedSession {
    #[schema(value_type = uuid::Uuid)]
    id: SessionId,
    created_at: WireTime,
    /// When it was opened or last refreshed.
    last_used_at: WireTime,
    /// When it ends, however often it is refreshed.
    expires_at: WireTime,
    /// The IPv4 address, or the /64 of the IPv6 address, from which it was opened.
    network: String,
    /// The `User-Agent` that opened it; null where there was none.
    #[schema(required, max_length = 200)]
    user_agent: Option<String>,
    /// The IPv4 address, or the /64 of the IPv6 address, from which it was used last.
    last_network: String,
    /// The `User-Agent` that last used it; null where there was none.
    #[schema(required, max_length = 200)]
    last_user_agent: Option<String>,
    /// A short name for that, as "Firefox on Windows"; null where it names nothing that is known here.
    /// It says what the program calls itself, which proves nothing.
    #[schema(required, max_length = 60)]
    device: Option<String>,
    /// Whether it is the session of the token that asks.
    current: bool,
}

impl SessionsResponse {
    /// A user's sessions, one of which is the caller's own.
    #[must_use]
    pub fn new(records: Vec<SessionRecord>, current: SessionId) -> Self {
        let sessions = records
            .into_iter()
            .map(|record| ListedSession::new(record, current));
        Self {
            sessions: sessions.collect(),
        }
    }
}

impl ListedSession {
    fn new(record: SessionRecord, current: SessionId) -> Self {
        Self {
            device: record
                .last_user_agent
                .as_ref()
                .and_then(UserAgent::short_name),
            id: record.session_id,
            created_at: record.created_at.into(),
            last_used_at: record.last_used_at.into(),
            expires_at: record.expires_at.into(),
            network: record.network.to_string(),
            user_agent: record.user_agent.map(UserAgent::into_text),
            last_network: record.last_network.to_string(),
            last_user_agent: record.last_user_agent.map(UserAgent::into_text),
            current: record.session_id == current,
        }
    }
}

/// Lists the live sessions of the token's owner.
#[utoipa::path(
    get,
    path = "/sessions",
    operation_id = "listSessions",
    tag = SESSIONS,
    security(("accessToken" = [])),
    responses((
        status = OK,
        description = "The live sessions, newest first",
        body = SessionsResponse,
        example = example,
    )),
)]
pub async fn list(
    State(auth): State<Auth>,
    token: BearerToken,
) -> Result<Json<SessionsResponse>, Problem> {
    let (records, current) = auth.list_own_sessions(token.expose()).await?;
    Ok(Json(SessionsResponse::new(records, current)))
}

/// Ends one session of the token's owner; 404 for one that is not theirs or not live.
#[utoipa::path(
    delete,
    path = "/sessions/{id}",
    operation_id = "endSession",
    tag = SESSIONS,
    security(("accessToken" = [])),
    params(("id" = uuid::Uuid, Path, description = "The session's id, as `GET /sessions` lists it")),
    responses((status = NO_CONTENT, description = "The session is over")),
)]
pub async fn end(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    // A text that is no id names no session.
    let id = id.ok().and_then(|Path(id)| SessionId::parse(&id));
    let id = id.ok_or(Code::NotFound)?;
    auth.end_own_session(&client, token.expose(), id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which sessions to end.
#[derive(Debug, Deserialize)]
pub struct EndQuery {
    others: Option<String>,
}

/// Ends all sessions of the token's owner.
///
/// The session of the token that asks is one of them, unless `others` is `true`.
#[utoipa::path(
    delete,
    path = "/sessions",
    operation_id = "endSessions",
    tag = SESSIONS,
    security(("accessToken" = [])),
    params((
        "others" = Option<String>,
        Query,
        description = "`true`: all but the session of the token that asks. No other value is taken",
        pattern = r"^true$",
        example = "true",
    )),
    responses((status = NO_CONTENT, description = "The sessions are over")),
)]
pub async fn end_all(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
    query: Result<Query<EndQuery>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let query = query.map_err(|_| refuse_others())?.0;
    match query.others.as_deref() {
        None => auth.end_own_sessions(&client, token.expose()).await?,
        Some("true") => auth.end_other_sessions(&client, token.expose()).await?,
        // A guess at what else is meant could end a session too many or too few.
        Some(_) => return Err(refuse_others()),
    }
    Ok(StatusCode::NO_CONTENT)
}

fn refuse_others() -> Problem {
    Problem::invalid(vec![FieldError {
        field: "others",
        message: "must be true, or absent".to_owned(),
    }])
}

/// From `GET /sessions`.
pub(super) fn example() -> Value {
    let record = |session_id, address: [u8; 4], user_agent: Option<UserAgent>| SessionRecord {
        session_id,
        created_at: sample::at(0),
        last_used_at: sample::at(0),
        idle_expires_at: sample::at(sample::REFRESH_TTL),
        expires_at: sample::at(sample::SESSION_TTL),
        network: ClientNetwork::of(Ipv4Addr::from(address).into()),
        user_agent: user_agent.clone(),
        last_network: ClientNetwork::of(Ipv4Addr::from(address).into()),
        last_user_agent: user_agent,
    };
    let records = vec![
        record(
            sample::SESSION,
            [203, 0, 113, 7],
            UserAgent::clean(b"curl/8.5.0"),
        ),
        record(sample::OTHER_SESSION, [198, 51, 100, 24], None),
    ];
    sample::wire(SessionsResponse::new(records, sample::SESSION))
}
