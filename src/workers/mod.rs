//! The work beside the requests: each worker is a loop that survives its own errors.

mod hashes;
mod heartbeat;
mod keys;
mod left_out;
mod mail;
mod measure;
mod purge;
mod revocation_cache;
mod trouble;
mod watch;

pub use hashes::follow_hash_kinds;
pub use heartbeat::{beat, tell_unanswered};
pub use keys::{end_sessions_of_revoked_keys, follow_keys};
pub use left_out::record_left_out;
pub use mail::send_mails;
pub use measure::measure;
pub use purge::{purge, purge_once};
pub use revocation_cache::follow_ended_sessions;
pub use watch::watched;
