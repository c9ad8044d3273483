//! Refreshing: a refresh token for the session's next pair.

use crate::domain::{
    AttemptKey, AuditEvent, AuditKind, AuditReason, Client, EndReason, Outcome, Rotation, Session,
    SessionId, Timestamp, decide_rotation, seconds_until,
};
use crate::store::{Presented, SessionState, StoreError, Tx};
use crate::telemetry::note_user;
use crate::token::{InvalidToken, MissingKey, TokenPair};

use super::{Auth, Limited, NotReserved, lasting};

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
        note_user(claims.sub);
        let presented = Presented {
            session_id: claims.sid,
            user_id: claims.sub,
            generation: claims.generation,
        };
        if let Err(reason) = self.0.tokens.check_refresh_expiry(&claims) {
            let error = RefreshError::Invalid(reason);
            let event = refused_of(client, presented, AuditReason::TokenExpired);
            return self.refuse_over(presented.session_id, event, error).await;
        }
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
        let event = AuditEvent {
            detail: Some(reason.to_string()),
            ..refused(client, AuditReason::ForeignToken)
        };
        self.count_refusal(&key, event, RefreshError::Invalid(reason))
            .await
    }

    /// A token that was ours counts for its session, which may not even be stored any more: people
    /// who come back to an office after a weekend must not shut each other out.
    async fn refuse_over(
        &self,
        session_id: SessionId,
        event: AuditEvent,
        error: RefreshError,
    ) -> Result<TokenPair, RefreshError> {
        let key = self.0.attempt_keys.refresh_over(session_id);
        self.count_refusal(&key, event, error).await
    }

    /// Counts a refusal and writes it down, as `event` or as one by the limit.
    async fn count_refusal(
        &self,
        key: &AttemptKey,
        event: AuditEvent,
        error: RefreshError,
    ) -> Result<TokenPair, RefreshError> {
        let limited = |reason| AuditEvent {
            reason,
            detail: None,
            ..event.clone()
        };
        let limit = &self.0.rules.rotation.limit;
        if event.user_id.is_some() {
            self.reserve(key, limit, limited).await?;
        } else {
            self.reserve_for_stranger(key, limit, limited).await?;
        }
        self.record_refusal(&event).await?;
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
            return self.refuse_forgotten(client, presented).await;
        };
        match decide_rotation(&state.facts, presented.generation, state.now, rule) {
            Rotation::Repeat => self.issue(&state.session.ok_or(RefreshError::Dead)?),
            Rotation::Blocked { until } => {
                Err(self.blocked(client, presented, until, state.now).await)
            }
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
        let Some(state) = tx.lock_session(session_id).await? else {
            drop(tx);
            return self.refuse_forgotten(client, presented).await;
        };
        let now = state.now;
        let event = |reason| refused_of(client, presented, reason);
        match decide_rotation(&state.facts, presented.generation, now, rule) {
            Rotation::Repeat => self.issue(&state.session.ok_or(RefreshError::Dead)?),
            Rotation::Blocked { until } => {
                drop(tx);
                Err(self.blocked(client, presented, until, now).await)
            }
            Rotation::Advance => {
                if let Some(session) = self.advance_locked(tx, presented).await? {
                    return self.issue(&session);
                }
                // The user was disabled in this very moment.
                let reason = AuditReason::SessionOver;
                self.0.store.record(&event(reason)).await?;
                Err(RefreshError::Dead)
            }
            Rotation::StartBlock => {
                let reason = AuditReason::LimitedRefresh;
                let retry_after = rule.limit.block.unwrap_or(rule.limit.window);
                let until = now + retry_after;
                tx.count_refresh(session_id, &state.facts.hits, Some(until))
                    .await?;
                tx.record(&lasting(event(reason), until)).await?;
                tx.commit().await?;
                Err(RefreshError::Limited(Limited {
                    reason,
                    retry_after,
                }))
            }
            Rotation::Reused => {
                let ended = tx.end_session(session_id, None, EndReason::Reuse).await?;
                tx.record(&event(AuditReason::Reuse)).await?;
                self.count_refused(tx, session_id, &state).await?;
                self.note_ended(EndReason::Reuse, ended);
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
    ) -> Result<Option<Session>, StoreError> {
        let (lives, rule) = (&self.0.rules.lives, &self.0.rules.rotation);
        let ring = self.0.tokens.ring().current();
        let session = tx
            .advance_session(presented, ring.active(), lives, rule)
            .await?;
        tx.commit().await?;
        Ok(session)
    }

    async fn refuse_forgotten(
        &self,
        client: &Client,
        presented: Presented,
    ) -> Result<TokenPair, RefreshError> {
        let event = refused_of(client, presented, AuditReason::UnknownSession);
        self.refuse_over(presented.session_id, event, RefreshError::Unknown)
            .await
    }

    /// A block on the session is on already.
    async fn blocked(
        &self,
        client: &Client,
        presented: Presented,
        until: Timestamp,
        now: Timestamp,
    ) -> RefreshError {
        let reason = AuditReason::LimitedRefresh;
        let event = lasting(refused_of(client, presented, reason), until);
        self.record_if_room(&event).await;
        RefreshError::Limited(Limited {
            reason,
            retry_after: seconds_until(until, now),
        })
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

fn refused(client: &Client, reason: AuditReason) -> AuditEvent {
    AuditEvent::by_client(AuditKind::Refresh, Outcome::Refused, reason, client)
}

fn refused_of(client: &Client, presented: Presented, reason: AuditReason) -> AuditEvent {
    AuditEvent {
        user_id: Some(presented.user_id),
        session_id: Some(presented.session_id),
        ..refused(client, reason)
    }
}
