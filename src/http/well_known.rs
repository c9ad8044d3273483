//! What verifiers find under `/.well-known`: the public keys (RFC 7517) and where things are
//! (RFC 8414).

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::openapi::{SERVICES, examples};
use super::problem::Problem;
use crate::auth::Auth;

/// Authorization server metadata (RFC 8414, section 2). There is no authorization and no token
/// endpoint: people sign in by the methods of the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetadataResponse {
    /// The `iss` of every token.
    issuer: String,
    jwks_uri: String,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    /// None.
    response_types_supported: [&'static str; 0],
    /// None.
    grant_types_supported: [&'static str; 0],
    /// None.
    scopes_supported: [&'static str; 0],
}

impl MetadataResponse {
    /// What there is at an issuer.
    #[must_use]
    pub fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            jwks_uri: format!("{issuer}/.well-known/jwks.json"),
            introspection_endpoint: format!("{issuer}/oauth2/introspect"),
            introspection_endpoint_auth_methods_supported: ["client_secret_basic"],
            response_types_supported: [],
            grant_types_supported: [],
            scopes_supported: [],
        }
    }
}

/// Tells where things are (RFC 8414).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    operation_id = "showMetadata",
    tag = SERVICES,
    responses((
        status = OK,
        description = "The metadata",
        body = MetadataResponse,
        example = examples::metadata,
    )),
)]
pub async fn metadata(State(auth): State<Auth>) -> Json<MetadataResponse> {
    Json(MetadataResponse::new(auth.issuer()))
}

/// A JWK Set (RFC 7517, section 5).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the ring of keys writes")]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// A public RSA key (RFC 7518, section 6.3.1).
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what the ring of keys writes")]
struct Jwk {
    /// `RSA`.
    kty: String,
    /// `sig`.
    #[schema(rename = "use")]
    usage: String,
    /// `RS256`.
    alg: String,
    /// Its RFC 7638 thumbprint, as in the header of the tokens that it signed.
    kid: String,
    /// The modulus.
    n: String,
    /// The exponent.
    e: String,
}

/// Lists the public keys that verify tokens (RFC 7517).
///
/// Caches may keep it for half the time for which a new key is published before it signs, so that
/// nobody meets a token whose key they could not have seen.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "showKeys",
    tag = SERVICES,
    params((
        "If-None-Match" = Option<String>,
        Header,
        nullable = false,
        description = "The `ETag` of an earlier answer",
    )),
    responses(
        (
            status = OK,
            description = "The keys",
            content_type = "application/jwk-set+json",
            headers(
                ("Cache-Control" = String, description = "`public, max-age=SECONDS`"),
                ("ETag" = String, description = "Names this very set of keys"),
            ),
            body = JwkSet,
            example = examples::keys,
        ),
        (
            status = NOT_MODIFIED,
            description = "The set that `If-None-Match` names is the current one",
            headers(
                ("Cache-Control" = String, description = "`public, max-age=SECONDS`"),
                ("ETag" = String, description = "Names this very set of keys"),
            ),
        ),
    ),
)]
pub async fn jwks(State(auth): State<Auth>, headers: HeaderMap) -> Result<Response, Problem> {
    let set = auth.public_keys();
    let max_age = auth.key_publish_time().as_secs() / 2;
    let body = serde_json::to_vec(&set.keys).map_err(Problem::internal)?;
    let caching = [
        (CACHE_CONTROL, format!("public, max-age={max_age}")),
        (ETAG, set.etag.clone()),
    ];
    if is_current(&headers, &set.etag) {
        return Ok((StatusCode::NOT_MODIFIED, caching).into_response());
    }
    Ok((caching, [(CONTENT_TYPE, "application/jwk-set+json")], body).into_response())
}

/// Whether the client holds this very version (RFC 9110, section 13.1.2).
fn is_current(headers: &HeaderMap, etag: &str) -> bool {
    let held = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    held.flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}
