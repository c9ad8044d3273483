//! That the rules which stand in Rust and in a statement's `WHERE` say the same, over random rows.
//!
//! Instants lie four seconds or more from every border, so that a slow machine decides nothing.

use std::time::Duration;

use backoffice_auth::domain::{
    AttemptKey, Client, ClientNetwork, Generation, KeyId, Limit, LimitScope, PairKeys, RequestId,
    Reservation, Rotation, RotationFacts, RotationRule, SessionId, Timestamp, UserId,
    decide_rotation,
};
use backoffice_auth::store::{Advance, SessionGeneration, SessionLifetimes, Store};
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sqlx::PgPool;
use uuid::Uuid;

use crate::support::{TestApp, secs};

const CASES: usize = 150;

const LIMIT: Limit = Limit {
    attempts: 3,
    window: Duration::from_mins(1),
    block: Some(Duration::from_mins(5)),
};

const RULE: RotationRule = RotationRule {
    grace: Duration::from_mins(1),
    limit: LIMIT,
};

const LIFETIMES: SessionLifetimes = SessionLifetimes {
    access: Duration::from_mins(15),
    idle: Duration::from_hours(24),
    session: Duration::from_hours(24),
};

/// Ages of attempts in seconds, the oldest first: inside and outside of the window.
fn ages() -> impl Strategy<Value = Vec<f64>> {
    let ages = prop::collection::vec(prop::sample::select(vec![1.0, 20.0, 40.0, 80.0]), 0..5);
    ages.prop_map(|mut ages| {
        ages.sort_by(|a, b| f64::total_cmp(b, a));
        ages
    })
}

/// The rest of a block in seconds: none, one that has run out, one that is on.
fn block() -> impl Strategy<Value = Option<f64>> {
    prop::sample::select(vec![None, None, Some(-30.0), Some(100.0)])
}

fn cases<S: Strategy>(strategy: &S) -> Vec<S::Value> {
    let mut runner = TestRunner::deterministic();
    let mut case = |_| strategy.new_tree(&mut runner).unwrap().current();
    (0..CASES).map(&mut case).collect()
}

/// A session that was refreshed, as its row is made.
#[derive(Debug, Clone)]
struct Row {
    presented: i64,
    /// In seconds from now.
    idles_out_in: f64,
    is_ended: bool,
    is_disabled: bool,
    hits: Vec<f64>,
    blocked_for: Option<f64>,
}

fn rows() -> impl Strategy<Value = Row> {
    let often_not = || prop::sample::select(vec![false, false, false, true]);
    let presented = prop::sample::select(vec![2, 3, 4, 4, 4, 4, 5]);
    let idles_out_in = prop::sample::select(vec![-30.0, 500.0, 500.0, 500.0]);
    let row = (
        presented,
        idles_out_in,
        often_not(),
        often_not(),
        ages(),
        block(),
    );
    row.prop_map(
        |(presented, idles_out_in, is_ended, is_disabled, hits, blocked_for)| Row {
            presented,
            idles_out_in,
            is_ended,
            is_disabled,
            hits,
            blocked_for,
        },
    )
}

/// A session in the database, with the parameters of its statements.
struct Subject {
    session_id: Uuid,
    user_id: i64,
    keys: PairKeys,
    client: Client,
}

impl Subject {
    async fn find(sql: &PgPool) -> Self {
        let (session_id, user_id, key_id, refresh_key_id, network) =
            sqlx::query_as::<_, (Uuid, i64, String, Option<String>, IpNet)>(
                "SELECT session_id, user_id, key_id, refresh_key_id, client_network FROM sessions",
            )
            .fetch_one(sql)
            .await
            .unwrap();
        Self {
            session_id,
            user_id,
            keys: PairKeys {
                access: KeyId(key_id),
                refresh: refresh_key_id.map(KeyId),
            },
            client: Client {
                network: ClientNetwork::from_stored(network),
                user_agent: None,
                request_id: RequestId::random(),
            },
        }
    }

    async fn becomes(&self, sql: &PgPool, row: &Row) {
        let session = sqlx::query(
            "UPDATE sessions
                SET generation = 4, rotated_at = now() - INTERVAL '10 seconds', grace_from = NULL,
                    idle_expires_at = now() + make_interval(secs => $2),
                    ended_at = CASE WHEN $3 THEN now() END,
                    end_reason = CASE WHEN $3 THEN 'operator' END,
                    refresh_hits = ARRAY(SELECT now() - make_interval(secs => age)
                                           FROM unnest($4::FLOAT8[]) AS age),
                    refresh_blocked_until = now() + make_interval(secs => $5)
              WHERE session_id = $1",
        );
        let session = session
            .bind(self.session_id)
            .bind(row.idles_out_in)
            .bind(row.is_ended)
            .bind(&row.hits)
            .bind(row.blocked_for);
        session.execute(sql).await.unwrap();
        let user = "UPDATE users SET disabled_at = CASE WHEN $1 THEN now() END";
        let user = sqlx::query(user).bind(row.is_disabled);
        user.execute(sql).await.unwrap();
    }

