//! `GET /revocations?since=CURSOR`: the feed of ended sessions, for services that check tokens by
//! themselves.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::basic::ServiceClient;
use super::openapi::{SERVICES, examples};
use super::problem::{FieldError, Problem};
use super::tokens::WireTime;
use crate::auth::{Auth, Revocations};
use crate::domain::{SessionId, Timestamp};
use crate::store::EndedSession;

/// The query of `GET /revocations`.
#[derive(Debug, Deserialize)]
pub struct RevocationsQuery {
    since: Option<String>,
}

/// The answer: a page of sessions in the order of their ends, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevocationsResponse {
    revocations: Vec<Revocation>,
    /// What to ask for the next time. An entry may come more than once, and none is missed.
    #[schema(pattern = r"^[0-9]{1,18}$")]
    cursor: String,
}

/// A session whose access tokens must be refused until they expire.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Revocation {
    /// The `sid` of its tokens.
    #[schema(value_type = Uuid)]
    session_id: SessionId,
    ended_at: WireTime,
    /// From when all its access tokens are expired anyway.
    expires_at: WireTime,
}

impl From<EndedSession> for Revocation {
    fn from(ended: EndedSession) -> Self {
        Self {
            session_id: ended.session_id,
            ended_at: ended.ended_at.into(),
            expires_at: ended.horizon.into(),
        }
    }
}

impl From<Revocations> for RevocationsResponse {
    fn from(page: Revocations) -> Self {
        Self {
            cursor: page.cursor.timestamp_micros().to_string(),
            revocations: page.ended.into_iter().map(Revocation::from).collect(),
        }
    }
}

/// Lists the sessions that ended since the cursor; without one, all that still matter.
///
/// For services that check tokens by themselves: they refuse the tokens of these sessions.
#[utoipa::path(
    get,
    path = "/revocations",
    operation_id = "listRevocations",
    tag = SERVICES,
    security(("service" = [])),
    params((
        "since" = Option<String>,
        Query,
        description = "The `cursor` of an earlier answer, as it was",
        pattern = r"^[0-9]{1,18}$",
        example = "1640995200000000",
    )),
    responses((
        status = OK,
        description = "Ended sessions in the order of their ends, and where to go on",
        body = RevocationsResponse,
        example = examples::revocations,
    )),
)]
pub async fn list(
    State(auth): State<Auth>,
    _: ServiceClient,
    query: Result<Query<RevocationsQuery>, QueryRejection>,
) -> Result<Json<RevocationsResponse>, Problem> {
    let since = query.map_err(|_| bad_cursor())?.0.since;
    let since = since
        .map(|text| parse_cursor(&text).ok_or_else(bad_cursor))
        .transpose()?;
    Ok(Json(auth.revocations(since).await?.into()))
}

/// Microseconds since 1970 by the database's clock. Callers must take it as it is.
fn parse_cursor(text: &str) -> Option<Timestamp> {
    // More than a millennium of them is no clock of a database's.
    let micros = text
        .parse()
        .ok()
        .filter(|micros| (0..1 << 55).contains(micros))?;
    DateTime::from_timestamp_micros(micros)
}

fn bad_cursor() -> Problem {
    let message = "must be a cursor of an earlier answer".to_owned();
    Problem::invalid(vec![FieldError {
        field: "since",
        message,
    }])
}
