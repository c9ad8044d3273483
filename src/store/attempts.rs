//! The table `attempts`: every limit but the one on refreshes, which lives in the session's row.

use std::time::Duration;

use super::users::UserRow;
use super::{Store, StoreError, Tx, seconds};
use crate::domain::{
    AttemptInFlight, AttemptKey, EmailAddress, Limit, LimitScope, Reservation, Timestamp, User,
    seconds_until,
};

/// How long an attempt can be in flight: longer than a place in the hashing queue is waited for,
/// than a hash takes and than the database may take, together. One that is older was cut short, and
/// counts as one that failed.
const MAX_FLIGHT: Duration = Duration::from_secs(10);

/// What is counted under one key.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// The key's hash.
    pub hash: [u8; 32],
    /// Which limit it belongs to.
    pub scope: LimitScope,
    /// The attempts that count for good, oldest first; some may have left the window.
    pub hits: Vec<Timestamp>,
    /// The end of a block that was started.
    pub blocked_until: Option<Timestamp>,
}

/// Hands the text of a reservation to `$statement`, in two parts: between them goes which of the `rules`
/// it is about. A macro, since `query!` takes literals and no constants.
///
/// It reserves an attempt, or refuses without writing. The conflict clause runs on the locked, newest
/// version of the row, so that attempts made at the same instant on any number of instances take
/// turns. A row comes back if the attempt was granted (`blocked_until` is then null) or started a
/// block; none comes back if it was refused.
///
/// When a row means nothing any more is rounded up, so that the next attempt mostly changes no
/// indexed column: the row's new version stays on its page, and the indexes are left alone.
macro_rules! reserve {
    ($statement:ident!($($argument:expr),*)) => {
        $statement!(
            r#"
            INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, stale_at)
            SELECT r.attempt_key, r.scope, r.account_key, ARRAY[c.now],
                   date_bin('10 minutes', c.now + r.counted_for, 'epoch') + INTERVAL '10 minutes'
              FROM rules AS r, (SELECT clock_timestamp() AS now) AS c
             WHERE r.scope =
            "#,
            r#"
            ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
               SET (hits, blocked_until, stale_at) = (
                   SELECT CASE WHEN l.is_full THEN l.hits ELSE l.hits || c.now END,
                          CASE WHEN l.is_full THEN c.now + r.blocked_for END,
                          date_bin('10 minutes', c.now + GREATEST(r.counted_for, r.blocked_for),
                                   'epoch') + INTERVAL '10 minutes'
                     FROM rules AS r, (SELECT clock_timestamp() AS now) AS c,
                          LATERAL (SELECT COALESCE(array_agg(hit ORDER BY hit), '{}') AS hits,
                                          count(*) >= r.attempts AS is_full
                                     FROM unnest(a.hits) AS hit
                                    WHERE a.blocked_until IS NULL
                                      AND hit > c.now - r.counted_for) AS l
                    WHERE r.scope = a.scope)
             WHERE (SELECT CASE
                           WHEN r.blocked_for IS NOT NULL
                           THEN a.blocked_until IS NULL OR a.blocked_until <= clock_timestamp()
                           ELSE (SELECT count(*) FROM unnest(a.hits) AS hit
                                  WHERE hit > clock_timestamp() - r.counted_for) < r.attempts
                           END
                      FROM rules AS r WHERE r.scope = a.scope)
            RETURNING hits[cardinality(hits)] AS newest, blocked_until
            "#
            $(, $argument)*
        )
    };
}

/// The statement that reserves one attempt under one limit.
macro_rules! reserve_one {
    ($insert:literal, $resolve:literal, $key:expr, $limit:expr) => {
        sqlx::query!(
            r#"
            WITH rules (scope, attempt_key, account_key, attempts, counted_for, blocked_for) AS (
                VALUES ($1::TEXT, $2::BYTEA, $3::BYTEA, $4::BIGINT,
                        make_interval(secs => $5), make_interval(secs => $6))
            ), reserved AS (
            "# + $insert + "$1" + $resolve + r#"
            )
            SELECT newest AS "newest!", blocked_until FROM reserved
            "#,
            $key.scope.as_str(),
            &$key.hash,
            $key.account.as_ref().map(<[u8; 32]>::as_slice),
            i64::from($limit.attempts),
            seconds($limit.window),
            $limit.block.map(seconds),
        )
    };
}

