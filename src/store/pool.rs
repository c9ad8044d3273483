//! The connections to the database, lent one by one, each in a place of its pool.
//!
//! A place is free again when PostgreSQL's process behind the connection has answered, or is known to be
//! gone; not when somebody has lost patience with it. A process that waits for a standby or for a disk
//! goes on waiting when its client hangs up, so that a new connection in its place would be one more, and
//! a stall would use up all that PostgreSQL has.
//!
//! Ready-made pools do neither: they close a connection that was cut short and open another one, and
//! they test a connection after each statement, which every statement would pay for.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::answer::BoxFuture;
use super::budget::DEADLINE;
use super::error::{ends_the_connection, is_too_many_connections};
use super::failover::FailoverGuard;
use super::reaper::{Backend, Reaper};

/// How long one operation may wait for a place: less than for the database, so that a pool that is used
/// up is told from a server that is silent.
const PATIENCE: Duration = Duration::from_millis(1_400);

/// How long a connection may take to be made, even if its caller has left by then.
const CONNECTING: Duration = Duration::from_secs(3);

/// Connections that a pool makes at a time. Where making them is slow, the first are soon there, instead
/// of all of them late.
const AT_A_TIME: usize = 4;

/// A connection that was idle for longer is tried before it is used: it may have died meanwhile.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A connection that is older is replaced: PostgreSQL's process behind it only ever grows.
const MAX_AGE: Duration = Duration::from_mins(30);

/// How long a place stays empty for which PostgreSQL had no connection left. Callers wait for one of the
/// other places.
const REST: Duration = Duration::from_secs(1);

/// The settings of our connections in PostgreSQL, so that it does not wait for those that the network has
/// swallowed for as long as the system takes to find out: two hours. A transaction without a word for this many
/// milliseconds is ended, which frees its locks; a peer that does not answer for 20 s is gone, which frees
/// its place among the connections.
const SWALLOWED: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "3000"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "2"),
    ("tcp_user_timeout", "20000"),
];

/// The isolation level that the races are decided under, also where the role or the database has another
/// default.
const ISOLATION: (&str, &str) = ("default_transaction_isolation", "read committed");

/// A statement is planned once for a connection. Each of ours has one good plan, whatever its values, and planning
/// some of them takes longer than running them; PostgreSQL would guess so of some and not of others.
const PLANS: (&str, &str) = ("plan_cache_mode", "force_generic_plan");

/// A setting that means nothing to PostgreSQL. A connection that has it is one to PostgreSQL itself: a
/// pooler between keeps what a client says at its start to itself.
const MARK: (&str, &str) = ("backoffice_auth.is_direct", "yes");

/// How long PostgreSQL works on a statement, and how long the statement waits for a lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    statement: Duration,
    lock: Duration,
}

impl Bounds {
    /// A little less than the [`DEADLINE`]: its end is then an answer, and the connection is as good as
    /// before.
    pub(super) const REQUEST: Self = Self {
        statement: Duration::from_millis(1_450),
        lock: Duration::from_millis(1_300),
    };

    /// No bounds: for statements that take as long as they take.
    pub(super) const NONE: Self = Self {
        statement: Duration::ZERO,
        lock: Duration::ZERO,
    };

    fn settings(self) -> [(&'static str, u128); 2] {
        [
            ("statement_timeout", self.statement.as_millis()),
            ("lock_timeout", self.lock.as_millis()),
        ]
    }
}

/// A bounded number of connections, made when they are needed; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ConnectionPool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: PgConnectOptions,
    /// Whether it may turn out that there is no pooler between.
    may_be_direct: bool,
    /// Begins a transaction where each may get another connection of PostgreSQL, with settings that are
    /// the transaction's own.
    begin_behind_pooler: String,
    max: usize,
    places: Arc<Semaphore>,
    /// For those who make a connection.
    turns: Semaphore,
    idle: Mutex<Vec<IdleConnection>>,
    /// Places whose connection was left in the middle of something.
    abandoned: AtomicUsize,
    /// One connection fewer is to be kept: another pool of ours found none left.
    is_one_wanted: AtomicBool,
    /// The pool that gives one up if this one finds none left.
    donor: Option<ConnectionPool>,
    guard: FailoverGuard,
    reaper: Reaper,
}

