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
    /// With the instant from which the session's access tokens are expired anyway.
    ended: HashMap<SessionId, Timestamp>,
    /// When the last reading that succeeded was begun.
    read_at: Option<Instant>,
}

impl EndedSessions {
    pub(super) fn look(&self, session_id: SessionId) -> Sight {
        let view = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if view.ended.contains_key(&session_id) {
            // Nothing un-ends a session, so this holds however old the view is.
            return Sight::Ended;
        }
        match view.read_at {
            Some(at) if at.elapsed() <= TRUSTED_AGE => Sight::Live,
            _ => Sight::Unknown,
        }
    }

    /// Takes in sessions that ended, as read from `read_at` on, and forgets those whose tokens
    /// have all expired by `now`.
    pub(super) fn renew(
        &self,
        read_at: Instant,
        ended: impl IntoIterator<Item = (SessionId, Timestamp)>,
        now: Timestamp,
    ) {
        let mut view = self.0.write().unwrap_or_else(PoisonError::into_inner);
        view.ended.extend(ended);
        view.ended
            .retain(|_, horizon| *horizon + CLOCK_MARGIN > now);
        view.read_at = Some(read_at);
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
    pub(super) fn note(&self, session_id: SessionId, horizon: Timestamp) {
        let mut view = self.0.write().unwrap_or_else(PoisonError::into_inner);
        view.ended.insert(session_id, horizon);
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn a_view_that_is_too_old_concludes_nothing_from_absence() {
        let (view, ended, other) = (
            EndedSessions::default(),
            SessionId::random(),
            SessionId::random(),
        );
        assert_eq!(view.look(other), Sight::Unknown, "nothing was read yet");
        view.renew(Instant::now(), [(ended, at(100))], at(0));
        assert_eq!(view.look(ended), Sight::Ended);
        assert_eq!(view.look(other), Sight::Live);
        tokio::time::advance(TRUSTED_AGE).await;
        assert_eq!(view.look(other), Sight::Live);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(view.look(other), Sight::Unknown);
        assert_eq!(view.look(ended), Sight::Ended, "an end is for good");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_forgotten_when_its_last_token_has_expired_by_any_clock() {
        let (view, session) = (EndedSessions::default(), SessionId::random());
        view.note(session, at(100));
        view.renew(Instant::now(), [], at(399));
        assert_eq!(view.look(session), Sight::Ended);
        view.renew(Instant::now(), [], at(400));
        assert_eq!(view.look(session), Sight::Live);
    }
}
