//! How a request is refused: one shape for every refusal (RFC 9457).
//!
//! A [`Problem`] holds all that the caller may know: a fixed [`Code`], a fixed English sentence, the
//! fields that were bad, the time to wait. The cause is for the operator alone. It travels in the
//! response's extensions, where only the access log reads it.
//!
//! The body also carries the request's id, which a handler does not have. So a problem leaves the
//! handler as a response without a body, and the outermost layer, which made the id, lets [`render`]
//! write it. The id in the body therefore always equals the `X-Request-Id` header.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::RequestId;
use crate::telemetry::causes;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const BEARER: HeaderValue = HeaderValue::from_static(r#"Bearer realm="back-office""#);
const BEARER_INVALID: HeaderValue =
    HeaderValue::from_static(r#"Bearer realm="back-office", error="invalid_token""#);
const BASIC: HeaderValue =
    HeaderValue::from_static(r#"Basic realm="back-office", charset="UTF-8""#);

/// Why a request is refused, in a word that programs can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Code {
    /// 400: the body is not a JSON object.
    MalformedRequest,
    /// 401: address and password do not open an account.
    InvalidCredentials,
    /// 401: token and code do not answer a challenge.
    InvalidTwoFactor,
    /// 401: not a passkey that signs in.
    InvalidPasskey,
    /// 401: not a link by which a password can be set now.
    InvalidLink,
    /// 401: not the refresh token of a session that can be refreshed.
    InvalidRefreshToken,
    /// 401: no access token where one is needed.
    MissingAccessToken,
    /// 401: an access token that is not, or no longer, good.
    InvalidAccessToken,
    /// 401: the session was opened too long ago for this. Signing in again helps.
    ReauthenticationRequired,
    /// 401: a service that is not known, or whose secret is wrong.
    InvalidClient,
    /// 403: the page's origin is not allowed to send this request.
    ForbiddenOrigin,
    /// 403: not an administrator, or an act on one.
    Forbidden,
    /// 403: an administrator without an authenticator app or a passkey.
    SecondFactorRequired,
    /// 403: the current password is not the one that was sent.
    WrongPassword,
    /// 404: there is no route at this path.
    NotFound,
    /// 405: the path does not know this method.
    MethodNotAllowed,
    /// 408: the body took too long to arrive.
    RequestTimeout,
    /// 409: somebody has the address already.
    AddressTaken,
    /// 409: the user is disabled.
    UserDisabled,
    /// 409: somebody has the passkey already.
    PasskeyKnown,
    /// 409: the user has as many passkeys as one may have.
    TooManyPasskeys,
    /// 413: the body is larger than any request needs.
    BodyTooLarge,
    /// 415: the body is not JSON, or is compressed.
    UnsupportedMediaType,
    /// 422: a field is missing or out of its bounds.
    InvalidRequest,
    /// 429: a limit is reached.
    TooManyAttempts,
    /// 431: the head is larger than any request needs.
    HeadTooLarge,
    /// 500: a defect of this program.
    Internal,
    /// 503: the database cannot be reached.
    Unavailable,
    /// 503: a queue is full, of passwords to be checked or of requests that wait for a revocation.
    Overloaded,
}

impl Code {
    /// The status of an answer with this code.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::MalformedRequest => StatusCode::BAD_REQUEST,
            Self::InvalidCredentials
            | Self::InvalidTwoFactor
            | Self::InvalidPasskey
            | Self::InvalidLink
            | Self::InvalidRefreshToken
            | Self::MissingAccessToken
            | Self::InvalidAccessToken
            | Self::ReauthenticationRequired
            | Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::ForbiddenOrigin
            | Self::Forbidden
            | Self::SecondFactorRequired
            | Self::WrongPassword => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::AddressTaken
            | Self::UserDisabled
            | Self::PasskeyKnown
            | Self::TooManyPasskeys => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word on the wire and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::InvalidCredentials => "invalid_credentials",
            Self::InvalidTwoFactor => "invalid_two_factor",
            Self::InvalidPasskey => "invalid_passkey",
            Self::InvalidLink => "invalid_link",
            Self::InvalidRefreshToken => "invalid_refresh_token",
            Self::MissingAccessToken => "missing_access_token",
            Self::InvalidAccessToken => "invalid_access_token",
            Self::ReauthenticationRequired => "reauthentication_required",
            Self::InvalidClient => "invalid_client",
            Self::ForbiddenOrigin => "forbidden_origin",
            Self::Forbidden => "forbidden",
            Self::SecondFactorRequired => "second_factor_required",
            Self::WrongPassword => "wrong_password",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::AddressTaken => "address_taken",
            Self::UserDisabled => "user_disabled",
            Self::PasskeyKnown => "passkey_known",
            Self::TooManyPasskeys => "too_many_passkeys",
            Self::BodyTooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::InvalidRequest => "invalid_request",
            Self::TooManyAttempts => "too_many_attempts",
            Self::HeadTooLarge => "head_too_large",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
        }
    }

    /// The English sentence. It never depends on the request.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::MalformedRequest => {
                "The request cannot be read. A JSON body must be an object without repeated keys."
            }
            Self::InvalidCredentials => "The email address or the password is wrong.",
            Self::InvalidTwoFactor => {
                "The token or the code is wrong, or no longer valid. Sign in again for a new code."
            }
            Self::InvalidPasskey => {
                "The passkey is not valid here, or the request for it is over. Sign in with the password."
            }
            Self::InvalidLink => "The link is not valid, or no longer. Ask for another one.",
            Self::InvalidRefreshToken => "The refresh token is not valid. Sign in again.",
            Self::MissingAccessToken => "Send an access token: `Authorization: Bearer TOKEN`.",
            Self::InvalidAccessToken => "The access token is not valid.",
            Self::ReauthenticationRequired => {
                "This needs a recent sign-in. Sign in again, and send the request with the new token."
            }
            Self::InvalidClient => "Send the name and secret of a known service by HTTP Basic.",
            Self::ForbiddenOrigin => {
                "Pages of this origin may not ask for this, unless the server is set to allow them."
            }
            Self::Forbidden => "This is for administrators, and nothing here changes one.",
            Self::SecondFactorRequired => {
                "Administrators need an authenticator app or a passkey. Set one up first."
            }
            Self::WrongPassword => "The current password is wrong. Nothing was changed.",
            Self::NotFound => "There is nothing at this path.",
            Self::MethodNotAllowed => {
                "This path does not know this method; the `Allow` header lists those it knows."
            }
            Self::RequestTimeout => "The body took too long to arrive.",
            Self::AddressTaken => "Somebody has this address already.",
            Self::UserDisabled => "The user is disabled. Let them in again first.",
            Self::PasskeyKnown => "This passkey is known already. Use another one.",
            Self::TooManyPasskeys => {
                "There are as many passkeys as one may have. Remove one first."
            }
            Self::BodyTooLarge => "The body must be at most 16 KiB long.",
            Self::UnsupportedMediaType => {
                "This kind of body, or its `Content-Encoding`, is not accepted; `Accept` lists what is."
            }
            Self::InvalidRequest => "Some fields are missing or not valid; `errors` names each.",
            Self::TooManyAttempts => "Too many attempts. Try again later.",
            Self::HeadTooLarge => "Target and headers must be at most 16 KiB long.",
            Self::Internal => {
                "Something went wrong on our side. Quote the request id to report it."
            }
            Self::Unavailable => "The service is not available at the moment. Try again later.",
            Self::Overloaded => "The service is busy at the moment. Try again later.",
        }
    }

    /// The header that an answer with this code carries besides its body.
    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            // RFC 6750, section 3.1: no error code where no token was sent.
            Self::InvalidAccessToken => Some((WWW_AUTHENTICATE, BEARER_INVALID)),
            Self::InvalidClient => Some((WWW_AUTHENTICATE, BASIC)),
            _ if self.status() == StatusCode::UNAUTHORIZED => Some((WWW_AUTHENTICATE, BEARER)),
            // RFC 9110, section 15.5.16.
            Self::UnsupportedMediaType => {
                Some((ACCEPT, HeaderValue::from_static("application/json")))
            }
            _ => None,
        }
    }

    fn says_when_to_retry(self) -> bool {
        let status = self.status();
        status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE
    }
}

