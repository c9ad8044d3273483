//! `/passkey` and `/me/passkeys`: signing in with a passkey alone, and a user's own passkeys.
//!
//! The options for a browser and its answers are the JSON forms of WebAuthn level 3 (section 5.1), so that a page
//! can hand them on as they are.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::factors;
use super::openapi::{ACCOUNT, JSON_BODY, SIGN_IN};
use super::sample;
use super::tokens::{self, TokenPairBody, WireTime};
use crate::auth::{Auth, PasskeyAdded, PasskeyAsked, PasskeyOptions, PasskeyWanted};
use crate::domain::{Client, PasskeyName};
use crate::http::extract::bearer::BearerToken;
use crate::http::extract::body::{ApiJson, BodyFields, FromBody};
use crate::http::problem::{Code, Problem};
use crate::passkey::{ALGORITHMS, AssertionResponse, Proof, RegistrationResponse};
use crate::store::{PasskeyDescriptor, PasskeyRecord};

/// The one type of credentials that WebAuthn knows.
const PUBLIC_KEY: &str = "public-key";

/// `PublicKeyCredentialRequestOptionsJSON` of WebAuthn level 3.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasskeyRequestOptions)]
pub struct RequestOptionsBody {
    /// The bytes to be signed, in base64url.
    challenge: String,
    /// How long to wait, in milliseconds.
    timeout: u64,
    /// The domain of the passkey.
    rp_id: String,
    /// The passkeys that are good; empty: any.
    allow_credentials: Vec<DescriptorBody>,
    /// `required` where the passkey replaces the password.
    #[schema(value_type = UserVerification)]
    user_verification: &'static str,
}

/// Whether the authenticator is to verify the person.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes the words")]
enum UserVerification {
    Required,
    Preferred,
    Discouraged,
}

/// Whether the authenticator is to keep the passkey, so that it can be found without an id.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes the words")]
enum ResidentKey {
    Required,
    Preferred,
    Discouraged,
}

/// The type of a credential: there is one.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it describes the word")]
enum CredentialType {
    PublicKey,
}

/// `PublicKeyCredentialDescriptorJSON` of WebAuthn level 3.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = PasskeyDescriptor)]
struct DescriptorBody {
    #[serde(rename = "type")]
    #[schema(value_type = CredentialType)]
    kind: &'static str,
    /// The passkey's id, in base64url.
    id: String,
    /// How its authenticator can be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    transports: Vec<String>,
}

impl From<PasskeyDescriptor> for DescriptorBody {
    fn from(descriptor: PasskeyDescriptor) -> Self {
        Self {
            kind: PUBLIC_KEY,
            id: encode(&descriptor.credential_id),
            transports: descriptor.transports,
        }
    }
}

impl From<PasskeyAsked> for RequestOptionsBody {
    fn from(asked: PasskeyAsked) -> Self {
        Self {
            challenge: encode(&asked.challenge),
            timeout: milliseconds(asked.timeout),
            rp_id: asked.rp_id,
            allow_credentials: asked.allowed.into_iter().map(Into::into).collect(),
            user_verification: match asked.proof {
                Proof::Alone => "required",
                // The password was one factor; a PIN would be a third.
                Proof::Possession => "discouraged",
            },
        }
    }
}

/// `PublicKeyCredentialCreationOptionsJSON` of WebAuthn level 3.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasskeyCreationOptions)]
pub struct CreationOptionsBody {
    rp: PartyBody,
    user: OwnerBody,
    /// The bytes to be signed, in base64url.
    challenge: String,
    /// The algorithms that the key may have, best first.
    pub_key_cred_params: Vec<AlgorithmBody>,
    /// How long to wait, in milliseconds.
    timeout: u64,
    /// The user's passkeys: an authenticator that has one makes no other.
    exclude_credentials: Vec<DescriptorBody>,
    authenticator_selection: SelectionBody,
    /// Always `none`: the make of authenticator is not asked for.
    attestation: &'static str,
}

/// The party that the passkey is made for.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = PasskeyParty)]
struct PartyBody {
    /// Its domain: the RP ID of WebAuthn.
    id: String,
    /// Its name, for people to read.
    name: String,
}

