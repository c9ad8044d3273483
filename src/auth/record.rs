//! Recording refusals in the audit log.
//!
//! A refusal of an account's owner is recorded each time, and in time. A refusal costs a stranger
//! nothing, so there is a throttle on recording these, and a count of those that it left out.

use crate::domain::{AuditEvent, AuditKind, EmailAddress, Outcome, Overload, Timestamp, rfc3339};
use crate::limits::AuditThrottle;
use crate::store::StoreError;
use crate::telemetry::metrics::REFUSALS_LEFT_OUT;

use super::Auth;

impl Auth {
    /// Records that a block started. Anybody who knows an address can start one on it from each
    /// network, so there is a throttle for each account. The account has to be looked up.
    pub(super) async fn record_start(&self, event: &AuditEvent) -> Result<(), StoreError> {
        match &event.email {
            Some(email) if event.user_id.is_none() => {
                let has_room = match self.0.store.find_user(email).await? {
                    Some(_) => self.0.blocks.take(email.as_str()),
                    None => take_room(&self.0.foreign, event),
                };
                self.record_or_touch(event, email, has_room).await
            }
            _ => self.record_refusal(event).await,
        }
    }

    /// Records a refusal: of an account's owner each time, of a stranger if there is room.
    pub(super) async fn record_refusal(&self, event: &AuditEvent) -> Result<(), StoreError> {
        if event.user_id.is_some() || take_room(&self.0.foreign, event) {
            self.0.store.record(event).await?;
        }
        Ok(())
    }

    /// A refusal that is left out costs a statement and a commit like any other: the time must not
    /// tell whether the address has an account.
    async fn record_or_touch(
        &self,
        event: &AuditEvent,
        email: &EmailAddress,
        has_room: bool,
    ) -> Result<(), StoreError> {
        if has_room {
            self.0.store.record(event).await
        } else {
            let key = self.0.attempt_keys.signin_failures(email);
            self.0.store.touch_attempts(&key).await
        }
    }

    /// Records a refusal that nothing counts, if there is room. The refusal stands even if it cannot
    /// be recorded.
    pub(super) async fn record_if_room(&self, event: &AuditEvent) {
        if take_room(&self.0.knocking, event)
            && let Err(error) = self.0.store.record(event).await
        {
            tracing::warn!(%error, "a refusal could not be written down");
        }
    }

    /// Records how many refusals were left out since the last call, if any.
    pub async fn record_left_out(&self) -> Result<(), StoreError> {
        let budgets = [
            (&self.0.foreign, "of strangers"),
            (&self.0.knocking, "by limits that were reached"),
            (&self.0.blocks, "that started a block on an account"),
        ];
        for (budget, which) in budgets {
            let left_out = budget.take_left_out();
            if left_out == 0 {
                continue;
            }
            let event = AuditEvent {
                detail: Some(format!("{left_out} refusals {which}")),
                ..AuditEvent::bare(AuditKind::Refusals, Outcome::Refused, Overload::LeftOut)
            };
            let written = self.0.store.record(&event).await;
            written.inspect_err(|_| budget.leave_out(left_out))?;
            REFUSALS_LEFT_OUT.add(left_out, ["audit".into()]);
        }
        Ok(())
    }
}

/// Takes room for an event, if the throttle has any for its network.
pub(super) fn take_room(budget: &AuditThrottle, event: &AuditEvent) -> bool {
    (event.network).is_some_and(|network| budget.take(network))
}

/// An event that says until when a limit refuses.
pub(super) fn lasting(event: AuditEvent, until: Timestamp) -> AuditEvent {
    AuditEvent {
        detail: Some(format!("until {}", rfc3339(until))),
        ..event
    }
}
