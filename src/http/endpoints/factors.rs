//! `/me/totp` and `/me/recovery-codes`: a user's own second factors.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use qrcodegen::{QrCode, QrCodeEcc};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::openapi::{ACCOUNT, JSON_BODY};
use super::sample;
use super::tokens::WireTime;
use crate::auth::{Auth, TotpEnrolment};
use crate::domain::{Client, RECOVERY_CODES, RecoveryCode};
use crate::http::extract::bearer::BearerToken;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::Problem;

/// Light modules around a QR code, as ISO/IEC 18004 asks for.
const QUIET_ZONE: i32 = 4;

/// The answer of `POST /me/totp`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TotpEnrolment)]
pub struct EnrolmentResponse {
    /// Names the enrolment when it is confirmed.
    id: Uuid,
    /// The secret in base32, to be typed where no QR code can be read.
    secret: String,
    /// The URI that an app reads: `otpauth://totp/…`.
    uri: String,
    qr: QrBody,
    /// Until when a code confirms it.
    expires_at: WireTime,
}

/// The QR code of the URI, as one path of an SVG.
#[derive(Serialize, ToSchema)]
#[schema(as = QrCode)]
struct QrBody {
    /// Width and height of the view box, the light margin included.
    #[schema(minimum = 1)]
    size: i32,
    /// The dark modules: the attribute `d` of a `path`.
    path: String,
}

impl TryFrom<TotpEnrolment> for EnrolmentResponse {
    type Error = Problem;

    fn try_from(enrolment: TotpEnrolment) -> Result<Self, Problem> {
        let uri = enrolment.uri.expose_secret();
        Ok(Self {
            id: enrolment.totp_id.0,
            secret: enrolment.secret.expose_secret().to_owned(),
            uri: uri.to_owned(),
            qr: draw(uri)?,
            expires_at: enrolment.expires_at.into(),
        })
    }
}

/// Draws a QR code: a subpath for each run of dark modules in a row.
fn draw(text: &str) -> Result<QrBody, Problem> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).map_err(Problem::internal)?;
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size())
                .take_while(|x| code.get_module(*x, y))
                .count();
            let run = i32::try_from(run).unwrap_or_default();
            if run > 0 {
                let (left, top) = (x + QUIET_ZONE, y + QUIET_ZONE);
                write!(path, "M{left},{top}h{run}v1h-{run}z").map_err(Problem::internal)?;
            }
            x += run + 1;
        }
    }
    Ok(QrBody {
        size: code.size() + 2 * QUIET_ZONE,
        path,
    })
}

/// Begins to enrol an authenticator app.
///
/// Nothing changes before its first code is [confirmed](confirm): an app that is in use stays until then, and
/// an enrolment that was begun before is void. Needs a session that was opened recently.
#[utoipa::path(
    post,
    path = "/me/totp",
    operation_id = "beginTotp",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    responses((
        status = OK,
        description = "The secret for the app, shown this once",
        body = EnrolmentResponse,
        example = example_enrolment,
    )),
)]
pub async fn begin(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
) -> Result<Json<EnrolmentResponse>, Problem> {
    let enrolment = auth.begin_totp(&client, token.expose()).await?;
    Ok(Json(enrolment.try_into()?))
}

/// The body of `POST /me/totp/confirm`. Any text is in bounds; a malformed one is refused as every other wrong
/// one is.
#[derive(Clone, ToSchema)]
pub struct ConfirmTotpRequest {
    /// The id of the enrolment.
    pub id: String,
    /// The six digits that the app shows.
    pub code: String,
}

impl FromBody for ConfirmTotpRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let (id, code) = (fields.text("id"), fields.text("code"));
        Some(Self {
            id: id?,
            code: code?,
        })
    }
}

