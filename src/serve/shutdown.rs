//! How a server ends: in two steps, and with a limit on the second.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tells a server to end, in two steps. Clones are the same.
///
/// First [`drain`](Self::drain): the server goes on as before, but HTTP/1 answers say
/// `Connection: close`, so that clients connect elsewhere while balancers notice that it is not
/// ready. (HTTP/2 has no such header; there the second step does it.) Then [`stop`](Self::stop): the
/// listener closes, and so does every connection once its requests are answered.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    pub(super) stop: CancellationToken,
    /// Ends connections at once: the drain took too long.
    pub(super) cut: CancellationToken,
}

impl Shutdown {
    /// Begins the first step.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Begins the second step, and the first if it was left out.
    pub fn stop(&self) {
        self.drain();
        self.stop.cancel();
    }

    /// Whether the first step has begun: time to say "not ready".
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// The same shutdown for one of several listeners: each cuts only its own connections.
    pub(super) fn of_one_listener(&self) -> Self {
        Self {
            cut: self.cut.child_token(),
            ..self.clone()
        }
    }

    /// Waits for the connections to end, and cuts them if they take longer than `limit`.
    pub(super) async fn finish(&self, connections: &TaskTracker, limit: Duration) {
        connections.close();
        if timeout(limit, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "cut short at the end");
            self.cut.cancel();
            connections.wait().await;
        }
    }
}
