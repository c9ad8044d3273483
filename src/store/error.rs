//! The errors of the database, told apart by whose fault they are.

use std::fmt;

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::telemetry::causes;

/// A failed operation on the database. Its text holds the causes too, so that no line of the log can
/// leave them out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database did not answer in time.
    #[error("the database did not answer in time")]
    TimedOut,
    /// The database cannot be reached, or cannot serve now.
    #[error("the database is unavailable: {}", said(.0))]
    Unavailable(sqlx::Error),
    /// A standby, which may be behind, answered instead of the primary.
    #[error("the database is a standby, which may be behind its primary")]
    Standby,
    /// Another row has a value that must be unique.
    #[error("another row has the same {0}")]
    Taken(Unique),
    /// A constraint refused the change.
    #[error("the constraint {0} was violated")]
    Constraint(String),
    /// The database holds what this program would never write.
    #[error("unreadable value in {0}")]
    Unreadable(&'static str),
    /// The schema is not the one that this program expects.
    #[error("the migrations cannot be applied: {}", said_of_migration(.0))]
    Migration(Box<MigrateError>),
    /// The role may not do it.
    #[error("a statement failed: {}", said(.0))]
    Denied(sqlx::Error),
    /// A defect of this program.
    #[error("a statement failed: {}", said(.0))]
    Defect(sqlx::Error),
}

/// A value that must be unique, and that an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unique {
    /// A user's address.
    Email,
    /// A user's number.
    UserId,
    /// A signing key's id.
    SigningKey,
}

impl Unique {
    /// The value that the constraint of this name keeps unique.
    fn of(constraint: &str) -> Option<Self> {
        match constraint {
            "users_email_key" => Some(Self::Email),
            "users_pkey" => Some(Self::UserId),
            "signing_keys_pkey" => Some(Self::SigningKey),
            _ => None,
        }
    }
}

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Email => "address",
            Self::UserId => "number",
            Self::SigningKey => "signing key",
        })
    }
}

/// The driver's text. Of an error that the server reported, the server's words and the SQLSTATE: the
/// driver's own text goes on with a line number in the sources of PostgreSQL.
fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(reported) => {
            format!("{} ({})", reported.message(), sqlstate(&**reported))
        }
        error => causes(error),
    }
}

fn said_of_migration(error: &MigrateError) -> String {
    match error {
        MigrateError::ExecuteMigration(error, version) => {
            format!("migration {version}: {}", said(error))
        }
        error => causes(error),
    }
}

impl StoreError {
    /// Whether waiting may help: the answer is then 503, and nothing was decided.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Unavailable(_) | Self::Standby)
    }

    /// Whether waiting may help a program that is just starting: not against a wrong password, nor a database
    /// that the server does not have, nor TLS that it does not speak.
    #[must_use]
    pub fn may_be_starting(&self) -> bool {
        let Self::Unavailable(error) = self else {
            return matches!(self, Self::TimedOut);
        };
        let is_tls = matches!(error, sqlx::Error::Tls(_));
        !is_tls && self.refusal_to_connect().is_none()
    }

    /// PostgreSQL's reason to refuse every connection, if it gave one.
    fn refusal_to_connect(&self) -> Option<&'static str> {
        let Self::Unavailable(error) = self else {
            return None;
        };
        let code = sqlstate(error.as_database_error()?);
        match code.get(..2)? {
            "28" => Some("the database refuses the login; check user and password in database.url"),
            "3D" => Some("PostgreSQL has no such database; create it, or check database.url"),
            "42" => Some("the role may not connect to the database; grant it CONNECT"),
            _ => None,
        }
    }

    /// The advice for a connection that could not be made, in one sentence.
    #[must_use]
    pub fn advice_on_connecting(&self) -> &'static str {
        match self {
            Self::Unavailable(error) if is_too_many_connections(error) => {
                "the database has no connection left for this role; end some, or raise its limits"
            }
            Self::Unavailable(error) if has_sqlstate(error, &["57P03"]) => {
                "the database is starting, stopping or recovering; wait, and see its log"
            }
            Self::Unavailable(sqlx::Error::Tls(_)) => {
                "TLS with the database failed; check sslmode and sslrootcert in database.url"
            }
            _ => self
                .refusal_to_connect()
                .unwrap_or("cannot reach the database; check database.url and that it is running"),
        }
    }

    /// Whether a right was lacking.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Denied(_) => true,
            Self::Migration(error) => {
                matches!(&**error, MigrateError::ExecuteMigration(error, _) if has_sqlstate(error, DENIED))
            }
            _ => false,
        }
    }

    /// Whether a table is not there.
    pub(super) fn is_missing_table(&self) -> bool {
        matches!(self, Self::Defect(error) if has_sqlstate(error, &["42P01"]))
    }

    /// Whether the database has no room left on its disk.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Unavailable(error) if has_sqlstate(error, &["53100"]))
    }

    /// The word for it where failures are counted; `None` if it is no failure.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::TimedOut => Some("timed_out"),
            Self::Unavailable(error) if is_out_of_time(error) => Some("timed_out"),
            Self::Unavailable(sqlx::Error::PoolTimedOut) => Some("pool_timed_out"),
            Self::Standby => Some("wrong_server"),
            Self::Unavailable(_) if self.is_wrong_server() => Some("wrong_server"),
            Self::Unavailable(_) => Some("unavailable"),
            Self::Taken(_) | Self::Constraint(_) => None,
            Self::Unreadable(_) | Self::Migration(_) | Self::Denied(_) | Self::Defect(_) => {
                Some("defect")
            }
        }
    }

    /// Every word that [`kind`](Self::kind) says.
    pub(super) const KINDS: [&'static str; 5] = [
        "timed_out",
        "pool_timed_out",
        "wrong_server",
        "unavailable",
        "defect",
    ];

    /// Whether the server behind the connection can no longer be written to.
    pub(super) fn is_wrong_server(&self) -> bool {
        let Self::Unavailable(sqlx::Error::Database(error)) = self else {
            return false;
        };
        matches!(
            sqlstate(&**error).as_str(),
            "25006" | "57P01" | "57P02" | "57P03"
        )
    }
}

