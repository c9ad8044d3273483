//! The client data: the browser's statement on the page that asked (section 5.8.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::InvalidPasskey;

/// The request of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ceremony {
    /// A new passkey.
    Create,
    /// The use of one.
    Get,
}

impl Ceremony {
    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "webauthn.create",
            Self::Get => "webauthn.get",
        }
    }
}

/// The client data of a ceremony.
#[derive(Debug)]
pub(super) struct ClientData {
    pub(super) challenge: Vec<u8>,
    pub(super) origin: String,
    pub(super) is_cross_origin: bool,
}

/// The same as JSON. There may be more keys, now and in later browsers; one that is here and given twice is
/// refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: Option<bool>,
}

/// Parses all of it: of a key that is not known, the value alone would not be looked at, even if it is no text.
fn parse(json: &[u8]) -> Result<Json, serde_json::Error> {
    serde_json::from_slice::<Value>(json)?;
    serde_json::from_slice(json)
}

/// Reads the client data of a ceremony.
pub(super) fn read(json: &[u8], ceremony: Ceremony) -> Result<ClientData, InvalidPasskey> {
    let data = parse(json).map_err(|_| InvalidPasskey::ClientData)?;
    if data.kind != ceremony.as_str() {
        return Err(InvalidPasskey::ClientData);
    }
    let challenge = URL_SAFE_NO_PAD.decode(&data.challenge);
    Ok(ClientData {
        challenge: challenge.map_err(|_| InvalidPasskey::ClientData)?,
        origin: data.origin,
        is_cross_origin: data.cross_origin == Some(true),
    })
}
