//! Connections to the database, lent out and given back.

use backoffice_auth::config::Config;
use backoffice_auth::domain::{
    AuditEvent, AuditKind, AuditReason, EmailAddress, Outcome, PasswordHash, TwoFactor,
};
use backoffice_auth::store::{NewUser, Store, StoreError};
use futures_util::FutureExt as _;
use sqlx::PgPool;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::support::{Database, ROUNDS, settings, until};

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
async fn what_a_dropped_transaction_did_is_undone_before_its_connection_is_lent_again() {
    let (_database, store) = single().await;
    for _ in 0..ROUNDS {
        let mut tx = store.begin().await.unwrap();
        let new = NewUser {
            user_id: None,
            email: alice(),
            password_hash: PasswordHash::new("$argon2id$x".to_owned()),
            two_factor: TwoFactor::Off,
            is_disabled: false,
        };
        assert_eq!(tx.insert_users(&[new]).await.unwrap().len(), 1);
        drop(tx);
        assert!(store.find_user(&alice()).await.unwrap().is_none());
    }
}

/// Red where nobody limits how long a connection is put in order.
#[tokio::test]
async fn a_connection_that_does_not_come_to_an_end_does_not_keep_its_place() {
    let (database, store) = single().await;
    let sql = PgPool::connect(&database.url).await.unwrap();
    let mut lock = sql.begin().await.unwrap();
    let statement = "LOCK TABLE users";
    sqlx::query(statement).execute(&mut *lock).await.unwrap();
    let stuck = store.find_user(&alice()).await;
    assert!(matches!(stuck, Err(StoreError::TimedOut)), "{stuck:?}");
    until("there is a place", async || {
        store.list_ended_sessions(None, 1).await.is_ok()
    })
    .await;
    lock.commit().await.unwrap();
}

/// Red where a transaction counts as begun from the answer on, as it does for sqlx: what follows a `BEGIN`
/// that its caller has left is answered, and never committed.
#[tokio::test]
async fn a_transaction_that_is_left_while_it_begins_swallows_nothing_that_comes_after_it() {
    let (database, store) = single().await;
    let sql = PgPool::connect(&database.url).await.unwrap();
    let event = AuditEvent::bare(AuditKind::Mail, Outcome::Granted, AuditReason::MailSent);
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
