//! A worker that ends before it was told to is missed: mails stay, or ends of sessions go unnoticed.
//! It is not started again, since its state in memory may be half changed. The process is to be
//! restarted.

use std::pin::Pin;

use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics::WORKERS_STOPPED;

/// Runs a worker to its end. If that comes before `stop`, by a panic or by itself, it is logged and
/// counted, and `missed` is cancelled: readiness asks for it.
///
/// The worker is boxed, so that its task is compiled once and not once for each worker and scheduler.
pub async fn watched(
    name: &'static str,
    worker: Pin<Box<dyn Future<Output = ()> + Send>>,
    stop: CancellationToken,
    missed: CancellationToken,
) {
    // So that there is something to compare the first one with.
    WORKERS_STOPPED.add(0, [name.into()]);
    // The message of a panic is a line of the log already.
    let has_panicked = tokio::spawn(worker).await.is_err();
    if stop.is_cancelled() && !has_panicked {
        return;
    }
    missed.cancel();
    WORKERS_STOPPED.add(1, [name.into()]);
    tracing::error!(
        worker = name,
        has_panicked,
        "a worker stopped; restart this instance"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a worker to its end, and returns whether it is missed.
    async fn ends_missed(
        worker: impl Future<Output = ()> + Send + 'static,
        is_told_to_stop: bool,
    ) -> bool {
        let (stop, missed) = (CancellationToken::new(), CancellationToken::new());
        if is_told_to_stop {
            stop.cancel();
        }
        watched("one of a test", Box::pin(worker), stop, missed.clone()).await;
        missed.is_cancelled()
    }

    async fn panics() {
        tokio::task::yield_now().await;
        panic!("a worker of a test");
    }

    #[tokio::test]
    async fn a_worker_that_panics_is_missed() {
        assert!(ends_missed(panics(), false).await);
        assert!(ends_missed(panics(), true).await, "it held something");
    }

    #[tokio::test]
    async fn a_worker_that_returns_is_missed_unless_it_was_told_to_stop() {
        assert!(ends_missed(async {}, false).await);
        assert!(!ends_missed(async {}, true).await);
    }
}
