//! The table `attempts`: every limit but the one on refreshes, which lives in the session's row.
//!
//! An attempt is reserved before anything is looked at. From then on it is in flight: it takes up room,
//! but counts for nothing yet. Its outcome, which is written before the answer, settles it: it counts,
//! or it is taken back. So an attempt that nobody was told about, since its process died or its
//! database was too late, leaves nothing behind that counts.
//!
//! The release before counts attempts in flight under the ceiling of failures alone. While both run, neither
//! sees the other's attempts under the other limits before they are answered: of attempts at the same
//! instant, twice as many may get through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;

use super::late::{Undo, insist};
use super::run::{Rows, Run as _};
use super::users::UserRow;
use super::{Store, StoreError, Tx, seconds};
use crate::domain::policy::{MAX_FLIGHT, USUAL_FLIGHT};
use crate::domain::{
    AccountHash, AttemptInFlight, AttemptKey, AuditEvent, EmailAddress, Limit, LimitRefusal,
    LimitScope, RequestId, Reservation, Timestamp, User, seconds_until,
};

/// The attempts that are counted under one key.
#[derive(Debug, Clone)]
pub struct AttemptRecord {
    /// The keyed hash that they are counted by.
    pub hash: [u8; 32],
    /// The limit that it belongs to.
    pub scope: LimitScope,
    /// The attempts that count, oldest first; some may have left the window.
    pub hits: Vec<Timestamp>,
    /// The end of a block that was started.
    pub blocked_until: Option<Timestamp>,
}

/// The answer to a reservation under up to three limits.
struct ReservedRow {
    first_at: Option<Timestamp>,
    blocked_until: Option<Timestamp>,
    second_at: Option<Timestamp>,
    third_at: Option<Timestamp>,
    user_id: Option<i64>,
    email: Option<String>,
    password_hash: Option<String>,
    two_factor: Option<String>,
    credential_version: Option<i32>,
    second_factor_failures: Option<i32>,
    created_at: Option<Timestamp>,
    disabled_at: Option<Timestamp>,
    password_changed_at: Option<Timestamp>,
    is_administrator: Option<bool>,
    has_totp: bool,
    has_passkey: bool,
}

impl ReservedRow {
    /// The attempts that were granted, if no block was started.
    fn granted(&self, limits: &[(AttemptKey, Limit)]) -> Vec<AttemptInFlight> {
        if self.blocked_until.is_some() {
            return Vec::new();
        }
        let granted_at = [self.first_at, self.second_at, self.third_at];
        (limits.iter().zip(granted_at))
            .map_while(|((key, _), at)| Some(AttemptInFlight { key: *key, at: at? }))
            .collect()
    }

    /// The outcome under its limits, of which the first alone starts blocks.
    fn outcome(&self, limits: &[(AttemptKey, Limit); 3]) -> Reserved {
        let granted = self.granted(limits);
        Reserved {
            refused: limits.get(granted.len()).copied(),
            block: (self.blocked_until).map(|until| started(&limits[0].1, until)),
            granted,
        }
    }

    fn into_user(self) -> Option<UserRow> {
        Some(UserRow {
            user_id: self.user_id?,
            email: self.email?,
            password_hash: self.password_hash,
            two_factor: self.two_factor?,
            credential_version: self.credential_version?,
            second_factor_failures: self.second_factor_failures?,
            created_at: self.created_at?,
            disabled_at: self.disabled_at,
            password_changed_at: self.password_changed_at,
            is_administrator: self.is_administrator?,
            has_totp: self.has_totp,
            has_passkey: self.has_passkey,
        })
    }
}

/// Reserves an attempt under up to three limits, one after the other, until one refuses; and finds the user
/// with an address, if the first two did not.
///
/// The statement has the same step three times, since SQL cannot say it once. A step must see whether the one
/// before it granted, and only an `INSERT` of its own does: PostgreSQL has no recursive and no lateral `INSERT`,
/// the rows of a single one do not see each other's outcome, and no CTE sees the row of a conflict. A function in
/// the database would be checked by nothing at compile time, and the same for two releases that run at once.
fn reserve(
    limits: &[(AttemptKey, Limit)],
    email: Option<&EmailAddress>,
) -> impl Rows<ReservedRow> + use<> {
    let column = |key: &AttemptKey| key.scope.as_str().to_owned();
    let scopes: Vec<String> = limits.iter().map(|(key, _)| column(key)).collect();
    let keys: Vec<Vec<u8>> = limits.iter().map(|(key, _)| key.hash.to_vec()).collect();
    let accounts: Vec<Option<Vec<u8>>> = (limits.iter())
        .map(|(key, _)| key.account.map(|account| account.0.to_vec()))
        .collect();
    let attempts: Vec<i64> = (limits.iter())
        .map(|(_, limit)| i64::from(limit.attempts))
        .collect();
    let windows: Vec<f64> = (limits.iter())
        .map(|(_, limit)| seconds(limit.window))
        .collect();
    let blocks: Vec<Option<f64>> = (limits.iter())
        .map(|(_, limit)| limit.block.map(seconds))
        .collect();
    sqlx::query_file_as!(
        ReservedRow,
        "src/store/sql/reserve_attempts.sql",
        &scopes,
        &keys,
        &accounts as &[Option<Vec<u8>>],
        &attempts,
        &windows,
        &blocks as &[Option<f64>],
        email.map(EmailAddress::as_str),
        seconds(MAX_FLIGHT),
        seconds(USUAL_FLIGHT),
    )
}

