//! `POST /2fa/confirm`: a challenge's token and the mailed code, for tokens.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::openapi::{JSON_BODY, SIGN_IN};
use super::sample;
use super::tokens::{self, TokenBody, TokenPairBody};
use crate::auth::{Auth, Confirmed};
use crate::domain::Client;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;

/// The body of `POST /2fa/confirm`. Any text is in bounds; a malformed one is refused as every
/// other wrong one is.
#[derive(Clone, ToSchema)]
pub struct ConfirmRequest {
    /// The 2FA token of the sign-in.
    pub token: String,
    /// Six digits, from the mail or of the authenticator app; or a recovery code, in which case, spaces and
    /// hyphens do not matter.
    pub code: String,
}

impl FromBody for ConfirmRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let (token, code) = (fields.text("token"), fields.text("code"));
        Some(Self {
            token: token?,
            code: code?,
        })
    }
}

/// The answer of `POST /2fa/confirm`.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Confirmed)]
pub struct ConfirmResponse {
    /// For services.
    access_token: TokenBody,
    /// For `/refresh`.
    refresh_token: TokenBody,
    /// Recovery codes that were not used; there after a sign-in with one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    recovery_codes_left: Option<i64>,
}

impl From<Confirmed> for ConfirmResponse {
    fn from(confirmed: Confirmed) -> Self {
        let tokens = TokenPairBody::from(confirmed.pair);
        Self {
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            recovery_codes_left: confirmed.recovery_codes_left,
        }
    }
}

/// Trades a challenge and its code for a session.
///
/// By default, three attempts a minute are let through for a user, over all their challenges; the
/// next one starts a block of five minutes.
#[utoipa::path(
    post,
    path = "/2fa/confirm",
    operation_id = "confirm",
    tag = SIGN_IN,
    request_body(
        content = ConfirmRequest,
        description = JSON_BODY,
        example = example_request,
    ),
    responses((
        status = OK,
        description = "Signed in",
        body = ConfirmResponse,
        example = tokens::example,
    )),
)]
pub async fn confirm(
    State(auth): State<Auth>,
    client: Client,
    ApiJson(body): ApiJson<ConfirmRequest>,
) -> Result<Json<ConfirmResponse>, Problem> {
    let confirmed = auth.confirm(&client, &body.token, &body.code).await?;
    Ok(Json(confirmed.into()))
}

/// To `POST /2fa/confirm`.
fn example_request() -> Value {
    json!({"token": sample::CHALLENGE, "code": "123456"})
}
