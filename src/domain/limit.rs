//! Limits: so many attempts in a window, then a block.

use std::time::Duration;

use super::Timestamp;
use super::words::words;

/// The key by which attempts are counted: a keyed hash, so that the table of attempts names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The limit that it belongs to.
    pub scope: LimitScope,
    /// The hash that is counted by.
    pub hash: [u8; 32],
    /// The account that the limit is of, so that all its limits can be lifted and explained.
    pub account: Option<AccountHash>,
}

/// The hash of an account's address, which the keys of all its limits share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccountHash(pub [u8; 32]);

words! {
    /// The limits that are counted in the table of attempts.
    pub enum LimitScope {
        /// Changes that people make to their own accounts, per user.
        Account = "account",
        /// Acts of an administrator on others, per administrator.
        Administration = "administration",
        /// Sign-ins per address and network.
        Signin = "signin",
        /// Sign-ins per network, over all addresses.
        SigninNetwork = "signin_network",
        /// Failed sign-ins per address, over all networks.
        SigninFailures = "signin_failures",
        /// Confirmations per user.
        Confirm = "confirm",
        /// Confirmations of challenges that do not exist, per network.
        ConfirmUnknown = "confirm_unknown",
        /// Refreshes with tokens that are not ours, per network.
        RefreshUnknown = "refresh_unknown",
        /// Code mails per user.
        Mail = "mail",
        /// Requests for a link per address and network.
        Forgot = "forgot",
        /// Requests for links per network, over all addresses.
        ForgotNetwork = "forgot_network",
        /// Mails with links per address.
        LinkMail = "link_mail",
        /// Links that are not good, per network.
        LinkUnknown = "link_unknown",
    }
}

/// An attempt that was reserved and whose outcome is open: it takes up room, and counts for nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptInFlight {
    /// The key by which it is counted.
    pub key: AttemptKey,
    /// When it was reserved, which names it.
    pub at: Timestamp,
}

impl AttemptInFlight {
    /// Whether it counts now that it was answered: always, except where only failures count.
    #[must_use]
    pub fn counts(&self, is_failure: bool) -> bool {
        is_failure || self.key.scope != LimitScope::SigninFailures
    }
}

/// So many attempts in any sliding window; the first one too many starts a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Attempts that get through in a window.
    pub attempts: u32,
    /// The window's length.
    pub window: Duration,
    /// The time for which every attempt is refused after one too many. `None`, for the wide ceilings:
    /// until the oldest attempt leaves the window.
    pub block: Option<Duration>,
}

impl Limit {
    /// Until when everything is refused at `now`, if it is: to the end of a block, or, where there
    /// are no blocks, until enough attempts have left the window. `hits` are in their order.
    #[must_use]
    pub fn refuses_until(
        &self,
        hits: &[Timestamp],
        blocked_until: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        if self.block.is_some() || blocked_until.is_some() {
            return blocked_until.filter(|until| *until > now);
        }
        let counted = hits.iter().filter(|hit| **hit > now - self.window);
        let last_to_leave = counted
            .rev()
            .nth(self.attempts.saturating_sub(1) as usize)?;
        Some(*last_to_leave + self.window)
    }
}

/// The answer to a reservation of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// There is room for it: it may go ahead.
    Granted {
        /// When it was reserved.
        at: Timestamp,
    },
    /// There is no room for it, or a block is on.
    Refused(LimitRefusal),
}

/// A refusal by a limit: every other attempt is refused as well until `retry_after` has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitRefusal {
    /// When that will be, by the database's clock.
    pub until: Timestamp,
    /// The time until then, rounded up to whole seconds, at least one.
    pub retry_after: Duration,
    /// Whether this very attempt started a block, so that it is told once.
    pub started_now: bool,
}

/// The time from `now` to `until`, rounded up to whole seconds and at least one, as in `Retry-After`.
#[must_use]
pub fn seconds_until(until: Timestamp, now: Timestamp) -> Duration {
    let millis = (until - now).num_milliseconds().max(1).unsigned_abs();
    Duration::from_secs(millis.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn a_limit_with_a_block_refuses_while_the_block_is_on() {
        let limit = Limit {
            attempts: 2,
            window: Duration::from_mins(1),
            block: Some(Duration::from_mins(5)),
        };
        let hits = [at(0), at(1)];
        assert_eq!(limit.refuses_until(&hits, None, at(2)), None, "not yet");
        assert_eq!(
            limit.refuses_until(&hits, Some(at(300)), at(299)),
            Some(at(300))
        );
        assert_eq!(limit.refuses_until(&hits, Some(at(300)), at(300)), None);
    }

    #[test]
    fn a_limit_without_a_block_refuses_until_an_attempt_has_left_the_window() {
        let limit = Limit {
            attempts: 2,
            window: Duration::from_mins(1),
            block: None,
        };
        for (hits, now, until) in [
            (&[][..], 10, None),
            (&[5], 10, None),
            (&[5, 8], 10, Some(65)),
            (&[5, 8], 65, None),
            (&[3, 5, 8], 10, Some(65)),
        ] {
            let hits: Vec<_> = hits.iter().copied().map(at).collect();
            let found = limit.refuses_until(&hits, None, at(now));
            assert_eq!(found, until.map(at), "{hits:?} at {now}");
        }
    }

    #[test]
    fn retry_after_is_rounded_up_and_never_zero() {
        let now = Timestamp::UNIX_EPOCH;
        for (millis, seconds) in [
            (-5, 1),
            (0, 1),
            (1, 1),
            (1000, 1),
            (1001, 2),
            (300_000, 300),
        ] {
            let until = now + TimeDelta::milliseconds(millis);
            assert_eq!(
                seconds_until(until, now),
                Duration::from_secs(seconds),
                "{millis}"
            );
        }
    }
}
