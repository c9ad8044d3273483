//! An authenticator and its browser, in software: the data that a page would send for a passkey. Each
//! field can be set, so that it also sends data that no real one would.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ciborium::Value as Cbor;
use serde_json::{Value, json};

/// The person was there.
pub const PRESENT: u8 = 1;
/// The person was verified.
pub const VERIFIED: u8 = 1 << 2;
/// The passkey can be copied to other devices.
pub const ELIGIBLE: u8 = 1 << 3;
/// The passkey has been copied to other devices.
pub const BACKED_UP: u8 = 1 << 4;
/// A passkey follows.
pub const ATTESTED: u8 = 1 << 6;

/// The key of a passkey.
pub enum Key {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Key {
    pub fn es256() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub fn rs256() -> Self {
        Self::Rs256(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub fn eddsa() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().unwrap())
    }

    /// The parameters of its `COSE_Key`.
    pub fn parameters(&self) -> Vec<(i32, Cbor)> {
        match self {
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                vec![
                    (1, 2.into()),
                    (3, (-7).into()),
                    (-1, 1.into()),
                    (-2, Cbor::Bytes(point[1..33].to_vec())),
                    (-3, Cbor::Bytes(point[33..].to_vec())),
                ]
            }
            Self::Rs256(key) => {
                // SEQUENCE { INTEGER 0 and 256 bytes, INTEGER 65537 }
                let modulus = &key.public_key().as_ref()[9..265];
                vec![
                    (1, 3.into()),
                    (3, (-257).into()),
                    (-1, Cbor::Bytes(modulus.to_vec())),
                    (-2, Cbor::Bytes(vec![1, 0, 1])),
                ]
            }
            Self::EdDsa(key) => vec![
                (1, 1.into()),
                (3, (-8).into()),
                (-1, 6.into()),
                (-2, Cbor::Bytes(key.public_key().as_ref().to_vec())),
            ],
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(key) => {
                let signature = key.sign(&SystemRandom::new(), message);
                signature.unwrap().as_ref().to_vec()
            }
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .unwrap();
                signature
            }
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}

/// One passkey, where it lives, and the page that asks for it.
pub struct Authenticator {
    pub key: Key,
    pub credential_id: Vec<u8>,
    pub rp_id: String,
    pub origin: String,
    pub is_cross_origin: bool,
    pub flags: u8,
    pub sign_count: u32,
    /// The person's handle. One that cannot sign in alone keeps none.
    pub user_handle: Option<Vec<u8>>,
    /// The parameters of the key as it is told: its own, unless they are set.
    pub parameters: Vec<(i32, Cbor)>,
    pub transports: Vec<String>,
}

impl Authenticator {
    /// One that verifies the person and synchronizes.
    pub fn new(key: Key, rp_id: &str, origin: &str) -> Self {
        let mut credential_id = vec![0; 32];
        aws_lc_rs::rand::fill(&mut credential_id).unwrap();
        Self {
            parameters: key.parameters(),
            key,
            credential_id,
            rp_id: rp_id.to_owned(),
            origin: origin.to_owned(),
            is_cross_origin: false,
            flags: PRESENT | VERIFIED | ELIGIBLE | BACKED_UP,
            sign_count: 0,
            user_handle: None,
            transports: vec!["internal".to_owned(), "hybrid".to_owned()],
        }
    }

    /// Makes the passkey: the answer to `PublicKeyCredentialCreationOptionsJSON`.
    pub fn create(&mut self, options: &Value) -> Value {
        let handle = options["user"]["id"].as_str();
        self.user_handle = handle.map(|handle| URL_SAFE_NO_PAD.decode(handle).unwrap());
        let client_data = self.client_data("webauthn.create", options);
        let attestation = cbor(&Cbor::Map(vec![
            ("fmt".into(), "none".into()),
            ("attStmt".into(), Cbor::Map(Vec::new())),
            ("authData".into(), Cbor::Bytes(self.attested_data())),
        ]));
        let mut credential = self.credential();
        credential["response"] = json!({
            "clientDataJSON": encode(&client_data),
            "attestationObject": encode(&attestation),
            "transports": self.transports,
        });
        credential
    }

    /// Uses the passkey: the answer to `PublicKeyCredentialRequestOptionsJSON`.
    pub fn get(&mut self, options: &Value) -> Value {
        self.sign_count += u32::from(self.sign_count > 0);
        let client_data = self.client_data("webauthn.get", options);
        let data = self.authenticator_data(self.flags);
        let hash = digest(&SHA256, &client_data);
        let signature = self.key.sign(&[&data[..], hash.as_ref()].concat());
        let mut credential = self.credential();
        credential["response"] = json!({
            "clientDataJSON": encode(&client_data),
            "authenticatorData": encode(&data),
            "signature": encode(&signature),
            "userHandle": self.user_handle.as_deref().map(encode),
        });
        credential
    }

    fn credential(&self) -> Value {
        json!({
            "id": encode(&self.credential_id),
            "rawId": encode(&self.credential_id),
            "type": "public-key",
            "clientExtensionResults": {},
        })
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        let data = json!({
            "type": kind,
            "challenge": options["challenge"],
            "origin": self.origin,
            "crossOrigin": self.is_cross_origin,
        });
        data.to_string().into_bytes()
    }

    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let rp = digest(&SHA256, self.rp_id.as_bytes());
        [rp.as_ref(), &[flags], &self.sign_count.to_be_bytes()].concat()
    }

    fn attested_data(&self) -> Vec<u8> {
        let length = u16::try_from(self.credential_id.len()).unwrap();
        let parameters = self.parameters.iter();
        let key = parameters.map(|(label, value)| (Cbor::from(*label), value.clone()));
        [
            &self.authenticator_data(self.flags | ATTESTED)[..],
            &[0; 16],
            &length.to_be_bytes(),
            &self.credential_id,
            &cbor(&Cbor::Map(key.collect())),
        ]
        .concat()
    }
}

/// Bytes as CBOR.
pub fn cbor(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// Bytes as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
