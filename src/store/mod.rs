//! The database: one file per table, one statement per function, each checked against the schema
//! when it is compiled.
//!
//! What must happen together goes through a [`Tx`]; what is one statement goes through the
//! [`Store`]. Races are decided by a statement's `WHERE`, never by a read before it, and all
//! instants come from the database's own clock (`clock_timestamp()`, since `now()` stands still
//! while a statement waits for a lock).
//!
//! No statement waits longer than [`DEADLINE`] for the database, but for migrations.
//!
//! Who locks rows of several tables locks them in this order: `challenges`, `users`, `sessions`.

mod attempts;
mod audit;
mod challenges;
mod error;
mod known_networks;
mod outbox;
mod purge;
mod sessions;
mod signing_keys;
mod users;

use std::pin::{Pin, pin};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Postgres, Transaction};
use tokio::time::Instant;

use crate::config::DatabaseConfig;

pub use attempts::AttemptRecord;
pub use audit::AuditRecord;
pub use challenges::{ConsumedChallenge, NewChallenge, SpentAttempt};
pub use error::StoreError;
pub use outbox::{Due, DueMail, MailRecord};
pub use purge::Purged;
pub use sessions::{
    EndedSession, NewSession, Presented, SessionHistory, SessionLives, SessionRecord, SessionState,
};
pub use signing_keys::NewSigningKey;
pub use users::NewUser;

/// The migrations, embedded at compile time.
pub static MIGRATOR: Migrator = sqlx::migrate!();

/// How long one operation may wait for the database, a free connection included. Short enough that
/// a request that meets a dead database is answered within two seconds.
pub const DEADLINE: Duration = Duration::from_millis(1_500);

/// Prepared statements that a connection keeps: more than there are in this module.
const STATEMENTS: usize = 100;

/// A connection that was idle for longer is tried before it is used: it may have died meanwhile.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// Access to the database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: PgPool,
    is_behind_pooler: bool,
    suspect: Suspect,
}

/// A transaction. Dropping it undoes it.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Postgres>,
    suspect: Suspect,
}

type BoxFuture<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// What failures have told of the server.
#[derive(Debug, Clone, Default)]
struct Suspect {
    /// When it last turned out to be the wrong one (read-only, shutting down). Connections from
    /// before then are dropped instead of used, so that a failover heals without a restart.
    wrong: Moment,
    /// When it last left a statement without an answer.
    silent: Moment,
}

/// A moment that is shared and may not have come yet.
#[derive(Debug, Clone, Default)]
struct Moment(Arc<Mutex<Option<Instant>>>);

impl Moment {
    fn is_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn ago(&self) -> Option<Duration> {
        let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| at.elapsed())
    }
}

impl Suspect {
    /// Waits for a statement within the deadline, and notes what its failure says of the server.
    async fn watch<T>(
        &self,
        statement: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let mut statement = pin!(tokio::time::timeout(DEADLINE, statement));
        match statement.as_mut().await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let error = StoreError::from(error);
                if error.is_wrong_server() {
                    self.wrong.is_now();
                }
                Err(error)
            }
            Err(_) => {
                // Before the statement is dropped, which gives its connection back.
                self.silent.is_now();
                Err(StoreError::TimedOut)
            }
        }
    }

    /// Whether a connection was made before the server turned out to be the wrong one.
    fn is_outdated(&self, age: Duration) -> bool {
        self.wrong.ago().is_some_and(|ago| age > ago)
    }

    /// Whether the server left a statement without an answer of late.
    fn was_silent(&self) -> bool {
        self.silent.ago().is_some_and(|ago| ago < DEADLINE)
    }
}

impl Store {
    /// Opens the pool and one connection, to learn at once whether the database is there.
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(config.url.expose_secret())?
            .application_name("backoffice-auth")
            .statement_cache_capacity(if config.transaction_pooling {
                0
            } else {
                STATEMENTS
            })
            .log_statements(tracing::log::LevelFilter::Off)
            .log_slow_statements(tracing::log::LevelFilter::Warn, Duration::from_millis(500));
        let suspect = Suspect::default();
        let (acquiring, releasing) = (suspect.clone(), suspect.clone());
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(DEADLINE)
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                let is_outdated = acquiring.is_outdated(meta.age);
                Box::pin(async move {
                    if !is_outdated && meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(!is_outdated)
                })
            })
            // A connection whose statement was given up goes back through a ping that nobody
            // bounds: to a frozen server it would keep its place in the pool for ever.
            .after_release(move |connection, _| {
                let was_silent = releasing.was_silent();
                Box::pin(async move {
                    let ping = tokio::time::timeout(DEADLINE, connection.ping());
                    if was_silent {
                        ping.await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        let store = Self {
            pool,
            is_behind_pooler: config.transaction_pooling,
            suspect,
        };
        store.suspect.watch(store.pool.acquire()).await?;
        Ok(store)
    }

    /// Applies the migrations that are missing. Instances that start at once take turns. Those of
    /// a newer version are left alone: while that is rolled out, both run.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let migrator = Migrator {
            ignore_missing: true,
            ..sqlx::migrate!()
        };
        migrator.run(&self.pool).await.map_err(StoreError::from)
    }

    /// Whether the database can be written to and has every migration of this program.
    pub async fn is_ready(&self) -> Result<bool, StoreError> {
        let newest = MIGRATOR.iter().map(|migration| migration.version).max();
        let query = sqlx::query!(
            r#"
            SELECT current_setting('transaction_read_only') = 'off' AS "is_writable!",
                   (SELECT max(version) FROM _sqlx_migrations WHERE success) AS newest
            "#
        );
        let row = match self.run(|c| Box::pin(query.fetch_one(c))).await {
            // Before the first migration there is no table to ask.
            Err(StoreError::Defect(_)) => return Ok(false),
            row => row?,
        };
        if !row.is_writable {
            self.suspect.wrong.is_now();
        }
        Ok(row.is_writable && row.newest >= newest)
    }

    /// Runs one statement on a connection of the pool.
    ///
    /// Behind a pooler that gives each transaction another server connection, a statement is parsed
    /// and run in one transaction, since outside of one it could be parsed here and run there.
    async fn run<T>(
        &self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T>,
    ) -> Result<T, StoreError> {
        self.suspect
            .watch(async {
                if self.is_behind_pooler {
                    let mut tx = self.pool.begin().await?;
                    let value = statement(&mut tx).await?;
                    tx.commit().await?;
                    return Ok(value);
                }
                let mut connection = self.pool.acquire().await?;
                statement(&mut connection).await
            })
            .await
    }

    /// Begins a transaction.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let inner = self.suspect.watch(self.pool.begin()).await?;
        Ok(Tx {
            inner,
            suspect: self.suspect.clone(),
        })
    }

    /// Closes the pool: connections in use are waited for.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl Tx {
    /// Makes it so.
    pub async fn commit(self) -> Result<(), StoreError> {
        self.suspect.watch(self.inner.commit()).await
    }
}

/// Seconds, as `make_interval(secs => …)` takes them.
fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
