//! `/admin/users/{id}/sessions` and `/admin/users/{id}/events`: a user's sessions, and the recorded events.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{AFTER_RULE, BadFields, UserParam, UserPath, cut, refuse_query, to_read};
use crate::admin::Administration;
use crate::domain::{EventId, Outcome};
use crate::http::endpoints::openapi::ADMINISTRATION;
use crate::http::endpoints::sample;
use crate::http::endpoints::sessions::{SessionsResponse, example as example_sessions};
use crate::http::endpoints::tokens::WireTime;
use crate::http::extract::administrator::Reading;
use crate::http::problem::Problem;
use crate::store::AuditRecord;

/// Lists a user's live sessions.
#[utoipa::path(
    get,
    path = "/admin/users/{id}/sessions",
    operation_id = "listSessionsOfUser",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(UserParam),
    responses((
        status = OK,
        description = "The live sessions, newest first",
        body = SessionsResponse,
        example = example_sessions,
    )),
)]
pub async fn sessions(
    State(administration): State<Administration>,
    reading: Reading,
    UserPath(user_id): UserPath,
) -> Result<Json<SessionsResponse>, Problem> {
    let sessions = administration.list_sessions(user_id).await?;
    Ok(Json(SessionsResponse::new(sessions, reading.session_id)))
}

/// The query of `GET /admin/users/{id}/events`.
#[derive(Debug, Deserialize)]
pub struct EventsQuery {
    after: Option<String>,
    limit: Option<String>,
}

impl EventsQuery {
    /// The number before which the page ends, and its length.
    fn parse(&self) -> Result<(Option<EventId>, u8), Problem> {
        let mut bad = BadFields::default();
        let limit = bad.limit(self.limit.as_deref());
        let number = |text: &str| text.parse().ok().filter(|number| *number > 0).map(EventId);
        let after = bad.read("after", self.after.as_deref(), number, AFTER_RULE);
        bad.or((after, limit))
    }
}

/// An event about a user, in the words of the audit log. More words may come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ManagedEvent)]
pub struct EventBody {
    at: WireTime,
    /// The subject: `signin`, `confirm`, `administration`, …
    kind: String,
    /// `granted` or `refused`.
    outcome: String,
    /// The reason, or the exact act.
    reason: String,
    /// The actor: an operator, or an administrator as `user:1`. Absent where the user did it themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// The IPv4 address, or the /64 of the IPv6 address, that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    /// The session that it concerns: the user's, or that of the administrator who acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<uuid::Uuid>,
    /// The request that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Details in English, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The address that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

impl From<AuditRecord> for EventBody {
    fn from(event: AuditRecord) -> Self {
        Self {
            at: event.happened_at.into(),
            kind: event.kind,
            outcome: event.outcome,
            reason: event.reason,
            actor: event.actor,
            network: event.network.map(|network| network.to_string()),
            session_id: event.session_id.map(|id| id.0),
            request_id: event.request_id.map(|id| id.to_string()),
            detail: event.detail,
            email: event.email,
        }
    }
}

/// A page of events, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ManagedEvents)]
pub struct EventsResponse {
    #[schema(max_items = 200)]
    events: Vec<EventBody>,
    /// The value for `after`; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Lists the events about a user and their address, newest first.
#[utoipa::path(
    get,
    path = "/admin/users/{id}/events",
    operation_id = "listEventsOfUser",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(
        UserParam,
        (
            "after" = Option<String>,
            Query,
            description = "`next` of the page before",
            max_length = 19,
            pattern = r"^[0-9]+$",
            example = "4711",
        ),
        ("limit" = Option<u8>, Query, description = "Events at most", minimum = 1, maximum = 200, example = 50),
    ),
    responses((status = OK, description = "A page of events", body = EventsResponse, example = example_events)),
)]
pub async fn events(
    State(administration): State<Administration>,
    _: Reading,
    UserPath(user_id): UserPath,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventsResponse>, Problem> {
    let (before, limit) = query.map_err(refuse_query)?.0.parse()?;
    let count = to_read(limit);
    let mut events = administration.list_events(user_id, before, count).await?;
    let last = cut(&mut events, limit);
    Ok(Json(EventsResponse {
        next: last.map(|event| event.event_id.to_string()),
        events: events.into_iter().map(EventBody::from).collect(),
    }))
}

/// From `GET /admin/users/{id}/events`.
fn example_events() -> Value {
    sample::wire(EventsResponse {
        events: vec![EventBody {
            at: (sample::at(0) + TimeDelta::seconds(60)).into(),
            kind: "administration".to_owned(),
            outcome: Outcome::Granted.as_str().to_owned(),
            reason: "unlocked".to_owned(),
            actor: Some("user:7".to_owned()),
            network: Some("203.0.113.7".to_owned()),
            session_id: Some(sample::OTHER_SESSION.0),
            request_id: Some("6f1c8f0e-3d0b-4c53-9f5d-2a7e8b9c0d1e".to_owned()),
            detail: None,
            email: Some(sample::EMAIL.to_owned()),
        }],
        next: None,
    })
}
