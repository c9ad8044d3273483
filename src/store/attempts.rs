//! The table `attempts`: every limit but the one on refreshes, which lives in the session's row.
//!
//! An attempt is reserved before anything is looked at. From then on it is in flight: it takes up room,
//! but counts for nothing yet. Its outcome, which is written before the answer, settles it: it counts,
//! or it is taken back. So an attempt that nobody was told about, since its process died or its
//! database was too late, leaves nothing behind that counts.
//!
//! The release before counts what is in flight under the ceiling of failures alone. While both run, neither
//! sees the other's attempts under the other limits before they are answered: of attempts at the same
//! instant, twice as many may get through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;

use super::late::{Undo, insist};
use super::users::UserRow;
use super::{Store, StoreError, Tx, seconds};
use crate::domain::{
    AttemptInFlight, AttemptKey, AuditEvent, EmailAddress, Limit, LimitRefusal, LimitScope,
    RequestId, Reservation, Timestamp, User, seconds_until,
};

/// How long an attempt can be in flight: longer than a place in the hashing queue is waited for,
/// than a hash takes and than the database may take, together. One that is older gives up its
/// room, and its answer is 503 if it ever comes to one.
const MAX_FLIGHT: Duration = Duration::from_secs(10);

/// How long an attempt that waits for nothing but the database can be in flight. Whatever is younger
/// is expected to count: where such attempts take up all the room, one too many starts a block.
const USUAL_FLIGHT: Duration = Duration::from_secs(2);

/// What is counted under one key.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// The key's hash.
    pub hash: [u8; 32],
    /// Which limit it belongs to.
    pub scope: LimitScope,
    /// The attempts that count, oldest first; some may have left the window.
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
/// A block starts if what counts, and what is young enough to be expected to, takes up all the room.
/// Where older attempts in flight do, which may never count, the attempt is refused and no more.
///
/// An attempt's instant is its name, so no two in flight have the same. When a row means nothing any
/// more is rounded up, so that the next attempt mostly changes no indexed column: the row's new version
/// stays on its page, and the indexes are left alone.
macro_rules! reserve {
    ($statement:ident!($($argument:expr),*)) => {
        $statement!(
            r#"
            INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, in_flight, stale_at)
            SELECT r.attempt_key, r.scope, r.account_key, '{}', ARRAY[c.now],
                   date_bin('10 minutes', c.now + r.counted_for, 'epoch') + INTERVAL '10 minutes'
              FROM rules AS r, (SELECT clock_timestamp() AS now) AS c
             WHERE r.scope =
            "#,
            r#"
            ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
               SET (hits, in_flight, blocked_until, stale_at) = (
                   SELECT l.hits,
                          CASE WHEN l.is_full THEN l.in_flight
                               ELSE l.in_flight
                                    || GREATEST(c.now, l.in_flight[cardinality(l.in_flight)]
                                                       + INTERVAL '1 microsecond')
                               END,
                          CASE WHEN l.is_full THEN c.now + r.blocked_for END,
                          date_bin('10 minutes', c.now + GREATEST(r.counted_for, r.blocked_for),
                                   'epoch') + INTERVAL '10 minutes'
                     FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                          LATERAL (SELECT ARRAY(SELECT hit FROM unnest(a.hits) AS hit
                                                 WHERE a.blocked_until IS NULL
                                                   AND hit > c.now - r.counted_for
                                                 ORDER BY hit) AS hits,
                                          ARRAY(SELECT hit FROM unnest(a.in_flight) AS hit
                                                 WHERE hit > c.now - f.longest
                                                 ORDER BY hit) AS in_flight) AS k,
                          LATERAL (SELECT k.*, cardinality(k.hits) + cardinality(k.in_flight)
                                               >= r.attempts AS is_full) AS l
                    WHERE r.scope = a.scope)
             WHERE (SELECT COALESCE(a.blocked_until <= c.now, TRUE)
                           AND (l.counted + l.in_flight < r.attempts
                                OR r.blocked_for IS NOT NULL
                                   AND l.counted + l.expected >= r.attempts)
                      FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                           LATERAL (SELECT (SELECT count(*) FROM unnest(a.hits) AS hit
                                             WHERE a.blocked_until IS NULL
                                               AND hit > c.now - r.counted_for) AS counted,
                                           count(*) AS in_flight,
                                           count(*) FILTER (WHERE hit > c.now - f.usual) AS expected
                                      FROM unnest(a.in_flight) AS hit
                                     WHERE hit > c.now - f.longest) AS l
                     WHERE r.scope = a.scope)
            RETURNING in_flight[cardinality(in_flight)] AS newest, blocked_until
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
            WITH flight (longest, usual) AS (
                VALUES (make_interval(secs => $7), make_interval(secs => $8))
            ), rules (scope, attempt_key, account_key, attempts, counted_for, blocked_for) AS (
                VALUES ($1::TEXT, $2::BYTEA, $3::BYTEA, $4::BIGINT,
                        make_interval(secs => $5), make_interval(secs => $6))
            ), reserved AS (
            "#
                + $insert
                + "$1"
                + $resolve
                + r#"
            )
            SELECT newest, blocked_until FROM reserved
            "#,
            $key.scope.as_str(),
            &$key.hash,
            $key.account.as_ref().map(<[u8; 32]>::as_slice),
            i64::from($limit.attempts),
            seconds($limit.window),
            $limit.block.map(seconds),
            seconds(MAX_FLIGHT),
            seconds(USUAL_FLIGHT),
        )
    };
}

