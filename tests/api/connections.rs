//! Connections to the database, lent out and given back.

use backoffice_auth::config::Config;
use backoffice_auth::domain::{
    AuditEvent, AuditKind, EmailAddress, MailOutcome, Outcome, TwoFactor,
};
use backoffice_auth::store::{NewUser, Store, StoreError};
use futures_util::FutureExt as _;
use sqlx::PgPool;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

use crate::support::{Database, ROUNDS, Stallable, TestApp, settings, until};

/// A database, and a store with a single connection to it.
async fn single() -> (Database, Store) {
    let database = Database::migrated().await;
    let Config {
        database: mut config,
        ..
    } = settings(&database.url, &[]);
    config.max_connections = 1;
    let store = Store::connect(&config).await.unwrap();
    (database, store)
}

fn alice() -> EmailAddress {
    "alice@example.com".parse().unwrap()
}

fn event() -> AuditEvent {
    AuditEvent::bare(AuditKind::Mail, Outcome::Granted, MailOutcome::Sent)
}

async fn number(sql: &PgPool, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(sql).await.unwrap()
}

/// Red where the first refusal is the last word.
#[tokio::test]
async fn a_database_that_is_just_starting_is_waited_for() {
    let database = Database::migrated().await;
    let mut url = Url::parse(&database.url).unwrap();
    let target = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(door.local_addr().unwrap().port()))
        .unwrap();
    let opens_late = tokio::spawn(async move {
        drop(door.accept().await.unwrap());
        let (mut client, _) = door.accept().await.unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        copy_bidirectional(&mut client, &mut server).await
    });
    let config = settings(url.as_str(), &[]);
    let store = Store::connect(&config.database).await.unwrap();
    assert!(store.find_user(&alice()).await.unwrap().is_none());
    opens_late.abort();
}

/// Red where a dropped loan goes straight back.
#[tokio::test]
async fn a_dropped_transaction_is_undone_before_its_connection_is_lent_again() {
    let (_database, store) = single().await;
    for _ in 0..ROUNDS {
        let mut tx = store.begin().await.unwrap();
        let new = NewUser {
            user_id: None,
            email: alice(),
            password_hash: None,
            two_factor: TwoFactor::Off,
            is_disabled: false,
        };
        assert_eq!(tx.insert_users(&[new]).await.unwrap().len(), 1);
        drop(tx);
        assert!(store.find_user(&alice()).await.unwrap().is_none());
    }
}

/// Red without `Bounds::settings`: the statement waits on, in a place of the pool.
#[tokio::test]
async fn a_lock_that_is_not_had_in_time_leaves_nothing_waiting() {
    let (database, store) = single().await;
    assert!(store.find_user(&alice()).await.unwrap().is_none());
    let sql = PgPool::connect(&database.url).await.unwrap();
    let mut lock = sql.begin().await.unwrap();
    let statement = "LOCK TABLE users";
    sqlx::query(statement).execute(&mut *lock).await.unwrap();
    let refused = store.find_user(&alice()).await.unwrap_err();
    assert!(refused.is_unavailable(), "{refused:?}");
    assert!(!matches!(refused, StoreError::TimedOut), "{refused:?}");
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let waiting: i64 = number(&sql, waiting).await;
    assert_eq!(waiting, 0);
    store.record(&event()).await.unwrap();
    lock.commit().await.unwrap();
}

/// Red where a transaction counts as begun from the answer on, as it does for sqlx: a statement after a
/// `BEGIN` that its caller has left is answered, and never committed.
#[tokio::test]
async fn a_transaction_that_is_left_while_it_begins_swallows_nothing_that_comes_after_it() {
    let (database, store) = single().await;
    let sql = PgPool::connect(&database.url).await.unwrap();
    let event = event();
    let told = "SELECT count(*) FROM audit_events WHERE reason = 'mail_sent'";
    let begun = "SELECT EXISTS (SELECT FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name LIKE 'backoffice-auth/%'
                    AND query IN ('BEGIN', 'ROLLBACK'))";
    for done in 1..=ROUNDS {
        store.record(&event).await.unwrap();
        // Polled once: as soon as the connection is back, that sends `BEGIN`, and only now and then
        // the answer is there already.
        until("it has begun", async || {
            drop(store.begin().now_or_never());
            let begun = sqlx::query_scalar(begun).fetch_one(&sql).await;
            begun.unwrap()
        })
        .await;
        store.record(&event).await.unwrap();
        let counted = sqlx::query_scalar(told);
        let counted: i64 = counted.fetch_one(&sql).await.unwrap();
        assert_eq!(counted, 2 * i64::try_from(done).unwrap());
    }
}