/// Settles attempts, and records an event if there is one.
fn settle(settlement: &Settlement, event: Option<&AuditEvent>) -> impl Rows<bool> + use<> {
    sqlx::query_file_scalar!(
        "src/store/sql/settle_attempts.sql",
        &settlement.hashes,
        &settlement.reserved_at,
        &settlement.counts,
        event.map(|event| event.kind.as_str()),
        event.map(|event| event.outcome.as_str()),
        event.map(|event| event.reason.as_str()),
        event.and_then(|event| event.user_id).map(|id| id.0),
        event
            .and_then(|event| event.email.as_ref())
            .map(EmailAddress::as_str),
        event.and_then(|event| event.session_id).map(|id| id.0),
        event.and_then(|event| event.challenge_id).map(|id| id.0),
        event
            .and_then(|event| event.network)
            .map(|network| network.as_net()) as Option<IpNet>,
        event
            .and_then(|event| event.request_id.as_ref())
            .map(RequestId::as_str),
        event.and_then(|event| event.actor.as_deref()),
        event.and_then(|event| event.detail.as_deref()),
    )
}

/// The outcomes of attempts, in the columns of the statements that settle them.
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

/// The outcome of a reservation under several limits.
#[derive(Debug)]
pub struct Reserved {
    /// The attempts that were granted, by the limits before the one that refused.
    pub granted: Vec<AttemptInFlight>,
    /// The limit that refused.
    pub refused: Option<(AttemptKey, Limit)>,
    /// The refusal, if this very attempt started a block.
    pub block: Option<LimitRefusal>,
}

impl Store {
    /// Reserves an attempt under a limit; committed before anything else happens. A reservation that is
    /// committed when nobody waits for it any more is taken back.
    pub async fn reserve_attempt(
        &self,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<Reservation, StoreError> {
        let limits = [(*key, *limit)];
        let row = self.reserve_late(limits, None).await?;
        if let Some(until) = row.blocked_until {
            return Ok(Reservation::Refused(started(limit, until)));
        }
        if let Some(at) = row.first_at {
            return Ok(Reservation::Granted { at });
        }
        let refusal = self.refuse_by(key, limit, &[], Arc::default()).await?;
        Ok(Reservation::Refused(refusal))
    }

    /// Reserves, and takes back what is committed when nobody waits for it any more.
    async fn reserve_late<const N: usize>(
        &self,
        limits: [(AttemptKey, Limit); N],
        email: Option<&EmailAddress>,
    ) -> Result<ReservedRow, StoreError> {
        let rows = reserve(&limits, email);
        let store = self.clone();
        let undo = move |row: ReservedRow| match row.blocked_until {
            Some(until) => store.undo_block(limits[0].0, until),
            None => store.undo(row.granted(&limits)),
        };
        self.run_late(|c| rows.one(c), undo).await
    }

    /// Reserves a sign-in under each of its limits until one refuses, and, if the first two did not,
    /// finds the user with the address, if there is one; committed before anything else happens. A
    /// reservation that is committed when nobody waits for it any more is taken back.
    pub async fn reserve_signin(
        &self,
        limits: &[(AttemptKey, Limit); 3],
        email: &EmailAddress,
    ) -> Result<(Reserved, Option<User>), StoreError> {
        let row = self.reserve_late(*limits, Some(email)).await?;
        let outcome = row.outcome(limits);
        let user = row.into_user().map(User::try_from).transpose()?;
        Ok((outcome, user))
    }

    /// Reserves the wish for a link under each of its limits until one refuses; committed before anything
    /// else happens. A reservation that is committed when nobody waits for it any more is taken back.
    pub async fn reserve_link(
        &self,
        limits: &[(AttemptKey, Limit); 3],
    ) -> Result<Reserved, StoreError> {
        let row = self.reserve_late(*limits, None).await?;
        Ok(row.outcome(limits))
    }

    /// How long a refusal still lasts: to the end of the block; or until so many attempts have left
    /// the window that there is room; or, where attempts in flight take up the room, until the first
    /// of them is decided. An attempt in flight is expected to count, unless it is old or the limit is
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
        let query = sqlx::query_file!(
            "src/store/sql/refuse_attempt.sql",
            &settlement.hashes,
            &settlement.reserved_at,
            &settlement.counts,
            &key.hash,
            seconds(limit.window),
            i64::from(limit.attempts) - 1,
            seconds(MAX_FLIGHT),
            key.scope != LimitScope::SigninFailures,
            seconds(USUAL_FLIGHT),
        );
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
        let rows = settle(&settlement, event);
        let is_settled = self.run_late(|c| rows.one(c), undo).await?;
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
        self.fetch_one(settle(&settlement, None)).await?;
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
        self.execute(query).await?;
        Ok(())
    }

