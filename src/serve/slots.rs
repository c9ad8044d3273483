//! The places for connections, and who gives one up when all are taken.
//!
//! Without this, whoever opens as many connections as there are places and says nothing keeps
//! everybody else out for as long as an idle connection may last. So when all are taken, the
//! connection goes that could have gone for longest; none goes while a request is worked on.
//!
//! To look at every connection for every newcomer would make a flood of newcomers expensive. So a
//! look picks more than the one, and they go one after the other. Nothing that was left out of it
//! was quiet for longer than they, whatever has happened since.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::connection::Pace;

/// A look at all connections picks one in so many, and at least so many.
const PICKED: usize = 64;

/// How long a connection that was asked to go may take, before another is asked too.
const FAREWELL: Duration = Duration::from_millis(100);

/// How long to wait between two looks at all connections, so that looking takes up little.
const PAUSE: Duration = Duration::from_millis(10);

/// The places of a listener.
pub(super) struct Room {
    places: Arc<Semaphore>,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    here: HashMap<u64, Arc<Pace>>,
    next_id: u64,
    /// Those to go next, in this order, with when each could.
    picked: VecDeque<(Instant, u64)>,
    /// When to look at all of them again at the earliest.
    look_again_at: Option<Instant>,
}

/// A connection's place, for as long as it lives.
pub(super) struct Admission {
    _permit: OwnedSemaphorePermit,
    room: Arc<Room>,
    id: u64,
}

impl Room {
    /// So many places, all free.
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            guests: Mutex::default(),
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. While there is none, makes the quietest connections go.
    pub(super) async fn admit(self: &Arc<Self>, pace: &Arc<Pace>) -> Admission {
        loop {
            if let Ok(permit) = self.places.clone().try_acquire_owned() {
                return self.settle(permit, pace.clone());
            }
            let look_again_at = self.guests().ask_one_to_leave(Instant::now());
            tokio::select! {
                permit = self.places.clone().acquire_owned() => {
                    // The semaphore is never closed.
                    if let Ok(permit) = permit {
                        return self.settle(permit, pace.clone());
                    }
                }
                () = sleep_until(look_again_at) => {}
            }
        }
    }

    fn settle(self: &Arc<Self>, permit: OwnedSemaphorePermit, pace: Arc<Pace>) -> Admission {
        let mut guests = self.guests();
        let id = guests.next_id;
        guests.next_id += 1;
        guests.here.insert(id, pace);
        Admission {
            _permit: permit,
            room: self.clone(),
            id,
        }
    }
}

impl Guests {
    /// Asks the connection that could have gone for longest to go, if any can. Tells when to ask
    /// again if that brings no place.
    fn ask_one_to_leave(&mut self, now: Instant) -> Instant {
        let mut next = self.next_picked();
        if next.is_none() {
            let look_again_at = self.look_again_at.filter(|at| now < *at);
            let look_again_at = look_again_at.unwrap_or_else(|| self.pick(now));
            self.look_again_at = Some(look_again_at);
            next = self.next_picked();
            if next.is_none() {
                return look_again_at;
            }
        }
        next.inspect(|pace| pace.ask_to_leave());
        now + FAREWELL
    }

    /// The first of those picked that is still here and has stayed as quiet as it was.
    fn next_picked(&mut self) -> Option<Arc<Pace>> {
        while let Some((at, id)) = self.picked.pop_front() {
            let pace = self.here.get(&id);
            if let Some(pace) = pace.filter(|pace| pace.spare_at() == Some(at)) {
                return Some(pace.clone());
            }
        }
        None
    }