/// The answer of `POST /me/totp/confirm`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TotpConfirmed)]
pub struct ConfirmTotpResponse {
    /// Recovery codes, shown this once; absent if there are some left of before.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

/// Makes an authenticator app the user's second factor, by its first code.
///
/// All other sessions of the user end, and the user is told by mail. The code counts as a guess at a code of
/// the user does, and no sign-in takes it again. Needs a session that was opened recently.
#[utoipa::path(
    post,
    path = "/me/totp/confirm",
    operation_id = "confirmTotp",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    request_body(
        content = ConfirmTotpRequest,
        description = JSON_BODY,
        example = example_confirm_request,
    ),
    responses((
        status = OK,
        description = "The app is asked for from now on",
        body = ConfirmTotpResponse,
        example = example_codes,
    )),
)]
pub async fn confirm(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
    ApiJson(body): ApiJson<ConfirmTotpRequest>,
) -> Result<Json<ConfirmTotpResponse>, Problem> {
    let codes = auth
        .confirm_totp(&client, token.expose(), &body.id, &body.code)
        .await?;
    Ok(Json(ConfirmTotpResponse {
        recovery_codes: codes.as_deref().map(shown),
    }))
}

/// Removes the user's authenticator app.
///
/// With the last factor the recovery codes go, and a sign-in is confirmed by a mailed code. All other sessions of the user end, and the user is told
/// by mail. Needs a session that was opened recently. 404 if there is no app.
#[utoipa::path(
    delete,
    path = "/me/totp",
    operation_id = "removeTotp",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    responses((status = NO_CONTENT, description = "There is no app any more")),
)]
pub async fn remove(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
) -> Result<StatusCode, Problem> {
    auth.remove_totp(&client, token.expose()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The answer of `POST /me/recovery-codes`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RecoveryCodes)]
pub struct RecoveryCodesResponse {
    /// Ten codes, each good for one sign-in.
    recovery_codes: Vec<String>,
}

/// Makes new recovery codes. The former ones are void.
///
/// All other sessions of the user end, and the user is told by mail. Needs a session that was opened recently.
/// 404 if there is neither an authenticator app nor a passkey.
#[utoipa::path(
    post,
    path = "/me/recovery-codes",
    operation_id = "renewRecoveryCodes",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    responses((
        status = OK,
        description = "The codes, shown this once",
        body = RecoveryCodesResponse,
        example = example_codes,
    )),
)]
pub async fn renew_recovery_codes(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
) -> Result<Json<RecoveryCodesResponse>, Problem> {
    let codes = auth.renew_recovery_codes(&client, token.expose()).await?;
    Ok(Json(RecoveryCodesResponse {
        recovery_codes: shown(&codes),
    }))
}

/// Recovery codes as they are shown.
pub(super) fn shown(codes: &[RecoveryCode]) -> Vec<String> {
    codes.iter().map(RecoveryCode::expose).collect()
}

/// From `POST /me/totp`.
fn example_enrolment() -> Value {
    let uri = "otpauth://totp/Back%20Office:foo%40bar.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
               &issuer=Back%20Office";
    json!({
        "id": sample::CHALLENGE,
        "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ",
        "uri": uri,
        "qr": {"size": 45, "path": "M4,4h7v1h-7z"},
        "expiresAt": WireTime::from(sample::at(sample::CODE_TTL)),
    })
}

/// To `POST /me/totp/confirm`.
fn example_confirm_request() -> Value {
    json!({"id": sample::CHALLENGE, "code": "123456"})
}

/// From `POST /me/totp/confirm` and `POST /me/recovery-codes`.
pub(super) fn example_codes() -> Value {
    let codes = ["01AB-CDEF-GHJK-MNPQ"; RECOVERY_CODES];
    json!({ "recoveryCodes": codes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each module of the path is dark in the code and the other way round.
    #[test]
    fn the_path_has_the_dark_modules_and_no_others() {
        let text = "otpauth://totp/Back%20Office:foo%40bar.com?secret=GEZDGNBVGY3TQOJQ&issuer=Back%20Office";
        let drawn = draw(text).unwrap_or_else(|_| panic!("it is short"));
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).unwrap();
        assert_eq!(drawn.size, code.size() + 8);
        let mut dark = 0;
        for run in drawn.path.split('M').skip(1) {
            let (at, run) = run.split_once('h').unwrap();
            let (x, y) = at.split_once(',').unwrap();
            let (x, y): (i32, i32) = (x.parse().unwrap(), y.parse().unwrap());
            let length: i32 = run.split_once('v').unwrap().0.parse().unwrap();
            for x in x..x + length {
                assert!(code.get_module(x - QUIET_ZONE, y - QUIET_ZONE));
                dark += 1;
            }
        }
        let all = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
        assert_eq!(dark, all.filter(|(x, y)| code.get_module(*x, *y)).count());
    }
}
