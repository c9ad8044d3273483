//! `POST /password/forgot`, `/password/link` and `/password/set`: a password by a mailed link.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::openapi::{Address, JSON_BODY, PASSWORDS};
use super::sample;
use super::tokens::WireTime;
use crate::auth::Auth;
use crate::domain::{Client, EmailAddress, LinkId, LinkPurpose, PlainPassword, UserId};
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;
use crate::store::FoundLink;

/// The body of `POST /password/forgot`.
#[derive(Debug, Clone, ToSchema)]
pub struct ForgotRequest {
    /// The account's address. Upper and lower case are the same.
    #[schema(value_type = Address)]
    pub email: EmailAddress,
}

impl FromBody for ForgotRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let email = fields.required("email", str::parse);
        Some(Self { email: email? })
    }
}

/// The body of `POST /password/link`. Any text is in bounds; a malformed one is refused as every other bad
/// one is.
#[derive(Clone, ToSchema)]
pub struct LinkRequest {
    /// The part of the link behind the `#`.
    pub token: String,
}

impl FromBody for LinkRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let token = fields.text("token");
        Some(Self { token: token? })
    }
}

/// The body of `POST /password/set`.
#[derive(Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct SetPasswordRequest {
    /// The part of the link behind the `#`.
    pub token: String,
    /// The password, in at most 1024 bytes of UTF-8.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    pub new_password: PlainPassword,
}

impl FromBody for SetPasswordRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let token = fields.text("token");
        let new_password = fields.required("newPassword", PlainPassword::parse);
        Some(Self {
            token: token?,
            new_password: new_password?,
        })
    }
}

/// A link that can be used.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Link)]
pub struct LinkBody {
    /// The occasion for it.
    purpose: PurposeBody,
    /// The address of the account whose password it sets.
    #[schema(value_type = String, format = Email)]
    email: EmailAddress,
    /// Until when it is good.
    expires_at: WireTime,
}

/// The occasion for a link.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = LinkPurpose)]
enum PurposeBody {
    /// The person forgot their password.
    Reset,
    /// The person has no password yet.
    Invitation,
}

impl From<FoundLink> for LinkBody {
    fn from(link: FoundLink) -> Self {
        Self {
            purpose: match link.purpose {
                LinkPurpose::Reset => PurposeBody::Reset,
                LinkPurpose::Invitation => PurposeBody::Invitation,
            },
            email: link.email,
            expires_at: link.expires_at.into(),
        }
    }
}

/// Mails a link to set a password.
///
/// The answer is the same whether anybody has the address or not. By default, five wishes a minute are let
/// through for an address from a network, and twenty from a network; three mails an hour go to an address.
#[utoipa::path(
    post,
    path = "/password/forgot",
    operation_id = "forgotPassword",
    tag = PASSWORDS,
    request_body(
        content = ForgotRequest,
        description = JSON_BODY,
        example = example_forgot,
    ),
    responses((status = ACCEPTED, description = "If somebody has the address, they get a mail")),
)]
pub async fn forgot(
    State(auth): State<Auth>,
    client: Client,
    ApiJson(body): ApiJson<ForgotRequest>,
) -> Result<StatusCode, Problem> {
    auth.forgot_password(&client, &body.email).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Tells whose password a link sets.
///
/// Uses nothing up.
#[utoipa::path(
    post,
    path = "/password/link",
    operation_id = "showLink",
    tag = PASSWORDS,
    request_body(
        content = LinkRequest,
        description = JSON_BODY,
        example = example_link,
    ),
    responses((
        status = OK,
        description = "It can be used",
        body = LinkBody,
        example = example,
    )),
)]
pub async fn link(
    State(auth): State<Auth>,
    client: Client,
    ApiJson(body): ApiJson<LinkRequest>,
) -> Result<Json<LinkBody>, Problem> {
    let link = auth.find_link(&client, &body.token).await?;
    Ok(Json(link.into()))
}

/// Sets a password by a link, which works once.
///
/// Ends all sessions of the user, and signs nobody in. A password that breaks the rules is 422 and does not
/// use the link up.
#[utoipa::path(
    post,
    path = "/password/set",
    operation_id = "setPassword",
    tag = PASSWORDS,
    request_body(
        content = SetPasswordRequest,
        description = JSON_BODY,
        example = example_set,
    ),
    responses((status = NO_CONTENT, description = "The password is set")),
)]
pub async fn set(
    State(auth): State<Auth>,
    client: Client,
    ApiJson(body): ApiJson<SetPasswordRequest>,
) -> Result<StatusCode, Problem> {
    auth.set_password(&client, &body.token, body.new_password)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// To `POST /password/forgot`.
fn example_forgot() -> Value {
    json!({"email": sample::EMAIL})
}

/// To `POST /password/link`.
fn example_link() -> Value {
    json!({"token": sample::LINK})
}

/// To `POST /password/set`.
fn example_set() -> Value {
    json!({"token": sample::LINK, "newPassword": "violet-anvil-67"})
}

/// Of `POST /password/link`.
fn example() -> Value {
    let email = sample::EMAIL.parse().expect("it is an address");
    sample::wire(LinkBody::from(FoundLink {
        link_id: LinkId::random(),
        purpose: LinkPurpose::Reset,
        user_id: UserId(1),
        email,
        expires_at: sample::at(sample::LINK_TTL),
        is_live: true,
    }))
}
