//! Keeps this instance's view of ended sessions fresh.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth::{Auth, LATE, Next};

/// How often the view is renewed: an end is known on every instance within a second.
const INTERVAL: Duration = Duration::from_millis(400);

/// Every so many rounds a reading reaches further back, for ends that were seen late.
const FAR_ROUNDS: u32 = 75;

/// Renews the view until `stop`. While the database is away the view grows stale, and those who ask
/// it are told so.
pub async fn follow_ended_sessions(auth: Auth, stop: CancellationToken) {
    let (mut since, mut round) = (None, 0_u32);
    while !stop.is_cancelled() {
        match auth.renew_ended_sessions(since).await {
            Ok(Next::AtOnce(at)) => {
                since = Some(at);
                continue;
            }
            Ok(Next::Later(at)) => {
                round = round.wrapping_add(1);
                let is_far = round.is_multiple_of(FAR_ROUNDS);
                since = Some(if is_far { at - LATE } else { at });
            }
            Err(error) => tracing::warn!(%error, "the ended sessions could not be read"),
        }
        let pause = tokio::time::sleep(INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
