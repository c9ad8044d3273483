//! The delivery of mails: which of the mails in the outbox are sent, when, and how often.
//!
//! A mail is leased, sent, and settled. The lease is short and renewed while the mail is sent: if this
//! process dies, another instance, or the same one after its restart, takes over within seconds, with
//! the same code or link. Before a relay gets to the end of a mail, the database counts that copy. So a mail
//! may arrive twice, but never a third time and never with another code, however many processes die and
//! however many answers are lost.
//!
//! Each mail is sent by a task of its own, in one of a fixed number of [`places`].
//!
//! No relay gets a mail that nobody wants any more. The database's clock says at the lease how long it is
//! wanted, this process counts that down, and the database is asked once more when the relay is
//! ready for the mail.
//!
//! The loop is in [`workers::send_mails`](crate::workers::send_mails).

mod places;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Config;
use crate::domain::{
    AuditEvent, AuditKind, DerivedKey, LinkToken, MailId, MailKind, MailOutcome, OneTimeCode,
    Outcome, Purpose,
};
use crate::mail::{
    ChangeNotice, Mail, MailBody, Mailer, PasswordLink, SendError, SignInCode, SmtpReply,
};
use crate::store::{Due, DueMail, MailLease, MailSource, Store, StoreError};
use crate::telemetry::metrics::{MAIL_DURATION, MAILS};

use places::{Place, Places};

/// After what time another instance takes a mail over from one that died.
const LEASE: Duration = Duration::from_secs(10);

/// The time between two renewals of a lease while its mail is sent. Two renewals may fail.
const RENEWAL: Duration = Duration::from_secs(3);

/// A mail that may have arrived waits for this long before it is sent once more: most mails that
/// arrive after all have arrived by then, and the code still works.
const SECOND_COPY_DELAY: Duration = Duration::from_mins(3);

/// The time for writing the outcome of an attempt down, in as many tries as it takes. A database that comes back within
/// this time makes no mail come twice.
const SETTLING: Duration = Duration::from_secs(30);

/// Waits between attempts: 1, 2, 4, … seconds, at most this many.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// How often the outbox is read without a notice: for retries, and for mails that other instances left
/// behind.
const INTERVAL: Duration = Duration::from_millis(500);

/// The delivery of the mails in the outbox; cheap to clone.
#[derive(Clone)]
pub struct Delivery(Arc<Parts>);

struct Parts {
    store: Store,
    mailer: Mailer,
    code_key: DerivedKey,
    link_key: DerivedKey,
    /// The page that links lead to.
    password_url: Option<String>,
    is_due: Arc<Notify>,
    places: Places,
    /// The leases that this instance holds: which attempt at which mail.
    held: Mutex<HashMap<MailId, i32>>,
}

/// A mail that this instance has leased and has a place for. The lease is renewed until this is dropped.
pub struct LeasedMail {
    due: DueMail,
    leased_at: Instant,
    lease: Lease,
    place: Place,
}

/// Which attempts at which mails are not finished.
pub struct Unfinished(Vec<MailLease>);

impl Delivery {
    /// A delivery that derives codes and links from the master key. `is_due` rings when a mail was put into
    /// the outbox.
    #[must_use]
    pub fn new(config: &Config, store: Store, mailer: Mailer, is_due: Arc<Notify>) -> Self {
        let master_key = &config.secrets.master_key;
        Self(Arc::new(Parts {
            store,
            mailer,
            code_key: master_key.derive(Purpose::OneTimeCodes),
            link_key: master_key.derive(Purpose::Links),
            password_url: config.links.password_url.clone(),
            is_due,
            places: Places::new(),
            held: Mutex::default(),
        }))
    }

