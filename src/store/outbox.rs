//! The table `outbox`: mails that are to leave, by kind.

use std::time::Duration;

use ipnet::IpNet;
use uuid::Uuid;

use super::run::Run as _;
use super::{Store, StoreError, Tx, columns, seconds};
use crate::domain::{
    AuditKind, Challenge, ChallengeId, Client, ClientNetwork, CodeNonce, EmailAddress, LinkId,
    LinkPurpose, MailId, MailKind, MailOutcome, Notice, Outcome, RequestId, Timestamp, UserId,
};

/// Copies of a mail that may arrive, at most.
const MAX_COPIES: i32 = 2;

/// How long a notice is wanted: a change is told within a day, or not at all.
const NOTICE_LIFE: Duration = Duration::from_hours(24);

/// A notice to be mailed.
#[derive(Debug)]
pub struct NewNotice<'a> {
    /// The user whom it concerns.
    pub user_id: UserId,
    /// The address that it goes to.
    pub to: &'a EmailAddress,
    /// The change that it tells of.
    pub notice: Notice,
    /// The network that the change came from. `None`: an operator's act.
    pub network: Option<ClientNetwork>,
    /// The request that made the change.
    pub request_id: &'a RequestId,
}

impl<'a> NewNotice<'a> {
    /// A notice of what a user did by this client.
    #[must_use]
    pub fn by_client(
        user_id: UserId,
        to: &'a EmailAddress,
        notice: Notice,
        client: &'a Client,
    ) -> Self {
        Self {
            user_id,
            to,
            notice,
            network: Some(client.network),
            request_id: &client.request_id,
        }
    }
}

/// A mail that this instance has leased and is to send.
#[derive(Debug)]
pub struct DueMail {
    /// Its id in the outbox.
    pub mail_id: MailId,
    /// The user that it is for.
    pub recipient_id: UserId,
    /// The address that it goes to.
    pub email: EmailAddress,
    /// The facts that its text follows from.
    pub source: MailSource,
    /// When nobody wants it any more.
    pub expires_at: Timestamp,
    /// The request that asked for it.
    pub request_id: RequestId,
    /// Attempts, this one included: they also distinguish this lease from every other.
    pub attempts: i32,
    /// Copies that may have arrived from earlier attempts.
    pub copies: i32,
    /// How long the mail is wanted, counted from before this was read.
    pub life: Duration,
}

/// The facts that a mail's text follows from, by kind.
#[derive(Debug)]
pub enum MailSource {
    /// The code that confirms a sign-in.
    SignInCode {
        /// The challenge whose code it carries.
        challenge_id: ChallengeId,
        /// The random bytes that the code follows from.
        nonce: CodeNonce,
        /// When the sign-in was.
        signed_in_at: Timestamp,
        /// The network of the sign-in.
        network: ClientNetwork,
    },
    /// A link to set a password.
    Link {
        /// The id from which the link's token follows.
        link_id: LinkId,
        /// The occasion for it.
        purpose: LinkPurpose,
        /// When it was asked for.
        requested_at: Timestamp,
        /// The network that asked for it. `None`: an operator.
        network: Option<ClientNetwork>,
    },
    /// A notice of a change.
    Notice {
        /// The change that it tells of.
        notice: Notice,
        /// When that happened.
        happened_at: Timestamp,
        /// The network that it came from. `None`: an operator's act.
        network: Option<ClientNetwork>,
    },
}

impl MailSource {
    /// The kind of the mail.
    #[must_use]
    pub fn kind(&self) -> MailKind {
        match self {
            Self::SignInCode { .. } => MailKind::SignInCode,
            Self::Link { purpose, .. } => purpose.mail_kind(),
            Self::Notice { .. } => MailKind::Notice,
        }
    }

    /// The challenge that the mail belongs to, if it belongs to one.
    #[must_use]
    pub fn challenge_id(&self) -> Option<ChallengeId> {
        match self {
            Self::SignInCode { challenge_id, .. } => Some(*challenge_id),
            Self::Link { .. } | Self::Notice { .. } => None,
        }
    }
}

/// One attempt at a mail, by which its lease is known: the mail, and how often it was tried.
pub type MailLease = (MailId, i32);

/// Which of the due mails to lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Mails that were not tried yet.
    New,
    /// Mails that were tried before.
    Again,
}

/// Mails that were given up, because nobody wants them any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// How many mails were given up.
    pub mails: u64,
    /// How many of them certainly did not leave, and were still wanted.
    pub expired: u64,
}

