//! Checking and making password hashes, in a pool that bounds memory, CPU and waiting.
//!
//! An Argon2id hash takes 19 MiB and tens of milliseconds on purpose. So there are as many slots as
//! workers, each with memory of its own that is reused. A bounded number of requests waits for a worker, in
//! order; further requests are refused at once. A slot moves into the task that computes with it, so a
//! client that hangs up frees nothing early.
//!
//! A hash of another service may need memory beside the workers'. All such hashes together get no more than
//! `passwords.imported_memory_mib`, and wait for it in a queue of their own. A hash for which there is no memory was
//! not checked: there is no verdict.

mod agreement;
mod error;
mod foreign;
mod formats;
mod kind;
mod kind_text;
mod make;
mod pool;
mod refusal;
mod slot;
mod stored_hash;
mod text;
mod timing;
mod wait;
mod workers;

pub use agreement::libraries_agree;
pub use error::HashingError;
pub use foreign::{is_fast, outgrows_budget, outgrows_worker, read_foreign};
pub use formats::{FirebaseProject, read_keycloak};
pub use pool::{Check, HashingPool, Verdict};
pub use refusal::{Flaw, UnsupportedHash};
pub use wait::wait_until;