/// The statement that reserves a sign-in under its three limits, one after the other. The second and the
/// third are ceilings, which start no blocks.
macro_rules! reserve_three {
    ($insert:literal, $resolve:literal, $signin:expr, $network:expr, $failures:expr, $email:expr) => {
        sqlx::query!(
            r#"
            WITH rules (scope, attempt_key, account_key, attempts, counted_for, blocked_for) AS (
                VALUES ($1::TEXT, $2::BYTEA, $3::BYTEA, $4::BIGINT,
                        make_interval(secs => $5), make_interval(secs => $6)),
                       ($7, $8, NULL, $9, make_interval(secs => $10), NULL),
                       ($11, $12, $3, $13, make_interval(secs => $14), NULL)
            ), signin AS (
            "# + $insert + "$1" + $resolve + r#"
            ), network AS (
            "# + $insert + "$7 AND EXISTS (SELECT FROM signin WHERE blocked_until IS NULL)" + $resolve + r#"
            ), failure AS (
                INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, in_flight, stale_at)
                SELECT r.attempt_key, r.scope, r.account_key, '{}', ARRAY[c.now],
                       date_bin('10 minutes', c.now + r.counted_for, 'epoch')
                           + INTERVAL '10 minutes'
                  FROM rules AS r, (SELECT clock_timestamp() AS now) AS c
                 WHERE r.scope = $11 AND EXISTS (SELECT FROM network)
                ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
                   SET (hits, in_flight, stale_at) = (
                       SELECT ARRAY(SELECT hit FROM unnest(a.hits) AS hit
                                     WHERE hit > c.now - r.counted_for ORDER BY hit),
                              ARRAY(SELECT hit FROM unnest(a.in_flight) AS hit
                                     WHERE hit > c.now - r.counted_for ORDER BY hit) || c.now,
                              date_bin('10 minutes', c.now + r.counted_for, 'epoch')
                                  + INTERVAL '10 minutes'
                         FROM rules AS r,
                              (SELECT GREATEST(clock_timestamp(),
                                               a.in_flight[cardinality(a.in_flight)]
                                                   + INTERVAL '1 microsecond') AS now) AS c
                        WHERE r.scope = a.scope)
                 WHERE (SELECT (SELECT count(*) FROM unnest(a.hits || a.in_flight) AS hit
                                 WHERE hit > clock_timestamp() - r.counted_for) < r.attempts
                          FROM rules AS r WHERE r.scope = a.scope)
                RETURNING in_flight[cardinality(in_flight)] AS at
            )
            SELECT s.newest AS "signin_at?", s.blocked_until,
                   n.newest AS "network_at?", f.at AS "failure_at?",
                   u.user_id AS "user_id?", u.email AS "email?", u.password_hash,
                   u.two_factor AS "two_factor?", u.credential_version AS "credential_version?",
                   u.second_factor_failures AS "second_factor_failures?",
                   u.created_at AS "created_at?", u.disabled_at, u.password_changed_at
              FROM (SELECT) AS one
              LEFT JOIN signin AS s ON TRUE
              LEFT JOIN network AS n ON TRUE
              LEFT JOIN failure AS f ON TRUE
              LEFT JOIN users AS u ON u.email = (SELECT $15::TEXT FROM network)
            "#,
            $signin.0.scope.as_str(),
            &$signin.0.hash,
            $signin.0.account.as_ref().map(<[u8; 32]>::as_slice),
            i64::from($signin.1.attempts),
            seconds($signin.1.window),
            $signin.1.block.map(seconds),
            $network.0.scope.as_str(),
            &$network.0.hash,
            i64::from($network.1.attempts),
            seconds($network.1.window),
            $failures.0.scope.as_str(),
            &$failures.0.hash,
            i64::from($failures.1.attempts),
            seconds($failures.1.window),
            $email.as_str(),
        )
    };
}

/// The statement that takes an attempt back.
macro_rules! release {
    ($attempt:expr) => {
        sqlx::query!(
            "UPDATE attempts SET in_flight = array_remove(in_flight, $2) WHERE attempt_key = $1",
            &$attempt.key.hash,
            $attempt.at,
        )
    };
}

/// What became of the wish to sign in.
#[derive(Debug)]
pub struct ReservedSignin {
    /// What the limit says that had the last word: the first that refused, or the last of all.
    pub reservation: Reservation,
    /// What that counts by.
    pub key: AttemptKey,
    /// Who has the address.
    pub user: Option<User>,
}

