//! Keeps the revocation cache fresh.

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::auth::Auth;

/// Renews the cache until `stop`. While the database is away the cache grows stale, and says so.
pub async fn follow_ended_sessions(auth: Auth, stop: CancellationToken) {
    let mut trouble = Trouble::new("reading the ended sessions");
    loop {
        let renewed = stop.run_until_cancelled(auth.renew_ended_sessions());
        let Some(renewed) = renewed.await else { return };
        trouble.note(renewed);
        let pause = auth.ended_sessions_are_due();
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}
