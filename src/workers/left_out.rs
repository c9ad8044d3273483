//! Writes down how many refusals were not written down one by one.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::auth::Auth;

/// How often. What was left out since is lost with the process, but not if it is told to stop.
const INTERVAL: Duration = Duration::from_secs(30);

/// Writes the count down until `stop`, and once more then.
pub async fn record_left_out(auth: Auth, stop: CancellationToken) {
    let mut trouble = Trouble::new("writing down how many refusals were left out");
    loop {
        let pause = stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await;
        trouble.note(auth.record_left_out().await);
        if pause.is_none() {
            return;
        }
    }
}
