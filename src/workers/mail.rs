//! Sends the code mails in the outbox.
//!
//! A mail is leased, sent, and settled. The lease is short and renewed while the mail is sent: should
//! this process die, another instance, or the same after its restart, takes over within seconds, with
//! the same code. Before a relay gets to the end of a mail, the database counts that copy. So a mail
//! may arrive twice, but never a third time and never with two codes, however many processes die and
//! however many answers are lost.
//!
//! Each mail is a task of its own, in one of a fixed number of places. A mail that was tried before can
//! take half of them at most: however many recipients a relay stalls on, there is room for those who
//! have just signed in. A mail that a relay has all of, and for whose last word we wait, steps aside: a
//! relay that takes minutes for it holds nobody up.
//!
//! No relay gets a mail whose code is over. The database's clock says at the lease how long it has
//! to live, this process counts that down, and the database is asked once more when the relay is
//! ready for the mail.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::trouble::Trouble;
use crate::domain::{
    AuditEvent, AuditKind, AuditReason, ChallengeId, DerivedKey, OneTimeCode, Outcome, RequestId,
};
use crate::mail::{CodeMail, Mailer, SendError, SmtpReply};
use crate::store::{Due, DueMail, Store, StoreError};
use crate::telemetry::metrics::{MAIL_DURATION, MAILS};

/// How often the outbox is looked at when nobody rings: for retries, and for what other instances
/// left behind.
const INTERVAL: Duration = Duration::from_millis(500);

/// After what time another takes over from a dead sender.
const LEASE: Duration = Duration::from_secs(10);

/// How often it is renewed while the mail is sent. Two renewals may fail.
const RENEWAL: Duration = Duration::from_secs(3);

/// How long a mail that may have arrived waits before it is sent once more: most that arrive after all
/// have done so by then, and its code still works.
const SECOND_COPY_DELAY: Duration = Duration::from_mins(3);

/// For how long it is tried to write down how an attempt ended. A database that comes back within this
/// time makes no mail come twice.
const SETTLING: Duration = Duration::from_secs(30);

/// For mails on the way when the process is told to stop; the app waits for a second.
const FAREWELL: Duration = Duration::from_millis(600);

/// Mails on the way at a time, besides those that have stepped aside.
const MAX_SENDING: usize = 16;

/// Mails among them that were tried before.
const MAX_SENDING_AGAIN: usize = 8;

/// Mails for which a relay's last word is waited for, aside from those.
const MAX_ASIDE: usize = 32;

