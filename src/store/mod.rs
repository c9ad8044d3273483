//! The database: one file per table, one statement per function, each checked against the schema
//! when it is compiled. A statement that writes several tables stands with the one that it is about.
//!
//! What must happen together goes through a [`Tx`]; what is one statement goes through the
//! [`Store`]. Races are decided by a statement's `WHERE`, never by a read before it, and all
//! instants come from the database's own clock (`clock_timestamp()`, since `now()` stands still
//! while a statement waits for a lock).
//!
//! No statement waits longer than [`DEADLINE`] for the database, but for migrations; and those of one
//! request share a [budget](on_a_budget).
//!
//! Who locks rows of several tables locks them in this order: `challenges`, `users`, `sessions`,
//! `known_networks`, `attempts`.

mod attempts;
mod audit;
mod budget;
mod challenges;
mod connections;
mod error;
mod fitness;
mod known_networks;
mod outbox;
mod purge;
mod sessions;
mod signing_keys;
mod suspect;
mod users;

use std::pin::Pin;
use std::str::FromStr;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::time::Instant;

use crate::config::DatabaseConfig;
use crate::telemetry::metrics::{
    DATABASE_CONNECTIONS, DATABASE_CONNECTIONS_MAX, DATABASE_ERRORS, DATABASE_WAIT,
};

use connections::{Connections, Loan};
use suspect::Suspect;

pub use attempts::{AttemptRecord, ReservedSignin};
pub use audit::AuditRecord;
pub use budget::on_a_budget;
pub use challenges::{ConsumedChallenge, NewChallenge, SpentAttempt};
pub use error::StoreError;
pub use fitness::{Backlog, Fitness, TableSize};
pub use outbox::{Due, DueMail, GivenUp, MailRecord};
pub use purge::Purged;
pub use sessions::{
    EndedReading, EndedSession, NewSession, Presented, SessionHistory, SessionLives, SessionRecord,
    SessionState,
};
pub use signing_keys::NewSigningKey;
pub use users::NewUser;

/// The migrations, embedded at compile time.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long one operation may wait for the database, a free connection included. Short enough that
/// a request that meets a dead database is answered within two seconds.
pub const DEADLINE: Duration = Duration::from_millis(1_500);

/// How long a database that refuses connections may be starting when the server does.
const STARTING: Duration = Duration::from_secs(1);

/// Connections besides the pool: one for readiness, one for metrics.
const ASIDE: u32 = 2;

/// What PostgreSQL is told of our connections, lest it waits for those that the network has swallowed for
/// as long as the system takes to find out: two hours. A transaction without a word for this many
/// milliseconds is ended, which frees its locks; a peer that does not answer for 20 s is gone, which frees
/// its place among the connections.
const SWALLOWED: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "3000"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
    ("tcp_user_timeout", "20000"),
];

/// Prepared statements that a connection keeps: more than there are in this module.
const STATEMENTS: usize = 100;

/// Access to the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: Connections,
    /// For readiness and metrics. They do not wait behind requests: a pool that is used up does not
    /// mean that the database is away, and taking instances out of service for it would leave fewer
    /// for the same load.
    aside: Connections,
    is_behind_pooler: bool,
    suspect: Suspect,
}

/// A transaction. Dropping it undoes it.
#[derive(Debug)]
pub struct Tx {
    inner: Loan,
    suspect: Suspect,
}

type BoxFuture<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

impl Store {
    /// Opens the pool and one connection, to learn at once whether the database is there. One that is
    /// just starting, as both do when a machine does, is waited for a moment.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(config.url.expose_secret())?
            .application_name("backoffice-auth")
            .statement_cache_capacity(if config.transaction_pooling {
                0
            } else {
                STATEMENTS
            })
            .log_statements(tracing::log::LevelFilter::Debug)
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_millis(500));
        let options = if config.transaction_pooling {
            // A pooler passes no settings on, and has time-outs of its own for this.
            options
        } else {
            options.options(SWALLOWED)
        };
        for kind in StoreError::KINDS {
            DATABASE_ERRORS.add(0, [kind.into()]);
        }
        let suspect = Suspect::default();
        let store = Self {
            pool: Connections::new(options.clone(), config.max_connections, &suspect),
            aside: Connections::new(options, ASIDE, &suspect),
            is_behind_pooler: config.transaction_pooling,
            suspect,
        };
        let began = Instant::now();
        loop {
            match store.suspect.watch(store.pool.borrow()).await {
                Ok(connection) => {
                    connection.give_back();
                    return Ok(store);
                }
                Err(error) if error.is_unavailable() && began.elapsed() < STARTING => {
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
        let mut connection = self.suspect.watch(self.pool.borrow()).await?;
        migrator.run(&mut *connection).await?;
        connection.give_back();
        Ok(())
    }

    /// Runs one statement on a connection of the pool.
    ///
    /// Behind a pooler that gives each transaction another server connection, a statement is parsed
    /// and run in one transaction, since outside of one it could be parsed here and run there.
    fn run<T>(
        &self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        self.run_on(&self.pool, statement)
    }

    /// The same for readiness and metrics, which have connections of their own.
    fn run_aside<T>(
        &self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        self.run_on(&self.aside, statement)
    }

    async fn run_on<T>(
        &self,
        pool: &Connections,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T>,
    ) -> Result<T, StoreError> {
        self.suspect
            .watch(async {
                let mut connection = lend(pool, self.is_behind_pooler).await?;
                let value = statement(&mut connection).await?;
                if self.is_behind_pooler {
                    connection.commit().await?;
                }
                connection.give_back();
                Ok(value)
            })
            .await
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(Tx {
            inner: self.suspect.watch(lend(&self.pool, true)).await?,
            suspect: self.suspect.clone(),
        })
    }

    /// Says how the pool is used, for a scrape. Asks nobody.
    pub fn measure(&self) {
        let usage = self.pool.usage();
        DATABASE_CONNECTIONS.count(usage.idle, ["idle".into()]);
        DATABASE_CONNECTIONS.count(usage.used, ["used".into()]);
        DATABASE_CONNECTIONS_MAX.count(usage.max, []);
    }

    /// Closes the connections: those in use when they come back.
    pub fn close(&self) {
        self.pool.close();
        self.aside.close();
    }
}

impl Tx {
    /// Makes it so.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.suspect.watch(self.inner.commit()).await?;
        self.inner.give_back();
        Ok(())
    }

    /// Undoes it. Its locks are free afterwards, while those of one that is dropped are free soon.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        self.suspect.watch(self.inner.rollback()).await?;
        self.inner.give_back();
        Ok(())
    }
}

/// Borrows a connection, in a transaction or not, and notes for how long it was waited for, whether it
/// came or not.
async fn lend(pool: &Connections, in_transaction: bool) -> Result<Loan, sqlx::Error> {
    let since = Instant::now();
    let borrowed = pool.borrow().await;
    DATABASE_WAIT.observe(since.elapsed(), []);
    let mut connection = borrowed?;
    if in_transaction {
        connection.begin().await?;
    }
    Ok(connection)
}

/// Seconds, as `make_interval(secs => …)` takes them.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