/// A connection, with what the pool knows of it.
#[derive(Debug)]
struct OpenConnection {
    connection: PgConnection,
    /// PostgreSQL's process behind it, where that is one and the same for its whole life.
    backend: Option<Backend>,
    made_at: Instant,
}

#[derive(Debug)]
struct IdleConnection {
    held: OpenConnection,
    since: Instant,
}

/// How many connections there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) idle: usize,
    pub(super) used: usize,
    pub(super) abandoned: usize,
    pub(super) max: usize,
}

/// Where connections lead, and how one knows what became of them.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Without any settings for the connection.
    pub(super) options: PgConnectOptions,
    pub(super) is_behind_pooler: bool,
    pub(super) guard: FailoverGuard,
    pub(super) reaper: Reaper,
}

impl ConnectionPool {
    pub(super) fn new(
        server: &Server,
        max: u32,
        bounds: Bounds,
        donor: Option<&ConnectionPool>,
    ) -> Self {
        let options = server.options.clone();
        let options = if server.is_behind_pooler {
            // It would refuse them.
            options
        } else {
            options
                .options(SWALLOWED)
                .options([ISOLATION, PLANS, MARK])
                .options(bounds.settings())
        };
        Self(Arc::new(Shared {
            options,
            may_be_direct: !server.is_behind_pooler,
            begin_behind_pooler: begin_behind_pooler(bounds),
            max: max as usize,
            places: Arc::new(Semaphore::new(max as usize)),
            turns: Semaphore::new(AT_A_TIME),
            idle: Mutex::default(),
            abandoned: AtomicUsize::new(0),
            is_one_wanted: AtomicBool::new(false),
            donor: donor.cloned(),
            guard: server.guard.clone(),
            reaper: server.reaper.clone(),
        }))
    }

    /// Acquires a connection that is fit to be used, once there is a place for it.
    ///
    /// Where PostgreSQL has no more for us, for example because the role is limited to fewer than the pool,
    /// this waits for one to come back.
    pub(super) async fn acquire(&self) -> Result<PooledConnection, sqlx::Error> {
        let until = Instant::now() + PATIENCE;
        let mut refusal = None;
        loop {
            let place = Arc::clone(&self.0.places).acquire_owned();
            let Ok(place) = timeout_at(until, place).await else {
                return Err(refusal.unwrap_or(sqlx::Error::PoolTimedOut));
            };
            let loan = PooledConnection {
                held: None,
                place: Some(place.map_err(|_| sqlx::Error::PoolClosed)?),
                pool: self.clone(),
                is_in_transaction: false,
            };
            match loan.fill().await {
                Err(error) if is_too_many_connections(&error) => refusal = Some(error),
                filled => return filled,
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let abandoned = self.0.abandoned.load(Ordering::Relaxed);
        let taken = self.0.max - self.0.places.available_permits().min(self.0.max);
        Usage {
            idle: self.idle().len(),
            used: taken.saturating_sub(abandoned),
            abandoned,
            max: self.0.max,
        }
    }

    /// Closes what is idle now, and the rest when it comes back.
    pub(super) fn close(&self) {
        self.0.places.close();
        self.idle().clear();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<IdleConnection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a connection for the next caller.
    fn keep(&self, held: OpenConnection) {
        let mut idle = self.idle();
        if !self.0.places.is_closed() && !self.0.is_one_wanted.swap(false, Ordering::Relaxed) {
            idle.push(IdleConnection {
                held,
                since: Instant::now(),
            });
        }
    }

    /// Gives one connection up: an idle one, or the next that comes back.
    fn spare_one(&self) {
        let is_spared = self.idle().pop().is_some();
        self.0.is_one_wanted.store(!is_spared, Ordering::Relaxed);
    }

    async fn connect(&self) -> Result<OpenConnection, sqlx::Error> {
        let mut connection = self.0.options.connect().await?;
        let backend = if self.0.may_be_direct {
            Backend::behind(&mut connection, MARK).await?
        } else {
            None
        };
        Ok(OpenConnection {
            connection,
            backend,
            made_at: Instant::now(),
        })
    }

    fn is_outdated(&self, held: &OpenConnection) -> bool {
        let age = held.made_at.elapsed();
        age > MAX_AGE || self.0.guard.is_outdated(age)
    }
}

fn begin_behind_pooler(bounds: Bounds) -> String {
    let [(statement, statement_ms), (lock, lock_ms)] = bounds.settings();
    let [(idle, idle_ms), ..] = SWALLOWED;
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL {statement} = {statement_ms};
         SET LOCAL {lock} = {lock_ms}; SET LOCAL {idle} = {idle_ms}"
    )
}

/// An acquired connection. [`release`](PooledConnection::release) returns it to the pool; one that is
/// dropped was left in the middle of something, which comes to its end, and is undone if it can be,
/// before anybody else gets it.
pub(super) struct PooledConnection {
    held: Option<OpenConnection>,
    place: Option<OwnedSemaphorePermit>,
    pool: ConnectionPool,
    is_in_transaction: bool,
}

const NOT_RELEASED: &str = "it is taken when it goes back";

impl fmt::Debug for PooledConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PooledConnection").field(&self.held).finish()
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.held.as_ref().expect(NOT_RELEASED).connection
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.held.as_mut().expect(NOT_RELEASED).connection
    }
}

