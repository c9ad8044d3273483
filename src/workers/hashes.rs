//! Follows which kinds of password hashes are in use.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::auth::Auth;

/// The time between two readings. The kinds of an import are known this soon, or at the first check of
/// such a hash.
const INTERVAL: Duration = Duration::from_secs(10);

/// Learns the cost of checking the hashes in use, until `stop`. While the database is away, or there
/// is no room to measure, the known costs stay.
pub async fn follow_hash_kinds(auth: Auth, stop: CancellationToken) {
    let mut trouble = Trouble::new("learning which kinds of hashes are in use");
    loop {
        trouble.note(auth.learn_hash_kinds().await);
        if stop
            .run_until_cancelled(tokio::time::sleep(INTERVAL))
            .await
            .is_none()
        {
            return;
        }
    }
}
