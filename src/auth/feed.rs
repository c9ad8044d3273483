//! Following the ends of sessions: for this instance's revocation cache, and for services.
//!
//! A process has one reading under way at a time, and it serves all requests that came before it
//! began. The feed is answered from the cache, so a thousand services that wait for news cost the
//! database as much as one.

use std::time::Duration;

use tokio::sync::{Mutex, Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Auth;
use super::revocation_cache::Revocations;
use crate::domain::{FeedCursor, FeedStart, SessionId, Timestamp};
use crate::store::{DEADLINE, EndedSession, StoreError};
use crate::telemetry::metrics::FEED_WAITING;

/// The time between two renewals of the cache: an end is known on every instance within a second.
const INTERVAL: Duration = Duration::from_millis(400);

/// The same while a service waits for news.
const INTERVAL_FOR_NEWS: Duration = Duration::from_millis(50);

/// The least time between two renewals because this instance itself ended a session.
const PAUSE: Duration = Duration::from_millis(10);

/// Ended sessions that are read at once: few enough for a statement's time limit, even if each row
/// comes from a disk.
const READ_AT_ONCE: i64 = 10_000;

/// Entries of a page.
const PAGE: usize = 10_000;

/// Why the feed is not answered.
#[derive(Debug)]
pub enum RevocationsError {
    /// As many services as may wait for news do so already.
    TooManyWaiting,
    /// The revocation cache is stale and the database failed.
    Store(StoreError),
}

impl From<StoreError> for RevocationsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The state that the readers of the ends share.
#[derive(Debug)]
pub(super) struct Feed {
    /// How far the reading has come. The holder of the lock reads.
    progress: Mutex<Progress>,
    /// Rings when a reading should not wait for its time.
    is_due: Notify,
    news: watch::Sender<News>,
    places: Semaphore,
    max_waiting: usize,
}

/// The news for those who wait.
#[derive(Debug, Default)]
struct News {
    /// The server stops: no request waits any more.
    is_stopping: bool,
}

/// How far this instance has come with reading the ends.
#[derive(Debug, Default)]
enum Progress {
    #[default]
    Nothing,
    /// It reads, in the order of their dates, those that were there when it began.
    Begun {
        head: FeedCursor,
        stopped_at: Option<(Timestamp, SessionId)>,
    },
    /// It has read all that a cursor has seen.
    Following(FeedCursor),
}

/// A place among those who wait.
struct Place<'a>(#[expect(dead_code, reason = "held for its drop")] SemaphorePermit<'a>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        FEED_WAITING.shift(-1.0, []);
    }
}

impl Feed {
    pub(super) fn new(max_waiting: usize) -> Self {
        FEED_WAITING.shift(0.0, []);
        Self {
            progress: Mutex::default(),
            is_due: Notify::new(),
            news: watch::Sender::default(),
            places: Semaphore::new(max_waiting),
            max_waiting,
        }
    }

    fn is_waited_for(&self) -> bool {
        self.places.available_permits() < self.max_waiting
    }

    fn take_place(&self) -> Option<Place<'_>> {
        let permit = self.places.try_acquire().ok()?;
        FEED_WAITING.shift(1.0, []);
        // The worker reads slowly while no service waits, and has to learn of this one.
        self.is_due.notify_one();
        Some(Place(permit))
    }
}

impl Auth {
    /// Lets this instance know at once of a session that it ended itself, and those who wait for news
    /// soon.
    pub(super) fn note_end(&self, session: EndedSession) {
        self.0.revocations.note(session);
        if self.0.feed.is_waited_for() {
            self.0.feed.is_due.notify_one();
        }
    }

    /// Waits until the revocation cache is to be renewed again.
    pub async fn ended_sessions_are_due(&self) {
        let feed = &self.0.feed;
        let interval = if feed.is_waited_for() {
            INTERVAL_FOR_NEWS
        } else {
            INTERVAL
        };
        sleep(PAUSE).await;
        tokio::select! {
            () = sleep(interval) => {}
            () = feed.is_due.notified() => {}
        }
    }

