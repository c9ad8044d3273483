//! Importing users from an older service: all of a file or nothing.

use std::collections::HashSet;

use crate::domain::{AuditEvent, AuditKind, EmailAddress, Operator, UserChange, UserId};
use crate::store::{NewUser, StoreError};

use super::Admin;

/// Users stored by one statement.
const BATCH: usize = 1_000;

/// Clashes that are explained; the others are only counted.
const MAX_EXPLAINED: usize = 20;

/// Why users were not imported.
#[derive(Debug)]
pub enum ImportError {
    /// Some of them have an address or a number that somebody has already.
    Taken {
        /// The number of them.
        count: usize,
        /// The first ones.
        clashes: Vec<Clash>,
    },
    /// Another import is under way.
    Busy,
    /// The database failed.
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
    /// The address.
    Address,
    /// The number.
    Number,
}

impl Admin {
    /// Makes all of `users`, or none if one of them clashes with a user who is there already. Among
    /// each other they must not clash.
    ///
    /// Numbers that are given from now on are beyond the imported ones.
    pub async fn import_users(
        &self,
        actor: &Operator,
        users: &[NewUser],
    ) -> Result<(), ImportError> {
        let mut tx = self.store.begin().await?;
        if !tx.try_lock_imports().await? {
            return Err(ImportError::Busy);
        }
        if let Some(highest) = users.iter().filter_map(|user| user.user_id).max() {
            tx.skip_user_numbers(highest).await?;
        }
        let event = AuditEvent::by_operator(AuditKind::UserChanged, UserChange::Imported, actor);
        let mut left_out = Vec::new();
        for (batch, start) in users.chunks(BATCH).zip((0..).step_by(BATCH)) {
            let made = tx.insert_users(batch).await?;
            tx.record_for_users(&event, &made).await?;
            let missing = missing(batch, &made).into_iter();
            left_out.extend(missing.map(|index| start + index));
        }
        if left_out.is_empty() {
            return Ok(tx.commit().await?);
        }
        // Before the answer: an operator who corrects the file and tries again must not find an import under
        // way.
        tx.rollback().await?;
        Err(self.explain_clashes(users, &left_out).await?)
    }

    async fn explain_clashes(
        &self,
        users: &[NewUser],
        left_out: &[usize],
    ) -> Result<ImportError, StoreError> {
        let mut clashes = Vec::new();
        for &index in left_out.iter().take(MAX_EXPLAINED) {
            let owner = self.store.find_user(&users[index].email).await?;
            let conflict = owner.map_or(Conflict::Number, |_| Conflict::Address);
            clashes.push(Clash { index, conflict });
        }
        Ok(ImportError::Taken {
            count: left_out.len(),
            clashes,
        })
    }
}

/// The places of those in `batch` that were not made.
fn missing(batch: &[NewUser], made: &[(UserId, EmailAddress)]) -> Vec<usize> {
    let made: HashSet<&EmailAddress> = made.iter().map(|(_, email)| email).collect();
    let is_missing = |index: &usize| !made.contains(&batch[*index].email);
    (0..batch.len()).filter(is_missing).collect()
}
