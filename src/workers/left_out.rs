//! Records how many refusals were not recorded one by one.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::auth::Auth;

/// The time between two records. A count since the last one is lost if the process dies, but not if it
/// is told to stop.
const INTERVAL: Duration = Duration::from_secs(30);

/// Records the count until `stop`, and once more then.
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
