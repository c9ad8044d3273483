//! The documents under `/.well-known`, for verifiers: the public keys (RFC 7517) and the metadata of
//! the server (RFC 8414).

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::openapi::SERVICES;
use super::sample;
use crate::auth::Auth;
use crate::domain::KeyId;
use crate::http::problem::{Code, Problem};

const PEM: &str = "application/x-pem-file";

/// Authorization server metadata (RFC 8414, section 2). There is no authorization and no token
/// endpoint: people sign in by the methods of the API.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetadataResponse {
    /// The `iss` of every token.
    issuer: String,
    jwks_uri: String,
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 1],
    /// Always empty: there is no authorization endpoint.
    response_types_supported: [&'static str; 0],
    /// Always empty: there is no token endpoint.
    grant_types_supported: [&'static str; 0],
    /// Always empty: there are no scopes.
    scopes_supported: [&'static str; 0],
}

impl MetadataResponse {
    /// The metadata of an issuer.
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
        example = example_metadata,
    )),
)]
pub async fn metadata(State(auth): State<Auth>) -> Json<MetadataResponse> {
    Json(MetadataResponse::new(auth.issuer()))
}

/// Tells the same to those who look only here.
///
/// RFC 8414, section 5, allows for that. It is no OIDC provider: nothing is claimed that there is not,
/// so the rest that OIDC Discovery requires (an authorization endpoint, ID tokens) is absent.
#[utoipa::path(
    get,
    path = "/.well-known/openid-configuration",
    operation_id = "showOpenidConfiguration",
    tag = SERVICES,
    responses((
        status = OK,
        description = "The metadata",
        body = MetadataResponse,
        example = example_metadata,
    )),
)]
pub async fn openid_configuration(State(auth): State<Auth>) -> Json<MetadataResponse> {
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

/// Lists the public keys that verify access tokens (RFC 7517).
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
            example = example_keys,
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
    let keys = auth.public_keys();
    let body = serde_json::to_vec(&keys.keys).map_err(Problem::internal)?;
    let kind = "application/jwk-set+json";
    Ok(cached(&auth, &headers, &keys.etag, kind, body))
}

/// Lists the same keys in PEM form, for those who cannot read a JWKS.
///
/// Each is a block of its own, the key that signs first. Which key is which, only the JWKS says.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.pem",
    operation_id = "showKeysAsPem",
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
            description = "The keys, each a `SubjectPublicKeyInfo` (RFC 7468, section 13)",
            content_type = "application/x-pem-file",
            headers(
                ("Cache-Control" = String, description = "`public, max-age=SECONDS`"),
                ("ETag" = String, description = "Names this very list of keys"),
            ),
            body = String,
            example = example_pem,
        ),
        (
            status = NOT_MODIFIED,
            description = "The list that `If-None-Match` names is the current one",
            headers(
                ("Cache-Control" = String, description = "`public, max-age=SECONDS`"),
                ("ETag" = String, description = "Names this very list of keys"),
            ),
        ),
    ),
)]
pub async fn pem(State(auth): State<Auth>, headers: HeaderMap) -> Response {
    let keys = auth.public_keys();
    cached(&auth, &headers, &keys.pem_etag, PEM, keys.pem.clone())
}

/// One of the keys in PEM form, for those who want a file for each; 404 once it is not in the JWKS.
#[utoipa::path(
    get,
    path = "/.well-known/jwks/{file}",
    operation_id = "showKeyAsPem",
    tag = SERVICES,
    params(
        ("file" = String, Path, description = "`KID.pem`, with a `kid` of the JWKS"),
        (
            "If-None-Match" = Option<String>,
            Header,
            nullable = false,
            description = "The `ETag` of an earlier answer",
        ),
    ),
    responses(
        (
            status = OK,
            description = "The key, a `SubjectPublicKeyInfo` (RFC 7468, section 13)",
            content_type = "application/x-pem-file",
            headers(
                ("Cache-Control" = String, description = "`public, max-age=SECONDS`"),
                ("ETag" = String, description = "Names this very key"),
            ),
            body = String,
            example = example_pem,
        ),
        (
            status = NOT_MODIFIED,
            description = "The key is as it was: it never changes",
            headers(
                ("Cache-Control" = String, description = "`public, max-age=SECONDS`"),
                ("ETag" = String, description = "Names this very key"),
            ),
        ),
    ),
)]
pub async fn pem_of(
    State(auth): State<Auth>,
    file: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::new(Code::NotFound);
    let Path(file) = file.map_err(|_| missing())?;
    let key_id = file.strip_suffix(".pem").ok_or_else(missing)?;
    let keys = auth.public_keys();
    let pem = keys.pem_of(&KeyId(key_id.to_owned()));
    let pem = pem.ok_or_else(missing)?.to_owned();
    let etag = format!("\"{key_id}\"");
    Ok(cached(&auth, &headers, &etag, PEM, pem))
}

/// An answer that caches may keep for half the time for which a new key is published before it signs.
fn cached(
    auth: &Auth,
    headers: &HeaderMap,
    etag: &str,
    media_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let max_age = auth.key_publish_time().as_secs() / 2;
    let caching = [
        (CACHE_CONTROL, format!("public, max-age={max_age}")),
        (ETAG, etag.to_owned()),
    ];
    if is_current(headers, etag) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, media_type)], body.into()).into_response()
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

/// From `GET /.well-known/jwks.json`.
fn example_keys() -> Value {
    serde_json::from_str(sample::JWKS).unwrap_or_default()
}

/// The same key, from `GET /.well-known/jwks.pem`.
fn example_pem() -> Value {
    sample::PEM.into()
}

/// From `GET /.well-known/oauth-authorization-server`.
fn example_metadata() -> Value {
    sample::wire(MetadataResponse::new(sample::ISSUER))
}
