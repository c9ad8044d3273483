//! Removing rows that no longer decide anything, in bounded batches.
//!
//! The ages are compared with `statement_timestamp()`: it stands still during a statement, so an
//! index can be searched for it, which `clock_timestamp()` does not allow. The rows of a batch are
//! picked in a materialised step: a subquery could be run again for every row.
//!
//! The oldest go first. It hardly matters which do, but in that order only an index gives them
//! cheaply: without it the planner, when its statistics tell of much to purge, walks through the table
//! in the hope of finding a batch soon, and when that much is gone, through all of it.

use std::time::Duration;

use super::run::Run as _;
use super::{Store, StoreError, Tx, seconds};
use crate::domain::policy::KNOWN_FOR;

/// The advisory lock that keeps purging to one instance at a time.
const PURGE_LOCK: i64 = 0x6261_636b_7075_7267;

/// A table that grows with use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgedTable {
    /// Attempts that count for nothing any more.
    Attempts,
    /// Challenges, with their mails, a day after they expired: until then they help to explain
    /// the fate of a code.
    Challenges,
    /// Links, with their mails, a day after they expired, and decoys as soon as they were written.
    Links,
    /// Notices, a day after nobody wanted them any more. Other mails go with their challenges and links.
    Notices,
    /// Enrolments of an authenticator app, a day after no code could confirm them any more.
    Enrolments,
    /// Requests for a passkey that were used, a day after their time was over.
    PasskeyRequests,
    /// Sessions that have outlived themselves, or ended a week ago and whose last access token has
    /// expired.
    Sessions,
    /// Networks from which nobody has signed in for 30 days.
    KnownNetworks,
}

impl PurgedTable {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Attempts,
        Self::Challenges,
        Self::Links,
        Self::Notices,
        Self::Enrolments,
        Self::PasskeyRequests,
        Self::Sessions,
        Self::KnownNetworks,
    ];

    /// The table's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Challenges => "challenges",
            Self::Links => "links",
            Self::Notices => "outbox",
            Self::Enrolments => "totp_factors",
            Self::PasskeyRequests => "used_passkey_requests",
            Self::Sessions => "sessions",
            Self::KnownNetworks => "known_networks",
        }
    }
}

impl Store {
    /// Removes up to `batch` rows that decide nothing any more, unless another instance is at it;
    /// tells how many.
    pub async fn purge(&self, table: PurgedTable, batch: i64) -> Result<u64, StoreError> {
        let Some(mut tx) = self.begin_purge().await? else {
            return Ok(0);
        };
        let removed = match table {
            PurgedTable::Attempts => tx.purge_attempts(batch).await?,
            PurgedTable::Challenges => tx.purge_challenges(batch).await?,
            PurgedTable::Links => tx.purge_links(batch).await?,
            PurgedTable::Notices => tx.purge_notices(batch).await?,
            PurgedTable::Enrolments => tx.purge_enrolments(batch).await?,
            PurgedTable::PasskeyRequests => tx.purge_passkey_requests(batch).await?,
            PurgedTable::Sessions => tx.purge_sessions(batch).await?,
            PurgedTable::KnownNetworks => tx.purge_known_networks(batch).await?,
        };
        tx.commit().await?;
        Ok(removed)
    }

    /// Removes up to `batch` lines of the audit log that are older than `retention`, unless another
    /// instance is at it; tells how many.
    pub async fn purge_audit_events(
        &self,
        retention: Duration,
        batch: i64,
    ) -> Result<u64, StoreError> {
        let Some(mut tx) = self.begin_purge().await? else {
            return Ok(0);
        };
        let query = sqlx::query!(
            r#"
            WITH old AS MATERIALIZED (
                SELECT event_id FROM audit_events
                 WHERE happened_at <= statement_timestamp() - make_interval(secs => $1)
                 ORDER BY happened_at
                 LIMIT $2
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM audit_events USING old WHERE audit_events.event_id = old.event_id
            "#,
            seconds(retention),
            batch,
        );
        let done = tx.execute(query).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Begins a round of purging, unless another instance is at it.
    pub(super) async fn begin_purge(&self) -> Result<Option<Tx>, StoreError> {
        let mut tx = self.begin().await?;
        let query = sqlx::query_scalar!(
            r#"SELECT pg_try_advisory_xact_lock($1) AS "is_mine!""#,
            PURGE_LOCK
        );
        let is_mine = tx.fetch_one(query).await?;
        Ok(is_mine.then_some(tx))
    }

    /// Removes signing keys a week after their last token expired, or after they were revoked: as
    /// long as a row is there, nobody takes the same key over again.
    ///
    /// Not a part of a round of purging, which would make it wait for a change of the keys.
    pub async fn purge_signing_keys(&self) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            DELETE FROM signing_keys
             WHERE COALESCE(revoked_at, expires_at) <= clock_timestamp() - INTERVAL '7 days'
            "#
        );
        let done = self.execute(query).await?;
        Ok(done)
    }
}

