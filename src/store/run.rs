//! Running statements: the same calls for a [`Store`], which gives each statement a connection of its own,
//! and for a [`Tx`], which runs all of them on one.
//!
//! A statement's name is its place in the source, `src/store/users.rs:71`. With the log's filter at
//! `backoffice_auth::store=debug`, each statement is an event of its request, in the log and in a trace,
//! with that name and the time that it took.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Map, Query, QueryScalar};
use sqlx::{FromRow, PgConnection, Postgres};

use super::answer::{Answer, BoxFuture};
use super::pool::ConnectionPool;
use super::{Store, Tx};

/// A checked statement without rows.
pub(super) type Command = Query<'static, Postgres, PgArguments>;

/// A checked statement with rows of `T`, as `query!`, `query_as!` and `query_scalar!` make it.
pub(super) trait Rows<T>: Send + 'static {
    /// Its only row.
    fn one(self, connection: &mut PgConnection) -> BoxFuture<'_, T>;

    /// Its row, if there is one.
    fn optional(self, connection: &mut PgConnection) -> BoxFuture<'_, Option<T>>;

    /// All its rows.
    fn all(self, connection: &mut PgConnection) -> BoxFuture<'_, Vec<T>>;
}

impl<T, F> Rows<T> for Map<'static, Postgres, F, PgArguments>
where
    T: Send + Unpin + 'static,
    F: FnMut(PgRow) -> Result<T, sqlx::Error> + Send + 'static,
{
    fn one(self, connection: &mut PgConnection) -> BoxFuture<'_, T> {
        Box::pin(self.fetch_one(connection))
    }

    fn optional(self, connection: &mut PgConnection) -> BoxFuture<'_, Option<T>> {
        Box::pin(self.fetch_optional(connection))
    }

    fn all(self, connection: &mut PgConnection) -> BoxFuture<'_, Vec<T>> {
        Box::pin(self.fetch_all(connection))
    }
}

impl<T> Rows<T> for QueryScalar<'static, Postgres, T, PgArguments>
where
    T: Send + Unpin + 'static,
    (T,): for<'r> FromRow<'r, PgRow>,
{
    fn one(self, connection: &mut PgConnection) -> BoxFuture<'_, T> {
        Box::pin(self.fetch_one(connection))
    }

    fn optional(self, connection: &mut PgConnection) -> BoxFuture<'_, Option<T>> {
        Box::pin(self.fetch_optional(connection))
    }

    fn all(self, connection: &mut PgConnection) -> BoxFuture<'_, Vec<T>> {
        Box::pin(self.fetch_all(connection))
    }
}

/// Runs statements: a [`Store`], a pool of it, or a [`Tx`].
pub(super) trait Run<'a>: Sized {
    /// Runs one statement, within the deadline and the request's budget.
    #[track_caller]
    fn run<T: Send + 'a>(
        self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T> + Send + 'a,
    ) -> Answer<'a, T>;

    /// Runs a statement, and tells how many rows it changed.
    #[track_caller]
    fn execute(self, command: Command) -> Answer<'a, u64> {
        self.run(|c| Box::pin(async move { Ok(command.execute(c).await?.rows_affected()) }))
    }

    /// Runs a statement that has exactly one row.
    #[track_caller]
    fn fetch_one<T: Send + 'a>(self, rows: impl Rows<T>) -> Answer<'a, T> {
        self.run(|c| rows.one(c))
    }

    /// Runs a statement that has at most one row.
    #[track_caller]
    fn fetch_optional<T: Send + 'a>(self, rows: impl Rows<T>) -> Answer<'a, Option<T>> {
        self.run(|c| rows.optional(c))
    }

    /// Runs a statement that has any number of rows.
    #[track_caller]
    fn fetch_all<T: Send + 'a>(self, rows: impl Rows<T>) -> Answer<'a, Vec<T>> {
        self.run(|c| rows.all(c))
    }
}

/// One pool of a [`Store`].
#[derive(Debug, Clone, Copy)]
pub(super) struct OnPool<'a> {
    store: &'a Store,
    pool: &'a ConnectionPool,
}

impl Store {
    /// For readiness and metrics, which have connections of their own.
    pub(super) fn on_probes(&self) -> OnPool<'_> {
        let pool = &self.probes;
        OnPool { store: self, pool }
    }

    /// For the workers that follow the ended sessions and the keys. Nothing that writes may run here: a
    /// commit can wait for long.
    pub(super) fn on_readers(&self) -> OnPool<'_> {
        let pool = &self.readers;
        OnPool { store: self, pool }
    }
}

impl<'a> Run<'a> for OnPool<'a> {
    /// Behind a pooler that gives each transaction another server connection, a statement is parsed
    /// and run in one transaction, since outside of one it could be parsed here and run there.
    fn run<T: Send + 'a>(
        self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T> + Send + 'a,
    ) -> Answer<'a, T> {
        self.store.guard.watch(async move {
            let mut connection = super::acquire(self.pool, false).await?;
            let value = statement(&mut connection).await?;
            if connection.is_in_transaction() {
                connection.commit().await?;
            }
            connection.release();
            Ok(value)
        })
    }
}

impl<'a> Run<'a> for &'a Store {
    fn run<T: Send + 'a>(
        self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T> + Send + 'a,
    ) -> Answer<'a, T> {
        let pool = &self.pool;
        OnPool { store: self, pool }.run(statement)
    }
}

impl<'a> Run<'a> for &'a mut Tx {
    fn run<T: Send + 'a>(
        self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T> + Send + 'a,
    ) -> Answer<'a, T> {
        self.guard.watch(statement(&mut self.inner))
    }
}
