//! The slots for connections, and which connection loses its slot when all are taken.
//!
//! Without this, a client that opens as many connections as there are slots and stays silent keeps
//! every other client out for as long as an idle connection may last. So when all are taken, the
//! connection is evicted that could have gone for longest; none goes while a request is worked on.
//!
//! To scan every connection for every newcomer would make a flood of newcomers expensive. So a scan
//! picks several connections, and they are evicted one after the other. No connection outside that
//! batch was quiet for longer than those in it, and nothing that happens later changes that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::timers::ConnectionTimers;

/// A scan of all connections picks one in so many, and at least so many.
const BATCH: usize = 64;

/// How long a connection that was evicted may take to go, before another is evicted too.
const FAREWELL: Duration = Duration::from_millis(100);

/// How long to wait between two scans of all connections, so that scanning costs little.
const SCAN_PAUSE: Duration = Duration::from_millis(10);

/// The slots of a listener.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    holders: Mutex<Holders>,
}

/// The connections that hold a slot.
#[derive(Default)]
struct Holders {
    by_id: HashMap<u64, Arc<ConnectionTimers>>,
    next_id: u64,
    /// The connections to evict next, in this order, each with the time from which it could go.
    batch: VecDeque<(Instant, u64)>,
    /// The earliest time of the next scan.
    next_scan_at: Option<Instant>,
}

/// A connection's slot, for as long as the connection lives.
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    slots: Arc<Slots>,
    id: u64,
}

impl Slots {
    /// So many slots, all free.
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(count)),
            holders: Mutex::default(),
        }
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot. While there is none, evicts the quietest connections.
    pub(super) async fn acquire(self: &Arc<Self>, timers: &Arc<ConnectionTimers>) -> Slot {
        loop {
            if let Ok(permit) = self.free.clone().try_acquire_owned() {
                return self.take(permit, timers.clone());
            }
            let again_at = self.holders().evict_one(Instant::now());
            tokio::select! {
                permit = self.free.clone().acquire_owned() => {
                    // The semaphore is never closed.
                    if let Ok(permit) = permit {
                        return self.take(permit, timers.clone());
                    }
                }
                () = sleep_until(again_at) => {}
            }
        }
    }

    fn take(self: &Arc<Self>, permit: OwnedSemaphorePermit, timers: Arc<ConnectionTimers>) -> Slot {
        let mut holders = self.holders();
        let id = holders.next_id;
        holders.next_id += 1;
        holders.by_id.insert(id, timers);
        Slot {
            _permit: permit,
            slots: self.clone(),
            id,
        }
    }
}

impl Holders {
    /// Evicts the connection that could have gone for longest, if any can go. Tells when to try again
    /// if that frees no slot.
    fn evict_one(&mut self, now: Instant) -> Instant {
        let mut next = self.next_of_batch();
        if next.is_none() {
            let next_scan_at = self.next_scan_at.filter(|at| now < *at);
            let next_scan_at = next_scan_at.unwrap_or_else(|| self.scan(now));
            self.next_scan_at = Some(next_scan_at);
            next = self.next_of_batch();
            if next.is_none() {
                return next_scan_at;
            }
        }
        next.inspect(|timers| timers.evict());
        now + FAREWELL
    }

    /// The first connection of the batch that still holds its slot and has stayed as quiet as it was.
    fn next_of_batch(&mut self) -> Option<Arc<ConnectionTimers>> {
        while let Some((at, id)) = self.batch.pop_front() {
            let timers = self.by_id.get(&id);
            if let Some(timers) = timers.filter(|timers| timers.evictable_at() == Some(at)) {
                return Some(timers.clone());
            }
        }
        None
    }

