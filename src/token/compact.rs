//! The compact form of a token (RFC 7515, section 7.1), taken apart once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;

use super::InvalidToken;
use super::verifier::Verifier;

/// No token of ours is longer, and no longer one is read.
const MAX_BYTES: usize = 4096;

/// The parts of a token. Nothing of it is verified.
pub(super) struct Compact<'a> {
    /// Header and claims as they were signed.
    message: &'a str,
    header: String,
    claims: String,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart. Each part has one spelling (RFC 4648, section 3.5), and is text in UTF-8 but
    /// for the signature.
    pub(super) fn parse(token: &'a str) -> Result<Self, InvalidToken> {
        if token.len() > MAX_BYTES {
            return Err(InvalidToken::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(InvalidToken::Malformed)?;
        let bytes = |part| {
            let bytes = URL_SAFE_NO_PAD.decode(part);
            bytes.map_err(|_| InvalidToken::Malformed)
        };
        let text = |part| String::from_utf8(bytes(part)?).map_err(|_| InvalidToken::Malformed);
        Ok(Self {
            message,
            header: text(header)?,
            claims: text(claims)?,
            signature: bytes(signature)?,
        })
    }

    /// The members of the header that `H` names.
    pub(super) fn header<H: DeserializeOwned>(&self) -> Result<H, InvalidToken> {
        serde_json::from_str(&self.header).map_err(|_| InvalidToken::Header)
    }

    /// The claims that `C` names.
    pub(super) fn claims<C: DeserializeOwned>(&self) -> Result<C, InvalidToken> {
        serde_json::from_str(&self.claims).map_err(|_| InvalidToken::Claims)
    }

    /// Whether the signature is of this key.
    pub(super) fn is_signed_by(&self, key: &Verifier) -> bool {
        key.verifies(self.message.as_bytes(), &self.signature)
    }
}