/// Waits between attempts: 1, 2, 4, … seconds, at most this many.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// What the sender needs.
pub struct MailSender {
    store: Store,
    mailer: Mailer,
    code_key: DerivedKey,
    is_due: Arc<Notify>,
    /// The leases that this instance holds: which attempt at which mail.
    held: Mutex<HashMap<ChallengeId, i32>>,
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
            held: Mutex::default(),
        }
    }

    /// Sends what is due until `stop`, then lets what is on the way arrive for a moment.
    pub async fn run(self, stop: CancellationToken) {
        let sender = Arc::new(self);
        tokio::select! {
            () = sender.send_until(&stop) => {}
            () = sender.keep_leases() => {}
        }
    }

    async fn send_until(self: &Arc<Self>, stop: &CancellationToken) {
        let (places, sending) = (Places::new(), TaskTracker::new());
        let abandon = CancellationToken::new();
        let mut trouble = Trouble::new("reading the outbox");
        while stop.run_until_cancelled(self.wait()).await.is_some() {
            for due in [Due::New, Due::Again] {
                trouble.note(self.send_due(due, &places, &sending, &abandon).await);
            }
        }
        sending.close();
        if timeout(FAREWELL, sending.wait()).await.is_err() {
            let leases = self.leases();
            abandon.cancel();
            sending.wait().await;
            self.release(&leases).await;
        }
    }

    /// Renews the leases of all mails that are being sent, without end.
    async fn keep_leases(&self) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let leases = self.leases();
            if !leases.is_empty()
                && let Err(error) = self.store.renew_mail_leases(&leases, LEASE).await
            {
                tracing::warn!(%error, "leases of mails could not be renewed");
            }
        }
    }

    /// Lets other instances have what this one will not finish: at once, but for mails that may arrive.
    async fn release(&self, leases: &[(ChallengeId, i32)]) {
        let delay = SECOND_COPY_DELAY;
        if let Err(error) = self.store.release_mail_leases(leases, delay).await {
            tracing::warn!(%error, "leases of mails could not be given back");
        }
    }

    fn leases(&self) -> Vec<(ChallengeId, i32)> {
        let held = self.held();
        held.iter().map(|(id, attempts)| (*id, *attempts)).collect()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<ChallengeId, i32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
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
        abandon: &CancellationToken,
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
            let (sender, abandon) = (Arc::clone(self), abandon.clone());
            let lease = Lease::new(&sender, &mail);
            sending.spawn(async move {
                let sent = lease.sender.send(&mail, leased_at, &place);
                abandon.run_until_cancelled(sent).await;
                drop((lease, place));
                sender.is_due.notify_one();
            });
        }
        Ok(())
    }

    async fn send(&self, due: &DueMail, leased_at: Instant, place: &Place) {
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
            .send(&mail, until, || self.may_leave(due, place))
            .await;
        MAIL_DURATION.observe(leased_at.elapsed(), []);
        MAILS.add(1, [word(&outcome).into()]);
        note(due, &outcome);
        self.settle_in_time(due, &outcome).await;
    }

    /// Whether a relay that is ready for a mail may get it, which from then on may arrive. Nothing is
    /// sent while the database cannot tell: nor could it be told that it was.
    async fn may_leave(&self, due: &DueMail, place: &Place) -> bool {
        let counted = self.store.count_mail_copy(due).await;
        let may_leave = counted.unwrap_or_else(|error| {
            tracing::warn!(%error, request_id = due.request_id, "a mail was held back");
            false
        });
        if may_leave && place.step_aside() {
            self.is_due.notify_one();
        }
        may_leave
    }

    async fn settle_in_time(&self, due: &DueMail, outcome: &Result<SmtpReply, SendError>) {
        let deadline = Instant::now() + SETTLING;
        let mut is_told = false;
        while let Err(error) = self.settle(due, outcome).await {
            if !is_told {
                tracing::warn!(%error, request_id = due.request_id, "a mail could not be settled");
            }
            is_told = true;
            if Instant::now() >= deadline {
                // The lease runs out, and the mail is sent once more at most.
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn settle(
        &self,
        due: &DueMail,
        outcome: &Result<SmtpReply, SendError>,
    ) -> Result<(), StoreError> {
        match outcome {
            Ok(reply) => {
                tracing::debug!(request_id = due.request_id, %reply, "a code mail was taken");
                let event = event(due, Outcome::Granted, AuditReason::MailSent, reply);
                let mut tx = self.store.begin().await?;
                if tx
                    .settle_sent_mail(due.challenge_id, reply.as_str())
                    .await?
                {
                    tx.record(&event).await?;
                }
                tx.commit().await
            }
            Err(SendError::Permanent(reply)) => {
                let event = event(due, Outcome::Refused, AuditReason::MailRefused, reply);
                let mut tx = self.store.begin().await?;
                if tx.settle_refused_mail(due, reply.as_str()).await? {
                    tx.record(&event).await?;
                }
                tx.commit().await
            }
            Err(SendError::Temporary(reply)) => {
                let delay = delay_after(due.attempts);
                self.store.postpone_mail(due, delay, reply.as_str()).await
            }
            Err(SendError::Unclear(reply)) => {
                let (delay, reply) = (SECOND_COPY_DELAY, reply.as_str());
                self.store.postpone_unclear_mail(due, delay, reply).await
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

/// Tells of an attempt that failed.
fn note(due: &DueMail, outcome: &Result<SmtpReply, SendError>) {
    let (to, attempts) = (&due.email, due.attempts);
    match outcome {
        Err(SendError::Permanent(reply)) => {
            tracing::warn!(?to, %reply, "a code mail was refused for good");
        }
        Err(SendError::Temporary(reply)) => {
            tracing::warn!(?to, %reply, attempts, "a code mail waits");
        }
        Err(SendError::Unclear(reply)) => {
            tracing::warn!(?to, %reply, attempts, "a relay did not say whether it took a code mail");
        }
        Ok(_) | Err(SendError::Unwanted) => {}
    }
}

/// The word by which the outcome of an attempt is counted.
fn word(outcome: &Result<SmtpReply, SendError>) -> &'static str {
    match outcome {
        Ok(_) => "sent",
        Err(SendError::Permanent(_)) => "refused",
        Err(SendError::Unclear(_)) => "unclear",
        Err(SendError::Temporary(_) | SendError::Unwanted) => "postponed",
    }
}

/// A lease that is renewed until this is dropped.
struct Lease {
    sender: Arc<MailSender>,
    challenge_id: ChallengeId,
}

impl Lease {
    fn new(sender: &Arc<MailSender>, mail: &DueMail) -> Self {
        sender.held().insert(mail.challenge_id, mail.attempts);
        Self {
            sender: Arc::clone(sender),
            challenge_id: mail.challenge_id,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.sender.held().remove(&self.challenge_id);
    }
}

/// Room for mails on the way.
struct Places {
    all: Arc<Semaphore>,
    again: Arc<Semaphore>,
    aside: Arc<Semaphore>,
}

/// A place that is taken; free again when this is dropped.
struct Place {
    permits: Mutex<Vec<OwnedSemaphorePermit>>,
    aside: Arc<Semaphore>,
}

impl Places {
    fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(MAX_SENDING)),
            again: Arc::new(Semaphore::new(MAX_SENDING_AGAIN)),
            aside: Arc::new(Semaphore::new(MAX_ASIDE)),
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
        let mut permits = Vec::new();
        if due == Due::Again {
            permits.push(take(&self.again)?);
        }
        permits.push(take(&self.all)?);
        Some(Place {
            permits: Mutex::new(permits),
            aside: Arc::clone(&self.aside),
        })
    }
}

impl Place {
    /// Takes a place aside in exchange, if there is one, and tells whether it did.
    fn step_aside(&self) -> bool {
        let Ok(aside) = Arc::clone(&self.aside).try_acquire_owned() else {
            return false;
        };
        let mut permits = self.permits.lock().unwrap_or_else(PoisonError::into_inner);
        *permits = vec![aside];
        true
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
    fn what_steps_aside_makes_room_until_there_is_no_room_aside() {
        let places = Places::new();
        let take = || places.take(Due::Again).unwrap();
        let aside: Vec<_> = std::iter::repeat_with(take)
            .take_while(Place::step_aside)
            .collect();
        assert_eq!((aside.len(), places.free(Due::New)), (32, 16));
        let stuck = take();
        assert!(!stuck.step_aside());
        assert_eq!((places.free(Due::New), places.free(Due::Again)), (15, 7));
        drop(aside);
        assert!(stuck.step_aside());
        assert_eq!((places.free(Due::New), places.free(Due::Again)), (16, 8));
    }

    #[test]
    fn the_waits_double_up_to_half_a_minute() {
        let seconds = [1, 2, 3, 5, 6, 99].map(|attempts| delay_after(attempts).as_secs());
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30]);
    }
}
