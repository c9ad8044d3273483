//! Why a password was not hashed.

use std::time::Duration;

use super::slot::OutOfMemory;

/// Why a password was not hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashingError {
    /// The queue is full, or a worker would come too late.
    #[error("the hashing queue is full")]
    Overloaded {
        /// When trying again makes sense.
        retry_after: Duration,
    },
    /// There is no memory for this hash now, which needs more than a worker has.
    #[error("there is no memory for a hash that needs more than a worker has")]
    OutOfMemory,
    /// This hash needs more memory than all hashes of other services may take together.
    #[error("a hash needs {needs_mib} MiB, and passwords.imported_memory_mib is {budget_mib}")]
    TooLarge {
        /// The memory that a check takes.
        needs_mib: u32,
        /// The memory that all such hashes may take.
        budget_mib: u32,
    },
    /// The task that computed the hash panicked.
    #[error("the hashing task failed")]
    Failed,
}

impl HashingError {
    /// Whether waiting may help: the answer is then 503, and nothing was decided.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Overloaded { .. } | Self::OutOfMemory | Self::TooLarge { .. } => true,
            Self::Failed => false,
        }
    }
}

impl From<OutOfMemory> for HashingError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}