/// The statement that reserves a sign-in under its three limits, one after the other. The second and the
/// third are ceilings, which start no blocks.
macro_rules! reserve_three {
    ($insert:literal, $resolve:literal, $signin:expr, $network:expr, $failures:expr, $email:expr) => {
        sqlx::query!(
            r#"
            WITH flight (longest, usual) AS (
                VALUES (make_interval(secs => $16), make_interval(secs => $17))
            ), rules (scope, attempt_key, account_key, attempts, counted_for, blocked_for) AS (
                VALUES ($1::TEXT, $2::BYTEA, $3::BYTEA, $4::BIGINT,
                        make_interval(secs => $5), make_interval(secs => $6)),
                       ($7, $8, NULL, $9, make_interval(secs => $10), NULL),
                       ($11, $12, $3, $13, make_interval(secs => $14), NULL)
            ), signin AS (
            "#
                + $insert
                + "$1"
                + $resolve
                + r#"
            ), network AS (
            "#
                + $insert
                + "$7 AND EXISTS (SELECT FROM signin WHERE blocked_until IS NULL)"
                + $resolve
                + r#"
            ), failure AS (
            "#
                + $insert
                + "$11 AND EXISTS (SELECT FROM network)"
                + $resolve
                + r#"
            )
            SELECT s.newest AS "signin_at?", s.blocked_until,
                   n.newest AS "network_at?", f.newest AS "failure_at?",
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
            seconds(MAX_FLIGHT),
            seconds(USUAL_FLIGHT),
        )
    };
}

/// Hands the text that settles attempts to `$statement`: the steps `locked` and `settled` of a `WITH`, whose
/// parameters `$1` to `$3` are an [`Settlement`]'s arrays. All of them are settled if both have as many rows.
///
/// It locks the rows in the order in which they were reserved, so that nobody waits in a circle.
macro_rules! settle {
    ($statement:ident!($($argument:expr),*)) => {
        $statement!(
            r#"
            WITH locked AS MATERIALIZED (
                SELECT a.attempt_key, o.reserved_at, o.counts
                  FROM unnest($1::BYTEA[], $2::TIMESTAMPTZ[], $3::BOOLEAN[])
                           WITH ORDINALITY AS o (attempt_key, reserved_at, counts, place)
                  JOIN attempts AS a ON a.attempt_key = o.attempt_key
                 ORDER BY o.place
                   FOR UPDATE OF a
            ), settled AS (
                UPDATE attempts AS a
                   SET hits = CASE WHEN l.counts
                                   THEN ARRAY(SELECT hit FROM unnest(a.hits || l.reserved_at) AS hit
                                               ORDER BY hit)
                                   ELSE a.hits END,
                       in_flight = array_remove(a.in_flight, l.reserved_at)
                  FROM locked AS l
                 WHERE a.attempt_key = l.attempt_key AND l.reserved_at = ANY (a.in_flight)
                RETURNING a.attempt_key
            )
            "#
            $(, $argument)*
        )
    };
}

