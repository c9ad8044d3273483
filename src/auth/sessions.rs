//! Checking an access token, and what its owner may see and end.

use std::time::Duration;

use tokio::time::Instant;

use super::Auth;
use super::ended::Sight;
use crate::domain::{
    AuditEvent, AuditKind, Client, EmailAddress, EndReason, Outcome, SessionId, Timestamp, UserId,
};
use crate::store::{EndedSession, SessionRecord, StoreError};
use crate::telemetry::metrics::SESSIONS_ENDED;
use crate::telemetry::note_user;
use crate::token::{AccessClaims, InvalidToken, LegacyClaims};

/// How far back each reading of the ended sessions reaches behind the one before: an end is dated
/// by its statement, but seen only after its commit. So an end can be read more than once.
pub(super) const OVERLAP: Duration = Duration::from_secs(10);

/// How late an end may be seen at worst: its commit can have been held up for longer than usual, by
/// a standby that is waited for.
pub const LATE: Duration = Duration::from_mins(10);

/// Ended sessions that are looked through at once: few enough for the time that a statement has, even
/// when each of them has to be fetched from a disk.
pub(super) const READ_AT_ONCE: i64 = 10_000;

/// Why an access token is not accepted.
#[derive(Debug)]
pub enum AuthenticateError {
    /// Not an access token of ours, or past its `exp`.
    Invalid(InvalidToken),
    /// Its session is over.
    Over,
    /// It is of the older service, and does not let its owner in: unknown, not imported from there,
    /// disabled, or signed out since.
    NoLegacyOwner,
    /// The view of ended sessions is stale and the database failed.
    Store(StoreError),
}

impl From<StoreError> for AuthenticateError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Whom an access token lets in.
#[derive(Debug)]
pub enum Caller {
    /// The owner of a session of ours.
    OfSession(Box<AccessClaims>),
    /// A user with a token of the older service. It has no session.
    Legacy(LegacyCaller),
}

/// A user with a token of the older service.
#[derive(Debug)]
pub struct LegacyCaller {
    /// What the token says.
    pub claims: LegacyClaims,
    /// The user's address, which the token does not know.
    pub email: EmailAddress,
}

/// From when on, and when, the view of ended sessions is to be read the next time.
#[derive(Debug, Clone, Copy)]
pub enum Next {
    /// There is more to read now.
    AtOnce(Timestamp),
    /// All was read.
    Later(Timestamp),
}

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
    /// database only if this instance's view of ended sessions is stale.
    pub async fn authenticate(&self, token: &str) -> Result<AccessClaims, AuthenticateError> {
        let verified = self.verified(token, |tokens| tokens.verify_access(token));
        let claims = verified.await?.map_err(AuthenticateError::Invalid)?;
        note_user(claims.sub);
        let is_live = match self.0.ended.look(claims.sid) {
            Sight::Live => true,
            Sight::Ended => false,
            Sight::Unknown => self.0.store.is_session_live(claims.sid).await?,
        };
        if is_live {
            Ok(claims)
        } else {
            Err(AuthenticateError::Over)
        }
    }

    /// The same for those who need not know the session: a token of the older service will do, if the
    /// settings have us take them. Its owner is asked for in the database each time, as nothing else
    /// knows of a sign-out.
    pub async fn identify(&self, token: &str) -> Result<Caller, AuthenticateError> {
        match self.authenticate(token).await {
            Ok(claims) => Ok(Caller::OfSession(Box::new(claims))),
            Err(AuthenticateError::Invalid(InvalidToken::Header)) => {
                self.identify_legacy(token).await.map(Caller::Legacy)
            }
            Err(error) => Err(error),
        }
    }

    async fn identify_legacy(&self, token: &str) -> Result<LegacyCaller, AuthenticateError> {
        let claims = self.0.tokens.verify_legacy(token);
        let claims = claims.map_err(AuthenticateError::Invalid)?;
        let email = self.0.store.find_legacy_owner(claims.sub).await?;
        let email = email.ok_or(AuthenticateError::NoLegacyOwner)?;
        Ok(LegacyCaller { claims, email })
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
        let mut tx = self.0.store.begin().await?;
        let ended = tx
            .end_session(session_id, Some(owner), EndReason::SignedOut)
            .await?;
        let ended = ended.ok_or(EndSessionError::NotFound)?;
        tx.record(&ended_by(client, owner, ended)).await?;
        tx.commit().await?;
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
        for session in &ended {
            tx.record(&ended_by(client, owner, *session)).await?;
        }
        tx.commit().await?;
        self.note_ended(EndReason::SignedOut, ended);
        Ok(())
    }

    /// Lets this instance know at once of sessions that it ended itself, and counts them.
    pub(super) fn note_ended(
        &self,
        reason: EndReason,
        ended: impl IntoIterator<Item = EndedSession>,
    ) {
        for session in ended {
            self.0.ended.note(session);
            SESSIONS_ENDED.add(1, [reason.as_str().into()]);
        }
    }

    /// Reads the sessions that ended since the last reading into this instance's view. For the worker
    /// that keeps the view fresh.
    pub async fn renew_ended_sessions(&self, since: Option<Timestamp>) -> Result<Next, StoreError> {
        let read_at = Instant::now();
        let reading = self
            .0
            .store
            .list_ended_sessions(since, READ_AT_ONCE)
            .await?;
        let (ended, now) = (reading.ended, reading.now);
        if let Some(stopped_at) = reading.stopped_at {
            // Not all of it is read yet: what is known counts, but the view is not fresh.
            self.0.ended.begin(read_at, ended);
            return Ok(Next::AtOnce(stopped_at));
        }
        self.0.ended.renew(read_at, ended, now);
        Ok(Next::Later(now - OVERLAP))
    }
}

/// The event that its owner ended a session.
pub(super) fn ended_by(client: &Client, owner: UserId, ended: EndedSession) -> AuditEvent {
    let (kind, reason) = (AuditKind::SessionEnded, EndReason::SignedOut);
    AuditEvent {
        user_id: Some(owner),
        session_id: Some(ended.session_id),
        ..AuditEvent::by_client(kind, Outcome::Granted, reason, client)
    }
}
