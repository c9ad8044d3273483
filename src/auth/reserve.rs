//! Reserving attempts, and settling them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::domain::{
    AttemptInFlight, AttemptKey, AuditEvent, Limit, LimitReached, LimitRefusal, LimitScope,
    Reservation,
};
use crate::limits::Strangers;
use crate::store::StoreError;

use super::Auth;
use super::record::{lasting, take_room};

/// A refusal for too many attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// The limit that refuses.
    pub reason: LimitReached,
    /// The time until it no longer refuses.
    pub retry_after: Duration,
}

impl Limited {
    /// A refusal by a limit for this long.
    pub(super) fn new(reason: LimitReached, retry_after: Duration) -> Self {
        Self {
            reason,
            retry_after,
        }
    }
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
    /// The answer is 503.
    is_unanswered: Arc<AtomicBool>,
}

impl Pending {
    pub(super) fn new(auth: &Auth, attempts: Vec<AttemptInFlight>) -> Self {
        Self {
            auth: auth.clone(),
            attempts,
            is_unanswered: Arc::default(),
        }
    }

    /// Whether a statement that settles them too late is to be undone: if the answer was 503, but not
    /// if the client has hung up, or a guess would become free by hanging up.
    pub(super) fn unanswered(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_unanswered)
    }

    pub(super) fn attempts(&self) -> &[AttemptInFlight] {
        &self.attempts
    }

    pub(super) fn add(&mut self, attempt: AttemptInFlight) {
        self.attempts.push(attempt);
    }

    /// Forgets the attempts, which are settled: dropping this counts none of them.
    pub(super) fn end(mut self) {
        self.attempts.clear();
    }

    /// Takes them back, since the answer is 503: now if it can be done, and otherwise as soon as it can.
    pub(super) async fn release(mut self) {
        self.is_unanswered.store(true, Ordering::Release);
        if let Err(error) = self.auth.0.store.release_attempts(&self.attempts).await {
            tracing::debug!(%error, "attempts are taken back later");
            self.later(false);
        }
        self.attempts.clear();
    }

    /// Takes them back if the answer is 503. A defect is answered 500, which counts: attempts that are
    /// pending are counted when dropped.
    pub(super) async fn release_if(self, is_unavailable: bool) {
        if is_unavailable {
            self.release().await;
        }
    }

    /// Settles them when no request waits any more.
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
    /// Reserves an attempt. A refusal is recorded as the event that `event` makes of the reason.
    pub(super) async fn reserve(
        &self,
        key: &AttemptKey,
        limit: &Limit,
        event: impl FnOnce(LimitReached) -> AuditEvent,
    ) -> Result<Pending, NotReserved> {
        let reservation = self.0.store.reserve_attempt(key, limit).await?;
        tracing::debug!(limit = key.scope.as_str(), ?reservation, "asked a limit");
        match reservation {
            Reservation::Granted { at } => {
                Ok(Pending::new(self, vec![AttemptInFlight { key: *key, at }]))
            }
            Reservation::Refused(refusal) => {
                let limited = self.limited(key.scope, refusal, event).await;
                Err(NotReserved::Limited(limited))
            }
        }
    }

    /// The same for a request of a stranger, who may have any number of networks. Beyond the number of
    /// attempts that all strangers together may have counted, it is refused without a row, and left
    /// out of the audit log.
    pub(super) async fn reserve_for_stranger(
        &self,
        key: &AttemptKey,
        limit: &Limit,
        event: impl FnOnce(LimitReached) -> AuditEvent,
    ) -> Result<Pending, NotReserved> {
        self.admit_stranger(&self.0.strangers, key.scope)
            .map_err(NotReserved::Limited)?;
        self.reserve(key, limit, event).await
    }

    /// Refuses a request beyond the number that all strangers together may have counted.
    pub(super) fn admit_stranger(
        &self,
        strangers: &Strangers,
        scope: LimitScope,
    ) -> Result<(), Limited> {
        strangers.check().map_err(|wait| {
            self.0.foreign.leave_out(1);
            // In whole seconds, like every wait that a client is told.
            let wait = Duration::from_secs(wait.as_secs() + 1);
            Limited::new(scope.into(), wait)
        })
    }

    /// Refuses for a limit that has no room. The attempts that other limits granted count. The refusal is
    /// recorded as the event that `event` makes of the reason.
    pub(super) async fn refuse_for(
        &self,
        pending: Pending,
        (key, limit): &(AttemptKey, Limit),
        event: impl FnOnce(LimitReached) -> AuditEvent,
    ) -> Result<Limited, StoreError> {
        let store = &self.0.store;
        let unanswered = pending.unanswered();
        let refusal = store.refuse_by(key, limit, pending.attempts(), unanswered);
        match refusal.await {
            Ok(refusal) => {
                pending.end();
                Ok(self.limited(key.scope, refusal, event).await)
            }
            Err(error) => {
                pending.release_if(error.is_unavailable()).await;
                Err(error)
            }
        }
    }

    /// Settles the attempts of a request that is refused, and records the refusal: of an account's
    /// owner each time, of a stranger if there is room. Either is one statement and one commit, so
    /// that the time does not tell who has an account. If that fails, the answer is 503 and the
    /// attempts are taken back.
    pub(super) async fn refuse(
        &self,
        pending: Pending,
        is_failure: bool,
        event: &AuditEvent,
    ) -> Result<(), StoreError> {
        let store = &self.0.store;
        let is_recorded = event.user_id.is_some() || take_room(&self.0.foreign, event);
        let event = is_recorded.then_some(event);
        let unanswered = pending.unanswered();
        let written = store.refuse(pending.attempts(), is_failure, event, unanswered);
        let written = written.await;
        match &written {
            Ok(()) => pending.end(),
            Err(error) => pending.release_if(error.is_unavailable()).await,
        }
        written
    }

    /// Records a refusal by a limit: each start of a block, and refusals that are not counted as long
    /// as there is room for them. The refusal stands even if it cannot be recorded.
    pub(super) async fn limited(
        &self,
        scope: LimitScope,
        refusal: LimitRefusal,
        event: impl FnOnce(LimitReached) -> AuditEvent,
    ) -> Limited {
        let reason = LimitReached::from(scope);
        let event = lasting(event(reason), refusal.until);
        if !refusal.started_now {
            self.record_if_room(&event).await;
        } else if let Err(error) = self.record_start(&event).await {
            tracing::warn!(%error, "the start of a block could not be written down");
        }
        Limited::new(reason, refusal.retry_after)
    }
}
