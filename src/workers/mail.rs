//! Sends the mails in the outbox; [`auth::Delivery`](crate::auth::Delivery) has the rules.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::trouble::Trouble;
use crate::auth::{Delivery, LeasedMail};
use crate::store::Due;

/// For mails on the way when the process is told to stop; the app waits for a second.
const FAREWELL: Duration = Duration::from_millis(600);

/// Sends the mails that are due until `stop`, then lets those on the way arrive for a moment.
pub async fn send_mails(delivery: Delivery, stop: CancellationToken) {
    tokio::select! {
        () = send_until(&delivery, &stop) => {}
        () = delivery.keep_leases() => {}
    }
}

async fn send_until(delivery: &Delivery, stop: &CancellationToken) {
    let (sending, abandon) = (TaskTracker::new(), CancellationToken::new());
    let mut trouble = Trouble::new("reading the outbox");
    while stop.run_until_cancelled(delivery.wait()).await.is_some() {
        for due in [Due::New, Due::Again] {
            let leased = trouble.note(delivery.lease(due).await);
            for mail in leased.into_iter().flatten() {
                sending.spawn(send(mail, abandon.clone()));
            }
        }
    }
    sending.close();
    if timeout(FAREWELL, sending.wait()).await.is_err() {
        let unfinished = delivery.unfinished();
        abandon.cancel();
        sending.wait().await;
        delivery.release(unfinished).await;
    }
}

async fn send(mail: LeasedMail, abandon: CancellationToken) {
    abandon.run_until_cancelled(mail.send()).await;
    mail.finish();
}
