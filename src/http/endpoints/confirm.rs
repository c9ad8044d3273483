//! `POST /2fa/confirm`: a challenge's token and a code or a passkey, for tokens.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{OneOfBuilder, Ref, RefOr, Schema};

use super::openapi::{JSON_BODY, SIGN_IN};
use super::passkeys::UsedBody;
use super::sample;
use super::tokens::{self, TokenBody, TokenPairBody};
use crate::auth::{Auth, ConfirmAnswer, Confirmed};
use crate::domain::Client;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;
use crate::passkey::AssertionResponse;

/// The body of `POST /2fa/confirm`. Any text is in bounds; a malformed one is refused as every other wrong one is.
#[derive(Debug, Clone)]
pub enum ConfirmRequest {
    /// By a code: a mailed one, one of an authenticator app, or a recovery code.
    Code(ConfirmByCode),
    /// By a passkey, in place of a code.
    Passkey(ConfirmByPasskey),
}

/// A challenge and its code.
#[derive(Debug, Clone, ToSchema)]
pub struct ConfirmByCode {
    /// The 2FA token of the sign-in.
    pub token: String,
    /// Six digits, from the mail or of the authenticator app; or a recovery code, in which case, spaces and
    /// hyphens do not matter.
    pub code: String,
}

/// A challenge and a passkey.
#[derive(Debug, Clone, ToSchema)]
pub struct ConfirmByPasskey {
    /// The 2FA token of the sign-in.
    pub token: String,
    /// The result of `navigator.credentials.get`, as `toJSON()` writes it.
    #[schema(value_type = UsedBody)]
    pub credential: AssertionResponse,
}

impl utoipa::PartialSchema for ConfirmRequest {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(Ref::from_schema_name(ConfirmByCode::name()))
            .item(Ref::from_schema_name(ConfirmByPasskey::name()))
            .into()
    }
}

impl ToSchema for ConfirmRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        add::<ConfirmByCode>(schemas);
        add::<ConfirmByPasskey>(schemas);
    }
}

fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into(), T::schema()));
    T::schemas(schemas);
}

impl FromBody for ConfirmRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let token = fields.text("token");
        if !fields.has("credential") {
            let code = fields.text("code");
            let (token, code) = (token?, code?);
            return Some(Self::Code(ConfirmByCode { token, code }));
        }
        if fields.has("code") {
            fields.refuse("credential", "must not stand beside `code`".to_owned());
        }
        let credential = fields.value("credential", AssertionResponse::from_json);
        let (token, credential) = (token?, credential?);
        Some(Self::Passkey(ConfirmByPasskey { token, credential }))
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

/// Trades a challenge and its code, or a passkey, for a session.
///
/// By default, three codes a minute are let through for a user, over all their challenges; the
/// next one starts a block of five minutes. A passkey is never kept out by that.
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
    let (token, answer) = match &body {
        ConfirmRequest::Code(body) => (&body.token, ConfirmAnswer::Code(&body.code)),
        ConfirmRequest::Passkey(body) => (&body.token, ConfirmAnswer::Passkey(&body.credential)),
    };
    let confirmed = auth.confirm(&client, token, answer).await?;
    Ok(Json(confirmed.into()))
}

/// To `POST /2fa/confirm`.
fn example_request() -> Value {
    json!({"token": sample::CHALLENGE, "code": "123456"})
}
