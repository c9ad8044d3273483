//! A session, and the rule by which a refresh token is traded for the next pair.

use std::time::Duration;

use super::words::words;
use super::{EmailAddress, Generation, KeyId, Limit, SessionId, Timestamp, UserId};

/// How a person proved who they are, in the words of RFC 8176.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationMethod {
    /// By password alone.
    Password,
    /// By password and a mailed code.
    PasswordAndCode,
}

impl AuthenticationMethod {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Password, Self::PasswordAndCode];

    /// The `amr` claim.
    #[must_use]
    pub fn amr(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["pwd"],
            Self::PasswordAndCode => &["pwd", "otp"],
        }
    }

    /// The word for it where sign-ins are counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::PasswordAndCode => "password_and_code",
        }
    }

    /// Reads a method back from where it was stored.
    #[must_use]
    pub fn from_amr(amr: &[String]) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.amr() == amr)
    }
}

words! {
    /// Why a session is over.
    pub enum EndReason {
        /// Its owner signed out, or ended it from a list of sessions.
        SignedOut = "signed_out",
        /// An old refresh token was used: somebody has a copy.
        Reuse = "reuse",
        /// An operator disabled the user.
        UserDisabled = "user_disabled",
        /// The password changed.
        PasswordChanged = "password_changed",
        /// An operator deleted the user.
        UserDeleted = "user_deleted",
        /// An operator ended it.
        Operator = "operator",
        /// The key that signed its tokens was revoked.
        KeyRevoked = "key_revoked",
        /// Its user opened another one, and it was the one not used for longest.
        TooManySessions = "too_many_sessions",
    }
}

/// All that a token pair follows from: signing the same values again gives the same bytes.
#[derive(Debug, Clone)]
pub struct Session {
    /// `sid`.
    pub session_id: SessionId,
    /// `sub`.
    pub user_id: UserId,
    /// `email`.
    pub email: EmailAddress,
    /// `gen`.
    pub generation: Generation,
    /// The key that signs this generation's access token.
    pub key_id: KeyId,
    /// The key that signs its refresh token. `None`: the same one.
    pub refresh_key_id: Option<KeyId>,
    /// `amr`.
    pub method: AuthenticationMethod,
    /// `auth_time`: when the session opened.
    pub created_at: Timestamp,
    /// `iat`: when this generation was made.
    pub rotated_at: Timestamp,
    /// When this generation's access token dies.
    pub access_expires_at: Timestamp,
    /// When this generation's refresh token dies.
    pub idle_expires_at: Timestamp,
}

/// What the rotation rule looks at, as read from the locked row.
#[derive(Debug, Clone)]
pub struct RotationFacts {
    /// The current generation.
    pub generation: Generation,
    /// When it was made.
    pub rotated_at: Timestamp,
    /// When the session dies if it is not refreshed.
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

/// What becomes of a presented refresh token.
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
    /// Older than the grace allows, or from a future that the database lost: the session ends.
    /// Counts.
    Reused,
    /// The session is over, or its user is. Counts.
    Dead,
}

/// Decides on a refresh token of generation `presented`.
///
/// The limit comes first, as everywhere: while a block is on, nothing is looked at. A repeat
/// within the grace costs no attempt, so that any number of tabs may wake at once.
#[must_use]
pub fn decide_rotation(
    facts: &RotationFacts,
    presented: Generation,
    now: Timestamp,
    rule: &RotationRule,
) -> Rotation {
    if let Some(until) = facts.blocked_until.filter(|until| *until > now) {
        return Rotation::Blocked { until };
    }
    let is_live = !facts.is_ended && facts.user_is_enabled && facts.idle_expires_at > now;
    let in_grace = now < facts.rotated_at + rule.grace;
    if is_live && presented.precedes(facts.generation) && in_grace {
        return Rotation::Repeat;
    }
    let counted = facts.counted_hits(now, rule.limit.window).len();
    if counted >= rule.limit.attempts as usize {
        Rotation::StartBlock
    } else if !is_live {
        Rotation::Dead
    } else if presented == facts.generation {
        Rotation::Advance
    } else {
        Rotation::Reused
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

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
            rotated_at: at(1000),
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
        assert_eq!(decide(&facts(), 4, 5000), Rotation::Dead);
    }

    #[test]
    fn the_generation_before_repeats_within_the_grace_and_is_reuse_after_it() {
        assert_eq!(decide(&facts(), 3, 1000), Rotation::Repeat);
        assert_eq!(decide(&facts(), 3, 1029), Rotation::Repeat);
        assert_eq!(decide(&facts(), 3, 1030), Rotation::Reused);
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
            assert_eq!(decide(&ended, presented, 1001), Rotation::Dead);
            assert_eq!(decide(&disabled, presented, 1001), Rotation::Dead);
        }
    }

    #[test]
    fn the_sixth_attempt_within_a_minute_starts_a_block_whatever_it_presents() {
        let full = RotationFacts {
            hits: (996..=1000).map(at).collect(),
            ..facts()
        };
        let ended = RotationFacts {
            is_ended: true,
            ..full.clone()
        };
        assert_eq!(decide(&full, 4, 1010), Rotation::StartBlock);
        assert_eq!(decide(&full, 2, 1010), Rotation::StartBlock);
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
    fn while_a_block_is_on_everything_is_refused_and_after_it_the_count_starts_at_zero() {
        let blocked = RotationFacts {
            hits: (996..=1000).map(at).collect(),
            blocked_until: Some(at(1020)),
            ..facts()
        };
        for presented in [2, 3, 4] {
            assert_eq!(
                decide(&blocked, presented, 1019),
                Rotation::Blocked { until: at(1020) }
            );
        }
        assert_eq!(decide(&blocked, 4, 1020), Rotation::Advance);
    }
}