impl Store {
    /// Reserves an attempt under a limit; committed before anything else happens.
    pub async fn reserve_attempt(
        &self,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<Reservation, StoreError> {
        let query = reserve!(reserve_one!(key, limit));
        let row = self.run(|c| Box::pin(query.fetch_optional(c))).await?;
        let (newest, blocked_until) = row.map(|row| (row.newest, row.blocked_until)).unzip();
        self.outcome(key, limit, newest, blocked_until.flatten())
            .await
    }

    /// Reserves a sign-in under each of its limits until one refuses, and, if the first two did not,
    /// finds the user with the address, if there is one; committed before anything else happens.
    ///
    /// Under the last, the account's ceiling of failures, it is not yet known whether it is one. Until
    /// [`Store::count_failure`], a `release_attempt` or [`Tx::end_surplus_sessions`] says so, the
    /// attempt is in flight: it takes up room like a failure, but nobody is told to wait for as long
    /// as a failure counts. Its instant is its name, so no two have the same.
    pub async fn reserve_signin(
        &self,
        [signin, network, failures]: &[(AttemptKey, Limit); 3],
        email: &EmailAddress,
    ) -> Result<ReservedSignin, StoreError> {
        let query = reserve!(reserve_three!(signin, network, failures, email));
        let row = self.run(|c| Box::pin(query.fetch_one(c))).await?;
        let user = move || {
            Some(UserRow {
                user_id: row.user_id?,
                email: row.email?,
                password_hash: row.password_hash,
                two_factor: row.two_factor?,
                credential_version: row.credential_version?,
                second_factor_failures: row.second_factor_failures?,
                created_at: row.created_at?,
                disabled_at: row.disabled_at,
                password_changed_at: row.password_changed_at,
            })
        };
        let ((key, limit), newest) = if row.signin_at.is_none() || row.blocked_until.is_some() {
            (signin, row.signin_at)
        } else if row.network_at.is_none() {
            (network, None)
        } else {
            (failures, row.failure_at)
        };
        Ok(ReservedSignin {
            reservation: self.outcome(key, limit, newest, row.blocked_until).await?,
            key: *key,
            user: user().map(User::try_from).transpose()?,
        })
    }

    /// What the row that came back from a reservation says, or that none did.
    async fn outcome(
        &self,
        key: &AttemptKey,
        limit: &Limit,
        newest: Option<Timestamp>,
        blocked_until: Option<Timestamp>,
    ) -> Result<Reservation, StoreError> {
        match (newest, blocked_until) {
            (None, _) => self.refusal(key, limit).await,
            (Some(at), None) => Ok(Reservation::Granted { at }),
            (Some(_), Some(until)) => Ok(Reservation::Refused {
                until,
                retry_after: limit.block.unwrap_or(limit.window),
                started_now: true,
            }),
        }
    }

    /// How long a refusal still lasts: to the end of the block; or until so many attempts have left
    /// the window that there is room; or, where what is in flight takes up the room, until the first
    /// of that is decided.
    async fn refusal(&self, key: &AttemptKey, limit: &Limit) -> Result<Reservation, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT COALESCE(
                       a.blocked_until,
                       (SELECT hit + make_interval(secs => $2)
                          FROM (SELECT unnest(a.hits)
                                 UNION ALL
                                SELECT cut_short FROM unnest(a.in_flight) AS cut_short
                                 WHERE cut_short <= c.now - make_interval(secs => $4)) AS h (hit)
                         WHERE hit > c.now - make_interval(secs => $2)
                         ORDER BY hit DESC
                        OFFSET $3 LIMIT 1),
                       (SELECT min(hit) + make_interval(secs => $4)
                          FROM unnest(a.in_flight) AS hit
                         WHERE hit > c.now - make_interval(secs => $4)),
                       c.now) AS "until!",
                   c.now AS "now!"
              FROM (SELECT clock_timestamp() AS now) AS c
              LEFT JOIN attempts AS a ON a.attempt_key = $1
            "#,
            &key.hash,
            seconds(limit.window),
            i64::from(limit.attempts) - 1,
            seconds(MAX_FLIGHT),
        );
        let row = self.run(|c| Box::pin(query.fetch_one(c))).await?;
        Ok(Reservation::Refused {
            until: row.until,
            retry_after: seconds_until(row.until, row.now),
            started_now: false,
        })
    }

    /// Counts an attempt for good: what was reserved as a failure is one.
    pub async fn count_failure(&self, attempt: &AttemptInFlight) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE attempts
               SET hits = ARRAY(SELECT hit FROM unnest(hits || $2::TIMESTAMPTZ) AS hit ORDER BY hit),
                   in_flight = array_remove(in_flight, $2)
             WHERE attempt_key = $1 AND $2 = ANY (in_flight)
            "#,
            &attempt.key.hash,
            attempt.at,
        );
        self.run(|c| Box::pin(query.execute(c))).await?;
        Ok(())
    }

    /// Takes an attempt back: what was reserved as a failure turned out to be none.
    pub async fn release_attempt(&self, attempt: &AttemptInFlight) -> Result<(), StoreError> {
        let query = release!(attempt);
        self.run(|c| Box::pin(query.execute(c))).await?;
        Ok(())
    }

    /// Blocks that are on for an account, with their ends.
    pub async fn list_blocks(
        &self,
        account: &[u8; 32],
    ) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT scope, blocked_until AS "until!"
              FROM attempts
             WHERE account_key = $1 AND blocked_until > clock_timestamp()
             ORDER BY blocked_until
            "#,
            account,
        );
        let rows = self.run(|c| Box::pin(query.fetch_all(c))).await?;
        Ok(rows.into_iter().map(|row| (row.scope, row.until)).collect())
    }

    /// What is counted for an account and under `hashes`, and the database's clock.
    pub async fn list_attempts(
        &self,
        account: Option<[u8; 32]>,
        hashes: &[[u8; 32]],
    ) -> Result<(Vec<AttemptRecord>, Timestamp), StoreError> {
        let hashes: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
        let query = sqlx::query!(
            r#"
            SELECT now AS "now!", attempt_key AS "attempt_key?", scope AS "scope?",
                   ARRAY(SELECT unnest(hits)
                          UNION ALL
                         SELECT hit FROM unnest(in_flight) AS hit
                          WHERE hit <= now - make_interval(secs => $3)
                          ORDER BY 1) AS "hits!", blocked_until
              FROM (SELECT clock_timestamp() AS now) AS clock
              LEFT JOIN attempts ON account_key = $1 OR attempt_key = ANY ($2)
             ORDER BY scope, attempt_key
            "#,
            account.as_ref().map(<[u8; 32]>::as_slice),
            &hashes,
            seconds(MAX_FLIGHT),
        );
        let rows = self.run(|c| Box::pin(query.fetch_all(c))).await?;
        let now = rows.first().map(|row| row.now);
        let now = now.ok_or(StoreError::Unreadable("attempts"))?;
        let records = rows.into_iter().filter_map(|row| {
            Some(AttemptRecord {
                hash: row.attempt_key?.try_into().ok()?,
                scope: LimitScope::from_stored(&row.scope?)?,
                hits: row.hits,
                blocked_until: row.blocked_until,
            })
        });
        Ok((records.collect(), now))
    }
}