/// The person whom it is made for.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasskeyOwner)]
struct OwnerBody {
    /// Random bytes in base64url, the same for all passkeys of a user.
    id: String,
    /// The user's address.
    name: String,
    /// The same as `name`.
    display_name: String,
}

/// An algorithm of COSE.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = PasskeyAlgorithm)]
struct AlgorithmBody {
    #[serde(rename = "type")]
    #[schema(value_type = CredentialType)]
    kind: &'static str,
    /// Its number.
    alg: i32,
}

/// The wanted authenticator.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasskeySelection)]
struct SelectionBody {
    /// Always `preferred`.
    #[schema(value_type = ResidentKey)]
    resident_key: &'static str,
    /// Always `preferred`.
    #[schema(value_type = UserVerification)]
    user_verification: &'static str,
}

impl From<PasskeyWanted> for CreationOptionsBody {
    fn from(wanted: PasskeyWanted) -> Self {
        let algorithm = |alg| AlgorithmBody {
            kind: PUBLIC_KEY,
            alg,
        };
        Self {
            rp: PartyBody {
                id: wanted.rp_id,
                name: wanted.rp_name,
            },
            user: OwnerBody {
                id: encode(&wanted.user_handle),
                name: wanted.email.to_string(),
                display_name: wanted.email.to_string(),
            },
            challenge: encode(&wanted.challenge),
            pub_key_cred_params: ALGORITHMS.into_iter().map(algorithm).collect(),
            timeout: milliseconds(wanted.timeout),
            exclude_credentials: wanted.excluded.into_iter().map(Into::into).collect(),
            authenticator_selection: SelectionBody {
                resident_key: "preferred",
                user_verification: "preferred",
            },
            attestation: "none",
        }
    }
}

/// The answer of `POST /passkey/options`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasskeyAsked)]
pub struct AskedResponse {
    /// For `/passkey/signin`.
    token: String,
    /// For `navigator.credentials.get`.
    public_key: RequestOptionsBody,
    /// Until when it can be answered.
    expires_at: WireTime,
}

impl From<PasskeyOptions<PasskeyAsked>> for AskedResponse {
    fn from(options: PasskeyOptions<PasskeyAsked>) -> Self {
        Self {
            token: options.token,
            public_key: options.public_key.into(),
            expires_at: options.expires_at.into(),
        }
    }
}

/// Asks for a passkey to sign in with, alone.
///
/// No address is asked for, and nothing is stored: the answer is the same for everybody. 404 where
/// `passkeys.rp_id` is not set.
#[utoipa::path(
    post,
    path = "/passkey/options",
    operation_id = "askForPasskey",
    tag = SIGN_IN,
    responses((
        status = OK,
        description = "The options for the browser",
        body = AskedResponse,
        example = example_asked,
    )),
)]
pub async fn ask(State(auth): State<Auth>) -> Result<Json<AskedResponse>, Problem> {
    let options = auth.ask_for_passkey().ok_or(Code::NotFound)?;
    Ok(Json(options.into()))
}

/// The result of `navigator.credentials.get`, as `toJSON()` writes it: `AuthenticationResponseJSON` of WebAuthn
/// level 3.
#[derive(ToSchema)]
#[schema(as = PasskeyUsed)]
#[expect(dead_code, reason = "it describes `AssertionResponse`")]
pub(super) struct UsedBody {
    #[schema(value_type = Base64Url)]
    id: String,
    /// The same as `id`.
    #[schema(rename = "rawId", required = false)]
    raw_id: String,
    #[schema(rename = "type")]
    kind: CredentialType,
    response: UsedParts,
    /// Of extensions, none of which is asked for.
    #[schema(rename = "clientExtensionResults", required = false)]
    extensions: Value,
}

/// The authenticator's part of it.
#[derive(ToSchema)]
#[schema(as = PasskeyUsedResponse)]
#[expect(dead_code, reason = "it describes `AssertionResponse`")]
struct UsedParts {
    #[schema(rename = "clientDataJSON", value_type = Base64Url)]
    client_data: String,
    #[schema(rename = "authenticatorData", value_type = Base64Url)]
    authenticator_data: String,
    #[schema(value_type = Base64Url)]
    signature: String,
    #[schema(rename = "userHandle", value_type = Option<Base64Url>, required = false)]
    user_handle: Option<String>,
}

