//! Sends the code mails in the outbox.
//!
//! A mail is leased, sent, and settled. Should this process die in between, the lease runs out and
//! another instance sends it again, with the same code: a mail may arrive twice, but never with two
//! codes. Each mail is a task of its own, so that one slow address holds up no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::{
    AuditEvent, AuditKind, AuditReason, DerivedKey, OneTimeCode, Outcome, RequestId,
};
use crate::mail::{CodeMail, Mailer, SendError, SmtpReply};
use crate::store::{DueMail, Store, StoreError};

/// How often the outbox is looked at when nobody rings: for retries, and for what other instances
/// left behind.
const INTERVAL: Duration = Duration::from_millis(500);

/// Longer than a send may take, so that only a dead sender's lease runs out.
const LEASE: Duration = Duration::from_secs(45);

/// Mails on the way at a time.
const MAX_SENDING: usize = 16;

/// Waits between attempts: 1, 2, 4, … seconds, at most this many.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// What the sender needs.
pub struct MailSender {
    store: Store,
    mailer: Mailer,
    code_key: DerivedKey,
    is_due: Arc<Notify>,
}

impl MailSender {
    /// A sender that derives codes under `code_key` and looks at once when `is_due` rings.
    #[must_use]
    pub fn new(store: Store, mailer: Mailer, code_key: DerivedKey, is_due: Arc<Notify>) -> Self {
        Self {
            store,
            mailer,
            code_key,
            is_due,
        }
    }

    /// Sends what is due until `stop`, then lets what is on the way arrive.
    pub async fn run(self, stop: CancellationToken) {
        let sender = Arc::new(self);
        let places = Arc::new(Semaphore::new(MAX_SENDING));
        let sending = TaskTracker::new();
        while stop.run_until_cancelled(sender.wait()).await.is_some() {
            if let Err(error) = sender.send_due(&places, &sending).await {
                tracing::warn!(%error, "the outbox could not be read");
            }
        }
        sending.close();
        sending.wait().await;
    }

    async fn wait(&self) {
        tokio::select! {
            () = self.is_due.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }

    /// Leases no more mails than there are free places, so that no lease runs out in a queue.
    async fn send_due(
        self: &Arc<Self>,
        places: &Arc<Semaphore>,
        sending: &TaskTracker,
    ) -> Result<(), StoreError> {
        let free = i64::try_from(places.available_permits()).unwrap_or_default();
        for mail in self.store.lease_due_mails(free, LEASE).await? {
            let Ok(place) = Arc::clone(places).try_acquire_owned() else {
                break;
            };
            let sender = Arc::clone(self);
            sending.spawn(async move {
                sender.send(mail).await;
                drop(place);
                sender.is_due.notify_one();
            });
        }
        Ok(())
    }

    async fn send(&self, due: DueMail) {
        let mail = CodeMail {
            to: due.email.clone(),
            code: OneTimeCode::derive(&self.code_key, due.challenge_id, due.nonce),
            challenge_id: due.challenge_id,
            requested_at: due.signed_in_at,
            network: due.network,
            expires_at: due.expires_at,
        };
        let outcome = self.mailer.send(&mail).await;
        if let Err(error) = self.settle(&due, outcome).await {
            // The lease runs out and the mail is sent again: twice is better than never.
            tracing::warn!(%error, request_id = due.request_id, "a mail could not be settled");
        }
    }

    async fn settle(
        &self,
        due: &DueMail,
        outcome: Result<SmtpReply, SendError>,
    ) -> Result<(), StoreError> {
        match outcome {
            Ok(reply) => {
                let mut tx = self.store.begin().await?;
                tx.settle_sent_mail(due.challenge_id, reply.as_str())
                    .await?;
                tx.record(&event(due, Outcome::Granted, AuditReason::MailSent, &reply))
                    .await?;
                tx.commit().await
            }
            Err(SendError::Permanent(reply)) => {
                tracing::warn!(to = ?due.email, %reply, "a code mail was refused for good");
                let mut tx = self.store.begin().await?;
                tx.settle_refused_mail(due.challenge_id, reply.as_str())
                    .await?;
                tx.record(&event(
                    due,
                    Outcome::Refused,
                    AuditReason::MailRefused,
                    &reply,
                ))
                .await?;
                tx.commit().await
            }
            Err(SendError::Temporary(reply)) => {
                tracing::warn!(to = ?due.email, %reply, attempts = due.attempts, "a code mail waits");
                let delay = delay_after(due.attempts);
                self.store
                    .postpone_mail(due.challenge_id, delay, reply.as_str())
                    .await
            }
        }
    }
}

fn delay_after(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or_default()
        .min(10);
    Duration::from_secs(1 << doublings).min(MAX_DELAY)
}

fn event(due: &DueMail, outcome: Outcome, reason: AuditReason, reply: &SmtpReply) -> AuditEvent {
    AuditEvent {
        user_id: Some(due.user_id),
        email: Some(due.email.clone()),
        challenge_id: Some(due.challenge_id),
        request_id: RequestId::parse(&due.request_id),
        detail: Some(reply.as_str().to_owned()),
        ..AuditEvent::bare(AuditKind::Mail, outcome, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_up_to_half_a_minute() {
        let seconds = [1, 2, 3, 5, 6, 99].map(|attempts| delay_after(attempts).as_secs());
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30]);
    }
}
