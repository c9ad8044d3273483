//! Refreshing: a refresh token for the session's next pair.

mod locked;
mod unanswered;

use tokio::time::Instant;

use crate::domain::{
    AttemptKey, AuditEvent, AuditKind, AuditReason, Client, LimitReached, Outcome, Rotation,
    SessionId, Timestamp, TokenRefusal, decide_rotation, seconds_until,
};
use crate::store::{Advance, SessionGeneration, SessionState, StoreError};
use crate::telemetry::note_user;
use crate::token::{InvalidToken, MissingKey, TokenPair};

use super::record::lasting;
use super::reserve::NotReserved;
use super::{Auth, Limited};

pub(super) use unanswered::Unanswered;

/// Why a refresh got nothing.
#[derive(Debug)]
pub enum RefreshError {
    /// Not a refresh token of ours, or past its `exp`.
    Invalid(InvalidToken),
    /// Ours, but its session is not stored any more.
    Unknown,
    /// The session ended or expired, or its user is disabled.
    SessionEnded,
    /// The token was used before, longer ago than the grace: its session has been ended.
    Reused,
    /// Too many refreshes.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
    /// This instance does not have the key to sign with yet.
    MissingKey(MissingKey),
}

impl From<StoreError> for RefreshError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<MissingKey> for RefreshError {
    fn from(error: MissingKey) -> Self {
        Self::MissingKey(error)
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
    /// The usual case is one guarded statement. A refresh that it does not grant is settled on the locked
    /// row by the rotation rule.
    pub async fn refresh(&self, client: &Client, token: &str) -> Result<TokenPair, RefreshError> {
        let verified = self.verified(token, |tokens| tokens.verify_refresh(token));
        let claims = match verified.await? {
            Ok(claims) => claims,
            Err(reason) => return self.refuse_foreign(client, reason).await,
        };
        note_user(claims.sub);
        let presented = SessionGeneration {
            session_id: claims.sid,
            user_id: claims.sub,
            generation: claims.generation,
        };
        if let Err(reason) = self.0.tokens.check_refresh_expiry(&claims) {
            return self.refuse_expired(client, presented, reason).await;
        }
        let since = Instant::now();
        let answer = self.trade(client, presented).await;
        let is_unanswered = match &answer {
            Err(RefreshError::Store(error)) => error.is_unavailable(),
            Err(RefreshError::MissingKey(_)) => true,
            _ => false,
        };
        if is_unanswered {
            self.0.unanswered.note(presented, since);
        }
        answer
    }

    async fn trade(
        &self,
        client: &Client,
        presented: SessionGeneration,
    ) -> Result<TokenPair, RefreshError> {
        let (lifetimes, rule) = (&self.0.rules.lifetimes, &self.0.rules.rotation);
        let ring = self.0.tokens.ring().current();
        let advanced = self
            .0
            .store
            .advance_session(Advance {
                presented,
                client,
                keys: ring.signers(),
                lifetimes,
                rule,
            })
            .await?;
        match advanced {
            Some(session) => self.issue_known(&session).await,
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
            ..refused(client, TokenRefusal::Foreign)
        };
        self.count_refusal(&key, event, RefreshError::Invalid(reason))
            .await
    }

    /// A token that was ours counts for its session, even if that is not stored any more: people who come
    /// back to an office after a weekend must not lock each other out.
    async fn refuse_ended(
        &self,
        session_id: SessionId,
        event: AuditEvent,
        error: RefreshError,
    ) -> Result<TokenPair, RefreshError> {
        let key = self.0.attempt_keys.refresh_ended(session_id);
        self.count_refusal(&key, event, error).await
    }

    /// An expired token gets nothing. But if its session has not ended and went on without it, somebody
    /// else has a copy, and the session ends.
    async fn refuse_expired(
        &self,
        client: &Client,
        presented: SessionGeneration,
        reason: InvalidToken,
    ) -> Result<TokenPair, RefreshError> {
        let (session_id, rule) = (presented.session_id, &self.0.rules.rotation);
        let state = self.0.store.find_session_state(session_id).await?;
        let is_reused = |state: &SessionState| {
            let decided = decide_rotation(&state.facts, presented.generation, state.now, rule);
            decided == Rotation::Reused
        };
        let is_own = |state: &SessionState| state.user_id == presented.user_id;
        if state.is_some_and(|state| is_own(&state) && is_reused(&state)) {
            let mut tx = self.0.store.begin().await?;
            let state = self.lock_session(&mut tx, presented).await?;
            if let Some(state) = state.filter(is_reused) {
                return self.end_reused(tx, client, presented, &state).await;
            }
        }
        let event = refused_of(client, presented, TokenRefusal::Expired);
        self.refuse_ended(session_id, event, RefreshError::Invalid(reason))
            .await
    }

    /// Counts a refusal and writes it down, as `event` or as one by the limit.
    async fn count_refusal(
        &self,
        key: &AttemptKey,
        event: AuditEvent,
        error: RefreshError,
    ) -> Result<TokenPair, RefreshError> {
        let limited = |reason: LimitReached| AuditEvent {
            reason: reason.into(),
            detail: None,
            ..event.clone()
        };
        let limit = &self.0.rules.rotation.limit;
        let pending = if event.user_id.is_some() {
            self.reserve(key, limit, limited).await?
        } else {
            self.reserve_for_stranger(key, limit, limited).await?
        };
        self.refuse(pending, true, &event).await?;
        Err(error)
    }

    /// Settles a refresh that the usual statement did not grant. A repeated answer and a refusal during a block
    /// write nothing, and so take no lock: fifty tabs that wake at once do not queue. But the first
    /// repeat from a network that is new to the session is recorded: it may be a thief's.
    async fn settle_refresh(
        &self,
        client: &Client,
        presented: SessionGeneration,
    ) -> Result<TokenPair, RefreshError> {
        let (session_id, rule) = (presented.session_id, &self.0.rules.rotation);
        let state = self.0.store.find_session_state(session_id).await?;
        let Some(state) = state.filter(|state| state.user_id == presented.user_id) else {
            return self.refuse_forgotten(client, presented).await;
        };
        match decide_rotation(&state.facts, presented.generation, state.now, rule) {
            Rotation::Repeat if !state.is_new(client.network) => {
                let session = state.session.ok_or(RefreshError::SessionEnded)?;
                self.issue_known(&session).await
            }
            Rotation::Blocked { until } => {
                Err(self.blocked(client, presented, until, state.now).await)
            }
            Rotation::Advance => {
                if !state.is_new(client.network) {
                    // The rule grants what the statement did not: a key that was to sign may have been
                    // revoked a moment ago.
                    self.catch_up_with_keys().await?;
                }
                self.settle_locked(client, presented).await
            }
            Rotation::Repeat | Rotation::StartBlock | Rotation::Reused | Rotation::Ended => {
                self.settle_locked(client, presented).await
            }
        }
    }

    async fn refuse_forgotten(
        &self,
        client: &Client,
        presented: SessionGeneration,
    ) -> Result<TokenPair, RefreshError> {
        let event = refused_of(client, presented, TokenRefusal::UnknownSession);
        self.refuse_ended(presented.session_id, event, RefreshError::Unknown)
            .await
    }

    /// Refuses because a block on the session has begun earlier.
    async fn blocked(
        &self,
        client: &Client,
        presented: SessionGeneration,
        until: Timestamp,
        now: Timestamp,
    ) -> RefreshError {
        let reason = LimitReached::Refresh;
        let event = lasting(refused_of(client, presented, reason), until);
        self.record_if_room(&event).await;
        RefreshError::Limited(Limited::new(reason, seconds_until(until, now)))
    }
}

fn refused(client: &Client, reason: impl Into<AuditReason>) -> AuditEvent {
    AuditEvent::by_client(AuditKind::Refresh, Outcome::Refused, reason, client)
}

fn refused_of(
    client: &Client,
    presented: SessionGeneration,
    reason: impl Into<AuditReason>,
) -> AuditEvent {
    AuditEvent {
        user_id: Some(presented.user_id),
        session_id: Some(presented.session_id),
        ..refused(client, reason)
    }
}