pub(super) use settle;

/// The statement that tells how long a limit refuses, and settles what others granted.
macro_rules! refusal {
    ($settle:literal, $key:expr, $limit:expr, $settlement:expr) => {
        sqlx::query!(
            $settle + r#"
            SELECT COALESCE(
                       a.blocked_until,
                       (SELECT hit + make_interval(secs => $5)
                          FROM (SELECT unnest(a.hits)
                                 UNION ALL
                                SELECT expected FROM unnest(a.in_flight) AS expected
                                 WHERE $8 AND expected > c.now - make_interval(secs => $9)) AS h (hit)
                         WHERE hit > c.now - make_interval(secs => $5)
                         ORDER BY hit DESC
                        OFFSET $6 LIMIT 1),
                       (SELECT min(hit) + make_interval(secs => $7)
                          FROM unnest(a.in_flight) AS hit
                         WHERE hit > c.now - make_interval(secs => $7)),
                       c.now) AS "until!",
                   c.now AS "now!",
                   (SELECT count(*) FROM settled) = (SELECT count(*) FROM locked) AS "is_settled!"
              FROM (SELECT clock_timestamp() AS now) AS c
              LEFT JOIN attempts AS a ON a.attempt_key = $4
            "#,
            &$settlement.hashes,
            &$settlement.reserved_at,
            &$settlement.counts,
            &$key.hash,
            seconds($limit.window),
            i64::from($limit.attempts) - 1,
            seconds(MAX_FLIGHT),
            $key.scope != LimitScope::SigninFailures,
            seconds(USUAL_FLIGHT),
        )
    };
}

/// The statement that settles attempts and does nothing else.
macro_rules! settle_alone {
    ($settle:literal, $settlement:expr) => {
        sqlx::query_scalar!(
            $settle + r#"
            SELECT (SELECT count(*) FROM settled) = (SELECT count(*) FROM locked) AS "is_settled!"
            "#,
            &$settlement.hashes,
            &$settlement.reserved_at,
            &$settlement.counts,
        )
    };
}

