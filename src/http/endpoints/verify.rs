//! `/auth/verify` and below it: forward authentication for nginx, Traefik and Envoy.

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::{HeaderName, StatusCode};
use axum::routing::any;

use super::openapi::PROXIES;
use crate::auth::{Auth, Caller};
use crate::http::extract::bearer::BearerToken;
use crate::http::problem::Problem;

/// Where it is, for a proxy to be pointed at.
pub const PATH: &str = "/auth/verify";

const USER_ID: HeaderName = HeaderName::from_static("x-auth-user-id");
const USER_EMAIL: HeaderName = HeaderName::from_static("x-auth-user-email");
const SESSION_ID: HeaderName = HeaderName::from_static("x-auth-session-id");
const AMR: HeaderName = HeaderName::from_static("x-auth-amr");

/// Every path from [`PATH`] on: Envoy's `path_prefix` goes before the path that was asked for.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S>
where
    Auth: FromRef<S>,
{
    [PATH, "/auth/verify/", "/auth/verify/{*path}"]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(path, any(verify))
        })
}

/// Tells a proxy whose request it holds: 200 with the user in the headers, or 401.
///
/// For `auth_request` of nginx, `forwardAuth` of Traefik and `ext_authz` of Envoy. Only the
/// access token is looked at, regardless of the method, the body and the rest of the path.
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
            (
                "X-Auth-Session-Id" = String,
                description = "The session's id, a UUID; empty for a token of an older service"
            ),
            (
                "X-Auth-Amr" = String,
                description = "The methods of the sign-in (RFC 8176), separated by commas; empty for a token \
                               of an older service"
            ),
        ),
    )),
)]
pub async fn verify(
    State(auth): State<Auth>,
    token: BearerToken,
) -> Result<(StatusCode, [(HeaderName, String); 4]), Problem> {
    let (user_id, email, session_id, amr) = match auth.identify(token.expose()).await? {
        Caller::OfSession(claims) => {
            let (sid, amr) = (claims.sid.to_string(), claims.amr.join(","));
            (claims.sub, claims.email.clone(), sid, amr)
        }
        // Empty and not absent, or a proxy would let the client's own header through.
        Caller::Legacy(caller) => (
            caller.claims.sub,
            caller.email,
            String::new(),
            String::new(),
        ),
    };
    let headers = [
        (USER_ID, user_id.to_string()),
        (USER_EMAIL, email.to_string()),
        (SESSION_ID, session_id),
        (AMR, amr),
    ];
    Ok((StatusCode::OK, headers))
}
