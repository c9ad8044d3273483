//! The sessions that have ended, as this instance knows them: with these, a token is checked without a
//! database.
//!
//! The cache holds each session that has ended and may still have an unexpired access token. It is
//! read from the database a few times a second. While it is fresh, a session that is not in it has not
//! ended. When it is stale, nothing is concluded from it.
//!
//! It also keeps the ends in the order in which they can be followed, and answers the feed from that.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::{FeedCursor, FeedPosition, FeedStart, SessionId, Timestamp};
use crate::store::{EndedSession, ReadEnd, UnseenEnds};
use crate::telemetry::metrics::{ENDED_VIEW_AGE, ENDED_VIEW_SESSIONS};

/// The age up to which the cache is trusted.
const TRUSTED_AGE: Duration = Duration::from_secs(2);

/// A session is remembered for this much longer than its tokens live: this process's clock decides
/// whether a token has expired, and may be behind the database's.
const CLOCK_MARGIN: Duration = Duration::from_mins(5);

/// The status of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionStatus {
    /// It has not ended.
    Live,
    /// It has ended.
    Ended,
    /// The cache is too old to tell.
    Unknown,
}

/// A page of the feed of ended sessions.
#[derive(Debug)]
pub struct Revocations {
    /// The sessions, in the order of their ends.
    pub ended: Vec<EndedSession>,
    /// The cursor for the next request.
    pub cursor: FeedCursor,
    /// Whether the page begins with the first end that matters, and not at the given cursor.
    pub is_from_beginning: bool,
}

/// The cache, shared by the requests that ask it and those that renew it.
#[derive(Debug, Default)]
pub(super) struct RevocationCache(RwLock<Ends>);

#[derive(Debug, Default)]
struct Ends {
    ended: HashMap<SessionId, Known>,
    /// The sessions that were read, by their places among all ends.
    in_order: BTreeMap<FeedPosition, EndedSession>,
    /// How far the ends have been read; `None` until all that matter have been.
    cursor: Option<FeedCursor>,
    /// The first transaction that had not begun at that reading.
    next_xid: i64,
    /// When the last complete reading began.
    read_at: Option<Instant>,
    /// The database's clock at the last step of a reading.
    now: Timestamp,
}

/// A session that has ended.
#[derive(Debug, Clone, Copy)]
struct Known {
    session: EndedSession,
    /// The session's place among all ends, once it was read.
    at: Option<FeedPosition>,
}

impl Ends {
    fn is_fresh(&self) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() <= TRUSTED_AGE)
    }

    /// Whether a cursor belongs to the history that was read last, and is not ahead of it.
    fn knows(&self, cursor: &FeedCursor) -> bool {
        let epoch = self.cursor.as_ref().map(FeedCursor::epoch);
        epoch == Some(cursor.epoch()) && cursor.at().xid < self.next_xid
    }

    /// Takes in ends that were read, and tells whether any of them is new.
    ///
    /// The first place of an end counts: one whose transaction is not of this cluster can seem to be in
    /// another place later.
    fn insert(&mut self, ended: Vec<ReadEnd>) -> bool {
        let before = self.in_order.len();
        for ReadEnd { at, session } in ended {
            let known = Known { session, at: None };
            let known = self.ended.entry(session.session_id).or_insert(known);
            if known.at.is_none() {
                known.at = Some(at);
                self.in_order.insert(at, session);
            }
        }
        self.in_order.len() > before
    }

    /// The ends that a cursor has not seen, in their order.
    fn unseen<'a>(
        &'a self,
        cursor: &'a FeedCursor,
    ) -> impl Iterator<Item = (&'a FeedPosition, &'a EndedSession)> {
        let late = cursor.in_flight().iter().flat_map(|xid| {
            let of = |session_id| FeedPosition {
                xid: *xid,
                session_id: SessionId(session_id),
            };
            self.in_order.range(of(Uuid::nil())..=of(Uuid::max()))
        });
        let later = (Bound::Excluded(cursor.at()), Bound::Unbounded);
        late.chain(self.in_order.range(later))
    }

    /// The sessions of some ends whose tokens may be unexpired, at most `count`, and the last of their
    /// places if there are more.
    fn take<'a>(
        &self,
        ends: impl Iterator<Item = (&'a FeedPosition, &'a EndedSession)>,
        count: usize,
    ) -> (Vec<EndedSession>, Option<FeedPosition>) {
        let mut ends = ends
            .filter(|(_, session)| session.horizon > self.now)
            .peekable();
        let (mut taken, mut last) = (Vec::new(), None);
        while taken.len() < count
            && let Some((at, session)) = ends.next()
        {
            taken.push(*session);
            last = Some(*at);
        }
        let is_cut = ends.peek().is_some();
        taken.sort_by_key(|session| (session.ended_at, session.session_id));
        (taken, last.filter(|_| is_cut))
    }
}