/// The statement that settles attempts and writes an event down.
macro_rules! settle_and_record {
    ($settle:literal, $settlement:expr, $event:expr) => {
        sqlx::query_scalar!(
            $settle + r#"
            , recorded AS (
                INSERT INTO audit_events (kind, outcome, reason, user_id, email, session_id,
                                          challenge_id, network, request_id, actor, detail)
                VALUES ($4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
            )
            SELECT (SELECT count(*) FROM settled) = (SELECT count(*) FROM locked) AS "is_settled!"
            "#,
            &$settlement.hashes,
            &$settlement.reserved_at,
            &$settlement.counts,
            $event.kind.as_str(),
            $event.outcome.as_str(),
            $event.reason.as_str(),
            $event.user_id.map(|id| id.0),
            $event.email.as_ref().map(EmailAddress::as_str),
            $event.session_id.map(|id| id.0),
            $event.challenge_id.map(|id| id.0),
            $event.network.map(|network| network.as_net()) as Option<IpNet>,
            $event.request_id.as_ref().map(RequestId::as_str),
            $event.actor,
            $event.detail,
        )
    };
}

/// What became of attempts, as [`settle!`] takes it.
#[derive(Debug, Default)]
pub(super) struct Settlement {
    pub(super) hashes: Vec<Vec<u8>>,
    pub(super) reserved_at: Vec<Timestamp>,
    pub(super) counts: Vec<bool>,
}

impl Settlement {
    /// The outcome of a request that was a failure, or was none.
    pub(super) fn of(attempts: &[AttemptInFlight], is_failure: bool) -> Self {
        Self {
            hashes: attempts.iter().map(|a| a.key.hash.to_vec()).collect(),
            reserved_at: attempts.iter().map(|a| a.at).collect(),
            counts: attempts.iter().map(|a| a.counts(is_failure)).collect(),
        }
    }

    /// Nobody answers a request whose attempts are not settled: it took so long that they gave up
    /// their room, and others may have had it.
    pub(super) fn settled(all: bool) -> Result<(), StoreError> {
        if all {
            Ok(())
        } else {
            Err(StoreError::TimedOut)
        }
    }
}

/// What became of the wish to sign in.
#[derive(Debug)]
pub struct ReservedSignin {
    /// What was granted: by the first limits up to the one that refused.
    pub granted: Vec<AttemptInFlight>,
    /// The limit that refused.
    pub refused: Option<(AttemptKey, Limit)>,
    /// The refusal, if this very attempt started a block.
    pub block: Option<LimitRefusal>,
    /// Who has the address, if neither the first nor the second limit refused.
    pub user: Option<User>,
}

/// The row that a sign-in's reservation answers with.
struct SigninRow {
    at: [Option<Timestamp>; 3],
    blocked_until: Option<Timestamp>,
    user: Option<UserRow>,
}

impl SigninRow {
    fn granted(&self, limits: &[(AttemptKey, Limit); 3]) -> Vec<AttemptInFlight> {
        if self.blocked_until.is_some() {
            return Vec::new();
        }
        (limits.iter().zip(self.at))
            .map_while(|((key, _), at)| Some(AttemptInFlight { key: *key, at: at? }))
            .collect()
    }
}

impl Store {
    /// Reserves an attempt under a limit; committed before anything else happens. What is committed
    /// when nobody waits for it any more is taken back.
    pub async fn reserve_attempt(
        &self,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<Reservation, StoreError> {
        let (key, limit) = (*key, *limit);
        let query = reserve!(reserve_one!(key, limit));
        let store = self.clone();
        let reserved = self.run_late(
            move |c| {
                Box::pin(async move {
                    let row = query.fetch_optional(c).await?;
                    Ok(row.map_or((None, None), |row| (row.newest, row.blocked_until)))
                })
            },
            move |row| match row {
                (_, Some(until)) => store.undo_block(key, until),
                (at, None) => store.undo(
                    at.map(|at| AttemptInFlight { key, at })
                        .into_iter()
                        .collect(),
                ),
            },
        );
        match reserved.await? {
            (_, Some(until)) => Ok(Reservation::Refused(started(&limit, until))),
            (Some(at), None) => Ok(Reservation::Granted { at }),
            (None, None) => {
                let refusal = self.refuse_by(&key, &limit, &[], Arc::default()).await?;
                Ok(Reservation::Refused(refusal))
            }
        }
    }

    /// Reserves a sign-in under each of its limits until one refuses, and, if the first two did not,
    /// finds the user with the address, if there is one; committed before anything else happens. What
    /// is committed when nobody waits for it any more is taken back.
    pub async fn reserve_signin(
        &self,
        limits: &[(AttemptKey, Limit); 3],
        email: &EmailAddress,
    ) -> Result<ReservedSignin, StoreError> {
        let limits = *limits;
        let [signin, network, failures] = &limits;
        let query = reserve!(reserve_three!(signin, network, failures, email));
        let store = self.clone();
        let reserved = self.run_late(
            move |c| {
                Box::pin(async move {
                    let row = query.fetch_one(c).await?;
                    let at = [row.signin_at, row.network_at, row.failure_at];
                    let blocked_until = row.blocked_until;
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
                    Ok(SigninRow {
                        at,
                        blocked_until,
                        user: user(),
                    })
                })
            },
            move |row| match row.blocked_until {
                Some(until) => store.undo_block(limits[0].0, until),
                None => store.undo(row.granted(&limits)),
            },
        );
        let row = reserved.await?;
        let granted = row.granted(&limits);
        Ok(ReservedSignin {
            refused: limits.get(granted.len()).copied(),
            block: (row.blocked_until).map(|until| started(&limits[0].1, until)),
            granted,
            user: row.user.map(User::try_from).transpose()?,
        })
    }

    /// How long a refusal still lasts: to the end of the block; or until so many attempts have left
    /// the window that there is room; or, where what is in flight takes up the room, until the first
    /// of that is decided. What is in flight is expected to count, unless it is old or the limit is
    /// one on failures.
    ///
    /// `granted` is what other limits had granted to the attempt, and counts; it is taken back if this
    /// comes too late and the request turns out to be `unanswered`.
    pub async fn refuse_by(
        &self,
        key: &AttemptKey,
        limit: &Limit,
        granted: &[AttemptInFlight],
        unanswered: Arc<AtomicBool>,
    ) -> Result<LimitRefusal, StoreError> {
        let settlement = Settlement::of(granted, true);
        let query = settle!(refusal!(key, limit, settlement));
        let (store, granted) = (self.clone(), granted.to_vec());
        let refused = self.run_late(
            move |c| {
                Box::pin(async move {
                    let row = query.fetch_one(c).await?;
                    Ok((row.until, row.now, row.is_settled))
                })
            },
            move |_| store.undo_if(&unanswered, granted),
        );
        let (until, now, is_settled) = refused.await?;
        Settlement::settled(is_settled)?;
        Ok(LimitRefusal {
            until,
            retry_after: seconds_until(until, now),
            started_now: false,
        })
    }

    /// Settles the attempts of a request that is refused, and writes the refusal down if it is to be. The
    /// attempts are taken back if this comes too late and the request turns out to be `unanswered`.
    pub async fn refuse(
        &self,
        attempts: &[AttemptInFlight],
        is_failure: bool,
        event: Option<&AuditEvent>,
        unanswered: Arc<AtomicBool>,
    ) -> Result<(), StoreError> {
        let settlement = Settlement::of(attempts, is_failure);
        let (store, attempts) = (self.clone(), attempts.to_vec());
        let undo = move |_| store.undo_if(&unanswered, attempts);
        let is_settled = if let Some(event) = event {
            let query = settle!(settle_and_record!(settlement, event));
            self.run_late(move |c| Box::pin(query.fetch_one(c)), undo)
                .await?
        } else {
            let query = settle!(settle_alone!(settlement));
            self.run_late(move |c| Box::pin(query.fetch_one(c)), undo)
                .await?
        };
        Settlement::settled(is_settled)
    }

    /// Settles attempts whose request has gone before its outcome was written down, however long the
    /// database is away.
    pub async fn settle_late(
        &self,
        attempts: &[AttemptInFlight],
        counts: bool,
    ) -> Result<(), StoreError> {
        if counts {
            insist(|| self.count_attempts(attempts)).await
        } else {
            insist(|| self.release_attempts(attempts)).await
        }
    }

    async fn count_attempts(&self, attempts: &[AttemptInFlight]) -> Result<(), StoreError> {
        let settlement = Settlement::of(attempts, true);
        let query = settle!(settle_alone!(settlement));
        self.run(|c| Box::pin(query.fetch_one(c))).await?;
        Ok(())
    }

    /// Takes attempts back whose answer is 503, whether they are in flight or count already, and lifts
    /// a block that is on: without them there was room. Safe to do again.
    pub async fn release_attempts(&self, attempts: &[AttemptInFlight]) -> Result<(), StoreError> {
        if attempts.is_empty() {
            return Ok(());
        }
        let Settlement {
            hashes,
            reserved_at,
            ..
        } = Settlement::of(attempts, false);
        let query = sqlx::query!(
            r#"
            WITH locked AS MATERIALIZED (
                SELECT a.attempt_key, o.reserved_at
                  FROM unnest($1::BYTEA[], $2::TIMESTAMPTZ[])
                           WITH ORDINALITY AS o (attempt_key, reserved_at, place)
                  JOIN attempts AS a ON a.attempt_key = o.attempt_key
                 ORDER BY o.place
                   FOR UPDATE OF a
            )
            UPDATE attempts AS a
               SET hits = array_remove(a.hits, l.reserved_at),
                   in_flight = array_remove(a.in_flight, l.reserved_at),
                   blocked_until = CASE WHEN a.blocked_until <= clock_timestamp()
                                        THEN a.blocked_until END
              FROM locked AS l
             WHERE a.attempt_key = l.attempt_key AND l.reserved_at = ANY (a.hits || a.in_flight)
            "#,
            &hashes,
            &reserved_at,
        );
        self.run_late(
            move |c| Box::pin(query.execute(c)),
            |_| Box::pin(async { Ok(()) }),
        )
        .await?;
        Ok(())
    }

    /// Takes attempts back whose request has been answered, however long the database is away.
    pub(super) fn undo(&self, attempts: Vec<AttemptInFlight>) -> Undo {
        let store = self.clone();
        Box::pin(async move { insist(|| store.release_attempts(&attempts)).await })
    }

    fn undo_if(&self, unanswered: &AtomicBool, attempts: Vec<AttemptInFlight>) -> Undo {
        if unanswered.load(Ordering::Acquire) {
            self.undo(attempts)
        } else {
            Box::pin(async { Ok(()) })
        }
    }

    fn undo_block(&self, key: AttemptKey, until: Timestamp) -> Undo {
        let store = self.clone();
        Box::pin(async move { insist(|| store.lift_block(&key, until)).await })
    }

    /// Lifts the block that ends at this instant.
    async fn lift_block(&self, key: &AttemptKey, until: Timestamp) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE attempts SET blocked_until = NULL WHERE attempt_key = $1 AND blocked_until = $2",
            &key.hash,
            until,
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

/// A refusal by the attempt that started the block.
fn started(limit: &Limit, until: Timestamp) -> LimitRefusal {
    LimitRefusal {
        until,
        retry_after: limit.block.unwrap_or(limit.window),
        started_now: true,
    }
}

impl Tx {
    /// Reserves a mail as a part of this transaction: what is counted here happens with it or not at
    /// all. `None` if there is no room.
    pub async fn reserve_mail(
        &mut self,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<Option<AttemptInFlight>, StoreError> {
        debug_assert_eq!(key.scope, LimitScope::Mail);
        let query = reserve!(reserve_one!(key, limit));
        let row = self
            .guard
            .watch(query.fetch_optional(&mut *self.inner))
            .await?;
        let at = row.and_then(|row| row.newest.filter(|_| row.blocked_until.is_none()));
        Ok(at.map(|at| AttemptInFlight { key: *key, at }))
    }

    /// Commits, and takes these attempts back, which it settles, if that comes too late for an answer.
    pub async fn commit_attempts(
        self,
        store: &Store,
        attempts: &[AttemptInFlight],
    ) -> Result<(), StoreError> {
        let (store, attempts) = (store.clone(), attempts.to_vec());
        self.commit_or(move |()| store.undo(attempts)).await
    }

    /// Settles the attempts of a request that is no failure, as a part of this transaction.
    pub async fn settle_attempts(
        &mut self,
        attempts: &[AttemptInFlight],
    ) -> Result<(), StoreError> {
        let settlement = Settlement::of(attempts, false);
        let query = settle!(settle_alone!(settlement));
        let is_settled = self.guard.watch(query.fetch_one(&mut *self.inner)).await?;
        Settlement::settled(is_settled)
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
        self.guard.watch(query.execute(&mut *self.inner)).await?;
        Ok(())
    }
}
