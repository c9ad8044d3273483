//! Reserving attempts, and writing down whom a limit refuses.

use std::time::Duration;

use crate::domain::{
    AttemptKey, AuditEvent, AuditReason, Limit, LimitScope, Reservation, Timestamp,
};
use crate::store::StoreError;

use super::Auth;

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

impl Auth {
    /// Reserves an attempt. One that is refused is written down as what `event` makes of the reason.
    pub(super) async fn reserve(
        &self,
        key: &AttemptKey,
        limit: &Limit,
        event: impl FnOnce(AuditReason) -> AuditEvent,
    ) -> Result<Timestamp, NotReserved> {
        let reservation = self.0.store.reserve_attempt(key, limit).await?;
        self.granted(reservation, key.scope, event).await
    }

    /// Passes on what was granted, and writes down what was not: each start of a block, and what is
    /// refused without being counted as long as there is room for it.
    pub(super) async fn granted(
        &self,
        reservation: Reservation,
        scope: LimitScope,
        event: impl FnOnce(AuditReason) -> AuditEvent,
    ) -> Result<Timestamp, NotReserved> {
        let (until, retry_after, started_now) = match reservation {
            Reservation::Granted { at } => return Ok(at),
            Reservation::Refused {
                until,
                retry_after,
                started_now,
            } => (until, retry_after, started_now),
        };
        let reason = AuditReason::from(scope);
        let event = lasting(event(reason), until);
        if started_now {
            self.0.store.record(&event).await?;
        } else {
            self.record_if_room(&event).await;
        }
        Err(NotReserved::Limited(Limited {
            reason,
            retry_after,
        }))
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
