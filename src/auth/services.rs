//! The question of other services: whether a token is good.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::{Auth, AuthenticateError, Caller};
use crate::store::StoreError;

/// Not a client that may introspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown client or wrong secret")]
pub struct UnknownClient;

/// The answer about a token (RFC 7662, section 2.2).
#[derive(Debug)]
pub enum Introspection {
    /// It is a good access token.
    Active(Caller),
    /// It is not, and the answer does not say why.
    Inactive,
}

impl Auth {
    /// Authenticates the caller. The secret is compared in constant time; names are not secret.
    pub fn authenticate_client(&self, id: &str, secret: &str) -> Result<(), UnknownClient> {
        let hash = digest(&SHA256, secret.as_bytes());
        let known = self.0.clients.iter().filter(|client| {
            let is_secret = verify_slices_are_equal(&client.secret_sha256, hash.as_ref()).is_ok();
            client.id == id && is_secret
        });
        if known.count() == 1 {
            Ok(())
        } else {
            Err(UnknownClient)
        }
    }

    /// Says whether a token is good.
    pub async fn introspect(&self, token: &str) -> Result<Introspection, StoreError> {
        match self.identify(token).await {
            Ok(caller) => Ok(Introspection::Active(caller)),
            Err(
                AuthenticateError::Invalid(_)
                | AuthenticateError::SessionEnded
                | AuthenticateError::NoLegacyOwner,
            ) => Ok(Introspection::Inactive),
            Err(AuthenticateError::Store(error)) => Err(error),
        }
    }
}
