//! Asking for a link to set a password, by somebody who is not signed in.
//!
//! Anybody can ask for anybody's link. So the answer is one, the work is the same for every address, and
//! a mailbox gets so many mails and no more.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{
    AttemptInFlight, AuditEvent, AuditKind, Client, EmailAddress, LimitScope, LinkId, LinkOutcome,
    Outcome,
};
use crate::password::wait_until;
use crate::store::{InsertedLink, NewLink, StoreError};
use crate::telemetry::metrics::LIMIT_REFUSALS;
use crate::telemetry::note_user;

use super::record::take_room;
use super::reserve::Pending;
use super::{Auth, Limited};

/// An answer leaves when a whole number of these has passed. On an idle machine the row of an index more, or the look
/// at a foreign key, would tell an address that somebody has from one that nobody has.
const PACE: Duration = Duration::from_millis(100);

/// Why a wish for a link was not taken.
#[derive(Debug)]
pub enum ForgotError {
    /// Too many wishes.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for ForgotError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A wish that the limits let through.
struct Admitted {
    pending: Pending,
    /// Whether the address may get one more mail.
    has_room: bool,
}

/// Waits until a whole number of paces has passed.
async fn keep_pace(since: Instant) {
    let paces = since.elapsed().as_millis() / PACE.as_millis() + 1;
    wait_until(since + PACE * u32::try_from(paces).unwrap_or(1)).await;
}

impl Auth {
    /// Mails a link to set a password, if an enabled user has the address.
    ///
    /// Whether anybody has it changes neither the answer nor the work: the limits and the budget of mails
    /// count addresses, and there is one statement, one event and one commit. Nor does it change when the answer
    /// leaves.
    pub async fn forgot_password(
        &self,
        client: &Client,
        email: &EmailAddress,
    ) -> Result<(), ForgotError> {
        let asked_at = Instant::now();
        let Admitted { pending, has_room } = self.reserve_link(client, email).await?;
        match self
            .mail_link(client, email, has_room, pending.attempts())
            .await
        {
            Ok(()) => {
                pending.end();
                self.0.mail_is_due.notify_one();
                keep_pace(asked_at).await;
                Ok(())
            }
            Err(error) => {
                pending.release_if(error.is_unavailable()).await;
                Err(error.into())
            }
        }
    }

    /// Reserves the wish under its limits. The last of them is the budget of mails: past it the answer is
    /// the same and nothing is mailed.
    async fn reserve_link(
        &self,
        client: &Client,
        email: &EmailAddress,
    ) -> Result<Admitted, ForgotError> {
        self.admit_stranger(&self.0.askers, LimitScope::Forgot)
            .map_err(ForgotError::Limited)?;
        let (keys, rules) = (&self.0.attempt_keys, &self.0.rules);
        let limits = [
            (keys.forgot(email, client.network), rules.forgot),
            (
                keys.forgot_network(client.network),
                rules.ceilings.forgot_network,
            ),
            (keys.link_mail(email), rules.ceilings.link_mails),
        ];
        let reserved = self.0.store.reserve_link(&limits).await?;
        let pending = Pending::new(self, reserved.granted);
        let refused_by = reserved.refused.map(|(key, _)| key.scope);
        tracing::debug!(?refused_by, "asked the limits of a wish for a link");
        let event = |reason| AuditEvent {
            email: Some(email.clone()),
            ..AuditEvent::by_client(AuditKind::Link, Outcome::Refused, reason, client)
        };
        let Some((key, limit)) = reserved.refused else {
            let has_room = true;
            return Ok(Admitted { pending, has_room });
        };
        if key.scope == LimitScope::LinkMail {
            LIMIT_REFUSALS.add(1, [key.scope.as_str().into()]);
            let has_room = false;
            return Ok(Admitted { pending, has_room });
        }
        let limited = match reserved.block {
            Some(block) => self.limited(key.scope, block, event).await,
            None => self.refuse_for(pending, &(key, limit), event).await?,
        };
        Err(ForgotError::Limited(limited))
    }

    async fn mail_link(
        &self,
        client: &Client,
        email: &EmailAddress,
        has_room: bool,
        attempts: &[AttemptInFlight],
    ) -> Result<(), StoreError> {
        let mut tx = self.0.store.begin().await?;
        let InsertedLink { user_id, outcome } = tx
            .insert_link(&NewLink {
                link_id: LinkId::random(),
                email,
                is_mailed: has_room,
                network: Some(client.network),
                request_id: &client.request_id,
                lifetimes: self.0.rules.link_lifetimes,
            })
            .await?;
        if let Some(user_id) = user_id {
            note_user(user_id);
        }
        let audited = match outcome {
            LinkOutcome::Mailed => Outcome::Granted,
            LinkOutcome::NotMailed | LinkOutcome::UnknownAddress | LinkOutcome::UserDisabled => {
                Outcome::Refused
            }
        };
        let event = AuditEvent {
            user_id,
            email: Some(email.clone()),
            ..AuditEvent::by_client(AuditKind::Link, audited, outcome, client)
        };
        // Of a stranger if there is room. It is one statement either way.
        let is_recorded = user_id.is_some() || take_room(&self.0.foreign, &event);
        tx.settle_and_record(attempts, is_recorded.then_some(&event))
            .await?;
        tx.commit_attempts(&self.0.store, attempts).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Red where the answer leaves when the work is done.
    #[tokio::test(start_paused = true)]
    async fn an_answer_leaves_at_the_next_pace_however_long_the_work_took() {
        for (worked, left) in [(0, 100), (1, 100), (99, 100), (100, 200), (250, 300)] {
            let since = Instant::now();
            advance(Duration::from_millis(worked)).await;
            keep_pace(since).await;
            assert_eq!(since.elapsed(), Duration::from_millis(left), "{worked}");
        }
    }
}