    /// Scans all connections and picks those that could have gone for longest. Tells when the next
    /// scan is worth its cost.
    fn scan(&mut self, now: Instant) -> Instant {
        let evictable = |(id, timers): (&u64, &Arc<ConnectionTimers>)| {
            timers.evictable_at().map(|at| (at, *id))
        };
        let mut all: Vec<_> = self.by_id.iter().filter_map(evictable).collect();
        let count = all.len().div_ceil(BATCH).max(BATCH);
        if count < all.len() {
            all.select_nth_unstable(count);
            all.truncate(count);
        }
        all.sort_unstable();
        let first = all.first().map_or(now, |(at, _)| *at);
        self.batch = all.into_iter().filter(|(at, _)| *at <= now).collect();
        first.max(now + SCAN_PAUSE)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.holders().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::serve::ServerLimits;
    use crate::serve::in_flight::InFlight;

    fn timers() -> Arc<ConnectionTimers> {
        Arc::new(ConnectionTimers::new(ServerLimits::new(1).timeouts))
    }

    /// A connection that says nothing, and goes when it must.
    async fn connection(slots: &Arc<Slots>, timers: &Arc<ConnectionTimers>) -> JoinHandle<Instant> {
        let acquired = timeout(Duration::from_mins(1), slots.acquire(timers)).await;
        let slot = acquired.expect("a slot within a minute");
        let timers = timers.clone();
        tokio::spawn(async move {
            timers.evicted().await;
            drop(slot);
            Instant::now()
        })
    }

    /// Slots that are taken one a second by connections which then say nothing.
    async fn full(
        count: usize,
    ) -> (
        Arc<Slots>,
        Vec<Arc<ConnectionTimers>>,
        Vec<JoinHandle<Instant>>,
    ) {
        let slots = Arc::new(Slots::new(count));
        let (mut clocks, mut connections) = (Vec::new(), Vec::new());
        for _ in 0..count {
            clocks.push(timers());
            connections.push(connection(&slots, clocks.last().unwrap()).await);
            sleep(Duration::from_secs(1)).await;
        }
        (slots, clocks, connections)
    }

    fn gone(connections: &[JoinHandle<Instant>]) -> Vec<usize> {
        let gone = connections.iter().enumerate();
        gone.filter(|(_, guest)| guest.is_finished())
            .map(|(n, _)| n)
            .collect()
    }

    /// Red with `evict` taken out.
    #[tokio::test(start_paused = true)]
    async fn those_that_were_quiet_for_longest_make_room_first() {
        let (slots, clocks, connections) = full(300).await;
        let before = Instant::now();
        // It says something before it must go.
        drop(InFlight::begin(&clocks[1], false));
        let mut newcomers = Vec::new();
        for n in 1..=200 {
            newcomers.push(connection(&slots, &timers()).await);
            let expected: Vec<_> = [0].into_iter().chain(2..=n).collect();
            assert_eq!(gone(&connections), expected[..n]);
        }
        assert!(before.elapsed() < Duration::from_millis(50));
        assert_eq!(gone(&newcomers), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_goes_while_there_is_room() {
        let (slots, _, mut connections) = full(2).await;
        connections.pop().unwrap().abort();
        sleep(Duration::from_hours(1)).await;
        slots.acquire(&timers()).await;
        assert_eq!(gone(&connections), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_new_or_was_just_answered_may_stay_for_a_second() {
        let (slots, clocks, _connections) = full(2).await;
        for other in &clocks {
            drop(InFlight::begin(other, false));
        }
        let before = Instant::now();
        connection(&slots, &timers()).await;
        assert_eq!(before.elapsed().as_secs(), 1);
    }

    /// Red where `evictable_at` takes a request that is worked on for one that waits.
    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_request_is_worked_on_never_goes() {
        let (slots, clocks, connections) = full(2).await;
        let first = InFlight::begin(&clocks[0], false);
        let _second = InFlight::begin(&clocks[1], false);
        let newcomer = timers();
        let waiting = slots.acquire(&newcomer);
        tokio::pin!(waiting);
        tokio::select! {
            _ = &mut waiting => panic!("there was no slot"),
            () = sleep(Duration::from_mins(1)) => {}
        }
        assert_eq!(gone(&connections), [0; 0]);
        drop(first);
        let before = Instant::now();
        waiting.await;
        assert_eq!(before.elapsed().as_secs(), 1);
        assert_eq!(gone(&connections), [0]);
    }

    /// Red where `evicted` does not look again.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_gets_a_request_while_it_is_asked_to_go_stays() {
        let (slots, clocks, connections) = full(2).await;
        let asked = slots.holders().evict_one(Instant::now());
        let _request = InFlight::begin(&clocks[0], false);
        let newcomer = timers();
        slots.acquire(&newcomer).await;
        assert_eq!(asked.elapsed(), Duration::ZERO);
        assert_eq!(gone(&connections), [1]);
    }

    /// A body that never comes, an answer that is never taken, a head that never ends.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_only_waits_for_its_client_goes_after_three_seconds() {
        let (slots, clocks, connections) = full(1).await;
        let _request = InFlight::begin(&clocks[0], true);
        let before = Instant::now();
        slots.acquire(&timers()).await;
        assert_eq!(before.elapsed().as_secs(), 3);
        assert_eq!(gone(&connections), [0]);
    }
}
