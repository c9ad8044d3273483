//! The table `outbox`: code mails that are to leave.

use std::time::Duration;

use ipnet::IpNet;
use uuid::Uuid;

use super::{Store, StoreError, Tx, challenges, seconds, users};
use crate::domain::{
    AuditKind, AuditReason, ChallengeId, ClientNetwork, CodeNonce, EmailAddress, Outcome,
    Timestamp, UserId,
};

/// Copies of a mail that may arrive, at most.
const MAX_COPIES: i32 = 2;

/// A mail that this instance has leased and is to send.
#[derive(Debug)]
pub struct DueMail {
    /// The challenge whose code it carries.
    pub challenge_id: ChallengeId,
    /// Whom it is for.
    pub user_id: UserId,
    /// Where it goes.
    pub email: EmailAddress,
    /// What the code follows from.
    pub nonce: CodeNonce,
    /// When the sign-in was.
    pub signed_in_at: Timestamp,
    /// Where the sign-in came from.
    pub network: ClientNetwork,
    /// When the code stops working.
    pub expires_at: Timestamp,
    /// The request that asked for it.
    pub request_id: String,
    /// Attempts, this one included: they also tell this lease from every other.
    pub attempts: i32,
    /// Copies that may have arrived from earlier attempts.
    pub copies: i32,
    /// How long the code works from now on, or rather from before this was read.
    pub life: Duration,
}

/// Which of the mails that are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Those that nobody has tried to send.
    New,
    /// The others.
    Again,
}

/// Mails that are over and that nobody will send any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    /// All of them.
    pub mails: u64,
    /// Those among them that surely did not leave and were still waited for.
    pub expired: u64,
}

/// A mail and how far it has come.
#[derive(Debug, Clone)]
pub struct MailRecord {
    /// When the sign-in was.
    pub created_at: Timestamp,
    /// When the code stops working.
    pub expires_at: Timestamp,
    /// When the code was used.
    pub consumed_at: Option<Timestamp>,
    /// The request that asked for it.
    pub request_id: String,
    /// How often sending it was tried.
    pub attempts: i32,
    /// Copies that may have arrived, whether the mail server said so or not.
    pub copies: i32,
    /// When the mail server took it.
    pub sent_at: Option<Timestamp>,
    /// When it was given up.
    pub given_up_at: Option<Timestamp>,
    /// What the mail server said last.
    pub last_reply: Option<String>,
}

