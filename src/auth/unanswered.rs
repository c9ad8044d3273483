//! The refreshes that this instance answered 503, because it could not ask the database or did not hear
//! from it in time.
//!
//! The statement may have been committed all the same, and then the grace runs while the token's owner
//! cannot be handed the answer. When all instances are kept out, the database knows
//! ([`store::outages`](crate::store)). What only this one knows it keeps in mind until it can write it
//! down.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::store::SessionGeneration;

/// Refreshes that are kept in mind: enough for a minute of an instance's load. Of more the oldest go.
const KEPT: usize = 10_000;

/// What is kept in mind: the tokens, and since when they have no answer.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Mutex<HashMap<SessionGeneration, Instant>>);

impl Unanswered {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<SessionGeneration, Instant>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes note that a token that was presented at `since` got no answer. Of several times the first
    /// counts.
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

    /// All that are kept in mind.
    pub(super) fn all(&self) -> Vec<SessionGeneration> {
        self.with(|kept| kept.keys().copied().collect())
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