    /// The decision of the rule, and whether the statement has moved the session on.
    async fn decide_and_advance(&self, store: &Store, row: &Row) -> (Rotation, bool) {
        let session_id = SessionId(self.session_id);
        let state = store.find_session_state(session_id).await.unwrap().unwrap();
        let presented = Generation(row.presented);
        let decided = decide_rotation(&state.facts, presented, state.now, &RULE);
        let advanced = store.advance_session(Advance {
            presented: SessionGeneration {
                session_id,
                user_id: UserId(self.user_id),
                generation: presented,
            },
            client: &self.client,
            keys: &self.keys,
            lifetimes: &LIFETIMES,
            rule: &RULE,
        });
        (decided, advanced.await.unwrap().is_some())
    }
}

/// Red where the statement counts attempts that have left the window, for example, or looks at no block.
#[tokio::test]
async fn a_session_is_moved_on_by_its_statement_just_where_the_rule_says_so() {
    let app = TestApp::start().await;
    app.signed_in("alice@example.com").await;
    let (sql, store) = (app.sql(), app.store().await);
    let subject = Subject::find(sql).await;
    let mut moved_on = 0;
    for row in cases(&rows()) {
        subject.becomes(sql, &row).await;
        let (decided, is_advanced) = subject.decide_and_advance(&store, &row).await;
        assert_eq!(
            is_advanced,
            decided == Rotation::Advance,
            "{decided:?} {row:?}"
        );
        moved_on += usize::from(is_advanced);
    }
    assert!((10..CASES - 10).contains(&moved_on), "{moved_on}");
}

/// The content of a limit's row: ages in seconds, and of attempts in flight less than zero for the future.
#[derive(Debug, Clone)]
struct Counted {
    hits: Vec<f64>,
    in_flight: Vec<f64>,
    blocked_for: Option<f64>,
    has_blocks: bool,
}

fn counted() -> impl Strategy<Value = Counted> {
    let in_flight = prop::collection::vec(prop::sample::select(vec![-30.0, 6.0, 25.0]), 0..4);
    let row = (ages(), in_flight, block(), any::<bool>());
    row.prop_map(|(hits, mut in_flight, blocked_for, has_blocks)| {
        in_flight.sort_by(|a, b| f64::total_cmp(b, a));
        Counted {
            hits,
            in_flight,
            blocked_for,
            has_blocks,
        }
    })
}

#[derive(Debug, PartialEq)]
enum Decided {
    Granted,
    Refused,
    StartsBlock,
}

/// The rule of a limit: attempts that count, and those in flight for less than ten seconds, take up room. A block
/// starts where that of two seconds at most takes up all of it.
fn decide(row: &Counted, now: Timestamp) -> Decided {
    let at = |age: f64| now - secs(300) + Duration::from_secs_f64(300.0 - age);
    let facts = RotationFacts {
        generation: Generation(1),
        grace_from: now,
        stalled: Duration::ZERO,
        idle_expires_at: now,
        is_ended: false,
        user_is_enabled: true,
        hits: row.hits.iter().copied().map(at).collect(),
        blocked_until: row.blocked_for.map(|rest| at(-rest)),
    };
    let younger = |age: f64| row.in_flight.iter().filter(|other| **other < age).count();
    let hits = facts.counted_hits(now, LIMIT.window).len();
    let max = LIMIT.attempts as usize;
    if facts.is_blocked(now) {
        Decided::Refused
    } else if hits + younger(10.0) < max {
        Decided::Granted
    } else if row.has_blocks && hits + younger(2.0) >= max {
        Decided::StartsBlock
    } else {
        Decided::Refused
    }
}

async fn store_counted(sql: &PgPool, key: &AttemptKey, row: &Counted) {
    sqlx::query("DELETE FROM attempts")
        .execute(sql)
        .await
        .unwrap();
    let insert = sqlx::query(
        "INSERT INTO attempts (attempt_key, scope, hits, in_flight, blocked_until, stale_at)
         SELECT $1, $2, ARRAY(SELECT now() - make_interval(secs => age) FROM unnest($3::FLOAT8[]) AS age),
                ARRAY(SELECT now() - make_interval(secs => age) FROM unnest($4::FLOAT8[]) AS age),
                now() + make_interval(secs => $5), now()",
    );
    let insert = insert
        .bind(key.hash.as_slice())
        .bind(key.scope.as_str())
        .bind(&row.hits)
        .bind(&row.in_flight)
        .bind(row.blocked_for);
    insert.execute(sql).await.unwrap();
}

/// Red where the statement counts attempts in flight for good, for example, or those that a block has cleared.
#[tokio::test]
async fn an_attempt_is_granted_by_its_statement_just_where_the_rule_says_so() {
    let app = TestApp::start().await;
    let (sql, store) = (app.sql(), app.store().await);
    let key = AttemptKey {
        scope: LimitScope::Confirm,
        hash: [7; 32],
        account: None,
    };
    let mut seen = [0; 3];
    for row in cases(&counted()) {
        store_counted(sql, &key, &row).await;
        let limit = Limit {
            block: LIMIT.block.filter(|_| row.has_blocks),
            ..LIMIT
        };
        let decided = decide(&row, Timestamp::UNIX_EPOCH + secs(1_000_000));
        let found = match store.reserve_attempt(&key, &limit).await.unwrap() {
            Reservation::Granted { .. } => Decided::Granted,
            Reservation::Refused(refusal) if refusal.started_now => Decided::StartsBlock,
            Reservation::Refused(_) => Decided::Refused,
        };
        assert_eq!(found, decided, "{row:?}");
        seen[found as usize] += 1;
    }
    assert!(seen.iter().all(|count| *count >= 10), "{seen:?}");
}
