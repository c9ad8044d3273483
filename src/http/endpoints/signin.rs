//! `POST /signin`: an address and a password, for tokens or for a challenge.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::openapi::{JSON_BODY, SIGN_IN, always_false, always_true};
use super::passkeys::{self, RequestOptionsBody};
use super::sample;
use super::tokens::{TokenBody, TokenPairBody, WireTime};
use crate::auth::{Auth, SignedIn};
use crate::domain::{
    Challenge, ChallengeId, ChallengeProvider, Client, CodeNonce, EmailAddress, PlainPassword,
    UserId,
};
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;

/// The body of `POST /signin`.
#[derive(Debug, Clone, ToSchema)]
pub struct SigninRequest {
    /// The account's address. Upper and lower case are the same.
    #[schema(
        value_type = String,
        format = Email,
        pattern = r"^[A-Za-z0-9#$&'*+=?^_`{}~][A-Za-z0-9#$&'*+/=?^_`{|}~-]*(\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*@[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$",
        max_length = 254,
    )]
    pub email: EmailAddress,
    /// Its password, in at most 1024 bytes of UTF-8.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024)]
    pub password: PlainPassword,
}

impl FromBody for SigninRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let email = fields.required("email", str::parse);
        let password = fields.required("password", PlainPassword::parse);
        Some(Self {
            email: email?,
            password: password?,
        })
    }
}

/// The answer of `POST /signin`: tokens, or a challenge to confirm. Keys that do not apply are absent.
#[derive(Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SigninResponse {
    /// The password was enough.
    SignedIn(SignedInBody),
    /// A code is asked for: it is on its way by mail, or an authenticator app shows it.
    Challenged(ChallengedBody),
}

/// The answer where the second factor is off.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = SignedIn)]
pub struct SignedInBody {
    /// Always `false` here.
    #[serde(rename = "2faRequired")]
    #[schema(schema_with = always_false)]
    two_factor_required: bool,
    /// For services.
    access_token: TokenBody,
    /// For `/refresh`.
    refresh_token: TokenBody,
}

/// The answer where the second factor is on.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = Challenged)]
pub struct ChallengedBody {
    /// Always `true` here.
    #[serde(rename = "2faRequired")]
    #[schema(schema_with = always_true)]
    two_factor_required: bool,
    /// The challenge to confirm.
    #[serde(rename = "2faDetails")]
    two_factor_details: TwoFactorDetails,
}

/// A challenge, as its owner needs to know it.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TwoFactorDetails {
    /// The 2FA token, for `/2fa/confirm`.
    token: Uuid,
    /// The means that is asked for: the first of `providers`.
    provider: Provider,
    /// The means to confirm it, best first. Absent where the mailed code is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    providers: Option<Vec<Provider>>,
    /// The options for `navigator.credentials.get`; there only if `passkey` is among the `providers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<RequestOptionsBody>,
    /// Until when the code is good.
    expires_at: WireTime,
}

/// A passkey, or where a code comes from: a mail, an authenticator app, or the person's list of recovery codes. There
/// may be more one day; a client that does not know one asks for a code.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Provider {
    Email,
    Passkey,
    Totp,
    RecoveryCode,
}

impl From<ChallengeProvider> for Provider {
    fn from(provider: ChallengeProvider) -> Self {
        match provider {
            ChallengeProvider::Email => Self::Email,
            ChallengeProvider::Passkey => Self::Passkey,
            ChallengeProvider::Totp => Self::Totp,
            ChallengeProvider::RecoveryCode => Self::RecoveryCode,
        }
    }
}

impl SigninResponse {
    /// The password was enough.
    #[must_use]
    pub fn signed_in(tokens: TokenPairBody) -> Self {
        Self::SignedIn(SignedInBody {
            two_factor_required: false,
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
        })
    }

    /// A code or a passkey is asked for.
    #[must_use]
    pub fn challenged(challenge: &Challenge, asked: Option<RequestOptionsBody>) -> Self {
        let providers: Vec<Provider> = (challenge.providers.iter())
            .map(|provider| (*provider).into())
            .collect();
        Self::Challenged(ChallengedBody {
            two_factor_required: true,
            two_factor_details: TwoFactorDetails {
                token: challenge.challenge_id.0,
                provider: providers.first().copied().unwrap_or(Provider::Email),
                providers: (challenge.providers != [ChallengeProvider::Email]).then_some(providers),
                public_key: asked,
                expires_at: challenge.expires_at.into(),
            },
        })
    }
}

impl From<SignedIn> for SigninResponse {
    fn from(signed_in: SignedIn) -> Self {
        match signed_in {
            SignedIn::Session(pair) => Self::signed_in(pair.into()),
            SignedIn::Challenge(challenge, asked) => {
                Self::challenged(&challenge, asked.map(RequestOptionsBody::from))
            }
        }
    }
}

