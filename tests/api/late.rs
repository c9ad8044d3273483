//! Commits that wait: an attempt that was answered 503 never counts, however late its statement is committed.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use crate::support::{Answer, PASSWORD, Person, TestApp, other_than, secs, until};

/// The attempts that count, those in flight, and the blocks that are on. A mail that was put into the
/// outbox leaves, so it counts.
const COUNTED: &str = "SELECT COALESCE(sum(cardinality(hits) + cardinality(in_flight)), 0)::BIGINT
                            + count(*) FILTER (WHERE blocked_until > clock_timestamp())
                         FROM attempts WHERE scope <> 'mail'";

/// Statements of the server that are committed and wait for a standby.
const STALLED: &str = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event = 'SyncRep'";

/// A database whose commits can be made to wait, as they do for a synchronous standby that is away. Those of
/// the other tests, which share its cluster, wait for nobody.
struct Stall {
    app: TestApp,
    _alone: MutexGuard<'static, ()>,
}

impl Stall {
    async fn with(settings: &[(&str, &str)]) -> Self {
        static ALONE: Mutex<()> = Mutex::const_new(());
        let alone = ALONE.lock().await;
        let first = TestApp::with(settings).await;
        run(
            &first,
            "DO $$ BEGIN
               EXECUTE format('ALTER DATABASE %I SET synchronous_commit = on', current_database());
             END $$",
        )
        .await;
        // Its connections are new, and the setting is theirs.
        let app = first.second_instance().await;
        let stall = Self { app, _alone: alone };
        first.stop().await;
        stall.end().await;
        stall
    }

    async fn begin(&self) {
        self.set("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            .await;
        until("commits wait", async || self.does_a_commit_wait().await).await;
    }

    /// Whether a commit waits that is made beside the server's. The setting does not tell: commits wait once the
    /// checkpointer has read it, which may be busy.
    async fn does_a_commit_wait(&self) -> bool {
        let options = (*self.app.sql().connect_options()).clone();
        let options = options.database("postgres");
        let mut probe = PgConnection::connect_with(&options).await.unwrap();
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()");
        let pid: i32 = pid.fetch_one(&mut probe).await.unwrap();
        let commit = tokio::spawn(async move {
            let commit = "SET synchronous_commit = on;
                          SELECT pg_logical_emit_message(TRUE, 'probe', '')";
            // It ends with the stall.
            let _ = sqlx::raw_sql(commit).execute(&mut probe).await;
        });
        let waits =
            "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
        while !commit.is_finished() {
            let waiting = sqlx::query_scalar(waits).bind(pid);
            let waiting: i64 = waiting.fetch_one(self.app.sql()).await.unwrap();
            if waiting > 0 {
                return true;
            }
        }
        false
    }

    async fn end(&self) {
        self.set("ALTER SYSTEM RESET synchronous_standby_names")
            .await;
    }

    async fn set(&self, statement: &'static str) {
        run(&self.app, statement).await;
        run(&self.app, "SELECT pg_reload_conf()").await;
    }

    /// Lets a request get to a lock, and only then lets commits wait: they do after its answer was
    /// given up. Ends the stall, and waits until nothing is left of the request.
    async fn catch(
        &self,
        lock: Transaction<'static, Postgres>,
        request: impl Future<Output = Answer>,
    ) {
        let stalling = async {
            until("it waits", async || self.app.waits_for_locks().await == 1).await;
            self.begin().await;
            lock.rollback().await.unwrap();
            until("it is stalled", async || self.app.count(STALLED).await > 0).await;
        };
        let (answer, ()) = tokio::join!(request, stalling);
        answer.problem(503, "unavailable");
        self.end().await;
        until("nothing is left", async || {
            self.app.count(COUNTED).await == 0
        })
        .await;
    }
}

/// Runs a statement on a connection of its own, for which nothing waits.
async fn run(app: &TestApp, statement: &'static str) {
    let mut connection = app.sql().acquire().await.unwrap();
    for statement in ["SET synchronous_commit = off", statement] {
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

/// Red when an attempt that is committed too late is not taken back: by a reservation, or by the last commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_repeats_the_right_password_during_a_stall_is_let_in_after_it() {
    let stall = Stall::with(&[]).await;
    let app = &stall.app;
    let alice = app.user("alice@example.com").await;
    stall.begin().await;
    for _ in 0..7 {
        alice.signin().await.problem(503, "unavailable");
    }
    stall.end().await;
    until("it is let in", async || {
        let answer = alice.signin().await;
        assert_ne!(answer.status, 429, "{}", answer.seen());
        answer.status == 200
    })
    .await;
    // Of all that, one counts.
    for _ in 0..4 {
        let wrong = alice.signin_with("wrong").await;
        wrong.problem(401, "invalid_credentials");
    }
    assert_eq!(alice.signin_with("wrong").await.limited(), 300);
}

/// Red when neither the use case nor what outlives it takes attempts back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_is_committed_too_late_counts_for_nothing() {
    let stall = Stall::with(&[]).await;
    let app = &stall.app;
    let alice = app.user("alice@example.com").await;
    let bob = app.user_with_code("bob@example.com").await;
    for (person, password) in [(&alice, "wrong"), (&alice, PASSWORD), (&bob, PASSWORD)] {
        let lock = app.hold("LOCK TABLE audit_events").await;
        stall.catch(lock, person.signin_with(password)).await;
    }
}

/// Red when neither `settle_change` nor `commit_attempts` takes attempts back: those of the change still count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_password_that_is_committed_too_late_counts_for_nothing_and_is_told_by_mail() {
    let stall = Stall::with(&[]).await;
    let app = &stall.app;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    app.execute("DELETE FROM attempts").await;
    for current in ["wrong", PASSWORD] {
        let lock = app.hold("LOCK TABLE audit_events").await;
        let change = alice.change_password(&pair.access, current, "another-anvil-68");
        stall.catch(lock, change).await;
    }
    // Nothing calls a commit back, so its owner has to hear of it.
    app.mail_for("alice@example.com").await;
    alice.signin_with("another-anvil-68").await.pair();
}

