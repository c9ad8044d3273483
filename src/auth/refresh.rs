//! Refreshing: a refresh token for the session's next pair.

use tokio::time::Instant;

use crate::domain::{
    AttemptKey, AuditEvent, AuditKind, AuditReason, Client, EndReason, Outcome, PairKeys, Rotation,
    Session, SessionId, Timestamp, decide_rotation, seconds_until,
};
use crate::store::{Advance, SessionGeneration, SessionState, StoreError, Tx};
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
    SessionEnded,
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
    /// The usual case is one guarded statement. What it does not grant is settled on the locked
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
            ..refused(client, AuditReason::ForeignToken)
        };
        self.count_refusal(&key, event, RefreshError::Invalid(reason))
            .await
    }

    /// A token that was ours counts for its session, which may not even be stored any more: people
    /// who come back to an office after a weekend must not shut each other out.
    async fn refuse_ended(
        &self,
        session_id: SessionId,
        event: AuditEvent,
        error: RefreshError,
    ) -> Result<TokenPair, RefreshError> {
        let key = self.0.attempt_keys.refresh_ended(session_id);
        self.count_refusal(&key, event, error).await
    }

    /// An expired token gets nothing. But if its session was moved on without it and is still alive,
    /// somebody else moves it on, and it ends.
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
        let event = refused_of(client, presented, AuditReason::TokenExpired);
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
        let limited = |reason| AuditEvent {
            reason,
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

    /// What the usual statement did not grant. Repeating an answer and refusing during a block
    /// write nothing, and so take no lock: fifty tabs that wake at once do not queue. But the first
    /// repeat from a network that is new to the session is put on record: it may be a thief's.
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

    /// Decides on the locked row, and writes down what follows.
    async fn settle_locked(
        &self,
        client: &Client,
        presented: SessionGeneration,
    ) -> Result<TokenPair, RefreshError> {
        let (session_id, rule) = (presented.session_id, &self.0.rules.rotation);
        let mut tx = self.0.store.begin().await?;
        let Some(state) = self.lock_session(&mut tx, presented).await? else {
            drop(tx);
            return self.refuse_forgotten(client, presented).await;
        };
        let now = state.now;
        let event = |reason| refused_of(client, presented, reason);
        match decide_rotation(&state.facts, presented.generation, now, rule) {
            Rotation::Repeat => {
                if state.is_new(client.network) {
                    let reason = AuditReason::RepeatedElsewhere;
                    note_network(&mut tx, client, presented, reason).await?;
                    tx.commit().await?;
                }
                let session = state.session.ok_or(RefreshError::SessionEnded)?;
                self.issue_known(&session).await
            }
            Rotation::Blocked { until } => {
                drop(tx);
                Err(self.blocked(client, presented, until, now).await)
            }
            Rotation::Advance => {
                if state.is_new(client.network) {
                    let reason = AuditReason::OtherNetwork;
                    note_network(&mut tx, client, presented, reason).await?;
                }
                let ring = self.0.tokens.ring().current();
                let advanced = self
                    .advance_locked(tx, client, presented, ring.signers())
                    .await?;
                if let Some(session) = advanced {
                    return self.issue_known(&session).await;
                }
                self.catch_up_with_keys().await?;
                if self.0.tokens.ring().current().signers() != ring.signers() {
                    return Err(MissingKey(ring.active().clone()).into());
                }
                // The user was disabled in this very moment.
                let reason = AuditReason::SessionEnded;
                self.0.store.record(&event(reason)).await?;
                Err(RefreshError::SessionEnded)
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
            Rotation::Reused => self.end_reused(tx, client, presented, &state).await,
            Rotation::Ended => {
                tx.record(&event(AuditReason::SessionEnded)).await?;
                self.count_refused(tx, session_id, &state).await?;
                Err(RefreshError::SessionEnded)
            }
        }
    }

    /// Locks a session and reads what the rule looks at: with the time for which nobody could have been
    /// handed a pair, where that matters.
    async fn lock_session(
        &self,
        tx: &mut Tx,
        presented: SessionGeneration,
    ) -> Result<Option<SessionState>, StoreError> {
        let rule = &self.0.rules.rotation;
        let Some(mut state) = tx.lock_session(presented.session_id).await? else {
            return Ok(None);
        };
        if state.facts.is_late(presented.generation, state.now, rule) {
            let stalled = tx.time_stalled(state.facts.grace_from, state.now).await?;
            // Not the sum: mostly it is the same time. Where it is not, the grace is the shorter for it.
            let unanswered = self.0.unanswered.time_without(presented);
            state.facts.stalled = stalled.max(unanswered);
        }
        Ok(Some(state))
    }

    /// An old token was used again: somebody has a copy, and the session ends.
    async fn end_reused(
        &self,
        mut tx: Tx,
        client: &Client,
        presented: SessionGeneration,
        state: &SessionState,
    ) -> Result<TokenPair, RefreshError> {
        let session_id = presented.session_id;
        let ended = tx.end_session(session_id, None, EndReason::Reuse).await?;
        tx.record(&refused_of(client, presented, AuditReason::Reuse))
            .await?;
        if state.facts.is_blocked(state.now) {
            tx.commit().await?;
        } else {
            self.count_refused(tx, session_id, state).await?;
        }
        self.note_ended(EndReason::Reuse, ended);
        Err(RefreshError::Reused)
    }

    /// Lets the database know for how long this instance alone could not answer refreshes, so that
    /// every instance takes their tokens for as long as the grace still had to run. Does nothing while
    /// commits are not answered.
    pub async fn tell_unanswered(&self) -> Result<(), StoreError> {
        for presented in self.0.unanswered.all() {
            if !self.0.store.has_recent_heartbeat() {
                break;
            }
            self.tell_one(presented).await?;
            self.0.unanswered.forget(presented);
        }
        Ok(())
    }

    /// The session may have gone on since, on another instance: then there is nothing to tell.
    async fn tell_one(&self, presented: SessionGeneration) -> Result<(), StoreError> {
        let (session_id, rule) = (presented.session_id, &self.0.rules.rotation);
        let mut tx = self.0.store.begin().await?;
        let state = tx.lock_session(session_id).await?;
        let Some(SessionState { mut facts, now, .. }) = state else {
            return tx.rollback().await;
        };
        let on_record = tx.time_stalled(facts.grace_from, now).await?;
        let unanswered = self.0.unanswered.time_without(presented);
        facts.stalled = on_record.max(unanswered);
        let alone = unanswered.saturating_sub(on_record);
        match facts.later_grace(presented.generation, alone, now, rule) {
            Some(grace_from) => {
                tx.extend_grace(session_id, grace_from).await?;
                tx.commit().await
            }
            None => tx.rollback().await,
        }
    }

    /// The row is locked and the rule says that it advances: the network was not on record, or a block
    /// ran out, or another request made room, between the statement and the lock.
    async fn advance_locked(
        &self,
        mut tx: Tx,
        client: &Client,
        presented: SessionGeneration,
        keys: &PairKeys,
    ) -> Result<Option<Session>, StoreError> {
        let (lifetimes, rule) = (&self.0.rules.lifetimes, &self.0.rules.rotation);
        let session = tx
            .advance_session(Advance {
                presented,
                client,
                keys,
                lifetimes,
                rule,
            })
            .await?;
        if session.is_some() {
            tx.commit().await?;
        } else {
            tx.rollback().await?;
        }
        Ok(session)
    }

    async fn refuse_forgotten(
        &self,
        client: &Client,
        presented: SessionGeneration,
    ) -> Result<TokenPair, RefreshError> {
        let event = refused_of(client, presented, AuditReason::UnknownSession);
        self.refuse_ended(presented.session_id, event, RefreshError::Unknown)
            .await
    }

    /// A block on the session is on already.
    async fn blocked(
        &self,
        client: &Client,
        presented: SessionGeneration,
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
}

/// Puts the first use of a session from a network on record.
async fn note_network(
    tx: &mut Tx,
    client: &Client,
    presented: SessionGeneration,
    reason: AuditReason,
) -> Result<(), StoreError> {
    tx.note_network(presented.session_id, client).await?;
    tx.record(&AuditEvent {
        outcome: Outcome::Granted,
        ..refused_of(client, presented, reason)
    })
    .await
}

fn refused(client: &Client, reason: AuditReason) -> AuditEvent {
    AuditEvent::by_client(AuditKind::Refresh, Outcome::Refused, reason, client)
}

fn refused_of(client: &Client, presented: SessionGeneration, reason: AuditReason) -> AuditEvent {
    AuditEvent {
        user_id: Some(presented.user_id),
        session_id: Some(presented.session_id),
        ..refused(client, reason)
    }
}
