//! `POST /oauth2/introspect`: whether a token is good (RFC 7662), for services.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};
use url::form_urlencoded;
use utoipa::ToSchema;
use uuid::Uuid;

use super::openapi::{SERVICES, always_false, always_true};
use super::sample;
use crate::auth::{Auth, Caller, Introspection, LegacyCaller};
use crate::domain::SessionId;
use crate::http::extract::basic::ServiceClient;
use crate::http::extract::body;
use crate::http::problem::{Code, FieldError, Problem};
use crate::token::AccessClaims;

/// The form of `POST /oauth2/introspect`. A `token_type_hint` is ignored: one kind is introspected.
#[derive(ToSchema)]
pub struct IntrospectForm {
    /// The token to introspect.
    token: String,
}

impl IntrospectForm {
    /// Reads a form that has exactly one token.
    fn parse(form: &[u8]) -> Result<Self, &'static str> {
        let mut tokens = form_urlencoded::parse(form).filter(|(name, _)| name == "token");
        match (tokens.next(), tokens.next()) {
            (None, _) => Err("is required"),
            (Some((_, token)), None) => Ok(Self {
                token: token.into_owned(),
            }),
            (Some(_), Some(_)) => Err("must be given once"),
        }
    }
}

/// The answer: `active`, and the claims of an active token. Exactly one of the two describes it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum IntrospectResponse {
    /// A good access token.
    Active(Box<ActiveToken>),
    /// Anything else, and why is not said.
    Inactive(InactiveToken),
}

/// The claims of a good access token. A token of an older service lacks some: it has no session, and was
/// issued to no application.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActiveToken {
    /// Always `true` here.
    #[schema(schema_with = always_true)]
    active: bool,
    /// `Bearer`.
    token_type: &'static str,
    /// The user's address.
    username: String,
    /// The issuer: the URL of this server.
    iss: String,
    /// The user's number in decimal.
    sub: String,
    /// The audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    aud: Option<String>,
    /// The application it was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    client_id: Option<String>,
    /// When it was issued, in seconds since 1970.
    iat: i64,
    /// When it expires, in seconds since 1970.
    exp: i64,
    /// The id of this token, which no other token has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Uuid, required = false)]
    jti: Option<Uuid>,
    /// The id of its session, by which the feed of revocations names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Uuid, required = false)]
    sid: Option<SessionId>,
    /// When the session was opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = i64, required = false)]
    auth_time: Option<i64>,
    /// How its owner proved who they are (RFC 8176).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<String>, required = false)]
    amr: Option<Vec<String>>,
    /// The user's address.
    email: String,
}

/// All that is said of a token that is not good.
#[derive(Debug, Serialize, ToSchema)]
pub struct InactiveToken {
    /// Always `false` here.
    #[schema(schema_with = always_false)]
    active: bool,
}

impl From<Introspection> for IntrospectResponse {
    fn from(introspection: Introspection) -> Self {
        match introspection {
            Introspection::Inactive => Self::Inactive(InactiveToken { active: false }),
            Introspection::Active(Caller::OfSession(claims)) => {
                Self::Active(Box::new((&*claims).into()))
            }
            Introspection::Active(Caller::Legacy(caller)) => Self::Active(Box::new(caller.into())),
        }
    }
}

impl From<&AccessClaims> for ActiveToken {
    fn from(claims: &AccessClaims) -> Self {
        Self {
            active: true,
            token_type: "Bearer",
            username: claims.email.to_string(),
            iss: claims.iss.clone(),
            sub: claims.sub.to_string(),
            aud: Some(claims.aud.clone()),
            client_id: Some(claims.client_id.clone()),
            iat: claims.iat,
            exp: claims.exp,
            jti: Some(claims.jti),
            sid: Some(claims.sid),
            auth_time: Some(claims.auth_time),
            amr: Some(claims.amr.clone()),
            email: claims.email.to_string(),
        }
    }
}

impl From<LegacyCaller> for ActiveToken {
    fn from(LegacyCaller { claims, email }: LegacyCaller) -> Self {
        Self {
            active: true,
            token_type: "Bearer",
            username: email.to_string(),
            iss: claims.iss,
            sub: claims.sub.to_string(),
            aud: None,
            client_id: None,
            iat: claims.iat,
            exp: claims.exp,
            jti: None,
            sid: None,
            auth_time: None,
            amr: None,
            email: email.to_string(),
        }
    }
}

/// Says whether a token is good. A refresh token never is: it is for us alone.
///
/// Token introspection by RFC 7662, for services that are known here.
#[utoipa::path(
    post,
    path = "/oauth2/introspect",
    operation_id = "introspect",
    tag = SERVICES,
    security(("service" = [])),
    request_body(
        content = IntrospectForm,
        content_type = "application/x-www-form-urlencoded",
        description = "A form, as RFC 7662 says. Other fields are ignored.",
        example = example_form,
    ),
    responses((
        status = OK,
        description = "Whether the token is good",
        body = IntrospectResponse,
        examples(
            ("a good token" = (value = json!(example_active()))),
            ("any other" = (value = json!(example_inactive()))),
        ),
    )),
)]
pub async fn introspect(
    State(auth): State<Auth>,
    _: ServiceClient,
    request: Request,
) -> Result<Json<IntrospectResponse>, Problem> {
    if !is_form(request.headers()) {
        return Err(not_a_form());
    }
    let form = body::read_in_time(request.into_body()).await?;
    let form = IntrospectForm::parse(&form).map_err(|message| {
        Problem::invalid(vec![FieldError {
            field: "token",
            message: message.to_owned(),
        }])
    })?;
    Ok(Json(auth.introspect(&form.token).await?.into()))
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    body::is_of_type(value, body::FORM) && !headers.contains_key(CONTENT_ENCODING)
}

/// 415 for a body that is not a form.
pub(in crate::http) fn not_a_form() -> Problem {
    Problem::new(Code::UnsupportedMediaType)
        .with_header(ACCEPT, HeaderValue::from_static(body::FORM))
}

/// To `POST /oauth2/introspect`.
fn example_form() -> Value {
    json!({"token": sample::ACCESS_TOKEN})
}

/// From `POST /oauth2/introspect`, for a good token.
fn example_active() -> Value {
    let active = Introspection::Active(Caller::OfSession(Arc::new(sample::claims())));
    sample::wire(IntrospectResponse::from(active))
}

/// From `POST /oauth2/introspect`, for any other.
fn example_inactive() -> Value {
    sample::wire(IntrospectResponse::from(Introspection::Inactive))
}