/// A mail and how far it has come.
#[derive(Debug, Clone)]
pub struct MailRecord {
    /// The word of its kind.
    pub kind: String,
    /// When the sign-in, the request for the link or the change was.
    pub created_at: Timestamp,
    /// When the code or link stops working, or nobody wants the notice any more.
    pub expires_at: Timestamp,
    /// When the code or link was used.
    pub consumed_at: Option<Timestamp>,
    /// The request that asked for it.
    pub request_id: RequestId,
    /// How many attempts were made to send it.
    pub attempts: i32,
    /// Copies that may have arrived, with or without an answer of the mail server.
    pub copies: i32,
    /// When the mail server took it.
    pub sent_at: Option<Timestamp>,
    /// When it was given up.
    pub given_up_at: Option<Timestamp>,
    /// The mail server's last reply.
    pub last_reply: Option<String>,
}

impl MailRecord {
    /// Whether it brings a code to sign in with.
    #[must_use]
    pub fn is_code(&self) -> bool {
        self.kind == MailKind::SignInCode.as_str()
    }
}

impl Store {
    /// Leases up to `count` mails that are due, of these kinds, and of notices those that this release
    /// knows. A lease that runs out, because its holder died, makes the mail due again. A mail is never
    /// due after its end, or once its challenge or link has ended, or if it may have arrived twice.
    pub async fn lease_due_mails(
        &self,
        kinds: &[MailKind],
        due: Due,
        count: i64,
        lease: Duration,
    ) -> Result<Vec<DueMail>, StoreError> {
        let words = |words: &mut dyn Iterator<Item = &'static str>| {
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let kinds = words(&mut kinds.iter().map(|kind| kind.as_str()));
        let notices = words(&mut Notice::ALL.iter().map(|notice| notice.as_str()));
        let query = sqlx::query_file_as!(
            LeasedRow,
            "src/store/sql/lease_due_mails.sql",
            count,
            seconds(lease),
            due == Due::Again,
            MAX_COPIES,
            &kinds,
            &notices,
        );
        let rows = self.fetch_all(query).await?;
        rows.into_iter().map(DueMail::try_from).collect()
    }

