//! A token taken apart and checked without any of the server's code.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

/// The three parts of a token.
#[derive(Debug)]
pub struct Jwt {
    pub header: Value,
    pub claims: Value,
    signed: String,
    signature: Vec<u8>,
}

impl Jwt {
    pub fn read(token: &str) -> Self {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        let json = |part| serde_json::from_slice(&decode(part)).unwrap();
        Self {
            header: json(header),
            claims: json(claims),
            signed: signed.to_owned(),
            signature: decode(signature),
        }
    }

    /// Whether the key of a key set that the header names verifies the signature.
    pub fn is_signed_by(&self, jwks: &Value) -> bool {
        let keys = jwks["keys"].as_array().unwrap();
        let key = keys.iter().find(|key| key["kid"] == self.header["kid"]);
        let key = key.unwrap();
        assert_eq!((&key["kty"], &key["alg"]), (&"RSA".into(), &"RS256".into()));
        let part = |name: &str| decode(key[name].as_str().unwrap());
        RsaPublicKeyComponents {
            n: part("n"),
            e: part("e"),
        }
        .verify(
            &RSA_PKCS1_2048_8192_SHA256,
            self.signed.as_bytes(),
            &self.signature,
        )
        .is_ok()
    }
}

pub fn decode(part: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()
}
