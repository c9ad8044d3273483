//! The promises that a history must keep, through any fault. Pure functions: each takes the observations
//! and returns the violations.
//!
//! Nobody knows when between its start and its end a request took effect, or whether one without an
//! answer did. So each rule only accuses where no order of events could excuse what was seen.

mod answers;
mod mails;
mod readiness;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::history::{Asked, Gained, Outcome, Request};

pub use answers::{
    answers_are_true, answers_come_in_time, checks_are_answered, nothing_is_dropped,
    nothing_is_unavailable, nothing_unanswered_counts, settled,
};
pub use mails::{mails_are_in_time, one_code_a_challenge};
pub use readiness::readiness_is_true;

/// Observations that must not be.
pub type Violations = Vec<String>;

/// A limit of the configuration under test.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    pub attempts: usize,
    pub window: Duration,
}

/// Every answer that a client got was true and stays true: no success and no refusal was wrong.
pub fn answers_hold(history: &[Request], attempts: usize, lag: Duration) -> Violations {
    let verdicts = [
        one_successor_a_generation(history),
        nothing_after_a_signout(history, lag),
        no_code_twice(history),
        answers_are_true(history, attempts),
    ];
    verdicts.concat()
}

/// Each generation of a session is one pair, byte for byte, and follows from the one before it: of
/// all who present a refresh token, no two get different successors.
pub fn one_successor_a_generation(history: &[Request]) -> Violations {
    let mut wrong = Violations::new();
    let mut pairs: BTreeMap<(&str, i64), &str> = BTreeMap::new();
    for request in history {
        let Outcome::Answered { gained, .. } = &request.outcome else {
            continue;
        };
        let Gained::Pair {
            session,
            generation,
            digest,
        } = gained
        else {
            continue;
        };
        let first = *pairs.entry((session, *generation)).or_insert(digest);
        if first != digest {
            wrong.push(format!("two pairs for one generation: {request:?}"));
        }
        if let Asked::Refresh {
            session: presented,
            generation: before,
        } = &request.asked
            && (presented != session || before + 1 != *generation)
        {
            wrong.push(format!("not the successor: {request:?}"));
        }
    }
    wrong
}

/// Once a sign-out has been answered, no token of its session gets anything: no refresh at all, and
/// no check by the instance that answered. Another instance may take `lag` to know.
pub fn nothing_after_a_signout(history: &[Request], lag: Duration) -> Violations {
    let mut over: BTreeMap<&str, &Request> = BTreeMap::new();
    for request in history.iter().filter(|request| request.is_ok()) {
        if let Asked::Signout { session } = &request.asked {
            over.insert(session, request);
        }
    }
    let is_wrong = |request: &&Request| {
        let (session, lag) = match &request.asked {
            Asked::Refresh { session, .. } | Asked::Signout { session } => {
                (session, Duration::ZERO)
            }
            Asked::Check { session } => (session, lag),
            Asked::Signin { .. } | Asked::Confirm { .. } => return false,
        };
        let Some(signout) = over.get(session.as_str()) else {
            return false;
        };
        let lag = if signout.instance == request.instance {
            Duration::ZERO
        } else {
            lag
        };
        request.is_ok() && request.started > signout.ended + lag
    };
    let wrong = history.iter().filter(is_wrong);
    wrong
        .map(|request| format!("after its sign-out: {request:?}"))
        .collect()
}

/// A challenge opens one session, by its own code, before it is over.
pub fn no_code_twice(history: &[Request]) -> Violations {
    let (mut wrong, mut used) = (Violations::new(), BTreeSet::new());
    for request in history.iter().filter(|request| request.is_ok()) {
        let Asked::Confirm {
            challenge, over_at, ..
        } = &request.asked
        else {
            continue;
        };
        if !used.insert(challenge) {
            wrong.push(format!("a code was used twice: {request:?}"));
        }
        // A second for the clocks of two machines; here they are one.
        if request.started > *over_at + Duration::from_secs(1) {
            wrong.push(format!("a code was used after its end: {request:?}"));
        }
    }
    wrong
}

/// In no window more attempts than the limit allows were looked at. 200 and 401 both prove a look.
pub fn limits_hold(
    history: &[Request],
    signin: Limit,
    confirm: Limit,
    refresh: Limit,
) -> Violations {
    let mut looks: BTreeMap<(&str, &str), Vec<(Duration, Duration)>> = BTreeMap::new();
    let looked_at = |request: &&Request| matches!(request.status(), Some(200 | 401));
    for request in history.iter().filter(looked_at) {
        let (method, key) = match &request.asked {
            Asked::Signin { key, .. } => ("signin", key),
            Asked::Confirm { user, .. } => ("confirm", user),
            Asked::Refresh { .. } | Asked::Check { .. } | Asked::Signout { .. } => continue,
        };
        let interval = (request.started, request.ended);
        looks.entry((method, key)).or_default().push(interval);
    }
    let rotations = rotations(history);
    for ((session, _), interval) in &rotations {
        looks
            .entry(("refresh", session))
            .or_default()
            .push(*interval);
    }
    let mut wrong = Violations::new();
    for ((method, key), intervals) in looks {
        let limit = match method {
            "signin" => signin,
            "confirm" => confirm,
            _ => refresh,
        };
        let most = most_within(&intervals, limit.window);
        if most > limit.attempts {
            wrong.push(format!(
                "{most} attempts within {:?}: {method} {key}",
                limit.window
            ));
        }
    }
    wrong
}

/// When each generation of each session was made: not before its token was first presented, and not
/// after the first answer that brought it. A repeated answer costs no attempt.
fn rotations(history: &[Request]) -> BTreeMap<(&str, i64), (Duration, Duration)> {
    let mut presented: BTreeMap<(&str, i64), Duration> = BTreeMap::new();
    let mut answered: BTreeMap<(&str, i64), Duration> = BTreeMap::new();
    for request in history {
        let Asked::Refresh {
            session,
            generation,
        } = &request.asked
        else {
            continue;
        };
        let from = presented
            .entry((session, *generation))
            .or_insert(request.started);
        *from = request.started.min(*from);
        if request.is_ok() {
            let to = answered
                .entry((session, *generation))
                .or_insert(request.ended);
            *to = request.ended.min(*to);
        }
    }
    let made = answered.into_iter();
    made.map(|(token, to)| (token, (presented[&token], to)))
        .collect()
}

/// The most intervals that lie, each as a whole, within one window of this length.
fn most_within(intervals: &[(Duration, Duration)], window: Duration) -> usize {
    // A hundredth for clocks that do not run alike.
    let window = window.mul_f64(0.99);
    let starts = intervals.iter().map(|(start, _)| *start);
    let within = |from: Duration| {
        let inside = |(start, end): &&(Duration, Duration)| *start >= from && *end <= from + window;
        intervals.iter().filter(inside).count()
    };
    starts.map(within).max().unwrap_or_default()
}
