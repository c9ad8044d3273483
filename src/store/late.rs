//! Statements that outlive their caller.
//!
//! A commit that waits (for a standby, for a disk) goes through in the end, long after its caller was
//! told 503 or has hung up, and nothing can call it back. So it is waited for: the connection that it
//! runs on is not released, and its effect is then undone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use sqlx::PgConnection;
use tokio::runtime::Handle;

use super::answer::{Answer, BoxFuture};
use super::{Store, StoreError, Tx, acquire};

/// The statements that undo an answer which came too late.
pub(super) type Undo = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Seconds between the tries of a statement that has to be done: they outlast a stall of three minutes.
const PAUSES: [u64; 10] = [1, 2, 4, 8, 16, 32, 32, 32, 32, 32];

/// Work that continues when nobody waits for it any more; its outcome is then handed to `late`.
struct Outliving<T: Send + 'static> {
    work: Option<BoxFuture<'static, T>>,
    late: Option<Box<dyn FnOnce(T) -> Undo + Send>>,
}

impl<T: Send + 'static> Future for Outliving<T> {
    type Output = Result<T, sqlx::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Pending;
        };
        let outcome = work.as_mut().poll(context);
        if outcome.is_ready() {
            self.work = None;
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for Outliving<T> {
    fn drop(&mut self) {
        let (Some(work), Some(late)) = (self.work.take(), self.late.take()) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let Ok(value) = work.await else { return };
            if let Err(error) = late(value).await {
                tracing::warn!(%error, "a commit that came too late could not be taken back");
            }
        });
    }
}

impl Store {
    /// Runs one statement as [`run`](Self::run) does, but one that has begun goes on when its caller
    /// has given up. Each holds a connection, so there are no more of them than connections.
    #[track_caller]
    pub(super) fn run_late<T: Send + 'static>(
        &self,
        statement: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, T> + Send + 'static,
        late: impl FnOnce(T) -> Undo + Send + 'static,
    ) -> Answer<'_, T> {
        self.guard.watch(async move {
            let mut connection = acquire(&self.pool, false).await?;
            let work = Box::pin(async move {
                let value = connection.without_deadline(statement).await?;
                if connection.is_in_transaction() {
                    connection.commit_without_deadline().await?;
                }
                connection.release();
                Ok(value)
            });
            Outliving {
                work: Some(work),
                late: Some(Box::new(late)),
            }
            .await
        })
    }
}

impl Tx {
    /// Commits, as [`commit`](Self::commit) does; a commit that succeeds when nobody waits for
    /// it any more is undone by `late`.
    pub(super) async fn commit_or(
        self,
        late: impl FnOnce(()) -> Undo + Send + 'static,
    ) -> Result<(), StoreError> {
        let Self {
            mut inner,
            guard,
            heartbeat,
        } = self;
        let work = Box::pin(async move {
            inner.commit_without_deadline().await?;
            // Here alone: such a commit has written something, and one that has written nothing waits for nobody.
            heartbeat.note_commit();
            inner.release();
            Ok(())
        });
        let commit = Outliving {
            work: Some(work),
            late: Some(Box::new(late)),
        };
        guard.watch(commit).await
    }
}

/// Repeats an act that has to be done, until it is done or the database has been away for minutes.
pub(super) async fn insist<F: Future<Output = Result<(), StoreError>>>(
    act: impl Fn() -> F,
) -> Result<(), StoreError> {
    for pause in PAUSES {
        match act().await {
            Err(error) if error.is_unavailable() => {
                tokio::time::sleep(Duration::from_secs(pause)).await;
            }
            done => return done,
        }
    }
    act().await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::{sleep, timeout};

    use super::*;

    /// Starts work that takes a second, and counts its late answers.
    async fn waited_for(patience: Duration) -> (bool, u32) {
        let late = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&late);
        let asked = Outliving {
            work: Some(Box::pin(async {
                sleep(Duration::from_secs(1)).await;
                Ok(7)
            })),
            late: Some(Box::new(move |value| {
                counted.fetch_add(value, Ordering::Relaxed);
                Box::pin(async { Ok(()) })
            })),
        };
        let answer = timeout(patience, asked).await;
        sleep(Duration::from_secs(2)).await;
        (answer.is_ok(), late.load(Ordering::Relaxed))
    }

    /// Red without `Drop for Outliving`.
    #[tokio::test(start_paused = true)]
    async fn an_answer_goes_to_its_caller_or_is_late_and_never_both() {
        assert_eq!(waited_for(Duration::from_millis(999)).await, (false, 7));
        assert_eq!(waited_for(Duration::from_millis(1_001)).await, (true, 0));
    }
}
