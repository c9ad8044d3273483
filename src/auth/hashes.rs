//! The cost of checking the hashes in use.

use crate::password::HashingError;
use crate::store::StoreError;

use super::Auth;

/// Kinds of hashes that are read: more than an import from several services brings.
const MAX_KINDS: i64 = 100;

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
    /// Learns which kinds of hashes are in use and what they cost, so that a refusal's time does not
    /// tell them apart. For the worker that keeps this up to date.
    pub async fn learn_hash_kinds(&self) -> Result<(), HashKindsError> {
        let kinds = self.0.store.list_hash_kinds(MAX_KINDS).await?;
        Ok(self.0.pool.learn_kinds(&kinds).await?)
    }
}
