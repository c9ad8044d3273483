//! Keeps this instance's view of ended sessions fresh.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::auth::Auth;

/// How often the view is renewed: an end is known on every instance within a second.
const INTERVAL: Duration = Duration::from_millis(400);

/// Every so many rounds a reading reaches further back: an end is dated by its statement, and its
/// commit can have been held up for longer than usual, by a standby that is waited for.
const FAR_ROUNDS: u32 = 75;
const FAR: Duration = Duration::from_mins(10);

/// Renews the view until `stop`. While the database is away the view grows stale, and those who ask
/// it are told so.
pub async fn follow_ended_sessions(auth: Auth, stop: CancellationToken) {
    let (mut since, mut round) = (None, 0_u32);
    loop {
        round = round.wrapping_add(1);
        let from = since.map(|at| {
            if round % FAR_ROUNDS == 0 {
                at - FAR
            } else {
                at
            }
        });
        match auth.renew_ended_sessions(from).await {
            Ok(next) => since = next,
            Err(error) => tracing::warn!(%error, "the ended sessions could not be read"),
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
