//! Why an act on a user was not done.

use crate::domain::{AdministrationRefusal, WeakPassword};
use crate::password::HashingError;
use crate::store::{StoreError, Unique};

/// Why a change to a user was not made.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Nobody has this address.
    #[error("there is no user with this address")]
    Unknown,
    /// Somebody has it already.
    #[error("a user with this address exists already")]
    AddressTaken,
    /// Somebody has this number already.
    #[error("a user with this number exists already")]
    NumberTaken,
    /// The password breaks the rules.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The password could not be hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// An administrator may not do it, or not now.
    #[error("refused: {}", .0.as_str())]
    Refused(AdministrationRefusal),
    /// The administrator's session ended meanwhile.
    #[error("the session has ended")]
    SessionEnded,
    /// The user has no such live session.
    #[error("there is no such live session")]
    UnknownSession,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for UserError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Taken(Unique::Email) => Self::AddressTaken,
            StoreError::Taken(Unique::UserId) => Self::NumberTaken,
            _ => Self::Store(error),
        }
    }
}