/// Red without `undo_block`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_whose_start_is_committed_too_late_is_lifted() {
    let stall = Stall::with(&[]).await;
    let app = &stall.app;
    let alice = app.user("alice@example.com").await;
    for _ in 0..5 {
        alice.signin_with("wrong").await;
    }
    stall.begin().await;
    alice.signin().await.problem(503, "unavailable");
    stall.end().await;
    // The commit that starts it has the row until it is visible.
    app.execute("UPDATE attempts SET scope = scope").await;
    let blocks = "SELECT count(*) FROM attempts WHERE blocked_until IS NOT NULL";
    until("it is lifted", async || app.count(blocks).await == 0).await;
    app.age_attempts(secs(60)).await;
    alice.signin().await.pair();
}

/// Red without the late half of `spend_confirm_attempt`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guess_that_is_committed_too_late_is_taken_back() {
    let stall = Stall::with(&[]).await;
    let app = &stall.app;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    let guess = async |person: &Person<'_>| person.confirm(&token, &other_than(&code)).await;
    app.execute("DELETE FROM attempts").await;
    let lock = app.hold("LOCK TABLE challenges IN SHARE MODE").await;
    stall.catch(lock, guess(&alice)).await;
    let spent = "SELECT sum(attempts + second_factor_failures)::BIGINT
                   FROM challenges JOIN users USING (user_id)";
    until("it is taken back", async || app.count(spent).await == 0).await;
    guess(&alice).await.problem(401, "invalid_two_factor");
    assert_eq!(app.count(spent).await, 2);
    alice.confirm(&token, &code).await.pair();
}

/// Red when `confirm` takes back no guess whose answer is 503.
#[tokio::test]
async fn a_guess_that_the_database_kept_out_is_taken_back() {
    let app = TestApp::start().await;
    let alice = app.user_with_code("alice@example.com").await;
    let (token, code) = alice.challenge_and_code().await;
    app.execute("DELETE FROM attempts").await;
    let lock = app.hold("LOCK TABLE sessions").await;
    alice
        .confirm(&token, &code)
        .await
        .problem(503, "unavailable");
    let spent = "SELECT sum(attempts + second_factor_failures)::BIGINT
                   FROM challenges JOIN users USING (user_id)";
    until("it is taken back", async || app.count(spent).await == 0).await;
    until("it counts for nothing", async || {
        app.count(COUNTED).await == 0
    })
    .await;
    lock.rollback().await.unwrap();
    alice.confirm(&token, &code).await.pair();
    let body = json!({"token": token, "code": code});
    let again = app.post("/api/v2/2fa/confirm", &alice.network, &body).await;
    again.problem(401, "invalid_two_factor");
}
