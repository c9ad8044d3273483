//! The connections to the database, lent one by one.
//!
//! What sqlx's own pool does not: a connection that did its work comes back at once, without a task of
//! its own and a round trip to see whether it is well, which every statement would pay for.
//! One whose work was cut short is put in order first, and nobody waits for that for ever.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolConfig, PoolError, QueueMode, RecycleError, RecycleResult,
    Timeouts,
};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::DEADLINE;
use super::suspect::Suspect;

/// How long one operation may wait for a free connection: less than for the database, so that a
/// pool that is used up is told from a server that is silent.
const PATIENCE: Duration = Duration::from_millis(1_400);

/// A connection that was idle for longer is tried before it is used: it may have died meanwhile.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A connection that is older is replaced: PostgreSQL's process behind it only ever grows.
const MAX_AGE: Duration = Duration::from_mins(30);

/// A bounded number of connections, made when they are needed; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections(Pool<Connector>);

/// How many connections there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) idle: usize,
    pub(super) used: usize,
    pub(super) max: usize,
}

impl Connections {
    pub(super) fn new(options: PgConnectOptions, max: u32, suspect: &Suspect) -> Self {
        let connector = Connector {
            options,
            suspect: suspect.clone(),
        };
        let config = PoolConfig {
            max_size: max as usize,
            timeouts: Timeouts {
                wait: Some(PATIENCE),
                ..Timeouts::new()
            },
            // The one that was used last, with what its process has in its caches.
            queue_mode: QueueMode::Lifo,
        };
        let pool = Pool::builder(connector)
            .config(config)
            .runtime(Runtime::Tokio1);
        Self(pool.build().expect("a runtime is named for the time limit"))
    }

    /// Lends a connection, for which there is a place and which is fit to be used.
    pub(super) async fn borrow(&self) -> Result<Loan, sqlx::Error> {
        let connection = self.0.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Closed => sqlx::Error::PoolClosed,
            PoolError::Timeout(_)
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => sqlx::Error::PoolTimedOut,
        })?;
        Ok(Loan {
            connection: Some(connection),
            is_in_transaction: false,
        })
    }

    pub(super) fn usage(&self) -> Usage {
        let status = self.0.status();
        Usage {
            idle: status.available,
            used: status.size.saturating_sub(status.available),
            max: status.max_size,
        }
    }

    /// Closes what is idle now, and the rest when it comes back.
    pub(super) fn close(&self) {
        self.0.close();
    }
}

/// Makes connections, and tells which are not to be used again.
#[derive(Debug)]
struct Connector {
    options: PgConnectOptions,
    suspect: Suspect,
}

impl Manager for Connector {
    type Type = PgConnection;
    type Error = sqlx::Error;

    async fn create(&self) -> Result<PgConnection, sqlx::Error> {
        // In a box: every statement's future has room for this one.
        Box::pin(self.options.connect()).await
    }

    async fn recycle(
        &self,
        connection: &mut PgConnection,
        metrics: &Metrics,
    ) -> RecycleResult<sqlx::Error> {
        let age = metrics.age();
        if age > MAX_AGE || self.suspect.is_outdated(age) {
            return Err(RecycleError::message("it is too old"));
        }
        if metrics.last_used() > TRUSTED_IDLE {
            connection.ping().await?;
        }
        Ok(())
    }
}

/// A connection on loan. Whoever is done says so with [`give_back`](Loan::give_back); one that is
/// dropped was left in the middle of something, which is undone before anybody else gets it.
#[derive(Debug)]
pub(super) struct Loan {
    connection: Option<Object<Connector>>,
    is_in_transaction: bool,
}

const ON_LOAN: &str = "it is taken when it goes back";

impl Deref for Loan {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect(ON_LOAN)
    }
}

impl DerefMut for Loan {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect(ON_LOAN)
    }
}

impl Loan {
    /// Begins a transaction.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        // First, since it may be cut short after PostgreSQL has heard of it.
        self.is_in_transaction = true;
        (**self).execute("BEGIN").await?;
        Ok(())
    }

    /// Makes the transaction so.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        (**self).execute("COMMIT").await?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Undoes the transaction.
    pub(super) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        (**self).execute("ROLLBACK").await?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Gives it back to whoever is next: everything that was asked of it has been answered.
    pub(super) fn give_back(mut self) {
        if !self.is_in_transaction {
            drop(self.connection.take());
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(restore(connection, self.is_in_transaction))),
            Err(_) => drop(Object::take(connection)),
        }
    }
}

/// Lets a connection end what it was in the middle of, and drops it if it cannot: to a frozen server
/// it would keep its place for ever.
async fn restore(mut connection: Object<Connector>, is_in_transaction: bool) {
    let ends = async {
        if is_in_transaction {
            connection.execute("ROLLBACK").await?;
        }
        connection.ping().await
    };
    if !matches!(timeout(DEADLINE, ends).await, Ok(Ok(()))) {
        drop(Object::take(connection));
    }
}