/// The result of `navigator.credentials.create`, as `toJSON()` writes it: `RegistrationResponseJSON` of WebAuthn
/// level 3.
#[derive(ToSchema)]
#[schema(as = PasskeyMade)]
#[expect(dead_code, reason = "it describes `RegistrationResponse`")]
struct MadeBody {
    #[schema(required = false)]
    id: String,
    /// The same as `id`.
    #[schema(rename = "rawId", required = false)]
    raw_id: String,
    #[schema(rename = "type")]
    kind: CredentialType,
    response: MadeParts,
    /// Of extensions, none of which is asked for.
    #[schema(rename = "clientExtensionResults", required = false)]
    extensions: Value,
}

/// The authenticator's part of it.
#[derive(ToSchema)]
#[schema(as = PasskeyMadeResponse)]
#[expect(dead_code, reason = "it describes `RegistrationResponse`")]
struct MadeParts {
    #[schema(rename = "clientDataJSON", value_type = Base64Url)]
    client_data: String,
    #[schema(rename = "attestationObject", value_type = Base64Url)]
    attestation: String,
    /// How the authenticator can be reached.
    #[schema(required = false)]
    transports: Vec<String>,
}

/// Bytes in base64url without padding; the last letter has no bits that mean nothing (RFC 4648, section 3.5).
#[derive(ToSchema)]
#[schema(
    value_type = String,
    pattern = "^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-][AQgw]|[A-Za-z0-9_-]{2}[AEIMQUYcgkosw048])?$"
)]
#[expect(dead_code, reason = "it describes texts")]
struct Base64Url(String);

/// The body of `POST /passkey/signin`.
#[derive(Debug, Clone, ToSchema)]
pub struct PasskeySigninRequest {
    /// The token that came with the options.
    pub token: String,
    /// The result of `navigator.credentials.get`, as `toJSON()` writes it.
    #[schema(value_type = UsedBody)]
    pub credential: AssertionResponse,
}

impl FromBody for PasskeySigninRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let token = fields.text("token");
        let credential = fields.value("credential", AssertionResponse::from_json);
        Some(Self {
            token: token?,
            credential: credential?,
        })
    }
}

/// Trades a passkey for a session, in place of password and second factor.
///
/// The passkey must have verified its owner, now and when it was made or in a use after the password. It counts as
/// a sign-in for the network that it comes from.
#[utoipa::path(
    post,
    path = "/passkey/signin",
    operation_id = "signinWithPasskey",
    tag = SIGN_IN,
    request_body(
        content = PasskeySigninRequest,
        description = JSON_BODY,
        example = example_signin,
    ),
    responses((
        status = OK,
        description = "Signed in",
        body = TokenPairBody,
        example = tokens::example,
    )),
)]
pub async fn signin(
    State(auth): State<Auth>,
    client: Client,
    ApiJson(body): ApiJson<PasskeySigninRequest>,
) -> Result<Json<TokenPairBody>, Problem> {
    let pair = auth
        .signin_with_passkey(&client, &body.token, &body.credential)
        .await?;
    Ok(Json(pair.into()))
}

/// The answer of `POST /me/passkeys/options`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasskeyWanted)]
pub struct WantedResponse {
    /// For `POST /me/passkeys`.
    token: String,
    /// For `navigator.credentials.create`.
    public_key: CreationOptionsBody,
    /// Until when it can be answered.
    expires_at: WireTime,
}

impl From<PasskeyOptions<PasskeyWanted>> for WantedResponse {
    fn from(options: PasskeyOptions<PasskeyWanted>) -> Self {
        Self {
            token: options.token,
            public_key: options.public_key.into(),
            expires_at: options.expires_at.into(),
        }
    }
}

/// Asks for a new passkey of the user's.
///
/// Nothing changes before it is sent. Needs a session that was opened recently. 409 for a user who has ten.
#[utoipa::path(
    post,
    path = "/me/passkeys/options",
    operation_id = "beginPasskey",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    responses((
        status = OK,
        description = "The options for the browser",
        body = WantedResponse,
        example = example_wanted,
    )),
)]
pub async fn begin(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
) -> Result<Json<WantedResponse>, Problem> {
    let options = auth.begin_passkey(&client, token.expose()).await?;
    Ok(Json(options.into()))
}