/// A field of the request that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The name of the field, as the request spells it.
    pub field: &'static str,
    /// The fault, without the value.
    pub message: String,
}

/// The cause of a problem, for the log alone.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A refusal on its way to the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    errors: Vec<FieldError>,
    retry_after: Option<u64>,
    headers: Vec<(HeaderName, HeaderValue)>,
    limit: Option<&'static str>,
    cause: Option<Cause>,
}

impl Problem {
    /// A refusal with this code. A 429 or 503 asks to retry after a second, unless
    /// [another time](Self::retry_after) is set.
    #[must_use]
    pub fn new(code: Code) -> Self {
        Self {
            code,
            errors: Vec::new(),
            retry_after: code.says_when_to_retry().then_some(1),
            headers: code.header().into_iter().collect(),
            limit: None,
            cause: None,
        }
    }

    /// 422: these fields are missing or bad.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(Code::InvalidRequest)
        }
    }

    /// 429: refused until `wait` has passed.
    #[must_use]
    pub fn too_many_attempts(wait: Duration) -> Self {
        Self::new(Code::TooManyAttempts).retry_after(wait)
    }

    /// 429: so many links were mailed to an address that no more are until `wait` has passed.
    #[must_use]
    pub fn too_many_links(wait: Duration) -> Self {
        Self::too_many_attempts(wait).by_limit("link_mail")
    }

    /// 401: the session was opened longer ago than `max_age` (RFC 9470, section 3).
    #[must_use]
    pub fn reauthentication_required(max_age: Duration) -> Self {
        let challenge = format!(
            r#"Bearer realm="back-office", error="insufficient_user_authentication", max_age="{}""#,
            max_age.as_secs()
        );
        let mut problem = Self::new(Code::ReauthenticationRequired);
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            problem.headers = vec![(WWW_AUTHENTICATE, challenge)];
        }
        problem
    }

    /// Names the limit that refuses, for the metrics.
    #[must_use]
    pub fn by_limit(mut self, limit: &'static str) -> Self {
        self.limit = Some(limit);
        self
    }

    /// 500: a defect of this program, with its cause.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal).because(cause)
    }

    /// Adds the cause for the log: an error, or a plain sentence.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// Sets the time to wait, in whole seconds, rounded up and at least one. Only 429 and 503 have one;
    /// for other codes nothing happens.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.retry_after = self.code.says_when_to_retry().then_some(seconds.max(1));
        self
    }

    /// Adds a header, or replaces the one of the code.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The headers of the answer, except `Retry-After`.
    #[must_use]
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// The fields that were bad.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The code, which programs rely on.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The limit that refuses, if one does.
    #[must_use]
    pub fn limit(&self) -> Option<&'static str> {
        self.limit
    }

    /// The cause and its sources in one line, for the log.
    #[must_use]
    pub fn cause(&self) -> Option<String> {
        let first: &(dyn Error + 'static) = self.cause.as_deref()?;
        Some(causes(first))
    }

    /// The body of the answer.
    #[must_use]
    pub fn body<'a>(&'a self, request_id: &'a RequestId) -> ProblemBody<'a> {
        let status = self.code.status();
        ProblemBody {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: self.code.detail(),
            code: self.code.as_str(),
            request_id: request_id.as_str(),
            errors: &self.errors,
            retry_after: self.retry_after,
        }
    }
}

