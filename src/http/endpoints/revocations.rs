//! `GET /revocations?since=CURSOR&wait=SECONDS`: the feed of ended sessions, for services that check
//! tokens by themselves.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::openapi::SERVICES;
use super::sample;
use super::tokens::WireTime;
use crate::auth::{Auth, Revocations};
use crate::domain::{FeedCursor, FeedPosition, FeedStart, SessionId};
use crate::http::extract::basic::ServiceClient;
use crate::http::problem::{FieldError, Problem};
use crate::store::EndedSession;

/// How long a request may wait: less than proxies take for the sign of a dead server.
const MAX_WAIT: u64 = 30;

/// The query of `GET /revocations`.
#[derive(Debug, Deserialize)]
pub struct RevocationsQuery {
    since: Option<String>,
    wait: Option<String>,
}

impl RevocationsQuery {
    fn parse(&self) -> Result<(FeedStart, Duration), Problem> {
        let since = self.since.as_deref().map(str::parse).transpose();
        let wait = self.wait.as_deref().map(str::parse).transpose();
        let wait = wait
            .ok()
            .filter(|wait| wait.is_none_or(|seconds| seconds <= MAX_WAIT));
        match (since, wait) {
            (Ok(since), Some(wait)) => Ok((
                since.unwrap_or(FeedStart::Beginning),
                Duration::from_secs(wait.unwrap_or_default()),
            )),
            (since, wait) => {
                let bad = [("since", since.is_err()), ("wait", wait.is_none())];
                let bad = bad.into_iter().filter(|(_, is_bad)| *is_bad);
                Err(refuse(bad.map(|(field, _)| field)))
            }
        }
    }
}

/// The answer: a page of sessions in the order of their ends, and where to go on.
#[derive(Debug, Serialize, ToSchema)]
pub struct RevocationsResponse {
    revocations: Vec<Revocation>,
    /// The cursor for the next request. An entry may come more than once, and none is missed.
    #[schema(pattern = r"^[0-9a-f]{16}-[0-9a-f]{1,15}-[0-9a-f]{32}(-[0-9a-f]{1,15}){0,64}$")]
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
            cursor: page.cursor.to_string(),
            revocations: page.ended.into_iter().map(Revocation::from).collect(),
        }
    }
}

/// Lists the sessions that ended since the cursor; without one, all that still matter.
///
/// For services that check tokens by themselves: they refuse the tokens of these sessions. With `wait`,
/// and none that ended since, the answer comes as soon as one ends, or when the time is over.
#[utoipa::path(
    get,
    path = "/revocations",
    operation_id = "listRevocations",
    tag = SERVICES,
    security(("service" = [])),
    params(
        (
            "since" = Option<String>,
            Query,
            description = "The `cursor` of an earlier answer, as it was. One of another release, or from \
                           before a failover or a restore, is answered as if there were none",
            pattern = r"^([0-9]{1,18}|[0-9a-f]{16}-[0-9a-f]{1,15}-[0-9a-f]{32}(-[0-9a-f]{1,15}){0,64})$",
            example = "3c1f8a90b2d4e657-2f1a-017e12ef9c007c3a9d1e5b2f8a4c6e10",
        ),
        (
            "wait" = Option<u32>,
            Query,
            description = "For how many seconds to wait for a session to end. Without `since`, nothing \
                           waits",
            maximum = 30,
            example = 5,
        ),
    ),
    responses((
        status = OK,
        description = "Ended sessions in the order of their ends, and where to go on",
        body = RevocationsResponse,
        example = example,
    )),
)]
pub async fn list(
    State(auth): State<Auth>,
    _: ServiceClient,
    query: Result<Query<RevocationsQuery>, QueryRejection>,
) -> Result<Json<RevocationsResponse>, Problem> {
    let (since, wait) = query.map_err(|_| refuse(["since"]))?.0.parse()?;
    Ok(Json(auth.revocations(&since, wait).await?.into()))
}

fn refuse(fields: impl IntoIterator<Item = &'static str>) -> Problem {
    let error = |field| FieldError {
        field,
        message: match field {
            "wait" => format!("must be a whole number of seconds up to {MAX_WAIT}"),
            _ => "must be a cursor of an earlier answer".to_owned(),
        },
    };
    Problem::invalid(fields.into_iter().map(error).collect())
}

/// From `GET /revocations`.
fn example() -> Value {
    sample::wire(RevocationsResponse::from(Revocations {
        ended: vec![EndedSession {
            session_id: sample::SESSION,
            ended_at: sample::at(60),
            horizon: sample::at(sample::ACCESS_TTL),
        }],
        cursor: FeedCursor::new(
            0x3c1f_8a90_b2d4_e657,
            FeedPosition {
                xid: 0x2f1a,
                session_id: sample::SESSION,
            },
            vec![],
        ),
        is_from_beginning: false,
    }))
}
