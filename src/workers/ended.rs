//! Keeps this instance's view of ended sessions fresh.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::auth::{Auth, LATE, Next};

/// How often the view is renewed: an end is known on every instance within a second.
const INTERVAL: Duration = Duration::from_millis(400);

/// Every so many rounds a reading reaches further back, for ends that were seen late.
const FAR_ROUNDS: u32 = 75;

/// Renews the view until `stop`. While the database is away the view grows stale, and those who ask
/// it are told so.
pub async fn follow_ended_sessions(auth: Auth, stop: CancellationToken) {
    let (mut since, mut round) = (None, 0_u32);
    let mut trouble = Trouble::new("reading the ended sessions");
    while !stop.is_cancelled() {
        match trouble.note(auth.renew_ended_sessions(since).await) {
            Some(Next::AtOnce(at)) => {
                since = Some(at);
                continue;
            }
            Some(Next::Later(at)) => {
                round = round.wrapping_add(1);
                let is_far = round.is_multiple_of(FAR_ROUNDS);
                since = Some(if is_far { at - LATE } else { at });
            }
            None => {}
        }
        let pause = tokio::time::sleep(INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
