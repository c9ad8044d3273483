//! The refreshes that this instance answered 503, because it could not ask the database or got no answer
//! in time.
//!
//! The statement may have been committed all the same, and then the grace runs while the token's owner
//! cannot be given the answer. When no instance reaches the database, the database knows
//! ([`store::outages`](crate::store)). An outage of this instance alone is kept here until it can be
//! written down.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::Auth;
use crate::store::{SessionGeneration, SessionState, StoreError};

/// Refreshes that are kept: enough for a minute of an instance's load. Beyond that the oldest are dropped.
const KEPT: usize = 10_000;

/// The tokens without an answer, and since when.
#[derive(Debug, Default)]
pub(in crate::auth) struct Unanswered(Mutex<HashMap<SessionGeneration, Instant>>);

impl Unanswered {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<SessionGeneration, Instant>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that a token that was presented at `since` got no answer. Of several times the first counts.
    pub(super) fn note(&self, presented: SessionGeneration, since: Instant) {
        self.with(|kept| {
            if kept.len() >= KEPT && !kept.contains_key(&presented) {
                let oldest = kept.iter().min_by_key(|(_, since)| **since);
                if let Some(oldest) = oldest.map(|(presented, _)| *presented) {
                    kept.remove(&oldest);
                }
            }
            kept.entry(presented).or_insert(since);
        });
    }

    /// For how long a token has had no answer.
    pub(super) fn time_without(&self, presented: SessionGeneration) -> Duration {
        self.with(|kept| {
            let since = kept.get(&presented);
            since.map_or(Duration::ZERO, Instant::elapsed)
        })
    }

    pub(super) fn forget(&self, presented: SessionGeneration) {
        self.with(|kept| kept.remove(&presented));
    }

    /// All tokens without an answer.
    pub(super) fn all(&self) -> Vec<SessionGeneration> {
        self.with(|kept| kept.keys().copied().collect())
    }
}

impl Auth {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Generation, SessionId, UserId};

    fn presented() -> SessionGeneration {
        SessionGeneration {
            session_id: SessionId::random(),
            user_id: UserId(1),
            generation: Generation(3),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_without_an_answer_since_the_first_time() {
        let (unanswered, token) = (Unanswered::default(), presented());
        assert_eq!(unanswered.time_without(token), Duration::ZERO);
        unanswered.note(token, Instant::now());
        tokio::time::advance(Duration::from_secs(7)).await;
        unanswered.note(token, Instant::now());
        assert_eq!(unanswered.time_without(token), Duration::from_secs(7));
        let other = SessionGeneration {
            generation: Generation(2),
            ..token
        };
        assert_eq!(unanswered.time_without(other), Duration::ZERO);
        unanswered.forget(token);
        assert_eq!(unanswered.time_without(token), Duration::ZERO);
        assert!(unanswered.all().is_empty());
    }

    /// Red without the bound.
    #[tokio::test(start_paused = true)]
    async fn of_more_than_are_kept_the_oldest_is_forgotten() {
        let (unanswered, first) = (Unanswered::default(), presented());
        unanswered.note(first, Instant::now());
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..KEPT {
            unanswered.note(presented(), Instant::now());
        }
        assert_eq!(unanswered.all().len(), KEPT);
        assert_eq!(unanswered.time_without(first), Duration::ZERO);
    }
}
