//! Sends the code mails in the outbox.
//!
//! A mail is leased, sent, and settled. Should this process die in between, the lease runs out and
//! another instance sends it again, with the same code: a mail may arrive twice, but never with two
//! codes. Each mail is a task of its own, in one of a fixed number of places. A mail that was tried
//! before can take half of them at most: however many recipients a relay stalls on, there is room
//! for those who have just signed in.
//!
//! No relay gets a mail whose code is over. The database's clock says at the lease how long it has
//! to live, this process counts that down, and the database is asked once more when the relay is
//! ready for the mail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::trouble::Trouble;
use crate::domain::{
    AuditEvent, AuditKind, AuditReason, DerivedKey, OneTimeCode, Outcome, RequestId,
};
use crate::mail::{CodeMail, MAX_SEND, Mailer, SendError, SmtpReply};
use crate::store::{Due, DueMail, Store, StoreError};
use crate::telemetry::metrics::{MAIL_DURATION, MAILS};

/// How often the outbox is looked at when nobody rings: for retries, and for what other instances
/// left behind.
const INTERVAL: Duration = Duration::from_millis(500);

/// Longer than a send and writing down how it ended may take, so that only a dead sender's lease
/// runs out; and with the interval less than the minute after which somebody else is to take over.
const LEASE: Duration = Duration::from_secs(55);
const _: () = assert!(LEASE.as_secs() > MAX_SEND.as_secs() + 10 && LEASE.as_secs() < 60);

/// Mails on the way at a time.
const MAX_SENDING: usize = 16;

/// Mails among them that were tried before.
const MAX_SENDING_AGAIN: usize = 8;

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
        let places = Places::new();
        let sending = TaskTracker::new();
        let mut trouble = Trouble::new("reading the outbox");
        while stop.run_until_cancelled(sender.wait()).await.is_some() {
            for due in [Due::New, Due::Again] {
                trouble.note(sender.send_due(due, &places, &sending).await);
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
        due: Due,
        places: &Places,
        sending: &TaskTracker,
    ) -> Result<(), StoreError> {
        let free = i64::try_from(places.free(due)).unwrap_or_default();
        if free == 0 {
            return Ok(());
        }
        // Before the database looks at its clock: no code is thought to live longer than it does.
        let leased_at = Instant::now();
        for mail in self.store.lease_due_mails(due, free, LEASE).await? {
            let Some(place) = places.take(due) else {
                break;
            };
            let sender = Arc::clone(self);
            sending.spawn(async move {
                sender.send(mail, leased_at).await;
                drop(place);
                sender.is_due.notify_one();
            });
        }
        Ok(())
    }

    async fn send(&self, due: DueMail, leased_at: Instant) {
        let mail = CodeMail {
            to: due.email.clone(),
            code: OneTimeCode::derive(&self.code_key, due.challenge_id, due.nonce),
            challenge_id: due.challenge_id,
            requested_at: due.signed_in_at,
            network: due.network,
            expires_at: due.expires_at,
        };
        let (request_id, attempts) = (&due.request_id, due.attempts);
        tracing::debug!(request_id, attempts, "a code mail leaves");
        let until = leased_at + due.life;
        let outcome = (self.mailer)
            .send(&mail, until, || self.is_wanted(&due))
            .await;
        MAIL_DURATION.observe(leased_at.elapsed(), []);
        MAILS.add(1, [word(&outcome).into()]);
        if let Err(error) = self.settle(&due, outcome).await {
            // The lease runs out and the mail is sent again: twice is better than never.
            tracing::warn!(%error, request_id = due.request_id, "a mail could not be settled");
        }
    }

    /// Nothing is sent while the database cannot tell: nor could it be told that it was.
    async fn is_wanted(&self, due: &DueMail) -> bool {
        let asked = self.store.is_mail_wanted(due).await;
        asked.unwrap_or_else(|error| {
            tracing::warn!(%error, request_id = due.request_id, "a mail was held back");
            false
        })
    }

    async fn settle(
        &self,
        due: &DueMail,
        outcome: Result<SmtpReply, SendError>,
    ) -> Result<(), StoreError> {
        match outcome {
            Ok(reply) => {
                tracing::debug!(request_id = due.request_id, %reply, "a code mail was taken");
                let mut tx = self.store.begin().await?;
                tx.settle_sent_mail(due.challenge_id, reply.as_str())
                    .await?;
                tx.record(&event(due, Outcome::Granted, AuditReason::MailSent, &reply))
                    .await?;
                tx.commit().await
            }
            Err(SendError::Permanent(reply)) => {
                tracing::warn!(to = ?due.email, %reply, "a code mail was refused for good");
                let event = event(due, Outcome::Refused, AuditReason::MailRefused, &reply);
                let mut tx = self.store.begin().await?;
                if tx.settle_refused_mail(due, reply.as_str()).await? {
                    tx.record(&event).await?;
                }
                tx.commit().await
            }
            Err(SendError::Temporary(reply)) => {
                tracing::warn!(to = ?due.email, %reply, attempts = due.attempts, "a code mail waits");
                let delay = delay_after(due.attempts);
                self.store.postpone_mail(due, delay, reply.as_str()).await
            }
            Err(SendError::Unwanted) => {
                // Due again only if it was the database that could not tell.
                let told = "held back: its code is over, or nobody could tell";
                let delay = delay_after(due.attempts);
                self.store.postpone_mail(due, delay, told).await
            }
        }
    }
}

/// The word by which the outcome of an attempt is counted.
fn word(outcome: &Result<SmtpReply, SendError>) -> &'static str {
    match outcome {
        Ok(_) => "sent",
        Err(SendError::Permanent(_)) => "refused",
        Err(SendError::Temporary(_) | SendError::Unwanted) => "postponed",
    }
}

/// Room for mails on the way.
struct Places {
    all: Arc<Semaphore>,
    again: Arc<Semaphore>,
}

/// A place that is taken; free again when this is dropped.
struct Place(#[expect(dead_code, reason = "held for its drop")] [Option<OwnedSemaphorePermit>; 2]);

impl Places {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_SENDING)),
            again: Arc::new(Semaphore::new(MAX_SENDING_AGAIN)),
        }
    }

    fn free(&self, due: Due) -> usize {
        let all = self.all.available_permits();
        match due {
            Due::New => all,
            Due::Again => all.min(self.again.available_permits()),
        }
    }

    fn take(&self, due: Due) -> Option<Place> {
        let take = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let again = match due {
            Due::New => None,
            Due::Again => Some(take(&self.again)?),
        };
        Some(Place([Some(take(&self.all)?), again]))
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
    fn what_was_tried_before_takes_half_of_the_places_at_most() {
        let places = Places::new();
        let again: Vec<_> = std::iter::from_fn(|| places.take(Due::Again)).collect();
        assert_eq!((again.len(), places.free(Due::Again)), (8, 0));
        let new: Vec<_> = std::iter::from_fn(|| places.take(Due::New)).collect();
        assert_eq!((new.len(), places.free(Due::New)), (8, 0));
        drop(again);
        assert_eq!((places.free(Due::Again), places.free(Due::New)), (8, 8));
    }

    #[test]
    fn the_waits_double_up_to_half_a_minute() {
        let seconds = [1, 2, 3, 5, 6, 99].map(|attempts| delay_after(attempts).as_secs());
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30]);
    }
}
