//! A stored key, opened: its signer, its verifier, and its public forms.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicKey;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, Jwk, KeyAlgorithm, PublicKeyUse, RSAKeyParameters,
    RSAKeyType,
};
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;

use super::compact::Compact;
use super::verifier::Verifier;
use super::{KeyRingError, Sealer};
use crate::domain::{KeyId, SigningKeyRecord};

/// A key that signs, parsed once: parsing it for each signature would cost more than the signature.
pub(super) struct Signer(RsaKeyPair);

impl Signer {
    /// The compact serialisation (RFC 7515, section 7.1).
    pub(super) fn sign(&self, header: &Header, claims: &impl Serialize) -> String {
        let part = |json: Vec<u8>| URL_SAFE_NO_PAD.encode(json);
        let header = serde_json::to_vec(header).expect("a header has string keys");
        let claims = serde_json::to_vec(claims).expect("claims have string keys");
        let mut token = format!("{}.{}", part(header), part(claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .expect("a parsed RSA key signs any message");
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        token
    }
}

/// A key that was opened. It never changes.
pub(super) struct OpenKey {
    pub(super) signer: Option<Signer>,
    pub(super) verifier: Verifier,
    pub(super) jwk: Jwk,
    pub(super) pem: String,
}

impl OpenKey {
    pub(super) fn open(record: &SigningKeyRecord, sealer: &Sealer) -> Result<Self, KeyRingError> {
        let public = PublicKey::from_der(&record.public_key).map_err(|_| KeyRingError::NotRsa)?;
        let open = |sealed: &Vec<u8>| -> Result<Signer, KeyRingError> {
            let private = sealer.unseal(&record.key_id, sealed)?;
            RsaKeyPair::from_pkcs8(&private)
                .map(Signer)
                .map_err(|_| KeyRingError::NotRsa)
        };
        Ok(Self {
            signer: record.sealed_private_key.as_ref().map(open).transpose()?,
            verifier: Verifier::open(&record.public_key)?,
            jwk: jwk(&public, Some(&record.key_id)),
            pem: public_key_pem(&record.public_key),
        })
    }

    /// Whether its own public part verifies its signature.
    pub(super) fn is_sound(&self) -> bool {
        let Some(signer) = &self.signer else {
            return false;
        };
        let token = signer.sign(&Header::new(Algorithm::RS256), &"self-test");
        Compact::parse(&token).is_ok_and(|token| token.is_signed_by(&self.verifier))
    }
}

pub(super) fn jwk(public: &PublicKey, key_id: Option<&KeyId>) -> Jwk {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Jwk {
        common: CommonParameters {
            public_key_use: Some(PublicKeyUse::Signature),
            key_algorithm: Some(KeyAlgorithm::RS256),
            key_id: key_id.map(|id| id.0.clone()),
            ..CommonParameters::default()
        },
        algorithm: AlgorithmParameters::RSA(RSAKeyParameters {
            key_type: RSAKeyType::RSA,
            n: part(public.modulus().big_endian_without_leading_zero()),
            e: part(public.exponent().big_endian_without_leading_zero()),
        }),
    }
}

/// A `SubjectPublicKeyInfo` as text (RFC 7468, section 13).
#[must_use]
pub fn public_key_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}
