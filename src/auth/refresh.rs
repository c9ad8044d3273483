//! Refreshing: a refresh token for the session's next pair.

use crate::domain::{
    AttemptKey, AuditEvent, AuditKind, AuditReason, Client, EndReason, Outcome, Rotation, Session,
    SessionId, Timestamp, decide_rotation, seconds_until,
};
use crate::store::{Presented, SessionState, StoreError, Tx};
use crate::token::{InvalidToken, MissingKey, TokenPair};

use super::{Auth, Limited, NotReserved, limited};

/// Why a refresh got nothing.
#[derive(Debug)]
pub enum RefreshError {
    /// Not a refresh token of ours, or past its `exp`.
    Invalid(InvalidToken),
    /// Ours, but of a session that is no longer even stored.
    Unknown,
    /// The session ended or idled out, or its user is disabled.
    Dead,
    /// The token was used before, longer ago than the grace: its session has been ended.
    Reused,
    /// Too many refreshes.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
    /// The key to sign with is not here.
    MissingKey(MissingKey),
}

impl From<StoreError> for RefreshError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for RefreshError {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

impl Auth {
    /// Trades a refresh token for the next pair; a token that was current a moment ago gets the
    /// current pair again, byte for byte.
    ///
    /// The usual case is one guarded statement. What it does not grant is settled on the locked
    /// row by the rotation rule.
    pub async fn refresh(&self, client: &Client, token: &str) -> Result<TokenPair, RefreshError> {
        let claims = match self.0.tokens.verify_refresh(token) {
            Ok(claims) => claims,
            Err(reason) => return self.refuse_foreign(client, reason).await,
        };
        if let Err(reason) = self.0.tokens.check_refresh_expiry(&claims) {
            let error = RefreshError::Invalid(reason);
            return self.refuse_over(client, claims.sid, error).await;
        }
        let presented = Presented {
            session_id: claims.sid,
            user_id: claims.sub,
            generation: claims.generation,
        };
        let (lives, rule) = (&self.0.rules.lives, &self.0.rules.rotation);
        let ring = self.0.tokens.ring().current();
        let advanced = self
            .0
            .store
            .advance_session(presented, ring.active(), lives, rule)
            .await?;
        match advanced {
            Some(session) => self.issue(&session),
            None => self.settle_refresh(client, presented).await,
        }
    }

    /// A token that is not ours counts for the network it came from.
    async fn refuse_foreign(
        &self,
        client: &Client,
        reason: InvalidToken,
    ) -> Result<TokenPair, RefreshError> {
        let key = self.0.attempt_keys.refresh_unknown(client.network);
        self.count_refusal(client, &key, RefreshError::Invalid(reason))
            .await
    }

    /// A token that was ours counts for its session, which may not even be stored any more: people
    /// who come back to an office after a weekend must not shut each other out.
    async fn refuse_over(
        &self,
        client: &Client,
        session_id: SessionId,
        error: RefreshError,
    ) -> Result<TokenPair, RefreshError> {
        let key = self.0.attempt_keys.refresh_over(session_id);
        self.count_refusal(client, &key, error).await
    }

    async fn count_refusal(
        &self,
        client: &Client,
        key: &AttemptKey,
        error: RefreshError,
    ) -> Result<TokenPair, RefreshError> {
        let blocked = || limited(AuditKind::Refresh, key, client);
        self.reserve(key, &self.0.rules.rotation.limit, blocked)
            .await?;
        Err(error)
    }

