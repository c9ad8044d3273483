//! The rule by which a refresh token is traded for the next pair.

use std::time::Duration;

use chrono::TimeDelta;

use super::{Generation, Limit, Timestamp};

/// The facts by which the rotation rule decides, as read from the locked row.
#[derive(Debug, Clone)]
pub struct RotationFacts {
    /// The current generation.
    pub generation: Generation,
    /// From when the grace of the one before counts: when this one was made, or later.
    pub grace_from: Timestamp,
    /// For how long since then nobody could have been handed a pair. It does not count.
    pub stalled: Duration,
    /// When the session expires if it is not refreshed.
    pub idle_expires_at: Timestamp,
    /// Whether it was ended.
    pub is_ended: bool,
    /// Whether its user exists and is enabled.
    pub user_is_enabled: bool,
    /// Counted attempts, oldest first.
    pub hits: Vec<Timestamp>,
    /// The end of a block that was started.
    pub blocked_until: Option<Timestamp>,
}

impl RotationFacts {
    /// The part of the grace that is used up at `now`.
    fn grace_used(&self, now: Timestamp) -> TimeDelta {
        let stalled = TimeDelta::from_std(self.stalled).unwrap_or(TimeDelta::MAX);
        (now - self.grace_from - stalled).max(TimeDelta::zero())
    }

    fn is_within_grace(&self, now: Timestamp, rule: &RotationRule) -> bool {
        TimeDelta::from_std(rule.grace).is_ok_and(|grace| self.grace_used(now) < grace)
    }

    /// Whether `presented` is reuse for no other reason than that its grace is over, so that it matters
    /// whether an outage used the grace up.
    #[must_use]
    pub fn is_late(&self, presented: Generation, now: Timestamp, rule: &RotationRule) -> bool {
        self.is_live(now) && presented.precedes(self.generation) && !self.is_within_grace(now, rule)
    }

    /// From when the grace counts if the outage that stalled it ends now; `None` if the grace had run out,
    /// or if `presented` lost none of it. `alone` is the part of the outage that is not on record: the rest
    /// is taken off by itself.
    #[must_use]
    pub fn later_grace(
        &self,
        presented: Generation,
        alone: Duration,
        now: Timestamp,
        rule: &RotationRule,
    ) -> Option<Timestamp> {
        let is_kept = self.is_live(now)
            && presented.precedes(self.generation)
            && self.is_within_grace(now, rule);
        let grace_from = now.min(self.grace_from + alone);
        (is_kept && grace_from > self.grace_from).then_some(grace_from)
    }

    fn is_live(&self, now: Timestamp) -> bool {
        !self.is_ended && self.user_is_enabled && self.idle_expires_at > now
    }

    /// Whether a block is on at `now`.
    #[must_use]
    pub fn is_blocked(&self, now: Timestamp) -> bool {
        self.blocked_until.is_some_and(|until| until > now)
    }

    /// The attempts that still count at `now`. After a block that has run out the count starts at
    /// zero.
    #[must_use]
    pub fn counted_hits(&self, now: Timestamp, window: Duration) -> Vec<Timestamp> {
        match self.blocked_until {
            Some(_) => Vec::new(),
            None => self
                .hits
                .iter()
                .copied()
                .filter(|hit| *hit > now - window)
                .collect(),
        }
    }
}

/// The settings of the rotation rule.
#[derive(Debug, Clone, Copy)]
pub struct RotationRule {
    /// For how long after a rotation the token before it still gets the same answer.
    pub grace: Duration,
    /// Refreshes per session.
    pub limit: Limit,
}

/// The decision on a presented refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It is current: the next generation. Counts.
    Advance,
    /// It was current a moment ago: the current pair again. Does not count.
    Repeat,
    /// A block is on.
    Blocked {
        /// Its end.
        until: Timestamp,
    },
    /// One too many: a block starts.
    StartBlock,
    /// It is older than the grace allows, or from a future that the database lost: the session ends even
    /// if the limit is reached. Counts, unless a block is on.
    Reused,
    /// The session has ended, or its user is disabled or gone. Counts.
    Ended,
}