const OURS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'backoffice-auth%'";

/// Red where a connection whose use was cut short is closed and replaced: PostgreSQL's processes go on
/// waiting, and there are more and more of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_makes_no_more_connections_and_ends_with_the_same_ones() {
    let postgres = Stallable::start().await;
    let app = TestApp::on(&postgres.url, None, &[]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    // Those that the server holds, and two of the test's own.
    let bound = i64::from(app.config.database.max_connections) + 6 + 2;
    let store = app.store().await;
    let is_ready = async || app.probe("/health/ready").await == 200;
    until("it is ready", is_ready).await;
    postgres.stalls().await;
    // Not every process learns of the stall at once.
    until("commits wait", async || {
        drop(store.record(&event()).await);
        postgres.waiting().await > 0
    })
    .await;

    let mut callers = JoinSet::new();
    for number in 0..40 {
        let url = format!("http://{}/api/v2/signin", app.public_addr());
        let body = serde_json::json!({"email": format!("{number}@example.com"), "password": "x"});
        let request = reqwest::Client::new().post(url).json(&body);
        let request = request.header("x-forwarded-for", format!("198.51.100.{number}"));
        callers.spawn(async move {
            for _ in 0..4 {
                let answer = request.try_clone().unwrap().send().await.unwrap();
                assert_eq!(answer.status(), 503);
            }
        });
    }
    let mut most = 0;
    while !callers.is_empty() {
        most = most.max(number(&postgres.admin, OURS).await);
        // A check of a token notices nothing.
        let checked = app.request("GET", "/api/v2/session", &alice.network);
        let checked = app.send(checked.bearer_auth(&pair.access)).await;
        assert_eq!(checked.status, 200);
        if let Some(done) = callers.join_next().now_or_never() {
            done.unwrap().unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    until("it says that it is not ready", async || !is_ready().await).await;
    assert!(most <= bound, "{most} connections, and {bound} may be");
    assert!(postgres.waiting().await > 0, "the stall goes on");

    let stalled = "SELECT pid FROM pg_stat_activity
                    WHERE application_name LIKE 'backoffice-auth%' AND wait_event = 'SyncRep'";
    let stalled = sqlx::query_scalar(stalled).fetch_all(&postgres.admin).await;
    let stalled: Vec<i32> = stalled.unwrap();
    postgres.flows().await;
    alice.signin().await.pair();
    let left = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)";
    let left = sqlx::query_scalar(left).bind(&stalled);
    let left: i64 = left.fetch_one(&postgres.admin).await.unwrap();
    assert_eq!(left, i64::try_from(stalled.len()).unwrap(), "they serve on");
    drop(store);
    app.stop().await;
    postgres.stop();
}

/// Carries connections to PostgreSQL, and swallows all that is said on those that were there when
/// `is_swallowed` became true.
async fn network(url: &str) -> (Url, watch::Sender<bool>) {
    let mut url = Url::parse(url).unwrap();
    let target = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(door.local_addr().unwrap().port()))
        .unwrap();
    let is_swallowed = watch::Sender::new(false);
    let sees = is_swallowed.subscribe();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = door.accept().await.unwrap();
            let mut server = TcpStream::connect(&target).await.unwrap();
            let mut sees = sees.clone();
            sees.mark_unchanged();
            tokio::spawn(async move {
                let carried = copy_bidirectional(&mut client, &mut server);
                tokio::select! {
                    _ = carried => return,
                    _ = sees.changed() => {}
                }
                // Neither end learns of it, and PostgreSQL's further output reaches nobody.
                std::future::pending::<()>().await;
            });
        }
    });
    (url, is_swallowed)
}

/// Red where nobody looks for the process behind a connection: the place is taken for as long as the
/// system waits for the network. Red too where such a connection is replaced at once: there are two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_the_network_has_swallowed_is_found_out() {
    let database = Database::migrated().await;
    let (url, swallows) = network(&database.url).await;
    let mut config = settings(url.as_str(), &[]).database;
    config.max_connections = 1;
    let store = Store::connect(&config).await.unwrap();
    assert!(store.find_user(&alice()).await.unwrap().is_none());
    let sql = PgPool::connect(&database.url).await.unwrap();
    let of_requests = "SELECT count(*) FROM pg_stat_activity
                        WHERE datname = current_database() AND query LIKE '%FROM users%'
                          AND application_name LIKE 'backoffice-auth%'";
    assert_eq!(number(&sql, of_requests).await, 1);
    swallows.send_replace(true);
    let swallowed = store.find_user(&alice()).await;
    assert!(
        matches!(swallowed, Err(StoreError::TimedOut)),
        "{swallowed:?}"
    );
    until("the place is free", async || {
        let is_found = store.find_user(&alice()).await.is_ok();
        assert!(number(&sql, of_requests).await <= 1);
        is_found
    })
    .await;
}

