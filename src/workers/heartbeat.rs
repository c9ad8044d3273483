//! Keeps on record when the database answers commits, and tells it of the refreshes that this instance
//! could not answer.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::auth::Auth;
use crate::store::{HEARTBEAT_INTERVAL, Store};

/// After a beat that failed. After a long outage readiness waits for one, so it comes sooner than the next would.
const AGAIN: Duration = Duration::from_millis(250);

/// Beats until `stop`. A beat that is cut short is still waited for by the server.
pub async fn beat(store: Store, stop: CancellationToken) {
    let mut trouble = Trouble::new("keeping the heartbeat");
    loop {
        let began = Instant::now();
        let Some(beaten) = stop.run_until_cancelled(store.beat()).await else {
            return;
        };
        let interval = if trouble.note(beaten).is_some() {
            HEARTBEAT_INTERVAL
        } else {
            AGAIN
        };
        // After a beat that took long the next one is due at once: it writes the outage down.
        let pause = tokio::time::sleep_until(began + interval);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

/// Records the refreshes that got no answer, once the database answers again, until `stop`.
pub async fn tell_unanswered(auth: Auth, stop: CancellationToken) {
    let mut trouble = Trouble::new("writing down the refreshes without an answer");
    loop {
        trouble.note(auth.tell_unanswered().await);
        let pause = tokio::time::sleep(HEARTBEAT_INTERVAL);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
