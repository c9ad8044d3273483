//! Signing out: the session ends, and all its tokens with it.

use crate::domain::{Client, EndReason};
use crate::store::StoreError;
use crate::token::InvalidToken;

use super::Auth;
use super::sessions::ended_by;

/// Why a sign-out did nothing.
#[derive(Debug)]
pub enum SignoutError {
    /// Not an access token of ours, or past its `exp`.
    Invalid(InvalidToken),
    /// Its session is over already.
    Over,
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for SignoutError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Auth {
    /// Ends the session of an access token. Of several at once, one succeeds.
    pub async fn signout(&self, client: &Client, token: &str) -> Result<(), SignoutError> {
        let claims = self
            .0
            .tokens
            .verify_access(token)
            .map_err(SignoutError::Invalid)?;
        let mut tx = self.0.store.begin().await?;
        let ended = tx
            .end_session(claims.sid, Some(claims.sub), EndReason::SignedOut)
            .await?
            .ok_or(SignoutError::Over)?;
        tx.record(&ended_by(client, claims.sub, ended)).await?;
        tx.commit().await?;
        self.note_ended([ended]);
        Ok(())
    }
}