impl PooledConnection {
    /// Takes a connection that is idle, or makes one.
    async fn fill(mut self) -> Result<Self, sqlx::Error> {
        if self.take_idle().await {
            return Ok(self);
        }
        let (sender, made) = oneshot::channel();
        tokio::spawn(async move {
            if let Err(Ok(loan)) = sender.send(self.make().await) {
                loan.release();
            }
        });
        made.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    /// Takes a connection that is idle and well, if there is one.
    async fn take_idle(&mut self) -> bool {
        loop {
            // The one that was used last, with what its process has in its caches.
            let idle = self.pool.idle().pop();
            let Some(IdleConnection { held, since }) = idle else {
                return false;
            };
            if self.pool.is_outdated(&held) {
                continue;
            }
            self.held = Some(held);
            if since.elapsed() < TRUSTED_IDLE || self.ping().await.is_ok() {
                return true;
            }
            self.held = None;
        }
    }

    /// Makes a connection. If the caller that wanted it has left by then, the next one gets it: where many are
    /// made at once and PostgreSQL is slow to, all would be given up shortly before they are made, and
    /// begun again.
    async fn make(mut self) -> Result<Self, sqlx::Error> {
        let pool = self.pool.clone();
        let turn = pool.0.turns.acquire().await;
        // One may have come back while this waited for its turn.
        if self.take_idle().await {
            return Ok(self);
        }
        let made = timeout(CONNECTING, pool.connect()).await;
        drop(turn);
        let silent = || Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into()));
        match made.unwrap_or_else(|_| silent()) {
            Ok(held) => {
                self.held = Some(held);
                Ok(self)
            }
            Err(error) => {
                if is_too_many_connections(&error) {
                    self.rest();
                }
                Err(error)
            }
        }
    }

    /// Leaves the place empty for a while, and has another pool give a connection up.
    fn rest(mut self) {
        if let Some(donor) = &self.pool.0.donor {
            donor.spare_one();
        }
        if let Some(place) = self.place.take() {
            tokio::spawn(async move {
                sleep(REST).await;
                drop(place);
            });
        }
    }

    /// Whether each transaction may be on another connection of PostgreSQL, so that nothing that one
    /// statement leaves behind is there for the next.
    pub(super) fn is_behind_pooler(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.backend.is_none())
    }

    /// Whether a transaction was begun and not ended.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.is_in_transaction
    }

    /// Begins a transaction; behind a pooler, with the settings that a connection has otherwise.
    pub(super) async fn begin(&mut self) -> Result<(), sqlx::Error> {
        // First, since it may be cut short after PostgreSQL has heard of it.
        self.is_in_transaction = true;
        if self.is_behind_pooler() {
            let text = AssertSqlSafe(self.pool.0.begin_behind_pooler.clone());
            sqlx::raw_sql(text).execute(&mut **self).await?;
        } else {
            (**self).execute("BEGIN").await?;
        }
        Ok(())
    }

    /// Commits the transaction, within the deadline of a statement.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        (**self).execute("COMMIT").await?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Commits the transaction without a deadline, for as long as its answer may come.
    pub(super) async fn commit_without_deadline(&mut self) -> Result<(), sqlx::Error> {
        self.without_deadline(|c| Box::pin(async move { c.execute("COMMIT").await.map(drop) }))
            .await?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Rolls the transaction back.
    pub(super) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        (**self).execute("ROLLBACK").await?;
        self.is_in_transaction = false;
        Ok(())
    }

    /// Runs a statement without a deadline, until it is answered or is known to remain without an
    /// answer.
    pub(super) async fn without_deadline<T>(
        &mut self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T>,
    ) -> Result<T, sqlx::Error> {
        let backend = self.held.as_ref().and_then(|held| held.backend);
        let gone = self.pool.0.reaper.clone().gone(backend);
        let answer = tokio::select! {
            biased;
            answer = statement(&mut *self) => Some(answer),
            () = gone => None,
        };
        answer.unwrap_or_else(|| {
            self.held = None;
            let reset = io::Error::from(io::ErrorKind::ConnectionReset);
            Err(sqlx::Error::Io(reset))
        })
    }

    /// Returns it to the pool: everything that was asked of it has been answered.
    pub(super) fn release(mut self) {
        if !self.is_in_transaction
            && let Some(held) = self.held.take()
        {
            // Before its place is free, or the next holder of the place finds nothing in it.
            self.pool.keep(held);
        }
    }

    /// Closes it: it is as nobody else should get it.
    pub(super) fn close(mut self) {
        self.held = None;
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let (Some(held), Some(place)) = (self.held.take(), self.place.take()) else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            let pool = self.pool.clone();
            pool.0.abandoned.fetch_add(1, Ordering::Relaxed);
            let is_in_transaction = self.is_in_transaction;
            runtime.spawn(async move {
                if let Some(held) = settle(held, is_in_transaction, &pool.0.reaper).await {
                    pool.keep(held);
                }
                pool.0.abandoned.fetch_sub(1, Ordering::Relaxed);
                drop(place);
            });
        }
    }
}

