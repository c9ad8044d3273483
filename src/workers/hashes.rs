//! Follows which kinds of password hashes are in use.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth::Auth;

/// How often. What an import brings is known this soon, or at the first check of such a hash.
const INTERVAL: Duration = Duration::from_secs(10);

/// Learns what the hashes in use cost to check, until `stop`. While the database is away, or there is
/// no room to measure, what is known stays.
pub async fn follow_hash_kinds(auth: Auth, stop: CancellationToken) {
    let mut is_failing = false;
    loop {
        match auth.learn_hash_kinds().await {
            Ok(()) => is_failing = false,
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "the kinds of hashes in use could not be learned");
            }
            Err(_) => {}
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(INTERVAL))
            .await
            .is_none()
        {
            return;
        }
    }
}
