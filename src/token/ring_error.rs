//! Why a key cannot be used.

use super::UnsealError;
use crate::domain::KeyId;

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The seal does not open.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// Not an RSA key of one of the sizes that we use.
    #[error("not an RSA key or certificate in PEM form, of 2048, 3072 or 4096 bits")]
    NotRsa,
    /// A certificate of another version of X.509 than 3, or with a critical extension that webpki does not know.
    #[error(
        "the certificate cannot be read: import its key, which `openssl x509 -in FILE -noout -pubkey` prints"
    )]
    UnreadableCertificate,
    /// There is no key that signs access tokens.
    #[error("there is no active signing key")]
    NoActiveKey,
    /// There is no key that signs refresh tokens any more.
    #[error("there is no active key for refresh tokens")]
    NoRefreshKey,
    /// The key signs, but its own public part does not verify it.
    #[error("the signing key {0} failed its self-test")]
    SelfTest(KeyId),
}
