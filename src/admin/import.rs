//! Importing users from another service: all in one transaction.

use std::collections::HashSet;

use crate::domain::{AuditEvent, AuditKind, EmailAddress, Operator, UserChange, UserId};
use crate::store::{NewUser, StoreError, Tx};

use super::Admin;

/// Why users were not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Another import is under way.
    #[error("nothing was imported: another import is under way; try again when it is done")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A user who cannot be imported because of one who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clash {
    /// The place among those to import.
    pub index: usize,
    /// The value that another user has already.
    pub conflict: Conflict,
}

/// A value that two users cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The address that a user signs in with.
    Address,
    /// The number of a user: the `sub` of their tokens.
    Number,
}

/// An import under way. Nobody sees its users before it is committed; dropping it leaves none.
#[derive(Debug)]
pub struct Import {
    tx: Tx,
    event: AuditEvent,
}

impl Admin {
    /// Those of `users` who clash with a user who is there already. This writes nothing.
    pub async fn find_clashes(&self, users: &[NewUser]) -> Result<Vec<Clash>, ImportError> {
        let taken = self.store.find_taken(users).await?;
        let (ids, emails): (HashSet<UserId>, HashSet<EmailAddress>) = taken.into_iter().unzip();
        let conflict = |user: &NewUser| {
            if emails.contains(&user.email) {
                Some(Conflict::Address)
            } else {
                let number = user.user_id.filter(|id| ids.contains(id));
                number.map(|_| Conflict::Number)
            }
        };
        let clashes = users.iter().enumerate().filter_map(|(index, user)| {
            let conflict = conflict(user)?;
            Some(Clash { index, conflict })
        });
        Ok(clashes.collect())
    }

    /// Begins an import, and keeps every other one out until it is over.
    ///
    /// `highest` is the highest number that the users bring along: numbers that are given from now on
    /// are beyond it, even if the import is undone.
    pub async fn begin_import(
        &self,
        actor: &Operator,
        highest: Option<UserId>,
    ) -> Result<Import, ImportError> {
        let mut tx = self.store.begin().await?;
        if !tx.try_lock_imports().await? {
            return Err(ImportError::Busy);
        }
        if let Some(highest) = highest {
            tx.skip_user_numbers(highest).await?;
        }
        let event = AuditEvent::by_operator(AuditKind::UserChanged, UserChange::Imported, actor);
        Ok(Import { tx, event })
    }
}

impl Import {
    /// Makes those of `users` whose address and number are free, and returns the places of the others.
    /// Among each other they must not clash.
    pub async fn add(&mut self, users: &[NewUser]) -> Result<Vec<usize>, ImportError> {
        let made = self.tx.insert_users(users).await?;
        self.tx.record_for_users(&self.event, &made).await?;
        Ok(missing(users, &made))
    }

    /// Keeps all that were added.
    pub async fn commit(self) -> Result<(), ImportError> {
        Ok(self.tx.commit().await?)
    }

    /// Keeps none. An operator who tries again at once does not find this import under way.
    pub async fn undo(self) -> Result<(), ImportError> {
        Ok(self.tx.rollback().await?)
    }
}

/// The places of those in `users` that were not made.
fn missing(users: &[NewUser], made: &[(UserId, EmailAddress)]) -> Vec<usize> {
    let made: HashSet<&EmailAddress> = made.iter().map(|(_, email)| email).collect();
    let is_missing = |index: &usize| !made.contains(&users[*index].email);
    (0..users.len()).filter(is_missing).collect()
}