    /// Prolongs leases, unless they were lost or have ended.
    pub async fn renew_mail_leases(
        &self,
        leases: &[MailLease],
        lease: Duration,
    ) -> Result<(), StoreError> {
        let (ids, attempts) = in_columns(leases);
        let query = sqlx::query!(
            r#"
            UPDATE outbox AS o
               SET leased_until = clock_timestamp() + make_interval(secs => $3)
              FROM unnest($1::UUID[], $2::INTEGER[]) AS held (mail_id, attempts)
             WHERE o.mail_id = held.mail_id AND o.attempts = held.attempts
               AND o.leased_until IS NOT NULL AND o.sent_at IS NULL AND o.given_up_at IS NULL
            "#,
            &ids,
            &attempts,
            seconds(lease),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Gives leases back. A mail that cannot have arrived is due at once, and the others after `delay`.
    pub async fn release_mail_leases(
        &self,
        leases: &[MailLease],
        delay: Duration,
    ) -> Result<(), StoreError> {
        let (ids, attempts) = in_columns(leases);
        let query = sqlx::query!(
            r#"
            UPDATE outbox AS o
               SET leased_until = NULL,
                   next_attempt_at = clock_timestamp()
                       + CASE WHEN o.copies > 0 THEN make_interval(secs => $3) ELSE INTERVAL '0' END
              FROM unnest($1::UUID[], $2::INTEGER[]) AS held (mail_id, attempts)
             WHERE o.mail_id = held.mail_id AND o.attempts = held.attempts
               AND o.leased_until IS NOT NULL AND o.sent_at IS NULL AND o.given_up_at IS NULL
            "#,
            &ids,
            &attempts,
            seconds(delay),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Counts a copy of a leased mail that may arrive from now on, if the mail is still to be sent: it is
    /// wanted, and no other instance has leased it since, which happens to an instance that was frozen
    /// for longer than its lease. Counts once, however often it is called for an attempt.
    pub async fn count_mail_copy(&self, mail: &DueMail) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE outbox AS o
               SET copies = $3
             WHERE o.mail_id = $1 AND o.attempts = $2
               AND o.sent_at IS NULL AND o.given_up_at IS NULL
               AND o.expires_at > clock_timestamp()
               AND (o.challenge_id IS NULL OR EXISTS (
                        SELECT FROM challenges AS c JOIN users AS u USING (user_id)
                         WHERE c.challenge_id = o.challenge_id
                           AND c.expires_at > clock_timestamp() AND c.consumed_at IS NULL
                           AND u.credential_version = c.credential_version
                           AND u.disabled_at IS NULL))
               AND (o.link_id IS NULL OR EXISTS (
                        SELECT FROM links AS l JOIN users AS u USING (user_id)
                         WHERE l.link_id = o.link_id
                           AND l.expires_at > clock_timestamp() AND l.consumed_at IS NULL
                           AND u.credential_version = l.credential_version
                           AND u.disabled_at IS NULL))
            "#,
            mail.mail_id.0,
            mail.attempts,
            mail.copies + 1,
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Gives up to `batch` mails up that nobody wants any more, unless another instance is at it, and
    /// records those that expired. Returns how many.
    ///
    /// A mail that is leased may be with the relay at this moment, so its holder decides first. A copy
    /// that was counted leaves open whether the mail arrived, and a code or link that was used proves that
    /// it did: neither counts as expired. Nor does the mail of a link that a newer password made void.
    pub async fn give_up_overdue_mails(&self, batch: i64) -> Result<GivenUp, StoreError> {
        let Some(mut tx) = self.begin_purge().await? else {
            return Ok(GivenUp {
                mails: 0,
                expired: 0,
            });
        };
        let query = sqlx::query_file!(
            "src/store/sql/give_up_overdue_mails.sql",
            AuditKind::Mail.as_str(),
            Outcome::Refused.as_str(),
            MailOutcome::Expired.as_str(),
            batch,
        );
        let row = tx.fetch_one(query).await?;
        tx.commit().await?;
        Ok(GivenUp {
            mails: row.mails.unsigned_abs(),
            expired: row.expired.unsigned_abs(),
        })
    }

    /// The mails of some challenges and those for a user, newest first, at most `count`.
    pub async fn list_mails(
        &self,
        challenge_ids: &[ChallengeId],
        user_id: Option<UserId>,
        count: i64,
    ) -> Result<Vec<MailRecord>, StoreError> {
        let challenge_ids: Vec<Uuid> = challenge_ids.iter().map(|id| id.0).collect();
        let query = sqlx::query!(
            r#"
            SELECT o.kind, COALESCE(o.happened_at, c.created_at, l.created_at) AS "created_at!",
                   o.expires_at AS "expires_at!",
                   COALESCE(c.consumed_at, l.consumed_at) AS consumed_at, o.request_id, o.attempts,
                   o.copies, o.sent_at, o.given_up_at, o.last_reply
              FROM outbox AS o LEFT JOIN challenges AS c USING (challenge_id)
                               LEFT JOIN links AS l USING (link_id)
             WHERE o.challenge_id = ANY ($1) OR o.recipient_id = $2
             ORDER BY 2 DESC
             LIMIT $3
            "#,
            &challenge_ids,
            user_id.map(|id| id.0),
            count,
        );
        let rows = self.fetch_all(query).await?;
        let records = rows.into_iter().map(|row| MailRecord {
            kind: row.kind,
            created_at: row.created_at,
            expires_at: row.expires_at,
            consumed_at: row.consumed_at,
            request_id: RequestId::from_stored(row.request_id),
            attempts: row.attempts,
            copies: row.copies,
            sent_at: row.sent_at,
            given_up_at: row.given_up_at,
            last_reply: row.last_reply,
        });
        Ok(records.collect())
    }

    /// Puts a mail off after an attempt of which no copy can arrive, unless another has leased it
    /// since, or knows that it arrived.
    pub async fn postpone_mail(
        &self,
        mail: &DueMail,
        delay: Duration,
        reply: &str,
    ) -> Result<(), StoreError> {
        self.postpone(mail, mail.copies, delay, reply).await
    }

    /// Puts a mail off after an attempt of which a copy may arrive, under the same conditions.
    pub async fn postpone_unclear_mail(
        &self,
        mail: &DueMail,
        delay: Duration,
        reply: &str,
    ) -> Result<(), StoreError> {
        self.postpone(mail, mail.copies + 1, delay, reply).await
    }

    async fn postpone(
        &self,
        mail: &DueMail,
        copies: i32,
        delay: Duration,
        reply: &str,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE outbox
               SET next_attempt_at = clock_timestamp() + make_interval(secs => $2),
                   leased_until = NULL, copies = $5, last_reply = $3
             WHERE mail_id = $1 AND attempts = $4 AND sent_at IS NULL
            "#,
            mail.mail_id.0,
            seconds(delay),
            reply,
            mail.attempts,
            copies,
        );
        self.execute(query).await?;
        Ok(())
    }
}

/// Leases as two columns.
fn in_columns(leases: &[MailLease]) -> (Vec<Uuid>, Vec<i32>) {
    leases
        .iter()
        .map(|(id, attempts)| (id.0, *attempts))
        .unzip()
}

/// A leased mail as it is read: the columns of a challenge are there if the mail has one.
struct LeasedRow {
    mail_id: Uuid,
    kind: String,
    user_id: i64,
    email: String,
    challenge_id: Option<Uuid>,
    nonce: Option<Vec<u8>>,
    link_id: Option<Uuid>,
    purpose: Option<String>,
    notice: Option<String>,
    created_at: Option<Timestamp>,
    client_network: Option<IpNet>,
    expires_at: Timestamp,
    request_id: String,
    attempts: i32,
    copies: i32,
    life: f64,
}

impl LeasedRow {
    fn source(&self) -> Result<MailSource, StoreError> {
        let kind =
            MailKind::from_stored(&self.kind).ok_or(StoreError::Unreadable("outbox.kind"))?;
        match kind {
            MailKind::SignInCode => self.sign_in_code(),
            MailKind::ResetLink | MailKind::InvitationLink => self.link(),
            MailKind::Notice => self.notice(),
        }
    }

    fn sign_in_code(&self) -> Result<MailSource, StoreError> {
        let (Some(challenge_id), Some(nonce), Some(signed_in_at), Some(network)) = (
            self.challenge_id,
            &self.nonce,
            self.created_at,
            self.client_network,
        ) else {
            return Err(StoreError::Unreadable("outbox.challenge_id"));
        };
        Ok(MailSource::SignInCode {
            challenge_id: ChallengeId(challenge_id),
            nonce: columns::nonce(nonce)?,
            signed_in_at,
            network: ClientNetwork::from_stored(network),
        })
    }

    fn link(&self) -> Result<MailSource, StoreError> {
        let purpose = (self.purpose.as_deref()).and_then(LinkPurpose::from_stored);
        let (Some(link_id), Some(purpose), Some(requested_at)) =
            (self.link_id, purpose, self.created_at)
        else {
            return Err(StoreError::Unreadable("outbox.link_id"));
        };
        Ok(MailSource::Link {
            link_id: LinkId(link_id),
            purpose,
            requested_at,
            network: self.client_network.map(ClientNetwork::from_stored),
        })
    }

    fn notice(&self) -> Result<MailSource, StoreError> {
        let notice = (self.notice.as_deref()).and_then(Notice::from_stored);
        let (Some(notice), Some(happened_at)) = (notice, self.created_at) else {
            return Err(StoreError::Unreadable("outbox.notice"));
        };
        Ok(MailSource::Notice {
            notice,
            happened_at,
            network: self.client_network.map(ClientNetwork::from_stored),
        })
    }
}

impl TryFrom<LeasedRow> for DueMail {
    type Error = StoreError;

    fn try_from(row: LeasedRow) -> Result<Self, StoreError> {
        Ok(Self {
            mail_id: MailId(row.mail_id),
            recipient_id: UserId(row.user_id),
            email: columns::email(&row.email)?,
            source: row.source()?,
            expires_at: row.expires_at,
            request_id: RequestId::from_stored(row.request_id),
            attempts: row.attempts,
            copies: row.copies,
            life: Duration::from_secs_f64(row.life),
        })
    }
}

impl Tx {
    /// Puts the mail with a challenge's code into the outbox.
    pub async fn insert_code_mail(
        &mut self,
        challenge: &Challenge,
        request_id: &RequestId,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            INSERT INTO outbox (kind, challenge_id, recipient_id, expires_at, request_id,
                                next_attempt_at)
            VALUES ($1, $2, $3, $4, $5, clock_timestamp())
            "#,
            MailKind::SignInCode.as_str(),
            challenge.challenge_id.0,
            challenge.user_id.0,
            challenge.expires_at,
            request_id.as_str(),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Puts a notice into the outbox, in the transaction of the change that it tells of.
    pub async fn insert_notice(&mut self, new: &NewNotice<'_>) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            INSERT INTO outbox (kind, notice, recipient_id, to_address, happened_at, happened_from,
                                expires_at, request_id, next_attempt_at)
            SELECT $1, $2, $3, $4, now, $5, now + make_interval(secs => $6), $7, now
              FROM (SELECT clock_timestamp() AS now) AS clock
            "#,
            MailKind::Notice.as_str(),
            new.notice.as_str(),
            new.user_id.0,
            new.to.as_str(),
            new.network.map(|network| network.as_net()) as Option<IpNet>,
            seconds(NOTICE_LIFE),
            new.request_id.as_str(),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Marks a mail as taken by the mail server, also if another instance has leased it since; whether that
    /// is news.
    pub async fn settle_sent_mail(
        &mut self,
        mail_id: MailId,
        reply: &str,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE outbox SET sent_at = clock_timestamp(), last_reply = $2
             WHERE mail_id = $1 AND sent_at IS NULL
            "#,
            mail_id.0,
            reply,
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Marks a mail as refused for good; whether it did, because another instance may have leased it since,
    /// or the mail server may have taken it.
    pub async fn settle_refused_mail(
        &mut self,
        mail: &DueMail,
        reply: &str,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE outbox SET given_up_at = clock_timestamp(), last_reply = $2
             WHERE mail_id = $1 AND attempts = $3
               AND sent_at IS NULL AND given_up_at IS NULL
            "#,
            mail.mail_id.0,
            reply,
            mail.attempts,
        );
        Ok(self.execute(query).await? > 0)
    }
}
