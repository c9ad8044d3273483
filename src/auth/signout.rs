//! Signing out: the session ends, and all its tokens with it.

use crate::domain::{
    AuditEvent, AuditKind, AuditReason, Client, EndReason, Outcome, SessionId, UserId,
};
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
    ///
    /// Nothing counts refusals, since there is nothing to guess; so there is a bound on how many of
    /// them are written down.
    pub async fn signout(&self, client: &Client, token: &str) -> Result<(), SignoutError> {
        let claims = match self.0.tokens.verify_access(token) {
            Ok(claims) => claims,
            Err(reason) => {
                self.record_if_room(&foreign(client, reason)).await;
                return Err(SignoutError::Invalid(reason));
            }
        };
        let mut tx = self.0.store.begin().await?;
        let ended = tx
            .end_session(claims.sid, Some(claims.sub), EndReason::SignedOut)
            .await?;
        let Some(ended) = ended else {
            drop(tx);
            self.record_if_room(&over(client, claims.sub, claims.sid))
                .await;
            return Err(SignoutError::Over);
        };
        tx.record(&ended_by(client, claims.sub, ended)).await?;
        tx.commit().await?;
        self.note_ended([ended]);
        Ok(())
    }
}

fn foreign(client: &Client, invalid: InvalidToken) -> AuditEvent {
    let reason = match invalid {
        InvalidToken::Expired => AuditReason::TokenExpired,
        InvalidToken::Malformed
        | InvalidToken::Header
        | InvalidToken::UnknownKey
        | InvalidToken::Unverified
        | InvalidToken::Claims => AuditReason::ForeignToken,
    };
    AuditEvent {
        detail: Some(invalid.to_string()),
        ..refused(client, reason)
    }
}

fn over(client: &Client, user_id: UserId, session_id: SessionId) -> AuditEvent {
    AuditEvent {
        user_id: Some(user_id),
        session_id: Some(session_id),
        ..refused(client, AuditReason::SessionOver)
    }
}

fn refused(client: &Client, reason: AuditReason) -> AuditEvent {
    AuditEvent::by_client(AuditKind::Signout, Outcome::Refused, reason, client)
}