/// Lets a connection finish the work that it was in the middle of. `None` if it is of no more use.
async fn settle(
    mut held: OpenConnection,
    is_in_transaction: bool,
    reaper: &Reaper,
) -> Option<OpenConnection> {
    let gone = reaper.clone().gone(held.backend);
    let is_well = tokio::select! {
        biased;
        end = come_to_an_end(&mut held.connection, is_in_transaction) => end.is_ok(),
        () = gone => false,
    };
    is_well.then_some(held)
}

/// Waits for the answer to what was asked last, and undoes the transaction.
async fn come_to_an_end(
    connection: &mut PgConnection,
    is_in_transaction: bool,
) -> Result<(), sqlx::Error> {
    loop {
        match connection.ping().await {
            Ok(()) => break,
            // That was the answer.
            Err(error @ sqlx::Error::Database(_)) if !ends_the_connection(&error) => {}
            Err(error) => return Err(error),
        }
    }
    if is_in_transaction {
        connection.execute("ROLLBACK").await?;
    }
    Ok(())
}

// A request's own deadline comes after PostgreSQL's, and a place is waited for less long than that.
const _: () = assert!(
    Bounds::REQUEST.lock.as_millis() < Bounds::REQUEST.statement.as_millis()
        && Bounds::REQUEST.statement.as_millis() < DEADLINE.as_millis()
        && PATIENCE.as_millis() < DEADLINE.as_millis()
);
