//! The workers: a fixed number of memory slots, and a bounded queue in front of them.
//!
//! A request waits for a worker in order, or is refused at once. The worker's lease moves into the task
//! that computes, so a client that hangs up frees nothing early.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::HashingError;
use super::slot::Slot;
use crate::telemetry::metrics::{
    HASHING_DURATION, HASHING_QUEUE, HASHING_REFUSALS, HASHING_WAITING, HASHING_WORKERS,
    HASHING_WORKING,
};

/// A request does not wait for a worker that would come later than this: its client has given up by
/// then.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The workers and their queue; cheap to clone.
#[derive(Clone)]
pub(super) struct Workers(Arc<Shared>);

struct Shared {
    count: usize,
    queue: usize,
    /// A permit for everything that computes or waits.
    admission: Arc<Semaphore>,
    /// A permit for everything that computes; first come, first served.
    free: Arc<Semaphore>,
    /// A permit for each KiB of memory for hashes of other services; first come, first served.
    memory: Arc<Semaphore>,
    /// A permit for everything that waits for such memory.
    memory_queue: Semaphore,
    idle: Mutex<Vec<Slot>>,
    waiting: AtomicUsize,
    /// How long a hash took recently, in microseconds.
    typical: AtomicU64,
}

/// A worker's slot, leased to a task. However the task ends, the slot goes back before its permits do.
pub(super) struct WorkerLease {
    slot: Slot,
    workers: Workers,
    _permits: [OwnedSemaphorePermit; 2],
    memory: Option<OwnedSemaphorePermit>,
}

impl Drop for WorkerLease {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut self.slot);
        self.workers.lock_idle().push(slot);
        drop(self.memory.take());
    }
}

/// Counts a waiting request until it stops waiting, also if its client hangs up.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// One worker for each slot, a queue of so many places, and memory for hashes of other services.
    pub(super) fn new(slots: Vec<Slot>, queue: usize, memory_kib: u32) -> Self {
        let count = slots.len();
        Self(Arc::new(Shared {
            count,
            queue,
            admission: Arc::new(Semaphore::new(count + queue)),
            free: Arc::new(Semaphore::new(count)),
            memory: Arc::new(Semaphore::new(memory_kib as usize)),
            memory_queue: Semaphore::new(queue.max(1)),
            idle: Mutex::new(slots),
            waiting: AtomicUsize::new(0),
            typical: AtomicU64::new(0),
        }))
    }

    /// Leases a worker, after a wait if none is free.
    pub(super) async fn lease(&self) -> Result<WorkerLease, HashingError> {
        let expected = self.expected_wait();
        let retry_after = Duration::from_secs(expected.as_secs() + 1);
        if expected > MAX_WAIT {
            return Err(overloaded(retry_after));
        }
        let admitted = Arc::clone(&self.0.admission)
            .try_acquire_owned()
            .map_err(|_| overloaded(retry_after))?;
        let waiter = Waiter::new(&self.0.waiting);
        let free = Arc::clone(&self.0.free)
            .acquire_owned()
            .await
            .map_err(|_| overloaded(retry_after))?;
        drop(waiter);
        let slot = self.lock_idle().pop().ok_or(HashingError::Failed)?;
        Ok(WorkerLease {
            slot,
            workers: self.clone(),
            _permits: [free, admitted],
            memory: None,
        })
    }

    /// Leases a worker for a hash that needs memory beside its slot, and that memory. Such hashes wait for memory
    /// before they wait for a worker, in a queue of their own: they keep nobody waiting who needs none.
    pub(super) async fn lease_with_memory(&self, kib: u32) -> Result<WorkerLease, HashingError> {
        let retry_after = Duration::from_secs(1);
        let waiting = self.0.memory_queue.try_acquire();
        let waiting = waiting.map_err(|_| overloaded(retry_after))?;
        let memory = Arc::clone(&self.0.memory).acquire_many_owned(kib);
        // The rest of the time that a request waits for anything here.
        let patience = MAX_WAIT.saturating_sub(self.expected_wait());
        let Ok(Ok(memory)) = timeout(patience, memory).await else {
            return Err(overloaded(retry_after));
        };
        drop(waiting);
        let mut lease = self.lease().await?;
        lease.memory = Some(memory);
        Ok(lease)
    }

    /// Workers that compute nothing now.
    pub(super) fn free(&self) -> usize {
        self.0.free.available_permits()
    }

    /// Requests that wait for a worker now.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn waiting_for_memory(&self) -> usize {
        self.0.queue.max(1) - self.0.memory_queue.available_permits()
    }

    /// Records how busy the workers are.
    pub(super) fn record_metrics(&self) {
        HASHING_WAITING.count(self.waiting(), []);
        HASHING_WORKING.count(self.0.count.saturating_sub(self.free()), []);
        HASHING_WORKERS.count(self.0.count, []);
        HASHING_QUEUE.count(self.0.queue, []);
    }

    fn lock_idle(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a request that came now would wait.
    fn expected_wait(&self) -> Duration {
        let ahead = self.waiting() as u64;
        let rounds = ahead.div_ceil(self.0.count as u64);
        Duration::from_micros(rounds.saturating_mul(self.0.typical.load(Ordering::Relaxed)))
    }

    /// A running mean, so that one slow hash does not make the next requests be refused.
    fn note_duration(&self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let typical = self.0.typical.load(Ordering::Relaxed);
        let mean = (typical * 7 + took) / 8;
        self.0.typical.store(mean, Ordering::Relaxed);
    }
}

