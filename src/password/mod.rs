//! Checking and making password hashes, in a pool that bounds memory, CPU and waiting.
//!
//! An Argon2id hash takes 19 MiB and tens of milliseconds on purpose. So there are as many slots as
//! workers, each with memory of its own that is reused. A bounded number of requests waits for a worker, in
//! order; further requests are refused at once. A slot moves into the task that computes with it, so a
//! client that hangs up frees nothing early.
//!
//! A hash of an older service may need more memory than a worker has. It gets that memory for one check, one
//! such hash at a time. If there is no memory, the password was not checked, and there is no verdict.

mod pool;
mod scheme;
mod timing;
mod workers;

pub use pool::{Check, HashingError, HashingPool, Verdict};
pub use scheme::{UnsupportedHash, check_importable, kind_outgrows_worker, outgrows_worker};
