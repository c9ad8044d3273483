//! Answers that come after their caller has left.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Instrument as _;

/// Does some work in a task of its own, and waits for its result. If nobody waits any more when the
/// result is there, `on_late` gets it: either the caller or `on_late` does, and never both.
///
/// Work that fails is nobody's business if nobody waits.
pub(super) async fn finish<T, L>(
    work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    on_late: impl FnOnce(T) -> L + Send + 'static,
) -> Result<T, sqlx::Error>
where
    T: Send + 'static,
    L: Future<Output = ()> + Send + 'static,
{
    let on_late = OnLate(Arc::new(Mutex::new(Some(on_late))));
    let (sender, answer) = oneshot::channel();
    let caller = Caller {
        answer,
        on_late: on_late.clone(),
    };
    let done = async move {
        if let Err(Ok(value)) = sender.send(work.await) {
            on_late.run(value).await;
        }
    };
    // With the request's span: what is slow is logged in it.
    tokio::spawn(done.in_current_span());
    caller.await
}

/// What is done with a late answer, at most once.
struct OnLate<F>(Arc<Mutex<Option<F>>>);

impl<F> Clone for OnLate<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<F> OnLate<F> {
    async fn run<T, L>(self, value: T)
    where
        F: FnOnce(T) -> L,
        L: Future<Output = ()>,
    {
        let on_late = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(on_late) = on_late {
            on_late(value).await;
        }
    }
}

/// Waits for the answer, and sees to it that one which came just when it left is not lost.
struct Caller<T, F, L>
where
    T: Send + 'static,
    F: FnOnce(T) -> L + Send + 'static,
    L: Future<Output = ()> + Send + 'static,
{
    answer: oneshot::Receiver<Result<T, sqlx::Error>>,
    on_late: OnLate<F>,
}

impl<T, F, L> Future for Caller<T, F, L>
where
    T: Send + 'static,
    F: FnOnce(T) -> L + Send + 'static,
    L: Future<Output = ()> + Send + 'static,
{
    type Output = Result<T, sqlx::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.answer).poll(context);
        answer.map(|answer| answer.unwrap_or(Err(sqlx::Error::WorkerCrashed)))
    }
}

impl<T, F, L> Drop for Caller<T, F, L>
where
    T: Send + 'static,
    F: FnOnce(T) -> L + Send + 'static,
    L: Future<Output = ()> + Send + 'static,
{
    fn drop(&mut self) {
        self.answer.close();
        if let (Ok(Ok(value)), Ok(runtime)) = (self.answer.try_recv(), Handle::try_current()) {
            let late = self.on_late.clone().run(value);
            runtime.spawn(late.in_current_span());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tokio::sync::Notify;
    use tokio::time::{sleep, timeout};

    use super::*;

    /// Starts work that takes a second, and counts its late answers.
    async fn waited_for(patience: Duration) -> (bool, u32) {
        let late = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&late);
        let work = async {
            sleep(Duration::from_secs(1)).await;
            Ok(7)
        };
        let on_late = async move |value| {
            counted.fetch_add(value, Ordering::Relaxed);
        };
        let answer = timeout(patience, finish(work, on_late)).await;
        sleep(Duration::from_secs(2)).await;
        (answer.is_ok(), late.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_goes_to_its_caller_or_is_late_and_never_both() {
        assert_eq!(waited_for(Duration::from_millis(999)).await, (false, 7));
        assert_eq!(waited_for(Duration::from_millis(1_001)).await, (true, 0));
    }

    /// Red without `Drop for Caller`.
    #[tokio::test]
    async fn an_answer_that_comes_when_its_caller_leaves_is_late() {
        let late = Arc::new(Notify::new());
        let told = Arc::clone(&late);
        let on_late = async move |()| told.notify_one();
        let mut asked = Box::pin(finish(async { Ok(()) }, on_late));
        // The work's task begins with this, and has its answer before anybody looks at it.
        assert!(futures_util::poll!(&mut asked).is_pending());
        tokio::task::yield_now().await;
        drop(asked);
        late.notified().await;
    }
}
