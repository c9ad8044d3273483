//! Keeps this instance's view of ended sessions fresh.

use tokio_util::sync::CancellationToken;

use crate::auth::Auth;

/// Renews the view until `stop`. While the database is away the view grows stale, and those who ask
/// it are told so.
pub async fn follow_ended_sessions(auth: Auth, stop: CancellationToken) {
    let mut is_failing = false;
    loop {
        match stop.run_until_cancelled(auth.renew_ended_sessions()).await {
            None => return,
            Some(Ok(())) => is_failing = false,
            // Once, and not many times a second.
            Some(Err(error)) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "the ended sessions could not be read");
            }
            Some(Err(_)) => {}
        }
        let pause = auth.ended_sessions_are_due();
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