/// A refusal (RFC 9457).
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `about:blank`: the kind of problem is in `code`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The phrase of the status, as `about:blank` demands (section 4.2.1).
    title: &'static str,
    /// The status code of the answer.
    status: u16,
    /// A sentence for people.
    detail: &'static str,
    #[schema(value_type = Code)]
    code: &'static str,
    /// The `X-Request-Id` of the answer; quote it to report the problem.
    request_id: &'a str,
    /// On 422: the fields that are not as they should be.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(value_type = Vec<FieldError>, required = false)]
    errors: &'a [FieldError],
    /// On 429 and 503: in how many seconds to come back, as in the `Retry-After` header.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false, minimum = 1)]
    retry_after: Option<u64>,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        insert_all(headers, &self.headers);
        response.extensions_mut().insert(self);
        response
    }
}

fn insert_all(headers: &mut HeaderMap, more: &[(HeaderName, HeaderValue)]) {
    for (name, value) in more {
        headers.insert(name, value.clone());
    }
}

/// Writes the body of a response that is a [`Problem`]. Every other response stays as it is.
#[must_use]
pub fn render(mut response: Response, request_id: &RequestId) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    let body = serde_json::to_vec(&problem.body(request_id)).unwrap_or_default();
    *response.body_mut() = body.into();
    response
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn rendered(problem: Problem) -> (HeaderMap, Value) {
        let id = RequestId::parse("id-1").unwrap();
        let (parts, body) = render(problem.into_response(), &id).into_parts();
        let body = to_bytes(body, 9999).await.unwrap();
        (parts.headers, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_problem_tells_code_and_request_id_and_hides_its_cause() {
        let problem = Problem::internal("relation \"users\" does not exist");
        assert_eq!(
            problem.cause().unwrap(),
            "relation \"users\" does not exist"
        );
        let (headers, body) = rendered(problem).await;
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body,
            json!({
                "type": "about:blank",
                "title": "Internal Server Error",
                "status": 500,
                "detail": "Something went wrong on our side. Quote the request id to report it.",
                "code": "internal",
                "requestId": "id-1",
            })
        );
    }

    #[tokio::test]
    async fn a_422_names_its_fields() {
        let field = FieldError {
            field: "email",
            message: "is required".to_owned(),
        };
        let (_, body) = rendered(Problem::invalid(vec![field])).await;
        assert_eq!(body["status"], 422);
        assert_eq!(
            body["errors"],
            json!([{"field": "email", "message": "is required"}])
        );
    }

    #[tokio::test]
    async fn retry_after_is_whole_seconds_and_the_same_in_header_and_body() {
        for (wait, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (300_000, 300)] {
            let problem = Problem::too_many_attempts(Duration::from_millis(wait));
            let (headers, body) = rendered(problem).await;
            assert_eq!(headers[RETRY_AFTER], seconds.to_string(), "{wait} ms");
            assert_eq!(body["retryAfter"], seconds, "{wait} ms");
        }
        let (headers, body) = rendered(Code::Overloaded.into()).await;
        assert_eq!(
            (&headers[RETRY_AFTER], &body["retryAfter"]),
            (&HeaderValue::from(1), &json!(1))
        );
        let elsewhere = Problem::new(Code::NotFound).retry_after(Duration::from_secs(9));
        assert!(!rendered(elsewhere).await.0.contains_key(RETRY_AFTER));
    }

    #[tokio::test]
    async fn every_401_says_how_to_authenticate_and_only_a_bad_token_is_called_one() {
        for code in [
            Code::InvalidCredentials,
            Code::InvalidTwoFactor,
            Code::InvalidRefreshToken,
            Code::MissingAccessToken,
        ] {
            assert_eq!(rendered(code.into()).await.0[WWW_AUTHENTICATE], BEARER);
        }
        let (headers, _) = rendered(Code::InvalidAccessToken.into()).await;
        assert_eq!(
            headers[WWW_AUTHENTICATE],
            r#"Bearer realm="back-office", error="invalid_token""#
        );
    }

    #[tokio::test]
    async fn a_header_of_ones_own_replaces_the_codes() {
        let basic = HeaderValue::from_static("Basic");
        let problem =
            Problem::new(Code::InvalidAccessToken).with_header(WWW_AUTHENTICATE, basic.clone());
        let (headers, _) = rendered(problem).await;
        assert!(headers.get_all(WWW_AUTHENTICATE).iter().eq([&basic]));
    }
}