impl Tx {
    async fn purge_enrolments(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH old AS MATERIALIZED (
                SELECT totp_id FROM totp_factors
                 WHERE confirmed_at IS NULL
                   AND expires_at <= statement_timestamp() - INTERVAL '1 day'
                 ORDER BY expires_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM totp_factors AS t USING old WHERE t.totp_id = old.totp_id
            "#,
            batch,
        );
        self.execute(query).await
    }

    async fn purge_passkey_requests(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH old AS MATERIALIZED (
                SELECT request_id FROM used_passkey_requests
                 WHERE expires_at <= statement_timestamp() - INTERVAL '1 day'
                 ORDER BY expires_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM used_passkey_requests AS r USING old WHERE r.request_id = old.request_id
            "#,
            batch,
        );
        self.execute(query).await
    }

    async fn purge_attempts(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH old AS MATERIALIZED (
                SELECT attempt_key FROM attempts
                 WHERE stale_at <= statement_timestamp()
                 ORDER BY stale_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM attempts USING old WHERE attempts.attempt_key = old.attempt_key
            "#,
            batch,
        );
        let done = self.execute(query).await?;
        Ok(done)
    }

    async fn purge_challenges(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH old AS MATERIALIZED (
                SELECT challenge_id FROM challenges
                 WHERE expires_at <= statement_timestamp() - INTERVAL '1 day'
                 ORDER BY expires_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM challenges USING old WHERE challenges.challenge_id = old.challenge_id
            "#,
            batch,
        );
        let done = self.execute(query).await?;
        Ok(done)
    }

    async fn purge_links(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH expired AS MATERIALIZED (
                SELECT link_id FROM links
                 WHERE expires_at <= statement_timestamp() - INTERVAL '1 day'
                 ORDER BY expires_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            ), decoys AS MATERIALIZED (
                SELECT link_id FROM links
                 WHERE user_id IS NULL AND created_at <= statement_timestamp()
                 ORDER BY created_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            ), old AS MATERIALIZED (
                SELECT link_id FROM expired UNION SELECT link_id FROM decoys LIMIT $1
            )
            DELETE FROM links USING old WHERE links.link_id = old.link_id
            "#,
            batch,
        );
        let done = self.execute(query).await?;
        Ok(done)
    }

    async fn purge_notices(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH old AS MATERIALIZED (
                SELECT mail_id FROM outbox
                 WHERE notice IS NOT NULL
                   AND expires_at <= statement_timestamp() - INTERVAL '1 day'
                 ORDER BY expires_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM outbox USING old WHERE outbox.mail_id = old.mail_id
            "#,
            batch,
        );
        let done = self.execute(query).await?;
        Ok(done)
    }

    async fn purge_sessions(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH outlived AS MATERIALIZED (
                SELECT session_id FROM sessions
                 WHERE expires_at <= statement_timestamp()
                   AND access_horizon_at <= statement_timestamp()
                 ORDER BY expires_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            ), ended AS MATERIALIZED (
                SELECT session_id FROM sessions
                 WHERE ended_at <= statement_timestamp() - INTERVAL '7 days'
                   AND access_horizon_at <= statement_timestamp()
                 ORDER BY ended_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            ), old AS MATERIALIZED (
                SELECT session_id FROM outlived UNION SELECT session_id FROM ended LIMIT $1
            )
            DELETE FROM sessions USING old WHERE sessions.session_id = old.session_id
            "#,
            batch,
        );
        let done = self.execute(query).await?;
        Ok(done)
    }

    async fn purge_known_networks(&mut self, batch: i64) -> Result<u64, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH old AS MATERIALIZED (
                SELECT ctid FROM known_networks
                 WHERE last_signin_at <= statement_timestamp() - make_interval(secs => $2)
                 ORDER BY last_signin_at
                 LIMIT $1
                   FOR UPDATE SKIP LOCKED
            )
            DELETE FROM known_networks USING old WHERE known_networks.ctid = old.ctid
            "#,
            batch,
            seconds(KNOWN_FOR),
        );
        let done = self.execute(query).await?;
        Ok(done)
    }
}
