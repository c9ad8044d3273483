//! The cost of checking the hashes in use.

use crate::domain::policy::MAX_HASH_KINDS;
use crate::password::HashingError;
use crate::store::StoreError;

use super::Auth;

/// Why the cost of the hashes is not known.
#[derive(Debug, thiserror::Error)]
pub enum HashKindsError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kinds could not be measured now.
    #[error(transparent)]
    Hashing(#[from] HashingError),
}

impl Auth {
    /// Learns which kinds of hashes are in use and their cost, so that a refusal's time does not
    /// tell them apart. For the worker that keeps this up to date.
    pub async fn learn_hash_kinds(&self) -> Result<(), HashKindsError> {
        let kinds = self.0.store.list_hash_kinds(MAX_HASH_KINDS).await?;
        Ok(self.0.pool.learn_kinds(&kinds).await?)
    }
}
