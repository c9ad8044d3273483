//! Checking an access token, and the sessions that its owner may see and end.

use std::sync::Arc;

use super::Auth;
use super::caller::{AuthenticateError, Caller};
use super::revocation_cache::SessionStatus;
use crate::domain::{AuditEvent, AuditKind, Client, EndReason, Outcome, SessionId, UserId};
use crate::store::{EndedSession, SessionRecord, StoreError, Tx};
use crate::telemetry::metrics::SESSIONS_ENDED;
use crate::telemetry::note_user;
use crate::token::{AccessClaims, InvalidToken};

/// Why a session was not ended.
#[derive(Debug)]
pub enum EndSessionError {
    /// The caller is not let in.
    Authenticate(AuthenticateError),
    /// The caller has no such live session.
    NotFound,
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for EndSessionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<AuthenticateError> for EndSessionError {
    fn from(error: AuthenticateError) -> Self {
        Self::Authenticate(error)
    }
}

impl Auth {
    /// Checks an access token and that its session has not ended. Writes nothing, and asks the
    /// database only if the revocation cache is stale.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<AccessClaims>, AuthenticateError> {
        let verified = self.verified(token, |tokens| tokens.verify_access(token));
        let claims = verified.await?.map_err(AuthenticateError::Invalid)?;
        note_user(claims.sub);
        let is_live = match self.0.revocations.status(claims.sid) {
            SessionStatus::Live => true,
            SessionStatus::Ended => false,
            SessionStatus::Unknown => self.0.store.is_session_live(claims.sid).await?,
        };
        if is_live {
            Ok(claims)
        } else {
            Err(AuthenticateError::SessionEnded)
        }
    }

    /// The same for a caller that does not need the session: a token of the older service is accepted
    /// too, if the settings say so. The database is asked for its owner each time, since nothing else
    /// knows of a sign-out.
    pub async fn identify(&self, token: &str) -> Result<Caller, AuthenticateError> {
        match self.authenticate(token).await {
            Ok(claims) => Ok(Caller::OfSession(claims)),
            Err(AuthenticateError::Invalid(InvalidToken::Header)) => {
                self.identify_legacy(token).await
            }
            Err(error) => Err(error),
        }
    }

    /// The live sessions of a token's owner, newest first, and which of them is the token's own.
    pub async fn list_own_sessions(
        &self,
        token: &str,
    ) -> Result<(Vec<SessionRecord>, SessionId), AuthenticateError> {
        let claims = self.authenticate(token).await?;
        Ok((self.0.store.list_sessions(claims.sub).await?, claims.sid))
    }

    /// Ends one session of a token's owner.
    pub async fn end_own_session(
        &self,
        client: &Client,
        token: &str,
        session_id: SessionId,
    ) -> Result<(), EndSessionError> {
        let owner = self.authenticate(token).await?.sub;
        let ended = self
            .0
            .store
            .end_and_record_session(session_id, owner, client, None)
            .await?;
        let ended = ended.ok_or(EndSessionError::NotFound)?;
        self.note_ended(EndReason::SignedOut, [ended]);
        Ok(())
    }

    /// Ends all sessions of a token's owner, the token's own included.
    pub async fn end_own_sessions(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<(), AuthenticateError> {
        let owner = self.authenticate(token).await?.sub;
        let mut tx = self.0.store.begin().await?;
        let ended = tx.end_sessions_of(owner, EndReason::SignedOut).await?;
        Ok(self.record_ends(tx, client, owner, ended).await?)
    }

    /// Ends all sessions of a token's owner but the token's own.
    pub async fn end_other_sessions(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<(), AuthenticateError> {
        let claims = self.authenticate(token).await?;
        let mut tx = self.0.store.begin().await?;
        let ended = tx
            .end_other_sessions_of(claims.sub, claims.sid, EndReason::SignedOut)
            .await?;
        let Some(ended) = ended else {
            tx.rollback().await?;
            return Err(AuthenticateError::SessionEnded);
        };
        Ok(self.record_ends(tx, client, claims.sub, ended).await?)
    }

    async fn record_ends(
        &self,
        mut tx: Tx,
        client: &Client,
        owner: UserId,
        ended: Vec<EndedSession>,
    ) -> Result<(), StoreError> {
        for session in &ended {
            tx.record(&ended_by(client, owner, *session)).await?;
        }
        tx.commit().await?;
        self.note_ended(EndReason::SignedOut, ended);
        Ok(())
    }

    /// Lets this instance know at once of sessions that it ended itself, and counts them.
    pub(crate) fn note_ended(
        &self,
        reason: EndReason,
        ended: impl IntoIterator<Item = EndedSession>,
    ) {
        for session in ended {
            self.note_end(session);
            SESSIONS_ENDED.add(1, [reason.as_str().into()]);
        }
    }
}

/// The event that its owner ended a session.
fn ended_by(client: &Client, owner: UserId, ended: EndedSession) -> AuditEvent {
    let (kind, reason) = (AuditKind::SessionEnded, EndReason::SignedOut);
    AuditEvent {
        user_id: Some(owner),
        session_id: Some(ended.session_id),
        ..AuditEvent::by_client(kind, Outcome::Granted, reason, client)
    }
}
