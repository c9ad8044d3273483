//! Whether each answer is one that a server without faults could have given, or says 503.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Limit, Violations};
use crate::history::{Asked, Outcome, Request};
use crate::metronome::Stolen;

/// No fault is taken for a refusal or for a success: a right request is never 401, a wrong one never
/// 200, and there is no other answer than these, 429 (with a cause) and 503.
pub fn answers_are_true(history: &[Request], attempts: usize) -> Violations {
    let facts = Facts::of(history);
    let mut wrong = Violations::new();
    for request in history {
        let Some(status) = request.status() else {
            continue;
        };
        let is_true = match status {
            200 => !is_wrong_secret(&request.asked),
            401 => facts.excuse_401(request),
            429 => facts.excuse_429(request, attempts),
            503 => true,
            _ => false,
        };
        if !is_true {
            wrong.push(format!("an untrue answer: {request:?}"));
        }
    }
    wrong
}

/// The excuses for a refusal.
#[derive(Default)]
struct Facts<'a> {
    /// When each session may first have been ended.
    ended: BTreeMap<&'a str, Duration>,
    /// When the right code of each challenge was first sent, by whom it may have been used.
    used: BTreeMap<&'a str, Vec<&'a Request>>,
    signouts: BTreeMap<&'a str, Vec<&'a Request>>,
    /// When attempts under each key began.
    attempts: BTreeMap<String, Vec<Duration>>,
}

impl<'a> Facts<'a> {
    fn of(history: &'a [Request]) -> Self {
        let mut facts = Self::default();
        for request in history.iter().filter(|r| r.outcome != Outcome::Refused) {
            if let Some(key) = limited_by(&request.asked) {
                facts.attempts.entry(key).or_default().push(request.started);
            }
            if !request.may_have_happened() {
                continue;
            }
            match &request.asked {
                Asked::Signout { session } => {
                    let first = facts.ended.entry(session).or_insert(request.started);
                    *first = request.started.min(*first);
                    facts.signouts.entry(session).or_default().push(request);
                }
                Asked::Confirm {
                    challenge,
                    is_right: true,
                    ..
                } => facts.used.entry(challenge).or_default().push(request),
                Asked::Confirm { .. }
                | Asked::Signin { .. }
                | Asked::Refresh { .. }
                | Asked::Check { .. } => {}
            }
        }
        for starts in facts.attempts.values_mut() {
            starts.sort();
        }
        facts
    }

    fn excuse_401(&self, request: &Request) -> bool {
        let by_another = |others: Option<&Vec<&Request>>| {
            let mut others = others.into_iter().flatten();
            others.any(|other| !std::ptr::eq(*other, request) && other.started < request.ended)
        };
        match &request.asked {
            Asked::Signin { is_right, .. } => !is_right,
            Asked::Confirm {
                is_right: false, ..
            } => true,
            Asked::Confirm {
                challenge, over_at, ..
            } => request.ended >= *over_at || by_another(self.used.get(challenge.as_str())),
            Asked::Refresh { session, .. } | Asked::Check { session } => {
                let ended = self.ended.get(session.as_str());
                ended.is_some_and(|at| *at < request.ended)
            }
            Asked::Signout { session } => by_another(self.signouts.get(session.as_str())),
        }
    }

    /// A limit takes more attempts than it allows before it refuses one.
    fn excuse_429(&self, request: &Request, attempts: usize) -> bool {
        let key = limited_by(&request.asked);
        let others = key.and_then(|key| self.attempts.get(&key));
        others.is_some_and(|others| {
            others.partition_point(|started| *started < request.ended) > attempts
        })
    }
}

