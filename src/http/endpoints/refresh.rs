//! `POST /refresh`: a refresh token, for the session's next pair.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::openapi::{JSON_BODY, SIGN_IN};
use super::sample;
use super::tokens::{self, TokenPairBody};
use crate::auth::Auth;
use crate::domain::Client;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;

/// The body of `POST /refresh`. Any text is in bounds; a malformed one is refused as every other
/// bad token is.
#[derive(Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct RefreshRequest {
    /// The refresh token of the last answer.
    pub refresh_token: String,
}

impl FromBody for RefreshRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let refresh_token = fields.text("refreshToken")?;
        Some(Self { refresh_token })
    }
}

/// Trades a refresh token for the session's next pair.
///
/// For a while after it was used (by default 30 seconds) the same token gets the same answer again,
/// so that a lost answer, or many tabs at once, sign nobody out. After that, and with any older
/// token, the session ends.
#[utoipa::path(
    post,
    path = "/refresh",
    operation_id = "refresh",
    tag = SIGN_IN,
    request_body(
        content = RefreshRequest,
        description = JSON_BODY,
        example = example_request,
    ),
    responses((
        status = OK,
        description = "The session's next tokens",
        body = TokenPairBody,
        example = tokens::example,
    )),
)]
pub async fn refresh(
    State(auth): State<Auth>,
    client: Client,
    ApiJson(body): ApiJson<RefreshRequest>,
) -> Result<Json<TokenPairBody>, Problem> {
    let pair = auth.refresh(&client, &body.refresh_token).await?;
    Ok(Json(pair.into()))
}

/// To `POST /refresh`.
fn example_request() -> Value {
    json!({"refreshToken": sample::REFRESH_TOKEN})
}