impl RevocationCache {
    pub(super) fn status(&self, session_id: SessionId) -> SessionStatus {
        let cache = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if cache.ended.contains_key(&session_id) {
            // Nothing un-ends a session, so this holds however old the cache is.
            return SessionStatus::Ended;
        }
        if cache.is_fresh() {
            SessionStatus::Live
        } else {
            SessionStatus::Unknown
        }
    }

    /// Whether the cache was renewed by a reading that began at `since` or later.
    pub(super) fn was_read_since(&self, since: Instant) -> bool {
        let cache = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cache.read_at.is_some_and(|at| at >= since)
    }

    /// Forgets the order of the ends: it is read again, or has no meaning any more.
    pub(super) fn restart(&self) {
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cache.cursor = None;
        cache.in_order.clear();
        for known in cache.ended.values_mut() {
            known.at = None;
        }
    }

    /// Takes in ends that were there before the reading began.
    pub(super) fn insert(&self, ended: Vec<ReadEnd>) {
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        cache.insert(ended);
    }

    /// Takes in one step of a reading that began at `read_at`, and tells whether it brought anything
    /// new. With the last step, forgets sessions whose tokens have all expired.
    pub(super) fn advance(&self, read_at: Instant, step: UnseenEnds) -> bool {
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = cache.insert(step.ended);
        cache.cursor = Some(step.cursor);
        cache.next_xid = step.next_xid;
        cache.now = step.now;
        if step.is_all {
            let is_of_use = |session: &EndedSession| session.horizon + CLOCK_MARGIN > step.now;
            cache.ended.retain(|_, known| is_of_use(&known.session));
            cache.in_order.retain(|_, session| is_of_use(session));
            cache.read_at = Some(read_at);
        }
        is_news
    }

    /// The page for a reader who has come this far, of at most `count` sessions. A cache that is too
    /// old does not say that there are none: the page is `None` then.
    ///
    /// A cursor of another history has no meaning here, nor has one that is ahead of a cache that was
    /// read later: then the page begins with the first end.
    pub(super) fn page(&self, since: &FeedStart, count: usize) -> Option<Revocations> {
        let cache = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let head = cache.cursor.as_ref()?;
        let since = match since {
            FeedStart::After(cursor) if cache.knows(cursor) => Some(cursor),
            FeedStart::After(_) | FeedStart::Beginning => None,
        };
        let (ended, cut) = match since {
            Some(cursor) => cache.take(cache.unseen(cursor), count),
            None => cache.take(cache.in_order.iter(), count),
        };
        if ended.is_empty() && !cache.is_fresh() {
            return None;
        }
        let cursor = match (since, cut) {
            (Some(cursor), None) => head.joined(cursor),
            (Some(cursor), Some(last)) => head.joined_up_to(cursor, last),
            (None, None) => head.clone(),
            (None, Some(last)) => head.joined_up_to(head, last),
        };
        Some(Revocations {
            ended,
            cursor,
            is_from_beginning: since.is_none(),
        })
    }

    /// Whether the cache is fresh, and not older than a cursor.
    pub(super) fn reaches(&self, since: &FeedStart) -> bool {
        let cache = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match since {
            FeedStart::Beginning => false,
            FeedStart::After(cursor) => cache.is_fresh() && cache.knows(cursor),
        }
    }

    /// Records the cache's age and size in the metrics.
    pub(super) fn record_metrics(&self) {
        let cache = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let age = cache
            .read_at
            .map_or(f64::INFINITY, |at| at.elapsed().as_secs_f64());
        ENDED_VIEW_AGE.set(age, []);
        ENDED_VIEW_SESSIONS.count(cache.ended.len(), []);
    }

