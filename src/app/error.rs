//! Why the server did not start.

use std::io;
use std::net::SocketAddr;

use crate::auth::KeysError;
use crate::mail::MailConfigError;
use crate::store::StoreError;
use crate::token::KeyRingError;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database did not answer.
    #[error("{}", .0.advice_on_connecting())]
    Database(#[source] StoreError),
    /// The database cannot be written to.
    #[error("{0}")]
    ReadOnly(&'static str),
    /// The migrations failed.
    #[error("the migrations cannot be applied")]
    Migrations(#[source] StoreError),
    /// Migrations are missing and may not be applied.
    #[error("the database lacks migrations; run `backoffice-auth migrate`")]
    NotMigrated,
    /// The signing keys cannot be used.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeysError),
    /// The mail settings do not work.
    #[error(transparent)]
    Mail(#[from] MailConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The configured address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
}

impl StartError {
    /// Whether a database that starts, or is being promoted, may be the reason.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) | Self::Migrations(error) => error.may_be_starting(),
            Self::ReadOnly(_) => true,
            Self::NotMigrated | Self::Keys(_) | Self::Mail(_) | Self::Listen { .. } => false,
        }
    }

    /// Whether a setting is the reason, so that every start with it fails, whatever changes around the server.
    #[must_use]
    pub fn is_bad_setting(&self) -> bool {
        match self {
            // The master key is not the one that sealed the signing keys.
            Self::Mail(_) | Self::Keys(KeysError::Ring(KeyRingError::Unseal(_))) => true,
            Self::Database(_)
            | Self::ReadOnly(_)
            | Self::Migrations(_)
            | Self::NotMigrated
            | Self::Keys(_)
            | Self::Listen { .. } => false,
        }
    }
}
