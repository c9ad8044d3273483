//! The database: one file per table, one statement per function, each checked against the schema
//! when it is compiled. A statement that writes several tables stands with the one that it is about.
//!
//! Changes that belong together go through a [`Tx`]; a single statement goes through the [`Store`]. Races
//! are decided by a statement's `WHERE`, never by a read before it, and all instants come from the
//! database's own clock (`clock_timestamp()`, since `now()` stands still while a statement waits for a
//! lock).
//!
//! Nobody waits longer than [`DEADLINE`] for a statement, but for migrations; and the statements of one
//! request share a [budget](on_a_budget). PostgreSQL itself is told to end a statement, or its wait for a
//! lock, a little earlier. A statement that must leave nothing behind when it is too late uses `late`, where
//! statements outlive their caller.
//!
//! A transaction that locks rows of several tables locks them in this order: `challenges` or `links`,
//! `users` (an administrator before the user on whom they act), `totp_factors`, `recovery_codes` or `passkeys`,
//! `sessions`, `known_networks`, `attempts`. The use of a
//! passkey is noted last: its session locks the owner, and nobody else locks the passkey without that.

mod administration;
mod answer;
mod attempts;
mod audit;
mod budget;
mod challenges;
mod columns;
mod ended_sessions;
mod error;
mod factors;
mod failover;
mod fitness;
mod inspection;
mod known_networks;
mod late;
mod links;
mod outages;
mod outbox;
mod passkeys;
mod pool;
mod purge;
mod reaper;
mod run;
mod sessions;
mod signing_keys;
mod users;

use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::Instant;

use crate::config::DatabaseConfig;
use crate::telemetry::metrics::{
    DATABASE_CONNECTIONS, DATABASE_CONNECTIONS_MAX, DATABASE_ERRORS, DATABASE_WAIT,
};

use answer::BoxFuture;
use failover::FailoverGuard;
use outages::Heartbeat;
use pool::{Bounds, ConnectionPool, PooledConnection, Server};
use reaper::Reaper;

pub use administration::{UserSearch, UserSummary};
pub use attempts::{AttemptRecord, Reserved};
pub use audit::AuditRecord;
pub use budget::{DEADLINE, on_a_budget};
pub use challenges::{ConsumedChallenge, NewChallenge, SpentAttempt};
pub use ended_sessions::{EndsByDate, ReadEnd, UnseenEnds};
pub use error::{StoreError, Unique};
pub use factors::{BegunTotp, EnrolledFactors, SealedTotp, SessionOwner};
pub use fitness::{Backlog, CLOCK_TOLERANCE, Fitness, TableSize};
pub use inspection::{EXTRA_CONNECTIONS, ServerState};
pub use known_networks::KnownNetwork;
pub use links::{ConsumedLink, FoundLink, InsertedLink, LinkLifetimes, NewLink};
pub use outages::HEARTBEAT_INTERVAL;
pub use outbox::{Due, DueMail, GivenUp, MailLease, MailRecord, MailSource, NewNotice};
pub use passkeys::{
    AddedPasskey, ChallengedPasskey, OwnedPasskey, PasskeyDescriptor, PasskeyRecord, PasskeyToAdd,
    PasskeyUse, StoredKey,
};
pub use purge::PurgedTable;
pub use sessions::{
    Advance, EndedSession, NewSession, SessionGeneration, SessionHistory, SessionLifetimes,
    SessionRecord, SessionState,
};
pub use signing_keys::NewSigningKey;
pub use users::{Account, HashKindCount, NewUser};

/// The migrations, embedded at compile time.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// The name of our connections in `pg_stat_activity`. The release before the first one with a version in it
/// is told by that: see [`Store::is_older_release_connected`].
const APPLICATION_NAME: &str = concat!("backoffice-auth/", env!("CARGO_PKG_VERSION"));

/// How long a database that refuses connections may be starting when the server does.
const STARTING: Duration = Duration::from_secs(1);

/// Connections besides the pool: one for readiness, one for metrics.
const PROBES: u32 = 2;

/// Connections for the workers that follow the ended sessions and the signing keys, so that a check of a token
/// works for as long as the database can be read.
const READERS: u32 = 2;

/// Connections for statements without a deadline: migrations at the start, and then the heartbeat.
const UNBOUNDED: u32 = 1;

/// Prepared statements that a connection keeps: more than there are in this module.
const STATEMENTS: usize = 100;

/// Access to the database; cheap to clone.
///
/// It holds at most [`DatabaseConfig::max_connections`] connections for the requests, and six
/// besides, which do not wait behind requests: two for readiness and metrics, two for the followers of
/// ended sessions and keys, one for the heartbeat (and, at the start, for migrations), and one for looking
/// after connections that do not answer.
#[derive(Debug, Clone)]
pub struct Store {
    pool: ConnectionPool,
    /// For readiness and metrics. A pool that is used up does not mean that the database is away, and
    /// taking instances out of service for it would leave fewer for the same load.
    probes: ConnectionPool,
    readers: ConnectionPool,
    unbounded: ConnectionPool,
    guard: FailoverGuard,
    heartbeat: Heartbeat,
}