    /// Takes in a session that this instance has just ended itself.
    pub(super) fn note(&self, session: EndedSession) {
        let mut cache = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = Known { session, at: None };
        cache.ended.entry(session.session_id).or_insert(known);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// A session that ended at zero and whose tokens expire at 100.
    fn ended() -> EndedSession {
        EndedSession {
            session_id: SessionId::random(),
            ended_at: at(0),
            horizon: at(100),
        }
    }

    /// The end of a session by a transaction.
    fn end_by(xid: i64) -> ReadEnd {
        let session = ended();
        let session_id = session.session_id;
        let at = FeedPosition { xid, session_id };
        ReadEnd { at, session }
    }

    /// A cursor that stands behind an end, with transactions under way.
    fn behind(end: ReadEnd, in_flight: &[i64]) -> FeedCursor {
        FeedCursor::new(1, end.at, in_flight.to_vec())
    }

    fn step(ended: Vec<ReadEnd>, cursor: FeedCursor, now: Timestamp) -> UnseenEnds {
        UnseenEnds {
            ended,
            next_xid: cursor.at().xid + 1,
            cursor,
            is_all: true,
            now,
        }
    }

    /// A cache that was renewed just now.
    fn renewed(cache: &RevocationCache, now: Timestamp) {
        let cursor = FeedCursor::new(1, FeedPosition::FIRST, vec![]);
        cache.advance(Instant::now(), step(vec![], cursor, now));
    }

    fn ids(page: &Revocations) -> Vec<SessionId> {
        let ended = page.ended.iter();
        ended.map(|session| session.session_id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_view_that_is_too_old_concludes_nothing_from_absence() {
        let (cache, end, other) = (RevocationCache::default(), end_by(1), SessionId::random());
        assert_eq!(
            cache.status(other),
            SessionStatus::Unknown,
            "nothing was read yet"
        );
        cache.insert(vec![end]);
        let ended = end.session.session_id;
        assert_eq!(cache.status(ended), SessionStatus::Ended);
        assert_eq!(
            cache.status(other),
            SessionStatus::Unknown,
            "there is more to read"
        );
        assert!(cache.page(&FeedStart::Beginning, 9).is_none());
        cache.advance(Instant::now(), step(vec![end], behind(end, &[]), at(0)));
        assert_eq!(cache.status(other), SessionStatus::Live);
        tokio::time::advance(TRUSTED_AGE).await;
        assert_eq!(cache.status(other), SessionStatus::Live);
        assert!(cache.page(&FeedStart::Beginning, 9).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cache.status(other), SessionStatus::Unknown);
        assert_eq!(
            cache.status(ended),
            SessionStatus::Ended,
            "an end is for good"
        );
        let page = cache.page(&FeedStart::Beginning, 9).unwrap();
        assert_eq!(ids(&page), [ended]);
        assert!(cache.page(&FeedStart::After(page.cursor), 9).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_forgotten_when_its_last_token_has_expired_by_any_clock() {
        let (cache, noted, read) = (RevocationCache::default(), ended(), end_by(1));
        cache.note(noted);
        cache.insert(vec![read]);
        renewed(&cache, at(399));
        for session in [noted, read.session] {
            assert_eq!(cache.status(session.session_id), SessionStatus::Ended);
        }
        renewed(&cache, at(400));
        for session in [noted, read.session] {
            assert_eq!(cache.status(session.session_id), SessionStatus::Live);
        }
    }

    /// Red where a page begins at the place of the cursor in every case.
    #[tokio::test(start_paused = true)]
    async fn a_page_has_the_ends_whose_commits_came_late_and_none_that_was_seen() {
        let cache = RevocationCache::default();
        let [late, seen, new] = [3, 5, 7].map(end_by);
        let cursor = behind(seen, &[3]);
        let ends = vec![late, seen, new];
        cache.advance(Instant::now(), step(ends, behind(new, &[6]), at(0)));
        let page = cache.page(&FeedStart::After(cursor), 9).unwrap();
        assert!(!page.is_from_beginning);
        let mut told = ids(&page);
        told.sort();
        let mut expected = vec![late.session.session_id, new.session.session_id];
        expected.sort();
        assert_eq!(told, expected);
        assert_eq!(page.cursor, behind(new, &[6]));
        let next = cache.page(&FeedStart::After(page.cursor), 9).unwrap();
        assert!(next.ended.is_empty() && !next.is_from_beginning);
    }

    /// Red where a cut page has the cursor of a whole one.
    #[tokio::test(start_paused = true)]
    async fn pages_of_any_length_tell_each_end_once_it_is_seen() {
        let cache = RevocationCache::default();
        let ends: Vec<_> = [2, 2, 2, 4, 5, 5, 8].map(end_by).to_vec();
        let last = *ends.iter().max_by_key(|end| end.at).unwrap();
        cache.advance(Instant::now(), step(ends.clone(), behind(last, &[]), at(0)));
        for count in 1..=ends.len() {
            let mut since = FeedStart::Beginning;
            let mut told = Vec::new();
            loop {
                let page = cache.page(&since, count).unwrap();
                if page.ended.is_empty() {
                    break;
                }
                told.extend(ids(&page));
                since = FeedStart::After(page.cursor);
            }
            told.sort();
            let mut all: Vec<_> = ends.iter().map(|end| end.session.session_id).collect();
            all.sort();
            assert_eq!(told, all, "in pages of {count}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cursor_of_another_history_or_of_the_future_begins_again() {
        let cache = RevocationCache::default();
        let end = end_by(5);
        cache.advance(Instant::now(), step(vec![end], behind(end, &[]), at(0)));
        let of_another = FeedCursor::new(2, end.at, vec![]);
        for cursor in [of_another, behind(end_by(6), &[])] {
            assert!(!cache.reaches(&FeedStart::After(cursor.clone())));
            let page = cache.page(&FeedStart::After(cursor), 9).unwrap();
            assert_eq!(ids(&page), [end.session.session_id]);
            assert!(page.is_from_beginning);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_is_noted_here_is_no_news_before_it_is_read() {
        let (cache, end) = (RevocationCache::default(), end_by(5));
        cache.note(end.session);
        assert_eq!(cache.status(end.session.session_id), SessionStatus::Ended);
        for is_news in [true, false] {
            let step = step(vec![end], behind(end, &[]), at(0));
            assert_eq!(cache.advance(Instant::now(), step), is_news);
        }
    }
}
