//! This instance's view of ended sessions: what lets a token be checked without a database.
//!
//! It holds the ids of sessions that have ended while an access token of theirs may still be
//! unexpired, and is read anew from the database a few times a second. While it is fresh, a
//! session that is not in it has not ended. When it is stale nothing is concluded from it.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{SessionId, Timestamp};
use crate::store::EndedSession;
use crate::telemetry::metrics::{ENDED_VIEW_AGE, ENDED_VIEW_SESSIONS};

/// How old the view may be and still be trusted.
const TRUSTED_AGE: Duration = Duration::from_secs(2);

/// How much longer than its tokens a session is remembered: whether a token has expired goes by
/// this process's clock, which may be behind the database's.
const CLOCK_MARGIN: Duration = Duration::from_mins(5);

/// What is known of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// It has not ended.
    Live,
    /// It has ended.
    Ended,
    /// The view is too old to tell.
    Unknown,
}

/// The view; shared by the requests that ask it and the worker that renews it.
#[derive(Debug, Default)]
pub(super) struct EndedSessions(RwLock<View>);

#[derive(Debug, Default)]
struct View {
    ended: HashMap<SessionId, EndedSession>,
    /// When a reading that is under way was begun.
    begun_at: Option<Instant>,
    /// When the last reading that came to its end was begun.
    read_at: Option<Instant>,
    /// The database's clock at its end.
    now: Timestamp,
}

impl View {
    fn is_fresh(&self) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() <= TRUSTED_AGE)
    }

    fn insert(&mut self, ended: Vec<EndedSession>) {
        let ended = ended.into_iter();
        self.ended
            .extend(ended.map(|session| (session.session_id, session)));
    }
}

impl EndedSessions {
    pub(super) fn look(&self, session_id: SessionId) -> Sight {
        let view = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if view.ended.contains_key(&session_id) {
            // Nothing un-ends a session, so this holds however old the view is.
            return Sight::Ended;
        }
        if view.is_fresh() {
            Sight::Live
        } else {
            Sight::Unknown
        }
    }

    /// Takes in what the first steps of a reading found, from `read_at` on.
    pub(super) fn begin(&self, read_at: Instant, ended: Vec<EndedSession>) {
        let mut view = self.0.write().unwrap_or_else(PoisonError::into_inner);
        view.begun_at.get_or_insert(read_at);
        view.insert(ended);
    }

    /// Takes in what a reading, or its last step, found from `read_at` on, and forgets sessions whose
    /// tokens have all expired by `now`.
    ///
    /// A reading of several steps is as old as its first: an end whose commit came late may be dated
    /// to what was read before it.
    pub(super) fn renew(&self, read_at: Instant, ended: Vec<EndedSession>, now: Timestamp) {
        let mut view = self.0.write().unwrap_or_else(PoisonError::into_inner);
        view.insert(ended);
        view.ended
            .retain(|_, session| session.horizon + CLOCK_MARGIN > now);
        view.read_at = Some(view.begun_at.take().unwrap_or(read_at));
        view.now = now;
    }

    /// The first end of a session that may have unexpired tokens, or the time of the last reading if
    /// there is none; `None` if the view is too old to tell.
    pub(super) fn first_end(&self) -> Option<Timestamp> {
        let view = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let ends = view.ended.values().map(|session| session.ended_at);
        let first = ends.fold(view.now, Timestamp::min);
        view.is_fresh().then_some(first)
    }

    /// Says how old it is and how much it holds, for a scrape.
    pub(super) fn measure(&self) {
        let view = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let age = view
            .read_at
            .map_or(f64::INFINITY, |at| at.elapsed().as_secs_f64());
        ENDED_VIEW_AGE.set(age, []);
        ENDED_VIEW_SESSIONS.count(view.ended.len(), []);
    }

    /// Takes in a session that this instance has just ended itself.
    pub(super) fn note(&self, session: EndedSession) {
        let mut view = self.0.write().unwrap_or_else(PoisonError::into_inner);
        view.ended.insert(session.session_id, session);
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

    #[tokio::test(start_paused = true)]
    async fn a_view_that_is_too_old_concludes_nothing_from_absence() {
        let (view, ended, other) = (EndedSessions::default(), ended(), SessionId::random());
        assert_eq!(view.look(other), Sight::Unknown, "nothing was read yet");
        view.renew(Instant::now(), vec![ended], at(0));
        assert_eq!(view.look(ended.session_id), Sight::Ended);
        assert_eq!(view.look(other), Sight::Live);
        tokio::time::advance(TRUSTED_AGE).await;
        assert_eq!(view.look(other), Sight::Live);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(view.look(other), Sight::Unknown);
        assert_eq!(view.first_end(), None);
        let end = view.look(ended.session_id);
        assert_eq!(end, Sight::Ended, "an end is for good");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_forgotten_when_its_last_token_has_expired_by_any_clock() {
        let (view, ended) = (EndedSessions::default(), ended());
        view.note(ended);
        view.renew(Instant::now(), vec![], at(399));
        assert_eq!(view.look(ended.session_id), Sight::Ended);
        assert_eq!(view.first_end(), Some(at(0)));
        view.renew(Instant::now(), vec![], at(400));
        assert_eq!(view.look(ended.session_id), Sight::Live);
        assert_eq!(view.first_end(), Some(at(400)));
    }

    /// Red where a reading is as old as its last step.
    #[tokio::test(start_paused = true)]
    async fn a_reading_of_several_steps_is_as_old_as_its_first() {
        let (view, ended, other) = (EndedSessions::default(), ended(), SessionId::random());
        view.begin(Instant::now(), vec![ended]);
        assert_eq!(view.look(ended.session_id), Sight::Ended);
        assert_eq!(view.look(other), Sight::Unknown, "there is more to read");
        tokio::time::advance(TRUSTED_AGE).await;
        view.begin(Instant::now(), vec![]);
        view.renew(Instant::now(), vec![], at(0));
        assert_eq!(view.look(other), Sight::Live);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(view.look(other), Sight::Unknown);
        view.renew(Instant::now(), vec![], at(0));
        assert_eq!(view.look(other), Sight::Live, "the next one is its own");
    }
}