/// A transaction. Dropping it rolls it back.
#[derive(Debug)]
pub struct Tx {
    inner: PooledConnection,
    guard: FailoverGuard,
    heartbeat: Heartbeat,
}

impl Store {
    /// Opens the pool and one connection, to learn at once whether the database is there. One that is
    /// just starting, as both do when a machine does, is waited for a moment.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(config.url.expose_secret())?
            .application_name(APPLICATION_NAME)
            .statement_cache_capacity(if config.transaction_pooling {
                0
            } else {
                STATEMENTS
            })
            .log_statements(tracing::log::LevelFilter::Debug)
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_millis(500));
        for kind in StoreError::KINDS {
            DATABASE_ERRORS.add(0, [kind.into()]);
        }
        let server = Server {
            reaper: Reaper::new(options.clone()),
            options,
            is_behind_pooler: config.transaction_pooling,
            guard: FailoverGuard::default(),
        };
        let pool = ConnectionPool::new(&server, config.max_connections, Bounds::REQUEST, None);
        let besides = |max, bounds| ConnectionPool::new(&server, max, bounds, Some(&pool));
        let store = Self {
            probes: besides(PROBES, Bounds::REQUEST),
            readers: besides(READERS, Bounds::REQUEST),
            unbounded: besides(UNBOUNDED, Bounds::NONE),
            pool,
            heartbeat: Heartbeat::default(),
            guard: server.guard,
        };
        let began = Instant::now();
        loop {
            match store.guard.watch(store.pool.acquire()).await {
                Ok(connection) => {
                    connection.release();
                    return Ok(store);
                }
                Err(error) if error.may_be_starting() && began.elapsed() < STARTING => {
                    tokio::time::sleep(STARTING / 20).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies the migrations that are missing. Instances that start at once take turns. Those of
    /// a newer version are left alone: while that is rolled out, both run.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let migrator = Migrator {
            ignore_missing: true,
            ..sqlx::migrate!()
        };
        let mut connection = self.guard.watch(self.unbounded.acquire()).await?;
        migrator.run(&mut *connection).await?;
        connection.close();
        Ok(())
    }

    /// Runs one statement that may take, and wait for a lock, as long as it takes, on a connection for
    /// such. It fails when its answer is known not to come.
    pub async fn run_without_deadline<T>(
        &self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T>,
    ) -> Result<T, StoreError> {
        let lent = acquire(&self.unbounded, false);
        let mut connection = self.guard.watch(lent).await?;
        let done = async {
            let value = connection.without_deadline(statement).await?;
            if connection.is_in_transaction() {
                connection.commit_without_deadline().await?;
            }
            Ok(value)
        };
        let done: Result<T, sqlx::Error> = done.await;
        let value = done.map_err(|error| self.guard.note(error.into()))?;
        connection.release();
        Ok(value)
    }

    /// Begins a transaction on a connection of the pool; waits for one if all are in use.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx {
            inner: self.guard.watch(acquire(&self.pool, true)).await?,
            guard: self.guard.clone(),
            heartbeat: self.heartbeat.clone(),
        })
    }

    /// Records how the pool is used. Asks the database nothing.
    pub fn record_metrics(&self) {
        let usage = self.pool.usage();
        DATABASE_CONNECTIONS.count(usage.idle, ["idle".into()]);
        DATABASE_CONNECTIONS.count(usage.used, ["used".into()]);
        DATABASE_CONNECTIONS.count(usage.abandoned, ["abandoned".into()]);
        DATABASE_CONNECTIONS_MAX.count(usage.max, []);
        self.heartbeat.record_metrics();
    }

    /// Closes the connections: those in use when they come back.
    pub fn close(&self) {
        for pool in [&self.pool, &self.probes, &self.readers, &self.unbounded] {
            pool.close();
        }
    }
}

impl Tx {
    /// Commits the transaction. After an error it may have been committed all the same.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.guard.watch(self.inner.commit()).await?;
        self.inner.release();
        Ok(())
    }

    /// Rolls it back. Its locks are free afterwards; those of a transaction that is dropped are free soon.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        self.guard.watch(self.inner.rollback()).await?;
        self.inner.release();
        Ok(())
    }
}

/// Acquires a connection, in a transaction where the caller asks for one or a pooler makes it necessary, and
/// records how long that took, whether it succeeded or not.
async fn acquire(
    pool: &ConnectionPool,
    in_transaction: bool,
) -> Result<PooledConnection, sqlx::Error> {
    let since = Instant::now();
    let borrowed = pool.acquire().await;
    DATABASE_WAIT.observe(since.elapsed(), []);
    let mut connection = borrowed?;
    if in_transaction || connection.is_behind_pooler() {
        connection.begin().await?;
    }
    Ok(connection)
}

/// Seconds, as `make_interval(secs => …)` takes them.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
