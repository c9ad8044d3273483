//! Settling a refresh on the locked row of its session.

use super::{RefreshError, refused_of};
use crate::auth::record::lasting;
use crate::auth::{Auth, Limited};
use crate::domain::{
    AuditEvent, Client, EndReason, LimitReached, NewNetwork, Outcome, PairKeys, Rotation, Session,
    SessionId, TokenRefusal, decide_rotation,
};
use crate::store::{Advance, SessionGeneration, SessionState, StoreError, Tx};
use crate::token::{MissingKey, TokenPair};

impl Auth {
    /// Decides on the locked row, and writes the decision down.
    pub(super) async fn settle_locked(
        &self,
        client: &Client,
        presented: SessionGeneration,
    ) -> Result<TokenPair, RefreshError> {
        let rule = &self.0.rules.rotation;
        let mut tx = self.0.store.begin().await?;
        let Some(state) = self.lock_session(&mut tx, presented).await? else {
            drop(tx);
            return self.refuse_forgotten(client, presented).await;
        };
        match decide_rotation(&state.facts, presented.generation, state.now, rule) {
            Rotation::Repeat => self.repeat_locked(tx, client, presented, state).await,
            Rotation::Blocked { until } => {
                drop(tx);
                Err(self.blocked(client, presented, until, state.now).await)
            }
            Rotation::Advance => self.advance_locked(tx, client, presented, &state).await,
            Rotation::StartBlock => self.start_block(tx, client, presented, &state).await,
            Rotation::Reused => self.end_reused(tx, client, presented, &state).await,
            Rotation::Ended => {
                let event = refused_of(client, presented, TokenRefusal::SessionEnded);
                tx.record(&event).await?;
                self.count_refused(tx, presented.session_id, &state).await?;
                Err(RefreshError::SessionEnded)
            }
        }
    }

    /// Locks a session and reads what the rotation rule decides by. Where it matters, that includes for how
    /// long nobody could have been handed a pair.
    pub(super) async fn lock_session(
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
            // Not the sum: usually both are the same time. Where they are not, the grace is shorter.
            let unanswered = self.0.unanswered.time_without(presented);
            state.facts.stalled = stalled.max(unanswered);
        }
        Ok(Some(state))
    }

    /// An old token was used again: somebody has a copy, and the session ends.
    pub(super) async fn end_reused(
        &self,
        mut tx: Tx,
        client: &Client,
        presented: SessionGeneration,
        state: &SessionState,
    ) -> Result<TokenPair, RefreshError> {
        let session_id = presented.session_id;
        let ended = tx.end_session(session_id, None, EndReason::Reuse).await?;
        tx.record(&refused_of(client, presented, TokenRefusal::Reuse))
            .await?;
        if state.facts.is_blocked(state.now) {
            tx.commit().await?;
        } else {
            self.count_refused(tx, session_id, state).await?;
        }
        self.note_ended(EndReason::Reuse, ended);
        Err(RefreshError::Reused)
    }

    async fn repeat_locked(
        &self,
        mut tx: Tx,
        client: &Client,
        presented: SessionGeneration,
        state: SessionState,
    ) -> Result<TokenPair, RefreshError> {
        if state.is_new(client.network) {
            note_network(&mut tx, client, presented, NewNetwork::Repeated).await?;
            tx.commit().await?;
        }
        let session = state.session.ok_or(RefreshError::SessionEnded)?;
        self.issue_known(&session).await
    }

    /// The row is locked and the rule says that it advances: the network was not on record, or a block
    /// ended, or another request made room, between the statement and the lock.
    async fn advance_locked(
        &self,
        mut tx: Tx,
        client: &Client,
        presented: SessionGeneration,
        state: &SessionState,
    ) -> Result<TokenPair, RefreshError> {
        if state.is_new(client.network) {
            note_network(&mut tx, client, presented, NewNetwork::Current).await?;
        }
        let ring = self.0.tokens.ring().current();
        let advanced = self.advance(tx, client, presented, ring.signers()).await?;
        if let Some(session) = advanced {
            return self.issue_known(&session).await;
        }
        self.catch_up_with_keys().await?;
        if self.0.tokens.ring().current().signers() != ring.signers() {
            return Err(MissingKey(ring.active().clone()).into());
        }
        // The user was disabled in this very moment.
        let event = refused_of(client, presented, TokenRefusal::SessionEnded);
        self.0.store.record(&event).await?;
        Err(RefreshError::SessionEnded)
    }

    async fn advance(
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

    /// One refresh too many starts a block.
    async fn start_block(
        &self,
        mut tx: Tx,
        client: &Client,
        presented: SessionGeneration,
        state: &SessionState,
    ) -> Result<TokenPair, RefreshError> {
        let (reason, limit) = (LimitReached::Refresh, &self.0.rules.rotation.limit);
        let retry_after = limit.block.unwrap_or(limit.window);
        let until = state.now + retry_after;
        tx.count_refresh(presented.session_id, &state.facts.hits, Some(until))
            .await?;
        let event = refused_of(client, presented, reason);
        tx.record(&lasting(event, until)).await?;
        tx.commit().await?;
        Err(RefreshError::Limited(Limited::new(reason, retry_after)))
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

/// Records the first use of a session from a network.
async fn note_network(
    tx: &mut Tx,
    client: &Client,
    presented: SessionGeneration,
    network: NewNetwork,
) -> Result<(), StoreError> {
    tx.note_network(presented.session_id, client).await?;
    tx.record(&AuditEvent {
        outcome: Outcome::Granted,
        ..refused_of(client, presented, network)
    })
    .await
}