impl WorkerLease {
    /// Computes in the worker's slot. The slot goes back when the job is done, even if the caller has
    /// stopped waiting.
    pub(super) async fn compute<T: Send + 'static>(
        mut self,
        job: impl FnOnce(&mut Slot) -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        let began = Instant::now();
        let task = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let result = job(&mut self.slot);
            self.workers.note_duration(started.elapsed());
            HASHING_DURATION.observe(started.elapsed(), []);
            result
        });
        let done = task.await.map_err(|_| HashingError::Failed);
        tracing::debug!(took = ?began.elapsed(), "a hash was computed");
        done
    }
}

fn overloaded(retry_after: Duration) -> HashingError {
    HASHING_REFUSALS.add(1, []);
    HashingError::Overloaded { retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(count: usize, queue: usize) -> Workers {
        Workers::new((0..count).map(|_| Slot::default()).collect(), queue, 0)
    }

    async fn compute<T: Send + 'static>(
        workers: &Workers,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashingError> {
        workers.lease().await?.compute(|_| job()).await
    }

    #[tokio::test]
    async fn a_request_that_does_not_fit_into_the_queue_is_refused_at_once() {
        let workers = workers(1, 2);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::spawn({
            let workers = workers.clone();
            async move { compute(&workers, move || held.recv().is_ok()).await }
        });
        while workers.free() > 0 {
            tokio::task::yield_now().await;
        }
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                tokio::spawn({
                    let workers = workers.clone();
                    async move { compute(&workers, || ()).await }
                })
            })
            .collect();
        while workers.waiting() < 2 {
            tokio::task::yield_now().await;
        }
        let surplus = compute(&workers, || ()).await;
        assert!(matches!(surplus, Err(HashingError::Overloaded { .. })));
        release.send(()).unwrap();
        assert_eq!(busy.await.unwrap(), Ok(true));
        for waiter in waiting {
            assert_eq!(waiter.await.unwrap(), Ok(()));
        }
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_frees_its_place_in_the_queue_but_not_a_running_slot() {
        let workers = workers(1, 1);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let busy = tokio::spawn({
            let workers = workers.clone();
            async move { compute(&workers, move || held.recv().is_ok()).await }
        });
        while workers.free() > 0 {
            tokio::task::yield_now().await;
        }
        busy.abort();
        assert!(busy.await.unwrap_err().is_cancelled());
        assert_eq!(workers.free(), 0, "the work goes on");
        let waiter = tokio::spawn({
            let workers = workers.clone();
            async move { compute(&workers, || ()).await }
        });
        while workers.waiting() < 1 {
            tokio::task::yield_now().await;
        }
        waiter.abort();
        assert!(waiter.await.unwrap_err().is_cancelled());
        assert_eq!(workers.waiting(), 0);
        release.send(()).unwrap();
        assert_eq!(compute(&workers, || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn a_task_that_panics_gives_its_slot_back() {
        let workers = workers(1, 1);
        let panicked = compute(&workers, || panic!("boom")).await;
        assert_eq!(panicked, Err::<(), _>(HashingError::Failed));
        assert_eq!(compute(&workers, || 7).await, Ok(7));
    }
}