impl Store {
    /// Leases up to `count` mails that are due. A lease that runs out, because its holder died,
    /// makes the mail due again; never due is a mail whose code works no more, and one that may have
    /// arrived twice.
    pub async fn lease_due_mails(
        &self,
        due: Due,
        count: i64,
        lease: Duration,
    ) -> Result<Vec<DueMail>, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH due AS (
                SELECT o.challenge_id
                  FROM outbox AS o JOIN challenges AS c USING (challenge_id)
                                   JOIN users AS u USING (user_id)
                 WHERE o.sent_at IS NULL AND o.given_up_at IS NULL
                   AND (o.attempts > 0) = $3 AND o.copies < $4
                   AND o.next_attempt_at <= clock_timestamp()
                   AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
                   AND c.expires_at > clock_timestamp() AND c.consumed_at IS NULL
                   AND u.credential_version = c.credential_version AND u.disabled_at IS NULL
                 ORDER BY o.next_attempt_at
                 LIMIT $1
                   FOR UPDATE OF o SKIP LOCKED
            )
            UPDATE outbox AS o
               SET leased_until = clock_timestamp() + make_interval(secs => $2),
                   attempts = o.attempts + 1
              FROM due, challenges AS c JOIN users AS u USING (user_id)
             WHERE o.challenge_id = due.challenge_id AND c.challenge_id = o.challenge_id
            RETURNING o.challenge_id, u.user_id, u.email, c.nonce, c.created_at,
                      c.client_network AS "client_network: IpNet", c.expires_at, o.request_id,
                      o.attempts, o.copies,
                      GREATEST(EXTRACT(EPOCH FROM c.expires_at - clock_timestamp()), 0)::FLOAT8
                          AS "life!"
            "#,
            count,
            seconds(lease),
            due == Due::Again,
            MAX_COPIES,
        );
        let rows = self.run(|c| Box::pin(query.fetch_all(c))).await?;
        let mails = rows.into_iter().map(|row| {
            Ok(DueMail {
                challenge_id: ChallengeId(row.challenge_id),
                user_id: UserId(row.user_id),
                email: users::email(&row.email)?,
                nonce: challenges::nonce(&row.nonce)?,
                signed_in_at: row.created_at,
                network: ClientNetwork::from_stored(row.client_network),
                expires_at: row.expires_at,
                request_id: row.request_id,
                attempts: row.attempts,
                copies: row.copies,
                life: Duration::from_secs_f64(row.life),
            })
        });
        mails.collect()
    }

    /// Prolongs leases, each told by its mail and attempt, unless they were lost or are over.
    pub async fn renew_mail_leases(
        &self,
        leases: &[(ChallengeId, i32)],
        lease: Duration,
    ) -> Result<(), StoreError> {
        let (ids, attempts) = in_columns(leases);
        let query = sqlx::query!(
            r#"
            UPDATE outbox AS o
               SET leased_until = clock_timestamp() + make_interval(secs => $3)
              FROM unnest($1::UUID[], $2::INTEGER[]) AS held (challenge_id, attempts)
             WHERE o.challenge_id = held.challenge_id AND o.attempts = held.attempts
               AND o.leased_until IS NOT NULL AND o.sent_at IS NULL AND o.given_up_at IS NULL
            "#,
            &ids,
            &attempts,
            seconds(lease),
        );
        self.run(|c| Box::pin(query.execute(c))).await?;
        Ok(())
    }

    /// Gives leases back. What cannot have arrived is due at once, and the rest after `delay`.
    pub async fn release_mail_leases(
        &self,
        leases: &[(ChallengeId, i32)],
        delay: Duration,
    ) -> Result<(), StoreError> {
        let (ids, attempts) = in_columns(leases);
        let query = sqlx::query!(
            r#"
            UPDATE outbox AS o
               SET leased_until = NULL,
                   next_attempt_at = clock_timestamp()
                       + CASE WHEN o.copies > 0 THEN make_interval(secs => $3) ELSE INTERVAL '0' END
              FROM unnest($1::UUID[], $2::INTEGER[]) AS held (challenge_id, attempts)
             WHERE o.challenge_id = held.challenge_id AND o.attempts = held.attempts
               AND o.leased_until IS NOT NULL AND o.sent_at IS NULL AND o.given_up_at IS NULL
            "#,
            &ids,
            &attempts,
            seconds(delay),
        );
        self.run(|c| Box::pin(query.execute(c))).await?;
        Ok(())
    }

    /// Counts a copy of a leased mail that may arrive from now on, if the mail is still to be sent: its
    /// code works, and no other instance has leased it since, which happens to one that was frozen for
    /// longer than its lease. Counts once, however often it is called for an attempt.
    pub async fn count_mail_copy(&self, mail: &DueMail) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE outbox AS o
               SET copies = $3
              FROM challenges AS c JOIN users AS u USING (user_id)
             WHERE o.challenge_id = $1 AND o.attempts = $2 AND c.challenge_id = o.challenge_id
               AND o.sent_at IS NULL AND o.given_up_at IS NULL
               AND c.expires_at > clock_timestamp() AND c.consumed_at IS NULL
               AND u.credential_version = c.credential_version AND u.disabled_at IS NULL
            "#,
            mail.challenge_id.0,
            mail.attempts,
            mail.copies + 1,
        );
        let done = self.run(|c| Box::pin(query.execute(c))).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives up to `batch` mails up whose challenges are over, unless another instance is at it, and
    /// writes down those that expired; tells how many.
    ///
    /// A mail that is leased may be with the relay at this moment, so its holder has the first word.
    /// A copy that was counted leaves open whether the mail arrived, and a code that was used proves
    /// that it did: neither is said to have expired.
    pub async fn give_up_overdue_mails(&self, batch: i64) -> Result<GivenUp, StoreError> {
        let Some(mut tx) = self.begin_purge().await? else {
            return Ok(GivenUp {
                mails: 0,
                expired: 0,
            });
        };
        let query = sqlx::query!(
            r#"
            WITH overdue AS MATERIALIZED (
                SELECT o.challenge_id, c.user_id,
                       c.consumed_at IS NULL AND o.copies = 0 AS has_expired
                  FROM outbox AS o JOIN challenges AS c USING (challenge_id)
                 WHERE o.sent_at IS NULL AND o.given_up_at IS NULL
                   AND (c.expires_at <= clock_timestamp() OR c.consumed_at IS NOT NULL)
                   AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
                 LIMIT $4
                   FOR UPDATE OF o SKIP LOCKED
            ), given_up AS (
                UPDATE outbox AS o
                   SET given_up_at = clock_timestamp()
                  FROM overdue
                 WHERE o.challenge_id = overdue.challenge_id
                RETURNING o.challenge_id, o.request_id, o.last_reply, overdue.user_id,
                          overdue.has_expired
            ), recorded AS (
                INSERT INTO audit_events (kind, outcome, reason, user_id, email, challenge_id,
                                          request_id, detail)
                SELECT $1, $2, $3, g.user_id, u.email, g.challenge_id, g.request_id, g.last_reply
                  FROM given_up AS g JOIN users AS u USING (user_id)
                 WHERE g.has_expired
            )
            SELECT count(*) AS "mails!", count(*) FILTER (WHERE has_expired) AS "expired!"
              FROM given_up
            "#,
            AuditKind::Mail.as_str(),
            Outcome::Refused.as_str(),
            AuditReason::MailExpired.as_str(),
            batch,
        );
        let row = self.guard.watch(query.fetch_one(&mut *tx.inner)).await?;
        tx.commit().await?;
        Ok(GivenUp {
            mails: row.mails.unsigned_abs(),
            expired: row.expired.unsigned_abs(),
        })
    }

    /// The mails of some challenges and of a user, newest first, at most `count`.
    pub async fn list_mails(
        &self,
        challenge_ids: &[Uuid],
        user_id: Option<UserId>,
        count: i64,
    ) -> Result<Vec<MailRecord>, StoreError> {
        let query = sqlx::query_as!(
            MailRecord,
            r#"
            SELECT c.created_at, c.expires_at, c.consumed_at, o.request_id, o.attempts, o.copies,
                   o.sent_at, o.given_up_at, o.last_reply
              FROM outbox AS o JOIN challenges AS c USING (challenge_id)
             WHERE c.challenge_id = ANY ($1) OR c.user_id = $2
             ORDER BY c.created_at DESC
             LIMIT $3
            "#,
            challenge_ids,
            user_id.map(|id| id.0),
            count,
        );
        self.run(|c| Box::pin(query.fetch_all(c))).await
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
             WHERE challenge_id = $1 AND attempts = $4 AND sent_at IS NULL
            "#,
            mail.challenge_id.0,
            seconds(delay),
            reply,
            mail.attempts,
            copies,
        );
        self.run(|c| Box::pin(query.execute(c))).await?;
        Ok(())
    }
}

