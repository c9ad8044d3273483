//! `POST /signout`: ends the session of an access token.

use axum::extract::State;
use axum::http::StatusCode;

use super::openapi::SIGN_IN;
use crate::auth::Auth;
use crate::domain::Client;
use crate::http::extract::bearer::BearerToken;
use crate::http::problem::Problem;

/// Ends the session of an access token.
///
/// Its access and refresh tokens are refused from then on. A token that has expired is refused, but
/// ends its session all the same.
#[utoipa::path(
    post,
    path = "/signout",
    operation_id = "signout",
    tag = SIGN_IN,
    security(("accessToken" = [])),
    responses((status = OK, description = "Signed out; the answer has no body")),
)]
pub async fn signout(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
) -> Result<StatusCode, Problem> {
    auth.signout(&client, token.expose()).await?;
    Ok(StatusCode::OK)
}