    /// Reads the sessions that ended since the last reading into the revocation cache, unless another
    /// reading began after this was called. Ends that were read before a failure stay read.
    pub async fn renew_ended_sessions(&self) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let mut progress = self.0.feed.progress.lock().await;
        while !self.0.revocations.was_read_since(asked_at) {
            let next = self.read_on(&progress).await?;
            *progress = next;
        }
        Ok(())
    }

    /// Takes one step of a reading.
    async fn read_on(&self, progress: &Progress) -> Result<Progress, StoreError> {
        let (store, cache) = (&self.0.store, &self.0.revocations);
        let read_at = Instant::now();
        Ok(match progress {
            Progress::Nothing => {
                let head = store.find_feed_head().await?;
                cache.restart();
                Progress::Begun {
                    head,
                    stopped_at: None,
                }
            }
            Progress::Begun { head, stopped_at } => {
                let step = store.list_ends_by_date(*stopped_at, READ_AT_ONCE).await?;
                cache.insert(step.ended);
                let head = head.clone();
                match step.stopped_at {
                    None => Progress::Following(head),
                    stopped_at => Progress::Begun { head, stopped_at },
                }
            }
            Progress::Following(cursor) => {
                let Some(step) = store.list_unseen_ends(cursor, READ_AT_ONCE).await? else {
                    return Ok(Progress::Nothing);
                };
                let cursor = step.cursor.clone();
                if cache.advance(read_at, step) {
                    self.0.feed.news.send_modify(|_| {});
                }
                Progress::Following(cursor)
            }
        })
    }

    /// Sessions that ended since a cursor, and the next cursor.
    ///
    /// With a time to wait, and none that ended since: those that end within that time, as soon as
    /// they do. A request that waits holds no connection to the database.
    pub async fn revocations(
        &self,
        since: &FeedStart,
        wait: Duration,
    ) -> Result<Revocations, RevocationsError> {
        let feed = &self.0.feed;
        let until = Instant::now() + wait;
        let mut news = feed.news.subscribe();
        let mut caught_up = Ok(());
        if wait.is_zero() || !self.0.revocations.reaches(since) {
            caught_up = self.catch_up().await;
        }
        let mut place = None;
        loop {
            let page = self.page(since, caught_up).await?;
            caught_up = Ok(());
            let is_stopping = news.borrow_and_update().is_stopping;
            let is_told = !page.ended.is_empty() || page.is_from_beginning;
            if is_told || is_stopping || until <= Instant::now() {
                return Ok(page);
            }
            if place.is_none() {
                let taken = feed.take_place().ok_or(RevocationsError::TooManyWaiting)?;
                place = Some(taken);
            }
            tokio::select! {
                () = sleep_until(until) => {}
                _ = news.changed() => {}
            }
        }
    }

    /// A page from the cache, which was `caught_up` with the database or not. Sessions that are known
    /// to have ended are told in any case.
    async fn page(
        &self,
        since: &FeedStart,
        caught_up: Result<(), StoreError>,
    ) -> Result<Revocations, StoreError> {
        let cache = &self.0.revocations;
        let page = cache.page(since, PAGE);
        if let Some(page) = page.filter(|page| caught_up.is_ok() || !page.ended.is_empty()) {
            return Ok(page);
        }
        caught_up?;
        self.catch_up().await?;
        cache.page(since, PAGE).ok_or(StoreError::TimedOut)
    }

    /// Renews the cache for a request, which cannot wait long for the readings of others.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let renewed = timeout(DEADLINE, self.renew_ended_sessions()).await;
        renewed.map_err(|_| StoreError::TimedOut)?
    }

    /// Answers all that wait for news, and lets none wait any more. For the stop of the server.
    pub fn end_waiting(&self) {
        self.0.feed.news.send_modify(|news| news.is_stopping = true);
    }
}
