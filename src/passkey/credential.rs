//! The answer of a browser: the JSON that `PublicKeyCredential.toJSON()` makes (section 5.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// Transports that are kept of a passkey. Browsers know six.
const MAX_TRANSPORTS: usize = 8;

/// Letters of a transport's name.
const MAX_TRANSPORT_LETTERS: usize = 32;

/// A new passkey as a browser tells of it (`RegistrationResponseJSON`).
#[derive(Debug, Clone)]
pub struct RegistrationResponse {
    /// The bytes of `clientDataJSON`, not yet parsed.
    pub client_data_json: Vec<u8>,
    /// The bytes of `attestationObject`, not yet parsed.
    pub attestation_object: Vec<u8>,
    /// How the authenticator can be reached. Texts without the form of such a word are left out.
    pub transports: Vec<String>,
}

/// The use of a passkey as a browser tells of it (`AuthenticationResponseJSON`).
#[derive(Debug, Clone)]
pub struct AssertionResponse {
    /// The id of the passkey.
    pub credential_id: Vec<u8>,
    /// The bytes of `clientDataJSON`, not yet parsed.
    pub client_data_json: Vec<u8>,
    /// The bytes of `authenticatorData`, not yet parsed.
    pub authenticator_data: Vec<u8>,
    /// The signature over both.
    pub signature: Vec<u8>,
    /// The handle of the person, where the authenticator holds it.
    pub user_handle: Option<Vec<u8>>,
}

/// A credential without the form that browsers give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedCredential {
    /// It is no object, or not of this type.
    #[error("must be what `PublicKeyCredential.toJSON()` gives")]
    Shape,
    /// A part of it is missing or is no base64url.
    #[error("`{0}` must be base64url without padding")]
    Part(&'static str),
}

impl RegistrationResponse {
    /// Reads a `RegistrationResponseJSON`.
    pub fn from_json(json: &Value) -> Result<Self, MalformedCredential> {
        let (_, response) = parts(json)?;
        let transports = response.get("transports").and_then(Value::as_array);
        let transports = transports.into_iter().flatten().filter_map(Value::as_str);
        Ok(Self {
            client_data_json: bytes(response, "clientDataJSON")?,
            attestation_object: bytes(response, "attestationObject")?,
            transports: transports
                .filter(|transport| is_transport(transport))
                .take(MAX_TRANSPORTS)
                .map(str::to_owned)
                .collect(),
        })
    }
}

impl AssertionResponse {
    /// Reads an `AuthenticationResponseJSON`.
    pub fn from_json(json: &Value) -> Result<Self, MalformedCredential> {
        let (credential, response) = parts(json)?;
        Ok(Self {
            credential_id: bytes(credential, "id")?,
            client_data_json: bytes(response, "clientDataJSON")?,
            authenticator_data: bytes(response, "authenticatorData")?,
            signature: bytes(response, "signature")?,
            user_handle: match response.get("userHandle") {
                None | Some(Value::Null) => None,
                Some(_) => Some(bytes(response, "userHandle")?),
            },
        })
    }
}

type Object = Map<String, Value>;

/// The credential, and the authenticator's part of it.
fn parts(json: &Value) -> Result<(&Object, &Object), MalformedCredential> {
    let credential = json.as_object().ok_or(MalformedCredential::Shape)?;
    let is_of_type = credential.get("type").and_then(Value::as_str) == Some("public-key");
    let response = credential.get("response").and_then(Value::as_object);
    response
        .filter(|_| is_of_type)
        .map(|response| (credential, response))
        .ok_or(MalformedCredential::Shape)
}

fn bytes(object: &Object, key: &'static str) -> Result<Vec<u8>, MalformedCredential> {
    let text = object.get(key).and_then(Value::as_str);
    text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or(MalformedCredential::Part(key))
}

fn is_transport(word: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    (1..=MAX_TRANSPORT_LETTERS).contains(&word.len()) && word.bytes().all(is_letter)
}
