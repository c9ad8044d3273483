//! The callers whom an access token lets in.

use std::sync::Arc;

use crate::domain::EmailAddress;
use crate::store::StoreError;
use crate::token::{AccessClaims, InvalidToken, LegacyClaims};

/// Why an access token is not accepted.
#[derive(Debug)]
pub enum AuthenticateError {
    /// Not an access token of ours, or past its `exp`.
    Invalid(InvalidToken),
    /// Its session has ended.
    SessionEnded,
    /// It is of the older service, and does not let its owner in: unknown, not imported from there,
    /// disabled, or signed out since.
    NoLegacyOwner,
    /// The revocation cache is stale and the database failed.
    Store(StoreError),
}

impl From<StoreError> for AuthenticateError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The caller whom an access token lets in.
#[derive(Debug)]
pub enum Caller {
    /// The owner of a session of ours.
    OfSession(Arc<AccessClaims>),
    /// A user with a token of the older service. It has no session.
    Legacy(LegacyCaller),
}

/// A user with a token of the older service.
#[derive(Debug)]
pub struct LegacyCaller {
    /// The token's claims.
    pub claims: LegacyClaims,
    /// The user's address, which the token does not know.
    pub email: EmailAddress,
}
