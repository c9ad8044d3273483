//! The table `attempts`: every limit but the one on refreshes, which lives in the session's row.

use std::time::Duration;

use super::users::UserRow;
use super::{Store, StoreError, Tx, seconds};
use crate::domain::{
    AttemptKey, EmailAddress, Limit, LimitScope, Reservation, Timestamp, User, seconds_until,
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

/// Reserves an attempt, or refuses without writing.
///
/// The conflict clause runs on the locked, newest version of the row, so that attempts made at the
/// same instant on any number of instances take turns. A row comes back if the attempt was granted
/// (`blocked_until` is then null) or started a block; none comes back if it was refused.
///
/// When a row means nothing any more is rounded up, so that the next attempt mostly changes no
/// indexed column: the row's new version stays on its page, and the indexes are left alone.
macro_rules! reserve {
    ($key:expr, $limit:expr) => {
        sqlx::query!(
            r#"
            INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, stale_at)
            SELECT $1, $2, $3, ARRAY[now],
                   date_bin('10 minutes', now + make_interval(secs => $4), 'epoch')
                       + INTERVAL '10 minutes'
              FROM (SELECT clock_timestamp() AS now) AS clock
            ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
               SET (hits, blocked_until, stale_at) = (
                   SELECT CASE WHEN l.is_full THEN l.hits ELSE l.hits || c.now END,
                          CASE WHEN l.is_full THEN c.now + make_interval(secs => $6) END,
                          date_bin('10 minutes', c.now + make_interval(secs => GREATEST($4, $6)),
                                   'epoch') + INTERVAL '10 minutes'
                     FROM (SELECT clock_timestamp() AS now) AS c,
                          LATERAL (SELECT COALESCE(array_agg(hit ORDER BY hit), '{}') AS hits,
                                          count(*) >= $5 AS is_full
                                     FROM unnest(a.hits) AS hit
                                    WHERE a.blocked_until IS NULL
                                      AND hit > c.now - make_interval(secs => $4)) AS l)
             WHERE CASE
                   WHEN $6::FLOAT8 IS NOT NULL
                   THEN a.blocked_until IS NULL OR a.blocked_until <= clock_timestamp()
                   ELSE (SELECT count(*) FROM unnest(a.hits) AS hit
                          WHERE hit > clock_timestamp() - make_interval(secs => $4)) < $5
                   END
            RETURNING hits[cardinality(hits)] AS "newest!", blocked_until
            "#,
            &$key.hash,
            $key.scope.as_str(),
            $key.account.as_ref().map(|hash| hash.as_slice()),
            seconds($limit.window),
            i64::from($limit.attempts),
            $limit.block.map(seconds),
        )
    };
}

fn granted_or_started(
    newest: Timestamp,
    blocked_until: Option<Timestamp>,
    limit: &Limit,
) -> Reservation {
    match blocked_until {
        None => Reservation::Granted { at: newest },
        Some(until) => Reservation::Refused {
            until,
            retry_after: limit.block.unwrap_or(limit.window),
            started_now: true,
        },
    }
}