impl Tx {
    /// Reserves as a part of this transaction: what is counted here happens with it or not at all.
    pub async fn reserve_mail(
        &mut self,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<bool, StoreError> {
        debug_assert_eq!(key.scope, LimitScope::Mail);
        let query = reserve!(reserve_one!(key, limit));
        let row = self
            .suspect
            .watch(query.fetch_optional(&mut *self.inner))
            .await?;
        Ok(row.is_some_and(|row| row.blocked_until.is_none()))
    }

    /// The same as [`Store::release_attempt`], as a part of this transaction.
    pub async fn release_attempt(&mut self, attempt: &AttemptInFlight) -> Result<(), StoreError> {
        let query = release!(attempt);
        self.suspect.watch(query.execute(&mut *self.inner)).await?;
        Ok(())
    }

    /// Lifts every limit of an account. It locks them by their names, the order in which a sign-in
    /// reserves them as well.
    pub async fn delete_attempts_of(&mut self, account: &[u8; 32]) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            WITH locked AS MATERIALIZED (
                SELECT attempt_key FROM attempts
                 WHERE account_key = $1
                 ORDER BY scope, attempt_key
                   FOR UPDATE
            )
            DELETE FROM attempts USING locked WHERE attempts.attempt_key = locked.attempt_key
            "#,
            account,
        );
        self.suspect.watch(query.execute(&mut *self.inner)).await?;
        Ok(())
    }
}
