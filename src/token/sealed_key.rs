//! A key before it is stored: made or imported, named and sealed.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKey};
use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair};
use jsonwebtoken::jwk::ThumbprintHash;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::open_key::jwk;
use super::{KeyRingError, Sealer};
use crate::domain::KeyId;

/// A key made or imported, ready to be stored.
#[derive(Debug)]
pub struct SealedKey {
    /// `kid`.
    pub key_id: KeyId,
    /// `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
    /// PKCS#8, sealed; `None` if only the public part is known.
    pub sealed_private_key: Option<Vec<u8>>,
}

/// The kind of key in a PEM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportedKey {
    /// A key that can sign.
    Private,
    /// A key that only verifies.
    Public,
}

impl SealedKey {
    /// Makes a new RSA key of `bits`, one of 2048, 3072 and 4096. That takes a core for a moment.
    pub fn generate(bits: u32, sealer: &Sealer) -> Result<Self, KeyRingError> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(KeyRingError::NotRsa),
        };
        Self::of_pair(
            &KeyPair::generate(size).map_err(|_| KeyRingError::NotRsa)?,
            sealer,
        )
    }

    /// Reads a PEM file: a private key in PKCS#8 or PKCS#1, a public one, or a certificate, of which only
    /// the key is read.
    pub fn import(pem: &[u8], sealer: &Sealer) -> Result<(Self, ImportedKey), KeyRingError> {
        let pem = pem::parse(pem).map_err(|_| KeyRingError::NotRsa)?;
        let der = pem.contents();
        let public = match pem.tag() {
            "PRIVATE KEY" => return Self::private(RsaKeyPair::from_pkcs8(der), sealer),
            "RSA PRIVATE KEY" => return Self::private(RsaKeyPair::from_der(der), sealer),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => PublicKey::from_der(der),
            "CERTIFICATE" => {
                let certificate = CertificateDer::from(der);
                let certificate = ParsedCertificate::try_from(&certificate)
                    .map_err(|_| KeyRingError::UnreadableCertificate)?;
                PublicKey::from_der(&certificate.subject_public_key_info())
            }
            _ => return Err(KeyRingError::NotRsa),
        };
        let public = public.map_err(|_| KeyRingError::NotRsa)?;
        check_size(public.modulus_len())?;
        let key_id = thumbprint(&public)?;
        let public_key = public_der(&public)?;
        Ok((
            Self {
                key_id,
                public_key,
                sealed_private_key: None,
            },
            ImportedKey::Public,
        ))
    }

    fn private(
        pair: Result<RsaKeyPair, KeyRejected>,
        sealer: &Sealer,
    ) -> Result<(Self, ImportedKey), KeyRingError> {
        let pair = pair.map_err(|_| KeyRingError::NotRsa)?;
        Ok((Self::of_pair(&pair, sealer)?, ImportedKey::Private))
    }

    fn of_pair(pair: &RsaKeyPair, sealer: &Sealer) -> Result<Self, KeyRingError> {
        check_size(pair.public_modulus_len())?;
        let public = pair.public_key();
        let key_id = thumbprint(public)?;
        let private = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(pair)
            .map_err(|_| KeyRingError::NotRsa)?;
        Ok(Self {
            sealed_private_key: Some(sealer.seal(&key_id, private.as_ref())),
            public_key: public_der(public)?,
            key_id,
        })
    }
}

fn check_size(modulus_bytes: usize) -> Result<(), KeyRingError> {
    if matches!(modulus_bytes * 8, 2048 | 3072 | 4096) {
        Ok(())
    } else {
        Err(KeyRingError::NotRsa)
    }
}

fn public_der(public: &PublicKey) -> Result<Vec<u8>, KeyRingError> {
    AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(public)
        .map(|der| der.as_ref().to_vec())
        .map_err(|_| KeyRingError::NotRsa)
}

/// RFC 7638: the same key has the same id wherever it is imported.
fn thumbprint(public: &PublicKey) -> Result<KeyId, KeyRingError> {
    let print = jwk(public, None).thumbprint(ThumbprintHash::SHA256);
    print.map(KeyId).map_err(|_| KeyRingError::NotRsa)
}
