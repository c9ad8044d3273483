//! `/auth/verify` and below it: forward authentication for nginx, Traefik and Envoy.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::routing::any;

use super::bearer::BearerToken;
use super::openapi::PROXIES;
use super::problem::Problem;
use crate::auth::Auth;

/// Where it is, for a proxy to be pointed at.
pub const PATH: &str = "/auth/verify";

const USER_ID: HeaderName = HeaderName::from_static("x-auth-user-id");
const USER_EMAIL: HeaderName = HeaderName::from_static("x-auth-user-email");
const SESSION_ID: HeaderName = HeaderName::from_static("x-auth-session-id");

/// Every path from [`PATH`] on: Envoy's `path_prefix` goes before the path that was asked for.
pub fn router() -> Router<Auth> {
    [PATH, "/auth/verify/", "/auth/verify/{*path}"]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(path, any(verify))
        })
}

/// Lets a proxy know whose request it holds: 200 with who it is in the headers, or 401.
///
/// For `auth_request` of nginx, `forwardAuth` of Traefik and `ext_authz` of Envoy. Whatever the
/// method, the body and what follows in the path, the access token alone is looked at.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "verify",
    tag = PROXIES,
    security(("accessToken" = [])),
    responses((
        status = OK,
        description = "A good token; the answer has no body",
        headers(
            ("X-Auth-User-Id" = String, description = "The user's number in decimal"),
            ("X-Auth-User-Email" = String, description = "The user's address"),
            ("X-Auth-Session-Id" = uuid::Uuid, description = "The session's id"),
        ),
    )),
)]
pub async fn verify(
    State(auth): State<Auth>,
    token: BearerToken,
) -> Result<(StatusCode, [(HeaderName, String); 3]), Problem> {
    let claims = auth.authenticate(token.expose()).await?;
    let headers = [
        (USER_ID, claims.sub.to_string()),
        (USER_EMAIL, claims.email.to_string()),
        (SESSION_ID, claims.sid.to_string()),
    ];
    Ok((StatusCode::OK, headers))
}