/// The body of `POST /me/passkeys`.
#[derive(Debug, Clone, ToSchema)]
pub struct AddPasskeyRequest {
    /// The token that came with the options.
    pub token: String,
    /// A name by which the user tells it from others, without control characters.
    #[schema(value_type = String, min_length = 1, max_length = 64)]
    pub name: PasskeyName,
    /// The result of `navigator.credentials.create`, as `toJSON()` writes it.
    #[schema(value_type = MadeBody)]
    pub credential: RegistrationResponse,
}

impl FromBody for AddPasskeyRequest {
    fn from_body(fields: &mut BodyFields) -> Option<Self> {
        let token = fields.text("token");
        let name = fields.required("name", PasskeyName::parse);
        let credential = fields.value("credential", RegistrationResponse::from_json);
        Some(Self {
            token: token?,
            name: name?,
            credential: credential?,
        })
    }
}

/// A passkey that was added.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PasskeyAdded)]
pub struct AddedResponse {
    #[serde(flatten)]
    passkey: PasskeyBody,
    /// Recovery codes, shown this once; absent if there are some left of before.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_codes: Option<Vec<String>>,
}

/// A passkey.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Passkey)]
pub(super) struct PasskeyBody {
    /// Its id, for `DELETE /me/passkeys/{id}`.
    id: Uuid,
    /// The name that the user gave it.
    name: String,
    /// When it was added.
    created_at: WireTime,
    /// When it last confirmed a sign-in, or signed in alone; absent if it has not yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<WireTime>,
    /// Whether it can be copied to other devices.
    synced: bool,
    /// Whether it may sign in alone: it has verified its owner. One that an authenticator does not keep cannot,
    /// whatever this says.
    alone: bool,
}

impl From<PasskeyRecord> for PasskeyBody {
    fn from(record: PasskeyRecord) -> Self {
        Self {
            id: record.passkey_id.0,
            name: record.name,
            created_at: record.created_at.into(),
            last_used_at: record.last_used_at.map(WireTime::from),
            synced: record.is_synced,
            alone: record.verifies_user,
        }
    }
}

impl From<PasskeyAdded> for AddedResponse {
    fn from(added: PasskeyAdded) -> Self {
        Self {
            passkey: PasskeyBody {
                id: added.passkey_id.0,
                name: added.name.as_str().to_owned(),
                created_at: added.created_at.into(),
                last_used_at: None,
                synced: added.is_synced,
                alone: added.verifies_user,
            },
            recovery_codes: added.recovery_codes.as_deref().map(factors::shown),
        }
    }
}