    /// Looks at all connections and picks those that could have gone for longest. Tells when it is
    /// worth looking again.
    fn pick(&mut self, now: Instant) -> Instant {
        let spare = |(id, pace): (&u64, &Arc<Pace>)| pace.spare_at().map(|at| (at, *id));
        let mut all: Vec<_> = self.here.iter().filter_map(spare).collect();
        let count = all.len().div_ceil(PICKED).max(PICKED);
        if count < all.len() {
            all.select_nth_unstable(count);
            all.truncate(count);
        }
        all.sort_unstable();
        let first = all.first().map_or(now, |(at, _)| *at);
        self.picked = all.into_iter().filter(|(at, _)| *at <= now).collect();
        first.max(now + PAUSE)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.room.guests().here.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::serve::ServerLimits;

    fn pace() -> Arc<Pace> {
        Arc::new(Pace::new(ServerLimits::new(1).timeouts))
    }

    /// A connection that says nothing, and goes when it must.
    async fn guest(room: &Arc<Room>, pace: &Arc<Pace>) -> JoinHandle<Instant> {
        let admitted = timeout(Duration::from_mins(1), room.admit(pace)).await;
        let admission = admitted.expect("a place within a minute");
        let pace = pace.clone();
        tokio::spawn(async move {
            pace.must_leave().await;
            drop(admission);
            Instant::now()
        })
    }

    /// Places that are taken one a second by connections which then say nothing.
    async fn full(count: usize) -> (Arc<Room>, Vec<Arc<Pace>>, Vec<JoinHandle<Instant>>) {
        let room = Arc::new(Room::new(count));
        let (mut paces, mut guests) = (Vec::new(), Vec::new());
        for _ in 0..count {
            paces.push(pace());
            guests.push(guest(&room, paces.last().unwrap()).await);
            sleep(Duration::from_secs(1)).await;
        }
        (room, paces, guests)
    }

    fn gone(guests: &[JoinHandle<Instant>]) -> Vec<usize> {
        let gone = guests.iter().enumerate();
        gone.filter(|(_, guest)| guest.is_finished())
            .map(|(n, _)| n)
            .collect()
    }

    /// Red with `ask_to_leave` taken out.
    #[tokio::test(start_paused = true)]
    async fn those_that_were_quiet_for_longest_make_room_first() {
        let (room, paces, guests) = full(300).await;
        let before = Instant::now();
        // It says something before it must go.
        drop(paces[1].enter(false));
        let mut newcomers = Vec::new();
        for n in 1..=200 {
            newcomers.push(guest(&room, &pace()).await);
            let expected: Vec<_> = [0].into_iter().chain(2..=n).collect();
            assert_eq!(gone(&guests), expected[..n]);
        }
        assert!(before.elapsed() < Duration::from_millis(50));
        assert_eq!(gone(&newcomers), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_goes_while_there_is_room() {
        let (room, _, mut guests) = full(2).await;
        guests.pop().unwrap().abort();
        sleep(Duration::from_hours(1)).await;
        room.admit(&pace()).await;
        assert_eq!(gone(&guests), [0; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_just_come_or_been_answered_may_stay_for_a_second() {
        let (room, paces, _guests) = full(2).await;
        for other in &paces {
            drop(other.enter(false));
        }
        let before = Instant::now();
        guest(&room, &pace()).await;
        assert_eq!(before.elapsed().as_secs(), 1);
    }

    /// Red where `spare_at` takes a request that is worked on for one that waits.
    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_request_is_worked_on_never_goes() {
        let (room, paces, guests) = full(2).await;
        let first = paces[0].enter(false);
        let _second = paces[1].enter(false);
        let newcomer = pace();
        let waiting = room.admit(&newcomer);
        tokio::pin!(waiting);
        tokio::select! {
            _ = &mut waiting => panic!("there was no place"),
            () = sleep(Duration::from_mins(1)) => {}
        }
        assert_eq!(gone(&guests), [0; 0]);
        drop(first);
        let before = Instant::now();
        waiting.await;
        assert_eq!(before.elapsed().as_secs(), 1);
        assert_eq!(gone(&guests), [0]);
    }

    /// Red where `must_leave` does not look again.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_gets_a_request_while_it_is_asked_to_go_stays() {
        let (room, paces, guests) = full(2).await;
        let asked = room.guests().ask_one_to_leave(Instant::now());
        let _turn = paces[0].enter(false);
        let newcomer = pace();
        room.admit(&newcomer).await;
        assert_eq!(asked.elapsed(), Duration::ZERO);
        assert_eq!(gone(&guests), [1]);
    }

    /// A body that never comes, an answer that is never taken, a head that never ends.
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_only_waits_for_its_client_goes_after_three_seconds() {
        let (room, paces, guests) = full(1).await;
        let _turn = paces[0].enter(true);
        let before = Instant::now();
        room.admit(&pace()).await;
        assert_eq!(before.elapsed().as_secs(), 3);
        assert_eq!(gone(&guests), [0]);
    }
}
