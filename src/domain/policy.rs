//! Numbers of the rules that no setting changes.

use std::time::Duration;

/// How long an attempt can be in flight: longer than a place in the hashing queue is waited for,
/// than a hash takes and than the database may take, together. One that is older gives up its
/// room, and its answer is 503 if it ever comes to one.
pub const MAX_FLIGHT: Duration = Duration::from_secs(10);

/// How long an attempt that waits for nothing but the database can be in flight. A younger attempt is
/// expected to count: where such attempts take up all the room, one too many starts a block.
pub const USUAL_FLIGHT: Duration = Duration::from_secs(2);

/// Guesses at the code of one challenge, whatever the limits are.
pub const MAX_GUESSES: i32 = 10;

/// Networks of a session besides its first that are put on record. A person on the move has more.
pub const MAX_OTHER_NETWORKS: i32 = 8;

/// How long a user is known from a network after signing in from there.
pub const KNOWN_FOR: Duration = Duration::from_hours(30 * 24);

/// Kinds of password hashes that are read: more than an import from several services brings.
pub const MAX_HASH_KINDS: i64 = 100;