    /// What the usual statement did not grant. Repeating an answer and refusing during a block
    /// write nothing, and so take no lock: fifty tabs that wake at once do not queue.
    async fn settle_refresh(
        &self,
        client: &Client,
        presented: Presented,
    ) -> Result<TokenPair, RefreshError> {
        let (session_id, rule) = (presented.session_id, &self.0.rules.rotation);
        let state = self.0.store.find_session_state(session_id).await?;
        let Some(state) = state.filter(|state| state.user_id == presented.user_id) else {
            let error = RefreshError::Unknown;
            return self.refuse_over(client, session_id, error).await;
        };
        match decide_rotation(&state.facts, presented.generation, state.now, rule) {
            Rotation::Repeat => self.issue(&state.session.ok_or(RefreshError::Dead)?),
            Rotation::Blocked { until } => Err(blocked(until, state.now)),
            Rotation::Advance | Rotation::StartBlock | Rotation::Reused | Rotation::Dead => {
                self.settle_locked(client, presented).await
            }
        }
    }

    /// Decides on the locked row, and writes down what follows.
    async fn settle_locked(
        &self,
        client: &Client,
        presented: Presented,
    ) -> Result<TokenPair, RefreshError> {
        let (session_id, rule) = (presented.session_id, &self.0.rules.rotation);
        let mut tx = self.0.store.begin().await?;
        let state = tx
            .lock_session(session_id)
            .await?
            .ok_or(RefreshError::Unknown)?;
        let now = state.now;
        let event = |reason: AuditReason| AuditEvent {
            user_id: Some(state.user_id),
            session_id: Some(session_id),
            ..AuditEvent::by_client(AuditKind::Refresh, Outcome::Refused, reason, client)
        };
        match decide_rotation(&state.facts, presented.generation, now, rule) {
            Rotation::Repeat => self.issue(&state.session.ok_or(RefreshError::Dead)?),
            Rotation::Blocked { until } => Err(blocked(until, now)),
            Rotation::Advance => {
                let session = self.advance_locked(tx, presented).await?;
                self.issue(&session)
            }
            Rotation::StartBlock => {
                let block = rule.limit.block.unwrap_or(rule.limit.window);
                let until = Some(now + block);
                tx.count_refresh(session_id, &state.facts.hits, until)
                    .await?;
                tx.record(&event(AuditReason::LimitedRefresh)).await?;
                tx.commit().await?;
                Err(RefreshError::Limited(Limited { retry_after: block }))
            }
            Rotation::Reused => {
                let ended = tx.end_session(session_id, None, EndReason::Reuse).await?;
                tx.record(&event(AuditReason::Reuse)).await?;
                self.count_refused(tx, session_id, &state).await?;
                self.note_ended(ended);
                Err(RefreshError::Reused)
            }
            Rotation::Dead => {
                tx.record(&event(AuditReason::SessionOver)).await?;
                self.count_refused(tx, session_id, &state).await?;
                Err(RefreshError::Dead)
            }
        }
    }

    /// The row is locked and the rule says that it advances: a block ran out, or another request
    /// made room, between the statement and the lock.
    async fn advance_locked(
        &self,
        mut tx: Tx,
        presented: Presented,
    ) -> Result<Session, RefreshError> {
        let (lives, rule) = (&self.0.rules.lives, &self.0.rules.rotation);
        let ring = self.0.tokens.ring().current();
        let session = tx
            .advance_session(presented, ring.active(), lives, rule)
            .await?;
        tx.commit().await?;
        session.ok_or(RefreshError::Dead)
    }

    async fn count_refused(
        &self,
        mut tx: Tx,
        session_id: SessionId,
        state: &SessionState,
    ) -> Result<(), StoreError> {
        let window = self.0.rules.rotation.limit.window;
        let mut hits = state.facts.counted_hits(state.now, window);
        hits.push(state.now);
        tx.count_refresh(session_id, &hits, None).await?;
        tx.commit().await
    }

    fn issue(&self, session: &Session) -> Result<TokenPair, RefreshError> {
        self.0
            .tokens
            .issue(session)
            .map_err(RefreshError::MissingKey)
    }
}

fn blocked(until: Timestamp, now: Timestamp) -> RefreshError {
    RefreshError::Limited(Limited {
        retry_after: seconds_until(until, now),
    })
}
