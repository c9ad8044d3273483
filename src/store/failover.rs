//! The failover guard: the evidence of failures about the server behind the connections.

use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::answer::Answer;
use super::{StoreError, budget};
use crate::telemetry::metrics::DATABASE_ERRORS;

/// The shortest time between two drops of all connections. During a failover a new connection may lead to
/// the wrong server as well: without a pause every request would drop them all and connect again.
const PAUSE: Duration = Duration::from_millis(500);

/// How long readiness calls the disk full after the last write that was refused for it. Nothing tells that
/// there is room again but a write that succeeds, and an instance out of service gets no requests that
/// write; so this is short, and an instance is back soon after room was made.
///
/// On a disk that stays full the instance goes in and out of service. That is harmless: the requests that it
/// gets meanwhile are answered 503, as every instance on the same database would answer them, and requests
/// that only read are served.
const FULL: Duration = Duration::from_secs(3);

/// Drops connections to a server that turned out not to be the primary. Clones share their state.
#[derive(Debug, Clone, Default)]
pub(super) struct FailoverGuard(Arc<Mutex<GuardState>>);

#[derive(Debug, Default)]
struct GuardState {
    /// Connections from before this instant are dropped instead of used, because the server turned out to
    /// be the wrong one (read-only, shutting down). So a failover heals without a restart.
    outdated_before: Option<Instant>,
    /// The next value of `outdated_before`, from that instant on.
    then_before: Option<Instant>,
    /// When a write was last refused because the disk was full.
    full_at: Option<Instant>,
}

impl GuardState {
    /// Drops the connections at once the first time, and then at most once per [`PAUSE`]. A report within
    /// the pause is not lost: it takes effect when the pause ends.
    fn note_wrong_server(&mut self, now: Instant) {
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

impl FailoverGuard {
    fn with<T>(&self, look: impl FnOnce(&mut GuardState, Instant) -> T) -> T {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut state, Instant::now())
    }

    /// Waits for a statement within the deadline, and notes what its failure tells about the server.
    /// Its name in the log is the place of its caller.
    #[track_caller]
    pub(super) fn watch<'a, T: 'a>(
        &'a self,
        statement: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
    ) -> Answer<'a, T> {
        let caller = Location::caller();
        Box::pin(async move {
            let since = Instant::now();
            let answer = match budget::spend(statement).await {
                Ok(answer) => answer.map_err(StoreError::from),
                Err(_) => Err(StoreError::TimedOut),
            };
            // Without a connection no statement was run; the error says why there was none.
            if !matches!(answer, Err(StoreError::Unavailable(_))) {
                let (file, line) = (caller.file(), caller.line());
                let (is_ok, elapsed) = (answer.is_ok(), since.elapsed());
                tracing::debug!(at = %format_args!("{file}:{line}"), is_ok, ?elapsed, "ran a statement");
            }
            answer.map_err(|error| self.note(error))
        })
    }

    /// Notes what a failure tells about the server, and counts it.
    pub(super) fn note(&self, error: StoreError) -> StoreError {
        self.note_uncounted(&error);
        if let Some(kind) = error.kind() {
            DATABASE_ERRORS.add(1, [kind.into()]);
        }
        error
    }

    /// The same as [`note`](Self::note), without counting: the failure is not one of a request.
    pub(super) fn note_uncounted(&self, error: &StoreError) {
        if error.is_wrong_server() {
            self.note_wrong_server();
        }
        if error.is_disk_full() {
            self.with(|state, now| state.full_at = Some(now));
        }
    }

    /// Notes that the server is not the primary, so that its connections are dropped.
    pub(super) fn note_wrong_server(&self) {
        self.with(GuardState::note_wrong_server);
    }

    /// Notes that the server is a standby where the primary is needed, and returns the error for it.
    pub(super) fn note_standby(&self) -> StoreError {
        self.note_wrong_server();
        let error = StoreError::Standby;
        if let Some(kind) = error.kind() {
            DATABASE_ERRORS.add(1, [kind.into()]);
        }
        error
    }

    /// Whether a write was refused for a full disk within the last [`FULL`].
    pub(super) fn is_disk_full(&self) -> bool {
        self.with(|state, now| state.full_at.is_some_and(|at| now - at < FULL))
    }

    /// Whether the server turned out to be the wrong one within the pause, so that connections to it may
    /// still be in use.
    pub(super) fn is_unsettled(&self) -> bool {
        self.with(|state, now| {
            state.advance(now);
            state.then_before.is_some()
        })
    }

    /// Whether a connection was made before the server turned out to be the wrong one.
    pub(super) fn is_outdated(&self, age: Duration) -> bool {
        self.with(|state, now| {
            state.advance(now);
            state
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
        let guard = FailoverGuard::default();
        pass(PAUSE).await;
        assert!(!guard.is_outdated(PAUSE));
        guard.note_wrong_server();
        pass(PAUSE / 2).await;
        assert!(guard.is_outdated(PAUSE));
        assert!(!guard.is_outdated(PAUSE / 4));
    }

    /// Red when every failure counts at once.
    #[tokio::test(start_paused = true)]
    async fn of_a_wave_of_failures_one_drops_the_connections_until_the_pause_is_over() {
        let guard = FailoverGuard::default();
        guard.note_wrong_server();
        let made_after = Duration::from_millis(1);
        pass(made_after).await;
        for _ in 0..9 {
            pass(PAUSE / 10).await;
            guard.note_wrong_server();
            let age = PAUSE / 10;
            assert!(!guard.is_outdated(age), "a connection just made");
            assert!(guard.is_unsettled());
        }
        pass(PAUSE / 10).await;
        assert!(guard.is_outdated(PAUSE), "their finding is not forgotten");
        assert!(!guard.is_unsettled());
        assert!(!guard.is_outdated(Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_is_called_full_for_three_seconds_after_the_last_refused_write() {
        let guard = FailoverGuard::default();
        let refuse_write = || guard.with(|state, now| state.full_at = Some(now));
        assert!(!guard.is_disk_full());
        refuse_write();
        pass(Duration::from_secs(2)).await;
        refuse_write();
        pass(Duration::from_millis(2_900)).await;
        assert!(guard.is_disk_full());
        pass(Duration::from_millis(100)).await;
        assert!(!guard.is_disk_full());
    }
}
