//! The answers to probes while the server starts.

use tokio::task::JoinHandle;

use super::error::StartError;
use super::listening::Bound;
use super::{WORKERS_DEADLINE, management_limits};
use crate::http;
use crate::http::layers::unreadable::instead_of;
use crate::serve::{ServerLimits, Shutdown, serve};

/// Answers probes while the server starts. Dropped, it ends by itself.
#[derive(Debug)]
pub(super) struct Starting {
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

impl Starting {
    /// Answers every request on a socket before the server takes it over.
    pub(super) fn serve(bound: &Bound) -> Result<Self, StartError> {
        let listener = bound.share()?;
        let limits = ServerLimits {
            drain: WORKERS_DEADLINE,
            ..management_limits()
        };
        let shutdown = Shutdown::default();
        let router = http::starting_router();
        let served = serve(listener, router, instead_of, limits, shutdown.clone());
        Ok(Self {
            serving: tokio::spawn(served),
            shutdown,
        })
    }

    /// Ends, once the requests that have arrived are answered.
    pub(super) async fn end(mut self) {
        self.shutdown.stop();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}