    /// Blocks that are on for an account, with their ends. The limit is text, since a later release may have others.
    pub async fn list_blocks(
        &self,
        account: AccountHash,
    ) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT scope, blocked_until AS "until!"
              FROM attempts
             WHERE account_key = $1 AND blocked_until > clock_timestamp()
             ORDER BY blocked_until
            "#,
            &account.0,
        );
        let rows = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(|row| (row.scope, row.until)).collect())
    }

    /// The attempts that are counted for an account and under `hashes`, and the database's clock.
    pub async fn list_attempts(
        &self,
        account: Option<AccountHash>,
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
            account.as_ref().map(|account| account.0.as_slice()),
            &hashes,
        );
        let rows = self.fetch_all(query).await?;
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
    /// Reserves a mail as a part of this transaction: the count happens with it or not at all. `None` if
    /// there is no room.
    pub async fn reserve_mail(
        &mut self,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<Option<AttemptInFlight>, StoreError> {
        debug_assert!([LimitScope::Mail, LimitScope::LinkMail].contains(&key.scope));
        let row = self.fetch_one(reserve(&[(*key, *limit)], None)).await?;
        let at = row.first_at.filter(|_| row.blocked_until.is_none());
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
        self.settle_and_record(attempts, None).await
    }

    /// The same, and writes down an event if there is one: one statement either way.
    pub async fn settle_and_record(
        &mut self,
        attempts: &[AttemptInFlight],
        event: Option<&AuditEvent>,
    ) -> Result<(), StoreError> {
        let settlement = Settlement::of(attempts, false);
        let is_settled = self.fetch_one(settle(&settlement, event)).await?;
        Settlement::settled(is_settled)
    }

    /// Lifts the limits on sign-ins of an account, blocks and failures, from all networks. It locks them by
    /// their names, as a sign-in does.
    pub async fn lift_signin_limits(&mut self, account: AccountHash) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            WITH locked AS MATERIALIZED (
                SELECT attempt_key FROM attempts
                 WHERE account_key = $1 AND scope IN ($2, $3)
                 ORDER BY scope, attempt_key
                   FOR UPDATE
            )
            DELETE FROM attempts USING locked WHERE attempts.attempt_key = locked.attempt_key
            "#,
            &account.0,
            LimitScope::Signin.as_str(),
            LimitScope::SigninFailures.as_str(),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Lifts every limit of an account. It locks them by their names, the order in which a sign-in
    /// reserves them as well.
    pub async fn delete_attempts_of(&mut self, account: AccountHash) -> Result<(), StoreError> {
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
            &account.0,
        );
        self.execute(query).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    /// The lines of a step, but for the one that says which it is.
    fn step(text: &str) -> Vec<&str> {
        let lines = text.lines().take_while(|line| !line.starts_with(')'));
        lines.filter(|line| !line.contains("r.place =")).collect()
    }

    #[test]
    fn the_steps_of_a_reservation_differ_in_their_place_alone() {
        let statement = include_str!("sql/reserve_attempts.sql");
        let steps: Vec<_> = statement.split("INSERT INTO").skip(1).map(step).collect();
        assert_eq!(steps.len(), 3);
        assert!(steps[0].len() > 30, "{:?}", steps[0]);
        assert_eq!(steps[1], steps[0]);
        assert_eq!(steps[2], steps[0]);
    }

    /// The steps of a statement that settle attempts.
    fn settlement(statement: &str) -> Option<&str> {
        const LAST: &str = "RETURNING a.attempt_key\n)";
        let from = statement.find("WITH locked")?;
        let length = statement[from..].find(LAST)? + LAST.len();
        statement.get(from..from + length)
    }

    #[test]
    fn all_statements_that_settle_attempts_do_so_by_the_same_steps() {
        let alone = settlement(include_str!("sql/settle_attempts.sql"));
        assert!(alone.is_some_and(|steps| steps.lines().count() > 15));
        for with_more in [
            include_str!("sql/refuse_attempt.sql"),
            include_str!("sql/settle_and_end_surplus_sessions.sql"),
        ] {
            assert_eq!(settlement(with_more), alone);
        }
    }
}
