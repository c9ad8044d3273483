//! What failures have told of the server behind the connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{StoreError, budget};
use crate::telemetry::metrics::DATABASE_ERRORS;

/// How often at most all connections are dropped. While a failover lasts, each new one may turn out
/// to be as wrong as the last: one by one they would be dropped and made anew by every request.
const PAUSE: Duration = Duration::from_millis(500);

/// How long readiness calls the disk full after the last write that was refused for it. Nothing tells that
/// there is room again but a write that succeeds, and an instance out of service gets no requests that
/// write; so this is short, and an instance is back soon after room was made.
///
/// On a disk that stays full the instance goes in and out of service. That is harmless: the requests that it
/// gets meanwhile are answered 503, as every instance on the same database would answer them, and requests
/// that only read are served.
const FULL: Duration = Duration::from_secs(3);

/// The suspicion against a server; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Suspect(Arc<Mutex<Facts>>);

#[derive(Debug, Default)]
struct Facts {
    /// Connections from before this moment are dropped instead of used, so that a failover heals
    /// without a restart: the server turned out to be the wrong one (read-only, shutting down).
    outdated_before: Option<Instant>,
    /// The same, but once this moment has come.
    then_before: Option<Instant>,
    /// When a write was last refused because the disk was full.
    full_at: Option<Instant>,
}

impl Facts {
    /// It was the wrong one: at once the first time, and then every [`PAUSE`] for all who find the
    /// same meanwhile. None is forgotten: what they found holds from the end of the pause.
    fn is_wrong(&mut self, now: Instant) {
        self.advance(now);
        if self.then_before.is_some() {
            return;
        }
        match self.outdated_before {
            Some(last) if now < last + PAUSE => self.then_before = Some(last + PAUSE),
            _ => self.outdated_before = Some(now),
        }
    }

    fn advance(&mut self, now: Instant) {
        if self.then_before.is_some_and(|then| then <= now) {
            self.outdated_before = self.then_before.take();
        }
    }
}

impl Suspect {
    fn with<T>(&self, look: impl FnOnce(&mut Facts, Instant) -> T) -> T {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut facts, Instant::now())
    }

    /// Waits for a statement within the deadline, and notes what its failure says of the server.
    pub(super) async fn watch<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        // In a box, since every use case would carry a copy or two of it.
        let statement = Box::pin(statement);
        let answer = match budget::spend(statement).await {
            Ok(answer) => answer.map_err(StoreError::from),
            Err(_) => Err(StoreError::TimedOut),
        };
        answer.map_err(|error| self.note(error))
    }

    /// Notes what a failure says of the server.
    pub(super) fn note(&self, error: StoreError) -> StoreError {
        self.heed(&error);
        if let Some(kind) = error.kind() {
            DATABASE_ERRORS.add(1, [kind.into()]);
        }
        error
    }

    /// The same, for a failure that is not counted among those of requests.
    pub(super) fn heed(&self, error: &StoreError) {
        if error.is_wrong_server() {
            self.is_wrong();
        }
        if error.is_disk_full() {
            self.with(|facts, now| facts.full_at = Some(now));
        }
    }

    /// The server turned out to be the wrong one.
    pub(super) fn is_wrong(&self) {
        self.with(Facts::is_wrong);
    }

    /// The server turned out to be a standby, where it matters that it is the primary.
    pub(super) fn is_standby(&self) -> StoreError {
        self.is_wrong();
        let error = StoreError::Standby;
        if let Some(kind) = error.kind() {
            DATABASE_ERRORS.add(1, [kind.into()]);
        }
        error
    }

    /// Whether the server had no room on its disk just now. Whoever finds out that it has again is the next
    /// write, so this is forgotten after a while.
    pub(super) fn is_full(&self) -> bool {
        self.with(|facts, now| facts.full_at.is_some_and(|at| now - at < FULL))
    }

    /// Whether the server turned out to be the wrong one just now, and connections that may be as
    /// wrong are still in use.
    pub(super) fn is_unsettled(&self) -> bool {
        self.with(|facts, now| {
            facts.advance(now);
            facts.then_before.is_some()
        })
    }

    /// Whether a connection was made before the server turned out to be the wrong one.
    pub(super) fn is_outdated(&self, age: Duration) -> bool {
        self.with(|facts, now| {
            facts.advance(now);
            facts
                .outdated_before
                .is_some_and(|before| age > now - before)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(duration: Duration) {
        tokio::time::advance(duration).await;
    }

    #[tokio::test(start_paused = true)]
    async fn connections_from_before_a_failure_are_dropped_and_later_ones_are_not() {
        let suspect = Suspect::default();
        pass(PAUSE).await;
        assert!(!suspect.is_outdated(PAUSE));
        suspect.is_wrong();
        pass(PAUSE / 2).await;
        assert!(suspect.is_outdated(PAUSE));
        assert!(!suspect.is_outdated(PAUSE / 4));
    }

    /// Red when every failure counts at once.
    #[tokio::test(start_paused = true)]
    async fn of_a_wave_of_failures_one_drops_the_connections_until_the_pause_is_over() {
        let suspect = Suspect::default();
        suspect.is_wrong();
        let made_after = Duration::from_millis(1);
        pass(made_after).await;
        for _ in 0..9 {
            pass(PAUSE / 10).await;
            suspect.is_wrong();
            let age = PAUSE / 10;
            assert!(!suspect.is_outdated(age), "a connection just made");
            assert!(suspect.is_unsettled());
        }
        pass(PAUSE / 10).await;
        assert!(
            suspect.is_outdated(PAUSE),
            "what they found is not forgotten"
        );
        assert!(!suspect.is_unsettled());
        assert!(!suspect.is_outdated(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_is_called_full_for_three_seconds_after_the_last_refused_write() {
        let suspect = Suspect::default();
        let refuse_write = || suspect.with(|facts, now| facts.full_at = Some(now));
        assert!(!suspect.is_full());
        refuse_write();
        pass(Duration::from_secs(2)).await;
        refuse_write();
        pass(Duration::from_millis(2_900)).await;
        assert!(suspect.is_full());
        pass(Duration::from_millis(100)).await;
        assert!(!suspect.is_full());
    }
}
