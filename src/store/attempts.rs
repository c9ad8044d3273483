//! The table `attempts`: every limit but the one on refreshes, which lives in the session's row.

use std::time::Duration;

use super::{Store, StoreError, Tx, seconds};
use crate::domain::{AttemptKey, Limit, LimitScope, Reservation, Timestamp, seconds_until};

/// What is counted under one key.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// The key's hash.
    pub hash: [u8; 32],
    /// Which limit it belongs to.
    pub scope: LimitScope,
    /// The attempts, oldest first; some may have left the window.
    pub hits: Vec<Timestamp>,
    /// The end of a block that was started.
    pub blocked_until: Option<Timestamp>,
}

/// Reserves an attempt, or refuses without writing.
///
/// The conflict clause runs on the locked, newest version of the row, so that attempts made at the
/// same instant on any number of instances take turns. A row comes back if the attempt was granted
/// (`blocked_until` is then null) or started a block; none comes back if it was refused.
macro_rules! reserve {
    ($key:expr, $limit:expr) => {
        sqlx::query!(
            r#"
            INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, stale_at)
            SELECT $1, $2, $3, ARRAY[now], now + make_interval(secs => $4)
              FROM (SELECT clock_timestamp() AS now) AS clock
            ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
               SET (hits, blocked_until, stale_at) = (
                   SELECT CASE WHEN l.is_full THEN l.hits ELSE l.hits || c.now END,
                          CASE WHEN l.is_full THEN c.now + make_interval(secs => $6) END,
                          c.now + make_interval(secs => GREATEST($4, $6))
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
        Some(_) => Reservation::Refused {
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
            None => self.refusal(key, limit.window).await,
        }
    }

    /// How long a refusal still lasts: to the end of the block, or until the oldest attempt leaves
    /// the window.
    async fn refusal(&self, key: &AttemptKey, window: Duration) -> Result<Reservation, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT COALESCE(blocked_until, hits[1] + make_interval(secs => $2)) AS until,
                   clock_timestamp() AS "now!"
              FROM attempts
             WHERE attempt_key = $1
            "#,
            &key.hash,
            seconds(window),
        );
        let row = self.run(|c| Box::pin(query.fetch_optional(c))).await?;
        let retry_after = row
            .and_then(|row| Some(seconds_until(row.until?, row.now)))
            .unwrap_or(Duration::from_secs(1));
        Ok(Reservation::Refused {
            retry_after,
            started_now: false,
        })
    }

    /// Takes an attempt back: what was reserved as a failure turned out to be none.
    pub async fn release_attempt(&self, key: &AttemptKey, at: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE attempts SET hits = array_remove(hits, $2) WHERE attempt_key = $1",
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
                   hits AS "hits?", blocked_until
              FROM (SELECT clock_timestamp() AS now) AS clock
              LEFT JOIN attempts ON account_key = $1 OR attempt_key = ANY ($2)
             ORDER BY scope, attempt_key
            "#,
            account.as_ref().map(<[u8; 32]>::as_slice),
            &hashes,
        );
        let rows = self.run(|c| Box::pin(query.fetch_all(c))).await?;
        let now = rows.first().map(|row| row.now);
        let now = now.ok_or(StoreError::Unreadable("attempts"))?;
        let records = rows.into_iter().filter_map(|row| {
            Some(AttemptRecord {
                hash: row.attempt_key?.try_into().ok()?,
                scope: LimitScope::from_stored(&row.scope?)?,
                hits: row.hits?,
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