/// The SQLSTATE for insufficient privilege.
const DENIED: &[&str] = &["42501"];

fn sqlstate(error: &dyn DatabaseError) -> String {
    error.code().unwrap_or_default().into_owned()
}

fn has_sqlstate(error: &sqlx::Error, codes: &[&str]) -> bool {
    let database = error.as_database_error();
    database.is_some_and(|error| codes.contains(&sqlstate(error).as_str()))
}

/// Whether PostgreSQL ended a statement because it took too long, or waited too long for a lock.
fn is_out_of_time(error: &sqlx::Error) -> bool {
    has_sqlstate(error, &["57014", "55P03"])
}

/// Whether PostgreSQL has no connection left: at all, for the database, or for the role.
pub(super) fn is_too_many_connections(error: &sqlx::Error) -> bool {
    has_sqlstate(error, &["53300"])
}

/// Whether the connection is over after this answer, regardless of the statement's result. Poolers leave
/// the severity's field V out; sqlx then reads the one that is for people.
pub(super) fn ends_the_connection(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else {
        return false;
    };
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.is_some_and(|e| matches!(e.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// Classes of SQLSTATE that speak of the server's state and not of the statement.
///
/// 08 connection, 53 resources (full disk, too many clients), 57 operator intervention, 58 system,
/// 25006 read-only, 25P03 a transaction that was silent for too long, 40 serialization and
/// deadlock, 55P03 a lock not had in time.
fn speaks_of_the_server(code: &str) -> bool {
    ["08", "53", "57", "58", "40"]
        .iter()
        .any(|class| code.starts_with(class))
        || matches!(code, "25006" | "25P03" | "55P03")
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                if let Some(constraint) = database.constraint() {
                    let taken = Unique::of(constraint).map(Self::Taken);
                    taken.unwrap_or_else(|| Self::Constraint(constraint.to_owned()))
                } else if speaks_of_the_server(&sqlstate(&**database))
                    || ends_the_connection(&error)
                {
                    Self::Unavailable(error)
                } else if has_sqlstate(&error, DENIED) {
                    Self::Denied(error)
                } else {
                    Self::Defect(error)
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Defect(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) => Self::from(error),
            other => Self::Migration(Box::new(other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_server_counts_as_unavailable() {
        for code in [
            "08006", "53300", "53100", "57P01", "25006", "25P03", "40P01", "58030", "55P03",
            "57014",
        ] {
            assert!(speaks_of_the_server(code), "{code}");
        }
        for code in ["42P01", "23505", "22001", "25001"] {
            assert!(!speaks_of_the_server(code), "{code}");
        }
    }
}
