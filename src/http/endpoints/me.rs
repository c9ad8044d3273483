//! `GET /me`, `POST /me/password`: a user's own account.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::openapi::{ACCOUNT, JSON_BODY};
use super::passkeys::{self, PasskeyBody};
use super::sample;
use super::session::UserBody;
use super::tokens::WireTime;
use crate::auth::Auth;
use crate::domain::{Client, PlainPassword, Timestamp, TwoFactor, UserId};
use crate::http::extract::bearer::BearerToken;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;
use crate::store::{Account, EnrolledFactors};

/// The answer of `GET /me`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Me)]
pub struct MeResponse {
    user: UserBody,
    /// Whether the user may manage others.
    administrator: bool,
    /// How a sign-in is confirmed where there is neither an authenticator app nor a passkey; `off`: by nothing. Take other words for
    /// "by a code".
    two_factor: TwoFactorWord,
    /// The authenticator app; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    totp: Option<TotpBody>,
    /// The user's passkeys, oldest first.
    #[schema(max_items = 10)]
    passkeys: Vec<PasskeyBody>,
    /// Recovery codes that were not used.
    #[schema(minimum = 0)]
    recovery_codes_left: i64,
    /// Until when the session is fresh: for `tokens.fresh_seconds` after the sign-in. A refresh changes
    /// nothing about it. May be past.
    fresh_until: WireTime,
}

/// An authenticator app.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Totp)]
struct TotpBody {
    /// When it was enrolled.
    created_at: WireTime,
    /// When it last confirmed a sign-in; absent if it has not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<WireTime>,
}

/// How a sign-in is confirmed.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = TwoFactor)]
pub(super) enum TwoFactorWord {
    Off,
    Email,
}

impl From<TwoFactor> for TwoFactorWord {
    fn from(two_factor: TwoFactor) -> Self {
        match two_factor {
            TwoFactor::Off => Self::Off,
            TwoFactor::Email => Self::Email,
        }
    }
}

impl From<(Account, Timestamp)> for MeResponse {
    fn from((account, fresh_until): (Account, Timestamp)) -> Self {
        Self {
            user: UserBody {
                id: account.user_id.to_string(),
                email: account.email.to_string(),
            },
            administrator: account.is_administrator,
            two_factor: account.two_factor.into(),
            passkeys: (account.factors.passkeys.into_iter())
                .map(PasskeyBody::from)
                .collect(),
            totp: account
                .factors
                .totp
                .map(|(created_at, last_used_at)| TotpBody {
                    created_at: created_at.into(),
                    last_used_at: last_used_at.map(WireTime::from),
                }),
            recovery_codes_left: account.factors.recovery_codes_left,
            fresh_until: fresh_until.into(),
        }
    }
}

/// Shows the account of the token's owner.
///
/// From the database, unlike `GET /session`: a change since the token was issued shows at once.
#[utoipa::path(
    get,
    path = "/me",
    operation_id = "showAccount",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    responses((
        status = OK,
        description = "The account as it is now",
        body = MeResponse,
        example = example,
    )),
)]
pub async fn show(
    State(auth): State<Auth>,
    token: BearerToken,
) -> Result<Json<MeResponse>, Problem> {
    Ok(Json(auth.show_account(token.expose()).await?.into()))
}

/// The body of `POST /me/password`.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct ChangePasswordRequest {
    /// The password that the user has now, in at most 1024 bytes of UTF-8.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 1024)]
    pub current_password: PlainPassword,
    /// The password to have from now on: at least 8 characters, not the address, not a common one.
    #[schema(value_type = String, format = Password, min_length = 8, max_length = 1024)]
    pub new_password: PlainPassword,
}

impl FromBody for ChangePasswordRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let current_password = fields.required("currentPassword", PlainPassword::parse);
        let new_password = fields.required("newPassword", PlainPassword::parse);
        Some(Self {
            current_password: current_password?,
            new_password: new_password?,
        })
    }
}

/// Changes the password of the token's owner.
///
/// All other sessions of the user end; the token's own goes on. The user is told by mail. The current
/// password counts as a sign-in to this account from this network. A wrong one is 403, not 401: a client that
/// refreshes and sends again on 401 would guess twice.
#[utoipa::path(
    post,
    path = "/me/password",
    operation_id = "changePassword",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    request_body(
        content = ChangePasswordRequest,
        description = JSON_BODY,
        example = example_request,
    ),
    responses((status = NO_CONTENT, description = "The new password counts")),
)]
pub async fn change_password(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
    ApiJson(body): ApiJson<ChangePasswordRequest>,
) -> Result<StatusCode, Problem> {
    let (current, new) = (body.current_password, body.new_password);
    auth.change_own_password(&client, token.expose(), &current, new)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// From `GET /me`.
fn example() -> Value {
    let account = Account {
        user_id: UserId(1),
        email: sample::EMAIL.parse().expect("it is an address"),
        is_administrator: false,
        two_factor: TwoFactor::Email,
        factors: EnrolledFactors {
            totp: Some((sample::at(-86_400), Some(sample::at(0)))),
            passkeys: Vec::new(),
            recovery_codes_left: 9,
        },
        signed_in_at: sample::at(0),
    };
    let mut me = MeResponse::from((account, sample::at(sample::FRESH)));
    me.passkeys = vec![passkeys::example_passkey(None)];
    sample::wire(me)
}

/// To `POST /me/password`.
fn example_request() -> Value {
    json!({"currentPassword": "Secret123", "newPassword": "violet-anvil-67"})
}
