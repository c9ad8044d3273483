//! Connections that wait for another mail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::time::{Instant, sleep};

use super::transaction::quit;

/// How long a connection waits for another mail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many connections may wait.
const MAX_IDLE: usize = 4;

/// The idle connections to one relay.
#[derive(Default)]
pub(super) struct IdleConnections(Arc<Mutex<Vec<Idle>>>);

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl IdleConnections {
    /// Takes the connection that was used last, if there is one.
    pub(super) fn take(&self) -> Option<AsyncSmtpConnection> {
        lock(&self.0).pop().map(|idle| idle.connection)
    }

    /// Keeps a connection for another mail if there is room, and closes it when it has waited too long.
    pub(super) fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = lock(&self.0);
        if idle.len() < MAX_IDLE {
            idle.push(Idle {
                connection,
                since: Instant::now(),
            });
            tokio::spawn(close_when_overdue(Arc::downgrade(&self.0)));
        }
    }
}

fn lock(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes connections that have waited in vain, so that the relay does not have to close them.
async fn close_when_overdue(idle: Weak<Mutex<Vec<Idle>>>) {
    sleep(IDLE_TIMEOUT).await;
    let Some(idle) = idle.upgrade() else { return };
    let overdue: Vec<_> = lock(&idle)
        .extract_if(.., |idle| idle.since.elapsed() >= IDLE_TIMEOUT)
        .collect();
    for idle in overdue {
        quit(idle.connection).await;
    }
}