/// Red where the refusal is the last word.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_fewer_connections_than_the_pool_makes_requests_wait() {
    let database = Database::migrated().await;
    let sql = PgPool::connect(&database.url).await.unwrap();
    let name = database.url.rsplit('/').next().unwrap();
    let role = format!("few_{name}");
    let made = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'few' CONNECTION LIMIT 3;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}"
    );
    let made = sqlx::raw_sql(sqlx::AssertSqlSafe(made)).execute(&sql).await;
    made.unwrap();
    let mut url = Url::parse(&database.url).unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some("few")).unwrap();
    let config = settings(url.as_str(), &[]);
    let store = Store::connect(&config.database).await.unwrap();
    let write = async |store: &Store| {
        let mut tx = store.begin().await?;
        tx.record(&event()).await?;
        tx.commit().await
    };
    let mut all = JoinSet::new();
    for _ in 0..12 {
        let store = store.clone();
        all.spawn(async move { write(&store).await });
    }
    for done in all.join_all().await {
        done.unwrap();
    }
    // The requests have them all; readiness gets one of them.
    assert_eq!(number(&sql, OURS_HERE).await, 3);
    store.backlog().await.unwrap();
    assert_eq!(number(&sql, OURS_HERE).await, 3);
    store.close();
}

const OURS_HERE: &str = "SELECT count(*) FROM pg_stat_activity
                          WHERE datname = current_database()
                            AND application_name LIKE 'backoffice-auth%'";

/// Red without `ISOLATION`: the default of the role or the database decides the races.
#[tokio::test]
async fn the_settings_that_decide_races_are_said_on_each_connection_or_in_each_transaction() {
    let database = Database::migrated().await;
    let sql = PgPool::connect(&database.url).await.unwrap();
    let change = "DO $$ BEGIN
        EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable',
                       current_database());
        EXECUTE format('ALTER DATABASE %I SET statement_timeout = 0', current_database());
        EXECUTE format('ALTER DATABASE %I SET lock_timeout = 0', current_database());
      END $$";
    sqlx::raw_sql(change).execute(&sql).await.unwrap();
    let mut config = settings(&database.url, &[]).database;
    for is_behind_pooler in [false, true] {
        config.transaction_pooling = is_behind_pooler;
        let store = Store::connect(&config).await.unwrap();
        for (name, value) in [
            ("transaction_isolation", "read committed"),
            ("statement_timeout", "1450ms"),
            ("lock_timeout", "1300ms"),
            ("idle_in_transaction_session_timeout", "3s"),
        ] {
            assert_eq!(
                store.setting(name).await.unwrap(),
                value,
                "{name} {is_behind_pooler}"
            );
        }
        store.close();
    }
}

/// Answers each client with an error, as a pooler does whose server has gone.
async fn pooler_that_says(fields: &'static [u8]) -> String {
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = door.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = door.accept().await.unwrap();
            let mut hello = [0; 1024];
            let _ = client.read(&mut hello).await.unwrap();
            let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
            let message = [b"E", &length[..], fields].concat();
            client.write_all(&message).await.unwrap();
        }
    });
    format!("postgres://a:b@127.0.0.1:{port}/c?sslmode=disable")
}

/// Red where only the SQLSTATE is looked at: an internal error is a defect.
#[tokio::test]
async fn an_error_that_ends_the_connection_is_unavailable_whatever_its_sqlstate() {
    for fields in [
        &b"SFATAL\0VFATAL\0CXX000\0Munable to read data\0\0"[..],
        b"SFATAL\0CXX000\0Munable to read data from DB node 0\0\0",
        b"SPANIC\0C42P01\0Mthe end\0\0",
    ] {
        let config = settings(&pooler_that_says(fields).await, &[]);
        let error = Store::connect(&config.database).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
    }
    let config = settings(&pooler_that_says(b"SERROR\0CXX000\0Mno\0\0").await, &[]);
    let error = Store::connect(&config.database).await.unwrap_err();
    assert!(matches!(error, StoreError::Defect(_)), "{error:?}");
}