impl Store {
    /// Reserves an attempt under a limit; committed before anything else happens.
    pub async fn reserve_attempt(
        &self,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<Reservation, StoreError> {
        let row = self
            .run(|c| Box::pin(reserve!(key, limit).fetch_optional(c)))
            .await?;
        match row {
            Some(row) => Ok(granted_or_started(row.newest, row.blocked_until, limit)),
            None => self.refusal(key, limit).await,
        }
    }

    /// Reserves an attempt under an account's ceiling of failures, before it is known whether it is one,
    /// and finds the user with the account's address, if there is one. Until [`Store::count_failure`] or
    /// [`Store::release_attempt`] says so the attempt is in flight: it takes up room like a failure, but
    /// nobody is told to wait for as long as a failure counts.
    ///
    /// Its instant is its name, so no two have the same.
    pub async fn reserve_failure(
        &self,
        key: &AttemptKey,
        ceiling: &Limit,
        email: &EmailAddress,
    ) -> Result<(Reservation, Option<User>), StoreError> {
        let query = sqlx::query!(
            r#"
            WITH reserved AS (
                INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, in_flight, stale_at)
                SELECT $1, $2, $3, '{}', ARRAY[now],
                       date_bin('10 minutes', now + make_interval(secs => $4), 'epoch')
                           + INTERVAL '10 minutes'
                  FROM (SELECT clock_timestamp() AS now) AS clock
                ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
                   SET (hits, in_flight, stale_at) = (
                       SELECT ARRAY(SELECT hit FROM unnest(a.hits) AS hit
                                     WHERE hit > c.now - make_interval(secs => $4) ORDER BY hit),
                              ARRAY(SELECT hit FROM unnest(a.in_flight) AS hit
                                     WHERE hit > c.now - make_interval(secs => $4) ORDER BY hit)
                                  || c.now,
                              date_bin('10 minutes', c.now + make_interval(secs => $4), 'epoch')
                                  + INTERVAL '10 minutes'
                         FROM (SELECT GREATEST(clock_timestamp(),
                                               a.in_flight[cardinality(a.in_flight)]
                                                   + INTERVAL '1 microsecond') AS now) AS c)
                 WHERE (SELECT count(*) FROM unnest(a.hits || a.in_flight) AS hit
                         WHERE hit > clock_timestamp() - make_interval(secs => $4)) < $5
                RETURNING in_flight[cardinality(in_flight)] AS at
            )
            SELECT r.at AS "at?", u.user_id AS "user_id?", u.email AS "email?", u.password_hash,
                   u.two_factor AS "two_factor?", u.credential_version AS "credential_version?",
                   u.second_factor_failures AS "second_factor_failures?",
                   u.created_at AS "created_at?", u.disabled_at, u.password_changed_at
              FROM (SELECT) AS one
              LEFT JOIN reserved AS r ON TRUE
              LEFT JOIN users AS u ON u.email = $6
            "#,
            &key.hash,
            key.scope.as_str(),
            key.account.as_ref().map(<[u8; 32]>::as_slice),
            seconds(ceiling.window),
            i64::from(ceiling.attempts),
            email.as_str(),
        );
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
        let reservation = match row.at {
            Some(at) => Reservation::Granted { at },
            None => self.refusal(key, ceiling).await?,
        };
        Ok((reservation, user().map(User::try_from).transpose()?))
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
    pub async fn count_failure(&self, key: &AttemptKey, at: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE attempts
               SET hits = ARRAY(SELECT hit FROM unnest(hits || $2::TIMESTAMPTZ) AS hit ORDER BY hit),
                   in_flight = array_remove(in_flight, $2)
             WHERE attempt_key = $1 AND $2 = ANY (in_flight)
            "#,
            &key.hash,
            at,
        );
        self.run(|c| Box::pin(query.execute(c))).await?;
        Ok(())
    }

    /// Takes an attempt back: what was reserved as a failure turned out to be none.
    pub async fn release_attempt(&self, key: &AttemptKey, at: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE attempts SET in_flight = array_remove(in_flight, $2) WHERE attempt_key = $1",
            &key.hash,
            at,
        );
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
        let query = reserve!(key, limit);
        let row = self
            .suspect
            .watch(query.fetch_optional(&mut *self.inner))
            .await?;
        Ok(row.is_some_and(|row| row.blocked_until.is_none()))
    }

    /// Lifts every limit of an account.
    pub async fn delete_attempts_of(&mut self, account: &[u8; 32]) -> Result<(), StoreError> {
        let query = sqlx::query!("DELETE FROM attempts WHERE account_key = $1", account);
        self.suspect.watch(query.execute(&mut *self.inner)).await?;
        Ok(())
    }
}