    /// Waits until the outbox is to be read again.
    pub async fn wait(&self) {
        tokio::select! {
            () = self.0.is_due.notified() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }

    /// Leases mails that are due, and no more than there are free places, so that no lease runs out in a
    /// queue.
    pub async fn lease(&self, due: Due) -> Result<Vec<LeasedMail>, StoreError> {
        let free = i64::try_from(self.0.places.free(due)).unwrap_or_default();
        if free == 0 {
            return Ok(Vec::new());
        }
        // Before the database looks at its clock: no code is thought to live longer than it does.
        let leased_at = Instant::now();
        let store = &self.0.store;
        let mails = store
            .lease_due_mails(&self.kinds(), due, free, LEASE)
            .await?;
        let placed = mails.into_iter().map_while(|mail| {
            let place = self.0.places.take(due)?;
            Some(LeasedMail {
                leased_at,
                lease: Lease::new(self, &mail),
                place,
                due: mail,
            })
        });
        Ok(placed.collect())
    }

    /// Renews the leases of all mails that are being sent, without end.
    pub async fn keep_leases(&self) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let Unfinished(leases) = self.unfinished();
            if !leases.is_empty()
                && let Err(error) = self.0.store.renew_mail_leases(&leases, LEASE).await
            {
                tracing::warn!(%error, "leases of mails could not be renewed");
            }
        }
    }

    /// The mails that are being sent.
    #[must_use]
    pub fn unfinished(&self) -> Unfinished {
        let held = self.held();
        Unfinished(held.iter().map(|(id, attempts)| (*id, *attempts)).collect())
    }

    /// Gives other instances the mails that this one will not finish: at once, but for those that may
    /// have arrived.
    pub async fn release(&self, Unfinished(leases): Unfinished) {
        let delay = SECOND_COPY_DELAY;
        if let Err(error) = self.0.store.release_mail_leases(&leases, delay).await {
            tracing::warn!(%error, "leases of mails could not be given back");
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<MailId, i32>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kinds of mails that this instance can put into words: without the page that links lead to, none
    /// with a link.
    fn kinds(&self) -> Vec<MailKind> {
        let can_send = |kind: &MailKind| match kind {
            MailKind::SignInCode | MailKind::Notice => true,
            MailKind::ResetLink | MailKind::InvitationLink => self.0.password_url.is_some(),
        };
        MailKind::ALL.iter().copied().filter(can_send).collect()
    }

    /// Derives the content of a mail from its row in the outbox.
    fn compose(&self, due: &DueMail) -> Mail {
        let (requested_at, body) = match due.source {
            MailSource::SignInCode {
                challenge_id,
                nonce,
                signed_in_at,
                network,
            } => {
                let code = SignInCode {
                    code: OneTimeCode::derive(&self.0.code_key, challenge_id, nonce),
                    challenge_id,
                    network,
                    expires_at: due.expires_at,
                };
                (signed_in_at, MailBody::SignInCode(code))
            }
            MailSource::Link {
                link_id,
                purpose,
                requested_at,
                network,
            } => {
                let token = LinkToken::derive(&self.0.link_key, purpose, link_id);
                let page = self.0.password_url.as_deref().unwrap_or_default();
                let link = PasswordLink {
                    link: PasswordLink::to(page, &token),
                    link_id,
                    purpose,
                    network,
                    expires_at: due.expires_at,
                };
                (requested_at, MailBody::Link(link))
            }
            MailSource::Notice {
                notice,
                happened_at,
                network,
            } => {
                let mail_id = due.mail_id;
                let notice = ChangeNotice {
                    mail_id,
                    notice,
                    network,
                };
                (happened_at, MailBody::Notice(notice))
            }
        };
        Mail {
            to: due.email.clone(),
            requested_at,
            body,
        }
    }

    async fn send(&self, due: &DueMail, leased_at: Instant, place: &Place) {
        let mail = self.compose(due);
        let (request_id, attempts) = (due.request_id.as_str(), due.attempts);
        tracing::debug!(request_id, attempts, "a mail leaves");
        let until = leased_at + due.life;
        let outcome = (self.0.mailer)
            .send(&mail, until, || self.claim_copy(due, place))
            .await;
        MAIL_DURATION.observe(leased_at.elapsed(), []);
        MAILS.add(1, [word(&outcome).into()]);
        log_failure(due, &outcome);
        self.settle_in_time(due, &outcome).await;
    }

    /// Counts the copy that a relay is ready for, and returns whether it may be sent. From then on it may
    /// arrive. Nothing is sent while the database does not answer: it could not be told of the copy either.
    async fn claim_copy(&self, due: &DueMail, place: &Place) -> bool {
        let counted = self.0.store.count_mail_copy(due).await;
        let is_claimed = counted.unwrap_or_else(|error| {
            tracing::warn!(%error, request_id = due.request_id.as_str(), "a mail was held back");
            false
        });
        if is_claimed && place.step_aside() {
            self.0.is_due.notify_one();
        }
        is_claimed
    }

    async fn settle_in_time(&self, due: &DueMail, outcome: &Result<SmtpReply, SendError>) {
        let deadline = Instant::now() + SETTLING;
        let mut is_told = false;
        while let Err(error) = self.settle(due, outcome).await {
            if !is_told {
                tracing::warn!(%error, request_id = due.request_id.as_str(), "a mail could not be settled");
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
                tracing::debug!(request_id = due.request_id.as_str(), %reply, "a mail was taken");
                let reason = match due.source.kind() {
                    MailKind::Notice => MailOutcome::Notified,
                    MailKind::SignInCode | MailKind::ResetLink | MailKind::InvitationLink => {
                        MailOutcome::Sent
                    }
                };
                let event = event(due, Outcome::Granted, reason, reply);
                let mut tx = self.0.store.begin().await?;
                if tx.settle_sent_mail(due.mail_id, reply.as_str()).await? {
                    tx.record(&event).await?;
                }
                tx.commit().await
            }
            Err(SendError::Permanent(reply)) => {
                let event = event(due, Outcome::Refused, MailOutcome::Refused, reply);
                let mut tx = self.0.store.begin().await?;
                if tx.settle_refused_mail(due, reply.as_str()).await? {
                    tx.record(&event).await?;
                }
                tx.commit().await
            }
            Err(SendError::Temporary(reply)) => {
                let delay = delay_after(due.attempts);
                self.0.store.postpone_mail(due, delay, reply.as_str()).await
            }
            Err(SendError::Unclear(reply)) => {
                let (delay, reply) = (SECOND_COPY_DELAY, reply.as_str());
                self.0.store.postpone_unclear_mail(due, delay, reply).await
            }
            Err(SendError::Unwanted) => {
                // Due again only if it was the database that could not tell.
                let told = "held back: nobody wants it any more, or nobody could tell";
                let delay = delay_after(due.attempts);
                self.0.store.postpone_mail(due, delay, told).await
            }
        }
    }
}

impl LeasedMail {
    /// Sends the mail and writes down how that ended.
    pub async fn send(&self) {
        let delivery = &self.lease.delivery;
        delivery.send(&self.due, self.leased_at, &self.place).await;
    }

    /// Gives lease and place back, and lets the next mail have the place.
    pub fn finish(self) {
        let delivery = self.lease.delivery.clone();
        drop(self);
        delivery.0.is_due.notify_one();
    }
}

/// A lease that is renewed until this is dropped.
struct Lease {
    delivery: Delivery,
    mail_id: MailId,
}

impl Lease {
    fn new(delivery: &Delivery, mail: &DueMail) -> Self {
        delivery.held().insert(mail.mail_id, mail.attempts);
        Self {
            delivery: delivery.clone(),
            mail_id: mail.mail_id,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.delivery.held().remove(&self.mail_id);
    }
}

/// Writes an attempt that failed into the log.
fn log_failure(due: &DueMail, outcome: &Result<SmtpReply, SendError>) {
    let (to, attempts) = (&due.email, due.attempts);
    match outcome {
        Err(SendError::Permanent(reply)) => {
            tracing::warn!(?to, %reply, "a mail was refused for good");
        }
        Err(SendError::Temporary(reply)) => {
            tracing::warn!(?to, %reply, attempts, "a mail waits");
        }
        Err(SendError::Unclear(reply)) => {
            tracing::warn!(?to, %reply, attempts, "a relay did not say whether it took a mail");
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

fn delay_after(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1))
        .unwrap_or_default()
        .min(10);
    Duration::from_secs(1 << doublings).min(MAX_DELAY)
}

fn event(due: &DueMail, outcome: Outcome, reason: MailOutcome, reply: &SmtpReply) -> AuditEvent {
    AuditEvent {
        user_id: Some(due.recipient_id),
        email: Some(due.email.clone()),
        challenge_id: due.source.challenge_id(),
        request_id: Some(due.request_id.clone()),
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