/// Opens a session, or a challenge whose code is mailed.
///
/// With the second factor off, the answer has tokens; with it on, it has a 2FA token to send to `/2fa/confirm`
/// together with the code from the mail or of the authenticator app, or with a passkey. By default, five attempts a
/// minute are let through for an address and a network; the next one starts a block of five minutes.
#[utoipa::path(
    post,
    path = "/signin",
    operation_id = "signin",
    tag = SIGN_IN,
    request_body(
        content = SigninRequest,
        description = JSON_BODY,
        example = example_request,
    ),
    responses((
        status = OK,
        description = "Signed in, or a code to confirm",
        body = SigninResponse,
        examples(
            ("second factor off" = (value = json!(example_signed_in()))),
            ("second factor on" = (value = json!(example_challenged(&[ChallengeProvider::Email])))),
            ("authenticator app" = (value = json!(example_challenged(&[
                ChallengeProvider::Totp,
                ChallengeProvider::RecoveryCode,
            ])))),
            ("passkey" = (value = json!(example_challenged(&[
                ChallengeProvider::Passkey,
                ChallengeProvider::RecoveryCode,
            ])))),
        ),
    )),
)]
pub async fn signin(
    State(auth): State<Auth>,
    client: Client,
    ApiJson(body): ApiJson<SigninRequest>,
) -> Result<Json<SigninResponse>, Problem> {
    let signed_in = auth.signin(&client, &body.email, &body.password).await?;
    Ok(Json(signed_in.into()))
}

/// To `POST /signin`.
fn example_request() -> Value {
    json!({"email": sample::EMAIL, "password": "Secret123"})
}

/// From `POST /signin`, with the second factor off.
fn example_signed_in() -> Value {
    sample::wire(SigninResponse::signed_in(sample::token_pair().into()))
}

/// From `POST /signin`, with the second factor on.
fn example_challenged(providers: &[ChallengeProvider]) -> Value {
    let challenge = Challenge {
        challenge_id: ChallengeId(sample::CHALLENGE),
        user_id: UserId(1),
        nonce: CodeNonce::random(),
        providers: providers.to_vec(),
        expires_at: sample::at(sample::CODE_TTL),
    };
    let asked = providers.contains(&ChallengeProvider::Passkey);
    let asked = asked.then(passkeys::example_confirm_options);
    sample::wire(SigninResponse::challenged(&challenge, asked))
}

#[cfg(test)]
mod tests {
    use axum::extract::{FromRequest, Request};

    use super::*;
    use crate::domain::Timestamp;
    use crate::http::endpoints::tokens::TokenBody;
    use crate::http::extract::body::ApiJson;
    use crate::http::problem::Problem;

    async fn read(body: &'static str) -> Result<SigninRequest, Problem> {
        let request = Request::new(body.into());
        ApiJson::from_request(request, &())
            .await
            .map(|ApiJson(read)| read)
    }

    #[tokio::test]
    async fn address_and_password_are_read_in_their_canonical_forms() {
        let request = read(r#"{"email": "Foo@Bar.com", "password": " \ufb01 "}"#)
            .await
            .unwrap();
        assert_eq!(request.email.as_str(), "foo@bar.com");
        assert_eq!(request.password.expose(), b" fi ");
    }

    #[tokio::test]
    async fn both_fields_are_named_when_both_are_bad_and_neither_is_repeated() {
        let problem = read(r#"{"email": "hunter1", "password": ""}"#)
            .await
            .unwrap_err();
        let text = format!("{problem:?}");
        assert!(text.contains("must have exactly one @"), "{text}");
        assert!(text.contains("must not be empty"), "{text}");
        assert!(!text.contains("hunter1"), "{text}");
    }

    #[test]
    fn times_are_written_as_on_the_wire() {
        assert_eq!(
            example_signed_in()["accessToken"]["createdAt"],
            "2022-01-01T00:00:00+00:00"
        );
    }

    #[test]
    fn keys_that_do_not_apply_are_absent() {
        let at = WireTime::from(Timestamp::UNIX_EPOCH);
        let token = |text: &str| TokenBody {
            token: text.to_owned(),
            created_at: at,
            expires_at: at,
        };
        let pair = TokenPairBody {
            access_token: token("a"),
            refresh_token: token("r"),
        };
        let wire = |text| json!({"token": text, "createdAt": at, "expiresAt": at});
        assert_eq!(
            serde_json::to_value(SigninResponse::signed_in(pair)).unwrap(),
            json!({"2faRequired": false, "accessToken": wire("a"), "refreshToken": wire("r")})
        );
        let challenged = SigninResponse::challenged(
            &Challenge {
                challenge_id: ChallengeId(Uuid::nil()),
                user_id: UserId(1),
                nonce: CodeNonce::random(),
                providers: vec![ChallengeProvider::Email],
                expires_at: Timestamp::UNIX_EPOCH,
            },
            None,
        );
        assert_eq!(
            serde_json::to_value(challenged).unwrap(),
            json!({"2faRequired": true, "2faDetails": {
                "token": Uuid::nil(), "provider": "email", "expiresAt": at,
            }})
        );
        let challenged = SigninResponse::challenged(
            &Challenge {
                challenge_id: ChallengeId(Uuid::nil()),
                user_id: UserId(1),
                nonce: CodeNonce::random(),
                providers: vec![ChallengeProvider::Totp, ChallengeProvider::RecoveryCode],
                expires_at: Timestamp::UNIX_EPOCH,
            },
            None,
        );
        assert_eq!(
            serde_json::to_value(challenged).unwrap(),
            json!({"2faRequired": true, "2faDetails": {
                "token": Uuid::nil(), "provider": "totp", "providers": ["totp", "recovery_code"],
                "expiresAt": at,
            }})
        );
    }
}