/// Leases as two columns.
fn in_columns(leases: &[(ChallengeId, i32)]) -> (Vec<Uuid>, Vec<i32>) {
    leases
        .iter()
        .map(|(id, attempts)| (id.0, *attempts))
        .unzip()
}

impl Tx {
    /// Puts a challenge's mail into the outbox.
    pub async fn insert_mail(
        &mut self,
        challenge_id: ChallengeId,
        request_id: &str,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            INSERT INTO outbox (challenge_id, request_id, next_attempt_at)
            VALUES ($1, $2, clock_timestamp())
            "#,
            challenge_id.0,
            request_id,
        );
        self.guard.watch(query.execute(&mut *self.inner)).await?;
        Ok(())
    }

    /// Marks a mail as taken by the mail server, which is so whoever has leased it since, and tells
    /// whether that is news.
    pub async fn settle_sent_mail(
        &mut self,
        challenge_id: ChallengeId,
        reply: &str,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE outbox SET sent_at = clock_timestamp(), last_reply = $2
             WHERE challenge_id = $1 AND sent_at IS NULL
            "#,
            challenge_id.0,
            reply,
        );
        let done = self.guard.watch(query.execute(&mut *self.inner)).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Marks a mail as one that will never be taken, and tells whether it did: another may have
    /// leased it since, or have had it taken.
    pub async fn settle_refused_mail(
        &mut self,
        mail: &DueMail,
        reply: &str,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE outbox SET given_up_at = clock_timestamp(), last_reply = $2
             WHERE challenge_id = $1 AND attempts = $3
               AND sent_at IS NULL AND given_up_at IS NULL
            "#,
            mail.challenge_id.0,
            reply,
            mail.attempts,
        );
        let done = self.guard.watch(query.execute(&mut *self.inner)).await?;
        Ok(done.rows_affected() > 0)
    }
}