/// Adds a passkey.
///
/// From now on a sign-in is confirmed by it, or by an authenticator app or a recovery code, and no code is mailed.
/// All other sessions of the user end, and the user is told by mail. Needs a session that was opened recently. 422
/// names `credential` for one that does not verify, and `token` for one that is not of this session or too old; 409
/// is for one that somebody has, and for an eleventh.
#[utoipa::path(
    post,
    path = "/me/passkeys",
    operation_id = "addPasskey",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    request_body(
        content = AddPasskeyRequest,
        description = JSON_BODY,
        example = example_add,
    ),
    responses((
        status = CREATED,
        description = "The passkey is asked for from now on",
        body = AddedResponse,
        example = example_added,
    )),
)]
pub async fn add(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
    ApiJson(body): ApiJson<AddPasskeyRequest>,
) -> Result<(StatusCode, Json<AddedResponse>), Problem> {
    let AddPasskeyRequest {
        token: request,
        name,
        credential,
    } = body;
    let added = auth
        .add_passkey(&client, token.expose(), &request, name, credential)
        .await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// Removes a passkey.
///
/// With the last factor the recovery codes go, and a sign-in is confirmed by a mailed code. All other sessions of the
/// user end, and the user is told by mail. Needs a session that was opened recently. 404 if the user has no such one.
#[utoipa::path(
    delete,
    path = "/me/passkeys/{id}",
    operation_id = "removePasskey",
    tag = ACCOUNT,
    security(("accessToken" = [])),
    params(("id" = Uuid, Path, description = "The passkey's id, as `GET /me` lists it")),
    responses((status = NO_CONTENT, description = "The passkey is good for nothing any more")),
)]
pub async fn remove(
    State(auth): State<Auth>,
    client: Client,
    token: BearerToken,
    id: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    // A text that is no id is the id of no passkey.
    let id = id.map(|Path(id)| id).unwrap_or_default();
    auth.remove_passkey(&client, token.expose(), &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

const CHALLENGE: &str = "jgQqhNsnPmYAs6VQPyfjWzQtPfHxBCYlEDhYbIXhBqs";
const CREDENTIAL: &str = "Wm5qbTFvY2VwYXNza2V5";
const TOKEN: &str = "svz5mSsLRR2YiAlKeRF6pQAAAABhz5vaqU9BpelPQZ6lT0GepQ";

fn example_request_options() -> Value {
    sample::wire(RequestOptionsBody {
        challenge: CHALLENGE.to_owned(),
        timeout: 300_000,
        rp_id: "host.name".to_owned(),
        allow_credentials: Vec::new(),
        user_verification: "required",
    })
}

/// From `POST /signin`, where a passkey confirms.
pub(super) fn example_confirm_options() -> RequestOptionsBody {
    RequestOptionsBody {
        challenge: CHALLENGE.to_owned(),
        timeout: 600_000,
        rp_id: "host.name".to_owned(),
        allow_credentials: vec![DescriptorBody {
            kind: PUBLIC_KEY,
            id: CREDENTIAL.to_owned(),
            transports: vec!["internal".to_owned(), "hybrid".to_owned()],
        }],
        user_verification: "discouraged",
    }
}

/// From `POST /passkey/options`.
fn example_asked() -> Value {
    json!({
        "token": TOKEN,
        "publicKey": example_request_options(),
        "expiresAt": WireTime::from(sample::at(300)),
    })
}

/// The result of `navigator.credentials.get`.
pub(super) fn example_assertion() -> Value {
    json!({
        "id": CREDENTIAL,
        "rawId": CREDENTIAL,
        "type": PUBLIC_KEY,
        "response": {
            "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uZ2V0In0",
            "authenticatorData": "SZYN5YgOjGh0NBcPZHZgW4_krrmihjLHmVzzuoMdl2MFAAAAAA",
            "signature": "MEUCIQ",
            "userHandle": "CQkJCQkJCQkJCQkJCQkJCQ",
        },
        "clientExtensionResults": {},
    })
}

/// To `POST /passkey/signin`.
fn example_signin() -> Value {
    json!({"token": TOKEN, "credential": example_assertion()})
}

/// From `POST /me/passkeys/options`.
fn example_wanted() -> Value {
    let wanted = PasskeyWanted {
        challenge: [7; 32],
        rp_id: "host.name".to_owned(),
        rp_name: "Back Office".to_owned(),
        user_handle: vec![9; 32],
        email: sample::EMAIL.parse().expect("it is an address"),
        excluded: Vec::new(),
        timeout: Duration::from_mins(5),
    };
    json!({
        "token": TOKEN,
        "publicKey": CreationOptionsBody::from(wanted),
        "expiresAt": WireTime::from(sample::at(300)),
    })
}

/// To `POST /me/passkeys`.
fn example_add() -> Value {
    let credential = json!({
        "id": CREDENTIAL,
        "rawId": CREDENTIAL,
        "type": PUBLIC_KEY,
        "response": {
            "clientDataJSON": "eyJ0eXBlIjoid2ViYXV0aG4uY3JlYXRlIn0",
            "attestationObject": "o2NmbXRkbm9uZWdhdHRTdG10oGhhdXRoRGF0YVjE",
            "transports": ["internal", "hybrid"],
        },
        "clientExtensionResults": {},
    });
    json!({"token": TOKEN, "name": "Phone", "credential": credential})
}

/// From `POST /me/passkeys`.
fn example_added() -> Value {
    let mut added = sample::wire(example_passkey(None));
    added["recoveryCodes"] = factors::example_codes()["recoveryCodes"].take();
    added
}

/// One of `GET /me`.
pub(super) fn example_passkey(last_used_at: Option<WireTime>) -> PasskeyBody {
    PasskeyBody {
        id: sample::CHALLENGE,
        name: "Phone".to_owned(),
        created_at: sample::at(-86_400).into(),
        last_used_at,
        synced: true,
        alone: true,
    }
}
