//! The acts on one user. Each has a verb in its path, and may be repeated: there is no representation that could be
//! overwritten by accident.

use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{SessionPath, UserParam, UserPath};
use crate::admin::{Administration, Change};
use crate::auth::Acting;
use crate::domain::{EmailAddress, LinkOutcome, TwoFactor};
use crate::http::endpoints::me::TwoFactorWord;
use crate::http::endpoints::openapi::{ADMINISTRATION, Address, JSON_BODY};
use crate::http::endpoints::sample;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::{Code, Problem};

/// Mails a link to set a password, which nobody but the user sees.
///
/// To a user who has no password yet it is an invitation. 404 where `links.password_url` is not set.
#[utoipa::path(
    post,
    path = "/admin/users/{id}/link",
    operation_id = "mailLink",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(UserParam),
    responses((status = ACCEPTED, description = "The mail is on its way")),
)]
pub async fn link(
    State(administration): State<Administration>,
    acting: Acting,
    UserPath(user_id): UserPath,
) -> Result<StatusCode, Problem> {
    let request = administration.mail_link(acting, user_id).await?;
    match request.outcome {
        LinkOutcome::Mailed => Ok(StatusCode::ACCEPTED),
        LinkOutcome::NotMailed => Err(Problem::too_many_links(request.retry_after)),
        LinkOutcome::UserDisabled => Err(Code::UserDisabled.into()),
        LinkOutcome::UnknownAddress => Err(Code::NotFound.into()),
    }
}

/// Makes the handler of an act without a body.
macro_rules! act {
    ($(#[$about:meta])* $name:ident, $path:literal, $operation:literal, $change:expr, $done:literal) => {
        $(#[$about])*
        #[utoipa::path(
            post,
            path = $path,
            operation_id = $operation,
            tag = ADMINISTRATION,
            security(("accessToken" = [])),
            params(UserParam),
            responses((status = NO_CONTENT, description = $done)),
        )]
        pub async fn $name(
            State(administration): State<Administration>,
            acting: Acting,
            UserPath(user_id): UserPath,
        ) -> Result<StatusCode, Problem> {
            administration.change(acting, user_id, $change).await?;
            Ok(StatusCode::NO_CONTENT)
        }
    };
}

act! {
    /// Shuts a user out, and ends the sessions.
    disable, "/admin/users/{id}/disable", "disableUser", Change::Disable, "The user cannot sign in any more"
}
act! {
    /// Lets a user in again who was disabled.
    enable, "/admin/users/{id}/enable", "enableUser", Change::Enable, "The user may sign in again"
}
act! {
    /// Lifts every limit that is on for a user, the lock of the second factor included.
    unlock, "/admin/users/{id}/unlock", "unlockUser", Change::Unlock, "No limit is on for the user"
}
act! {
    /// Ends a user's sessions.
    sign_out, "/admin/users/{id}/signout", "signUserOut", Change::SignOut, "The sessions are over"
}
act! {
    /// Removes a user's authenticator app, passkeys and recovery codes, for one who has lost them.
    ///
    /// The sessions end, codes are mailed from then on, and the user is told by mail.
    reset_factors, "/admin/users/{id}/reset-factors", "resetFactors", Change::ResetFactors,
    "The second factors are gone, and the sessions over"
}

/// Ends one session of a user; 404 for one that is not theirs or not live.
#[utoipa::path(
    delete,
    path = "/admin/users/{id}/sessions/{sid}",
    operation_id = "endSessionOfUser",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(
        UserParam,
        ("sid" = uuid::Uuid, Path, description = "The session's id"),
    ),
    responses((status = NO_CONTENT, description = "The session is over")),
)]
pub async fn end_session(
    State(administration): State<Administration>,
    acting: Acting,
    SessionPath(user_id, session_id): SessionPath,
) -> Result<StatusCode, Problem> {
    let change = Change::EndSession(session_id);
    administration.change(acting, user_id, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The body of `POST /admin/users/{id}/two-factor`.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = TwoFactorRequest, rename_all = "camelCase")]
pub struct TwoFactorRequest {
    /// How a sign-in is to be confirmed where there is neither an authenticator app nor a passkey.
    #[schema(value_type = TwoFactorWord)]
    two_factor: TwoFactor,
}

impl FromBody for TwoFactorRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let two_factor = fields.required("twoFactor", str::parse)?;
        Some(Self { two_factor })
    }
}

/// Sets whether signing in takes a mailed code. Sessions stay.
#[utoipa::path(
    post,
    path = "/admin/users/{id}/two-factor",
    operation_id = "setTwoFactor",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(UserParam),
    request_body(content = TwoFactorRequest, description = JSON_BODY, example = example_two_factor),
    responses((status = NO_CONTENT, description = "It counts from the next sign-in on")),
)]
pub async fn set_two_factor(
    State(administration): State<Administration>,
    acting: Acting,
    UserPath(user_id): UserPath,
    ApiJson(body): ApiJson<TwoFactorRequest>,
) -> Result<StatusCode, Problem> {
    let change = Change::TwoFactor(body.two_factor);
    administration.change(acting, user_id, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The body of `POST /admin/users/{id}/email`.
#[derive(Debug, Clone, ToSchema)]
#[schema(as = AddressRequest)]
pub struct AddressRequest {
    /// The new address: one that sign-in takes.
    #[schema(value_type = Address)]
    email: EmailAddress,
}

impl FromBody for AddressRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let email = fields.required("email", str::parse)?;
        Some(Self { email })
    }
}

/// Gives a user another address.
///
/// The sessions end, links and codes that were mailed are void, and both addresses are told by mail.
#[utoipa::path(
    post,
    path = "/admin/users/{id}/email",
    operation_id = "changeAddress",
    tag = ADMINISTRATION,
    security(("accessToken" = [])),
    params(UserParam),
    request_body(content = AddressRequest, description = JSON_BODY, example = example_address),
    responses((status = NO_CONTENT, description = "The user signs in with the new address")),
)]
pub async fn change_address(
    State(administration): State<Administration>,
    acting: Acting,
    UserPath(user_id): UserPath,
    ApiJson(body): ApiJson<AddressRequest>,
) -> Result<StatusCode, Problem> {
    let change = Change::Email(body.email);
    administration.change(acting, user_id, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// To `POST /admin/users/{id}/two-factor`.
fn example_two_factor() -> Value {
    json!({"twoFactor": "email"})
}

/// To `POST /admin/users/{id}/email`.
fn example_address() -> Value {
    json!({"email": sample::EMAIL})
}
