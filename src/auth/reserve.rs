//! Reserving attempts, settling them, and writing down whom a limit refuses.

use std::time::Duration;

use tokio::runtime::Handle;

use crate::domain::{
    AttemptInFlight, AttemptKey, AuditEvent, AuditReason, Limit, LimitRefusal, LimitScope,
    Reservation, Timestamp,
};
use crate::store::StoreError;

use super::Auth;

/// Requests whose attempts are settled after they have gone, at a time. What goes beyond is in flight
/// until it gives up its room, and counts for nothing: its client has not seen an answer.
pub(super) const MAX_LATE: usize = 1_000;

/// A refusal for too many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// Which limit refuses.
    pub reason: AuditReason,
    /// The true rest of it.
    pub retry_after: Duration,
}

/// Why an attempt could not be reserved.
pub(super) enum NotReserved {
    Limited(Limited),
    Store(StoreError),
}

impl From<StoreError> for NotReserved {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The attempts of a request, in flight until its outcome settles them. If it is dropped before, its client
/// has hung up or it panicked, and they count: a guess does not become free by hanging up.
#[derive(Debug)]
pub(super) struct Pending {
    auth: Auth,
    attempts: Vec<AttemptInFlight>,
}

impl Pending {
    pub(super) fn new(auth: &Auth, attempts: Vec<AttemptInFlight>) -> Self {
        Self {
            auth: auth.clone(),
            attempts,
        }
    }

    pub(super) fn attempts(&self) -> &[AttemptInFlight] {
        &self.attempts
    }

    pub(super) fn add(&mut self, attempt: AttemptInFlight) {
        self.attempts.push(attempt);
    }

    /// They are settled.
    pub(super) fn end(mut self) {
        self.attempts.clear();
    }

    /// Takes them back, since the answer is 503: now if it can be done, and otherwise as soon as it can.
    pub(super) async fn release(mut self) {
        if let Err(error) = self.auth.0.store.release_attempts(&self.attempts).await {
            tracing::debug!(%error, "attempts are taken back later");
            self.later(false);
        }
        self.attempts.clear();
    }

    /// Settles them although nobody waits.
    fn later(&mut self, counts: bool) {
        let attempts = std::mem::take(&mut self.attempts);
        let Some((permit, runtime)) =
            (self.auth.0.late.clone().try_acquire_owned().ok()).zip(Handle::try_current().ok())
        else {
            tracing::warn!("attempts were left in flight");
            return;
        };
        let auth = self.auth.clone();
        runtime.spawn(async move {
            let settled = auth.0.store.settle_late(&attempts, counts).await;
            if let Err(error) = settled {
                tracing::warn!(%error, "attempts were left in flight");
            }
            drop(permit);
        });
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.attempts.is_empty() {
            self.later(true);
        }
    }
}

impl Auth {
    /// Reserves an attempt. One that is refused is written down as what `event` makes of the reason.
    pub(super) async fn reserve(
        &self,
        key: &AttemptKey,
        limit: &Limit,
        event: impl FnOnce(AuditReason) -> AuditEvent,
    ) -> Result<Pending, NotReserved> {
        match self.0.store.reserve_attempt(key, limit).await? {
            Reservation::Granted { at } => {
                Ok(Pending::new(self, vec![AttemptInFlight { key: *key, at }]))
            }
            Reservation::Refused(refusal) => {
                let limited = self.limited(key.scope, refusal, event).await;
                Err(NotReserved::Limited(limited))
            }
        }
    }

    /// Settles the attempts of a request that is refused, and writes the refusal down. If that fails, the
    /// answer is 503 and they are taken back.
    pub(super) async fn refuse(
        &self,
        pending: Pending,
        is_failure: bool,
        event: &AuditEvent,
    ) -> Result<(), StoreError> {
        let store = &self.0.store;
        let written = store.refuse(pending.attempts(), is_failure, event).await;
        match &written {
            Ok(()) => pending.end(),
            Err(error) if error.is_unavailable() => pending.release().await,
            // A defect is answered 500, which counts.
            Err(_) => drop(pending),
        }
        written
    }

    /// Writes a refusal by a limit down: each start of a block, and what is refused without being counted
    /// as long as there is room for it. It stands even if it cannot be written down.
    pub(super) async fn limited(
        &self,
        scope: LimitScope,
        refusal: LimitRefusal,
        event: impl FnOnce(AuditReason) -> AuditEvent,
    ) -> Limited {
        let reason = AuditReason::from(scope);
        let event = lasting(event(reason), refusal.until);
        if !refusal.started_now {
            self.record_if_room(&event).await;
        } else if let Err(error) = self.0.store.record(&event).await {
            tracing::warn!(%error, "the start of a block could not be written down");
        }
        Limited {
            reason,
            retry_after: refusal.retry_after,
        }
    }

    /// Writes down a refusal that nothing counts. It stands even if it cannot be written down, and
    /// of who goes on knocking it is not.
    pub(super) async fn record_if_room(&self, event: &AuditEvent) {
        let has_room = (event.network).is_some_and(|network| self.0.record_budget.take(network));
        if has_room && let Err(error) = self.0.store.record(event).await {
            tracing::warn!(%error, "a refusal could not be written down");
        }
    }
}

/// An event that says until when a limit refuses.
pub(super) fn lasting(event: AuditEvent, until: Timestamp) -> AuditEvent {
    AuditEvent {
        detail: Some(until.format("until %Y-%m-%dT%H:%M:%S+00:00").to_string()),
        ..event
    }
}