/// Decides on a refresh token of generation `presented`.
///
/// A token that was certainly used before ends its live session before any limit is asked. Otherwise a
/// thief could use the limit up: the owner's old token would be refused and never show the theft
/// (RFC 9700, section 4.14.2). The limit may refuse all others: during a block, the current token and the
/// one before are refused. A repeat within the grace costs no attempt, so that any number of tabs may wake
/// at once.
#[must_use]
pub fn decide_rotation(
    facts: &RotationFacts,
    presented: Generation,
    now: Timestamp,
    rule: &RotationRule,
) -> Rotation {
    let is_live = facts.is_live(now);
    let is_current = presented == facts.generation;
    let is_repeat = presented.precedes(facts.generation) && facts.is_within_grace(now, rule);
    if is_live && !is_current && !is_repeat {
        return Rotation::Reused;
    }
    if let Some(until) = facts.blocked_until.filter(|until| *until > now) {
        return Rotation::Blocked { until };
    }
    if is_live && is_repeat {
        return Rotation::Repeat;
    }
    let counted = facts.counted_hits(now, rule.limit.window).len();
    if counted >= rule.limit.attempts as usize {
        Rotation::StartBlock
    } else if is_live {
        Rotation::Advance
    } else {
        Rotation::Ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: RotationRule = RotationRule {
        grace: Duration::from_secs(30),
        limit: Limit {
            attempts: 5,
            window: Duration::from_mins(1),
            block: Some(Duration::from_mins(5)),
        },
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// A session whose fourth generation was made at second 1000.
    fn facts() -> RotationFacts {
        RotationFacts {
            generation: Generation(4),
            grace_from: at(1000),
            stalled: Duration::ZERO,
            idle_expires_at: at(5000),
            is_ended: false,
            user_is_enabled: true,
            hits: vec![at(1000)],
            blocked_until: None,
        }
    }

    fn decide(facts: &RotationFacts, presented: i64, now: i64) -> Rotation {
        decide_rotation(facts, Generation(presented), at(now), &RULE)
    }

    #[test]
    fn the_current_generation_advances_until_the_session_has_idled_out() {
        assert_eq!(decide(&facts(), 4, 1000), Rotation::Advance);
        assert_eq!(decide(&facts(), 4, 4999), Rotation::Advance);
        assert_eq!(decide(&facts(), 4, 5000), Rotation::Ended);
    }

    #[test]
    fn the_generation_before_repeats_within_the_grace_and_is_reuse_after_it() {
        assert_eq!(decide(&facts(), 3, 1000), Rotation::Repeat);
        assert_eq!(decide(&facts(), 3, 1029), Rotation::Repeat);
        assert_eq!(decide(&facts(), 3, 1030), Rotation::Reused);
    }

    #[test]
    fn time_in_which_nobody_could_be_handed_a_pair_uses_none_of_the_grace_up() {
        let stalled = |seconds| RotationFacts {
            stalled: Duration::from_secs(seconds),
            ..facts()
        };
        for (seconds, now, decided) in [
            (0, 1029, Rotation::Repeat),
            (0, 1030, Rotation::Reused),
            (43, 1043, Rotation::Repeat),
            (43, 1072, Rotation::Repeat),
            (43, 1073, Rotation::Reused),
            (700, 1729, Rotation::Repeat),
            (700, 1730, Rotation::Reused),
        ] {
            assert_eq!(decide(&stalled(seconds), 3, now), decided, "{now}");
            assert_eq!(decide(&stalled(seconds), 2, now), Rotation::Reused);
            assert_eq!(decide(&stalled(seconds), 4, now), Rotation::Advance);
            let is_late = stalled(0).is_late(Generation(3), at(now), &RULE);
            assert_eq!(is_late, now >= 1030, "the cause of the stall is asked for");
        }
        let none = RotationRule {
            grace: Duration::ZERO,
            ..RULE
        };
        let decided = decide_rotation(&stalled(43), Generation(3), at(1020), &none);
        assert_eq!(
            decided,
            Rotation::Reused,
            "there is no grace to stand still"
        );
    }

    /// Red where it is extended even if none of it was left.
    #[test]
    fn an_outage_leaves_the_rest_of_a_grace_and_revives_none_that_had_run_out() {
        let later = |stalled, presented, now| {
            let facts = RotationFacts {
                stalled: Duration::from_secs(stalled),
                ..facts()
            };
            facts.later_grace(Generation(presented), facts.stalled, at(now), &RULE)
        };
        assert_eq!(later(50, 3, 1060), Some(at(1050)), "20 s are left");
        assert_eq!(later(50, 3, 1079), Some(at(1050)), "1 s is left");
        assert_eq!(later(50, 3, 1080), None, "none was left");
        assert_eq!(later(90, 3, 1060), Some(at(1060)), "never more than all");
        assert_eq!(later(0, 3, 1010), None, "nothing was lost");
        for other in [2, 4, 5] {
            assert_eq!(later(50, other, 1060), None, "the session has gone on");
        }
        let ended = RotationFacts {
            is_ended: true,
            stalled: Duration::from_secs(50),
            ..facts()
        };
        assert_eq!(
            ended.later_grace(Generation(3), ended.stalled, at(1060), &RULE),
            None
        );
    }

    /// Red where all of it is told: the time on record would be taken off twice.
    #[test]
    fn an_outage_on_record_moves_the_grace_no_second_time() {
        let facts = RotationFacts {
            stalled: Duration::from_secs(50),
            ..facts()
        };
        let later = |alone| {
            let alone = Duration::from_secs(alone);
            facts.later_grace(Generation(3), alone, at(1060), &RULE)
        };
        assert_eq!(later(0), None);
        assert_eq!(later(10), Some(at(1010)));
    }

    #[test]
    fn any_other_generation_is_reuse() {
        for presented in [i64::MIN, -1, 0, 1, 2, 5, i64::MAX] {
            assert_eq!(
                decide(&facts(), presented, 1001),
                Rotation::Reused,
                "{presented}"
            );
        }
    }

    #[test]
    fn nothing_is_had_from_a_session_that_ended_or_whose_user_is_disabled() {
        let ended = RotationFacts {
            is_ended: true,
            ..facts()
        };
        let disabled = RotationFacts {
            user_is_enabled: false,
            ..facts()
        };
        for presented in [2, 3, 4, 5] {
            assert_eq!(decide(&ended, presented, 1001), Rotation::Ended);
            assert_eq!(decide(&disabled, presented, 1001), Rotation::Ended);
        }
    }

    #[test]
    fn the_sixth_attempt_within_a_minute_starts_a_block() {
        let full = RotationFacts {
            hits: (996..=1000).map(at).collect(),
            ..facts()
        };
        let ended = RotationFacts {
            is_ended: true,
            ..full.clone()
        };
        assert_eq!(decide(&full, 4, 1010), Rotation::StartBlock);
        assert_eq!(decide(&ended, 4, 1010), Rotation::StartBlock);
        assert_eq!(
            decide(&full, 3, 1010),
            Rotation::Repeat,
            "a repeat does not count"
        );
        assert_eq!(decide(&full, 4, 1055), Rotation::StartBlock);
        assert_eq!(
            decide(&full, 4, 1056),
            Rotation::Advance,
            "the oldest has left the window"
        );
    }

    #[test]
    fn while_a_block_is_on_good_tokens_are_refused_and_after_it_the_count_starts_at_zero() {
        let blocked = RotationFacts {
            hits: (996..=1000).map(at).collect(),
            blocked_until: Some(at(1020)),
            ..facts()
        };
        for presented in [3, 4] {
            assert_eq!(
                decide(&blocked, presented, 1019),
                Rotation::Blocked { until: at(1020) }
            );
        }
        assert_eq!(decide(&blocked, 4, 1020), Rotation::Advance);
        let ended = RotationFacts {
            is_ended: true,
            ..blocked
        };
        for presented in [2, 3, 4, 5] {
            assert_eq!(
                decide(&ended, presented, 1019),
                Rotation::Blocked { until: at(1020) },
                "there is nothing left to end"
            );
        }
    }

    /// Red where the limit is asked first, as it was.
    #[test]
    fn no_limit_saves_a_session_whose_old_token_is_used_again() {
        let full = RotationFacts {
            hits: (996..=1000).map(at).collect(),
            ..facts()
        };
        let blocked = RotationFacts {
            blocked_until: Some(at(1300)),
            ..full.clone()
        };
        for limited in [full, blocked] {
            for presented in [1, 2, 5] {
                assert_eq!(decide(&limited, presented, 1010), Rotation::Reused);
            }
            assert_eq!(decide(&limited, 3, 1030), Rotation::Reused);
        }
    }
}