/// An attempt that was answered 503 does not count from then on: where one is refused for too many, more
/// than the allowed ones before it were answered otherwise or not yet, within a window before a block that
/// may be on.
pub fn nothing_unanswered_counts(history: &[Request], limit: Limit, block: Duration) -> Violations {
    let mut counted: BTreeMap<String, Vec<&Request>> = BTreeMap::new();
    for request in history.iter().filter(|r| r.outcome != Outcome::Refused) {
        if let Some(key) = limited_by(&request.asked) {
            counted.entry(key).or_default().push(request);
        }
    }
    let is_excused = |request: &Request| {
        let key = limited_by(&request.asked);
        let others = key.and_then(|key| counted.get(&key));
        others.is_some_and(|others| {
            let since = request.started.saturating_sub(limit.window + block);
            let may_count = |other: &&&Request| {
                let is_near = other.ended >= since && other.started < request.ended;
                is_near && (other.status() != Some(503) || other.ended > request.started)
            };
            others.iter().filter(may_count).count() > limit.attempts
        })
    };
    let refused = history.iter().filter(|r| r.status() == Some(429));
    refused
        .filter(|request| !is_excused(request))
        .map(|request| format!("counted though it was answered 503: {request:?}"))
        .collect()
}

/// Between two instants, no check of a token was put off.
pub fn checks_are_answered(
    history: &[Request],
    from: Duration,
    to: Duration,
    stolen: &[Stolen],
) -> Violations {
    let is_put_off = |r: &&Request| {
        let is_check = matches!(r.asked, Asked::Check { .. });
        let is_within = r.started >= from && r.ended <= to;
        is_check && is_within && r.status() == Some(503) && !was_starved(r, stolen)
    };
    let put_off = history.iter().filter(is_put_off);
    put_off
        .map(|request| format!("a check while reads work: {request:?}"))
        .collect()
}

fn is_wrong_secret(asked: &Asked) -> bool {
    matches!(
        asked,
        Asked::Signin {
            is_right: false,
            ..
        } | Asked::Confirm {
            is_right: false,
            ..
        }
    )
}

/// The key that attempts are counted by.
fn limited_by(asked: &Asked) -> Option<String> {
    match asked {
        Asked::Signin { key, .. } => Some(format!("signin {key}")),
        Asked::Confirm { user, .. } => Some(format!("confirm {user}")),
        Asked::Refresh { session, .. } => Some(format!("refresh {session}")),
        Asked::Check { .. } | Asked::Signout { .. } => None,
    }
}

/// Every answer comes in time: a fault keeps nobody waiting.
pub fn answers_come_in_time(history: &[Request], bound: Duration, stolen: &Stolen) -> Violations {
    let ours = |r: &Request| {
        let stolen = stolen.between(r.started, r.ended);
        r.took().saturating_sub(stolen)
    };
    let late = |r: &&Request| r.status().is_some() && ours(r) > bound;
    let late = history.iter().filter(late);
    late.map(|request| format!("after {:?}: {request:?}", ours(request)))
        .collect()
}

/// Every request that reached a server got its answer.
pub fn nothing_is_dropped(history: &[Request]) -> Violations {
    let lost = history.iter().filter(|r| r.outcome == Outcome::Lost);
    lost.map(|request| format!("no answer: {request:?}"))
        .collect()
}

/// Nobody was told 503: nothing that people wait for was in trouble.
pub fn nothing_is_unavailable(history: &[Request], stolen: &[Stolen]) -> Violations {
    let refused = |r: &&Request| r.status() == Some(503) && !was_starved(r, stolen);
    let refused = history.iter().filter(refused);
    refused
        .map(|request| format!("503 without a cause: {request:?}"))
        .collect()
}

/// After the fault, from `since` on, nothing is refused for it any more.
pub fn settled(history: &[Request], since: Duration, stolen: &[Stolen]) -> Violations {
    let is_answered = |r: &Request| matches!(r.status(), Some(status) if status != 503);
    let troubled = |r: &&Request| r.started >= since && !is_answered(r) && !was_starved(r, stolen);
    let troubled = history.iter().filter(troubled);
    troubled
        .map(|request| format!("after the recovery: {request:?}"))
        .collect()
}

/// Whether a deadline may have passed because others had the machine: a tenth of the time was
/// theirs by one of these clocks, and it was long enough for a deadline.
fn was_starved(request: &Request, stolen: &[Stolen]) -> bool {
    let is_theirs = |stolen: &Stolen| stolen.share(request.started, request.ended) > 0.1;
    request.took() > Duration::from_secs(1) && stolen.iter().any(is_theirs)
}
