//! What other services may ask: whether a token is good, and which sessions have ended.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use super::sessions::{OVERLAP, READ_AT_ONCE};
use super::{Auth, AuthenticateError, Caller, LATE};
use crate::domain::Timestamp;
use crate::store::{EndedSession, StoreError};

/// Nobody who may introspect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown client or wrong secret")]
pub struct UnknownClient;

/// What is said of a token (RFC 7662, section 2.2).
#[derive(Debug)]
pub enum Introspection {
    /// It is a good access token.
    Active(Caller),
    /// It is anything else, and why is not said.
    Inactive,
}

/// A page of the feed of ended sessions.
#[derive(Debug)]
pub struct Revocations {
    /// In the order of their ends.
    pub ended: Vec<EndedSession>,
    /// What to ask for the next time.
    pub cursor: Timestamp,
}

impl Auth {
    /// Checks who asks. The secret is compared in constant time; names are not secret.
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
                | AuthenticateError::Over
                | AuthenticateError::NoLegacyOwner,
            ) => Ok(Introspection::Inactive),
            Err(AuthenticateError::Store(error)) => Err(error),
        }
    }

    /// Sessions that ended since a cursor (all that matter, without one), and the next cursor. None
    /// only if there is none: callers take an empty page for the end.
    pub async fn revocations(&self, since: Option<Timestamp>) -> Result<Revocations, StoreError> {
        // This instance knows how far back those that matter go. It may not know of one whose commit
        // came late.
        let known = || self.0.ended.first_end().map(|first| first - LATE);
        let mut since = since.or_else(known);
        loop {
            let reading = self
                .0
                .store
                .list_ended_sessions(since, READ_AT_ONCE)
                .await?;
            let settled = reading.now - OVERLAP;
            if reading.ended.is_empty() && reading.stopped_at.is_some() {
                since = reading.stopped_at;
                continue;
            }
            return Ok(Revocations {
                ended: reading.ended,
                cursor: reading.stopped_at.map_or(settled, |at| at.min(settled)),
            });
        }
    }
}
