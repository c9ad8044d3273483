//! A reader's position among the sessions that ended.
//!
//! The ends are in the order of the transactions that made them, and a transaction is seen after its
//! commit, which may come long after those of later ones. So a cursor is the last end that was seen,
//! and the transactions from before it that were still under way. Every end up to that one has been
//! seen, but for those of the transactions that it names. No clock and no margin is in it.
//!
//! The position is an end that was seen, and on purpose not the highest transaction id: an id that
//! left no trace on the disk is given out again after a crash.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use super::SessionId;

/// Transactions that a cursor names at most: it has to fit into a URL.
const MAX_IN_FLIGHT: usize = 64;

/// Digits of a cursor of an older kind, which was a time.
const MAX_TIME_DIGITS: usize = 18;

/// The place of an end among all: its transaction, and which of those that this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FeedPosition {
    /// The id of the transaction. Zero for ends of which nothing is known but that they were there first.
    pub xid: i64,
    /// The session that ended.
    pub session_id: SessionId,
}

impl FeedPosition {
    /// Where those begin that a transaction ended.
    const fn start_of(xid: i64) -> Self {
        let session_id = SessionId(Uuid::nil());
        Self { xid, session_id }
    }

    /// Behind all ends whose transaction is not known, and before all others.
    pub const FIRST: Self = Self {
        xid: 0,
        session_id: SessionId(Uuid::max()),
    };
}

/// The ends that a reader has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedCursor {
    /// In which history of a database's cluster the ids of transactions mean something: another one
    /// begins with each failover, and with each cluster.
    epoch: i64,
    /// The last end that was seen.
    at: FeedPosition,
    /// The transactions from before it that were under way, lowest first.
    in_flight: Vec<i64>,
}

impl FeedCursor {
    /// A cursor that has seen all ends up to `at` but for those of the transactions `in_flight`.
    ///
    /// Of very many of them the cursor forgets the last, and stands before these: then some ends are seen
    /// again.
    #[must_use]
    pub fn new(epoch: i64, at: FeedPosition, mut in_flight: Vec<i64>) -> Self {
        in_flight.retain(|xid| *xid < at.xid);
        in_flight.sort_unstable();
        in_flight.dedup();
        let forgotten = in_flight.get(MAX_IN_FLIGHT).copied();
        in_flight.truncate(MAX_IN_FLIGHT);
        Self {
            epoch,
            at: forgotten.map_or(at, FeedPosition::start_of),
            in_flight,
        }
    }

    /// The history that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The last end that was seen.
    #[must_use]
    pub fn at(&self) -> FeedPosition {
        self.at
    }

    /// The transactions from before that one whose ends have not been seen.
    #[must_use]
    pub fn in_flight(&self) -> &[i64] {
        &self.in_flight
    }

    /// Whether an end has been seen.
    #[must_use]
    pub fn has_seen(&self, position: FeedPosition) -> bool {
        position <= self.at && self.in_flight.binary_search(&position.xid).is_err()
    }

    /// Whether all ends of a transaction have been seen.
    fn has_seen_all_of(&self, xid: i64) -> bool {
        xid < self.at.xid && self.in_flight.binary_search(&xid).is_err()
    }

    /// The cursor of a reader who has seen all that either has. Both are of one history.
    #[must_use]
    pub fn joined(&self, other: &Self) -> Self {
        let (far, near) = if self.at >= other.at {
            (self, other)
        } else {
            (other, self)
        };
        self.up_to(far.at, near, far)
    }

    /// The cursor of a reader who has seen all that either has, up to `at` and no further.
    #[must_use]
    pub fn joined_up_to(&self, other: &Self, at: FeedPosition) -> Self {
        self.up_to(at, self, other)
    }

    fn up_to(&self, at: FeedPosition, one: &Self, other: &Self) -> Self {
        let both = one.in_flight.iter().chain(&other.in_flight).copied();
        let unseen = both.filter(|xid| !one.has_seen_all_of(*xid) && !other.has_seen_all_of(*xid));
        Self::new(self.epoch, at, unseen.collect())
    }
}

/// `epoch-xid-session` and a `-xid` for each transaction that was under way, all in hexadecimal.
impl fmt::Display for FeedCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FeedPosition { xid, session_id } = self.at;
        write!(f, "{:016x}-{xid:x}-{}", self.epoch, session_id.0.simple())?;
        self.in_flight
            .iter()
            .try_for_each(|xid| write!(f, "-{xid:x}"))
    }
}

/// The place among the ends from which a reader wants to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedStart {
    /// From the beginning, with all ends that matter.
    Beginning,
    /// With those that a cursor has not seen.
    After(FeedCursor),
}

/// The text is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct InvalidFeedCursor;

impl FeedStart {
    /// The form that [`FromStr`] takes, as a regular expression.
    pub const PATTERN: &'static str =
        "^([0-9]{1,18}|[0-9a-f]{16}-[0-9a-f]{1,15}-[0-9a-f]{32}(-[0-9a-f]{1,15}){0,64})$";
}

/// Reads a cursor. One of the older kind, a time, begins from the start: the two do not compare.
impl FromStr for FeedStart {
    type Err = InvalidFeedCursor;

    fn from_str(text: &str) -> Result<Self, InvalidFeedCursor> {
        if (1..=MAX_TIME_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(Self::Beginning);
        }
        let mut parts = text.split('-');
        let mut part = |lengths| hexadecimal(parts.next().unwrap_or_default(), lengths);
        let epoch = u64::try_from(part(16..=16)?).map_err(|_| InvalidFeedCursor)?;
        let xid = transaction(part(1..=15)?)?;
        let session_id = SessionId(Uuid::from_u128(part(32..=32)?));
        let in_flight: Vec<i64> = parts
            .map(|part| transaction(hexadecimal(part, 1..=15)?))
            .collect::<Result<_, _>>()?;
        if in_flight.len() > MAX_IN_FLIGHT {
            return Err(InvalidFeedCursor);
        }
        let at = FeedPosition { xid, session_id };
        let cursor = FeedCursor::new(epoch.cast_signed(), at, in_flight);
        Ok(Self::After(cursor))
    }
}

/// A number in lower-case hexadecimal of such a length, and nothing else.
fn hexadecimal(
    text: &str,
    lengths: std::ops::RangeInclusive<usize>,
) -> Result<u128, InvalidFeedCursor> {
    let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if !lengths.contains(&text.len()) || !text.bytes().all(is_digit) {
        return Err(InvalidFeedCursor);
    }
    u128::from_str_radix(text, 16).map_err(|_| InvalidFeedCursor)
}

fn transaction(number: u128) -> Result<i64, InvalidFeedCursor> {
    i64::try_from(number).map_err(|_| InvalidFeedCursor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position(xid: i64, session: u128) -> FeedPosition {
        let session_id = SessionId(Uuid::from_u128(session));
        FeedPosition { xid, session_id }
    }

    fn cursors() -> impl Strategy<Value = FeedCursor> {
        let in_flight = prop::collection::vec(0_i64..30, 0..8);
        (0_i64..30, 0_u128..4, in_flight)
            .prop_map(|(xid, session, open)| FeedCursor::new(-7, position(xid, session), open))
    }

    fn positions() -> impl Iterator<Item = FeedPosition> {
        (0..31).flat_map(|xid| (0..5).map(move |session| position(xid, session)))
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_as_it_was_written(cursor in cursors()) {
            prop_assert_eq!(cursor.to_string().parse(), Ok(FeedStart::After(cursor)));
        }

        /// Of a transaction that both saw in part, the later part counts.
        #[test]
        fn joined_cursors_have_seen_what_either_has(one in cursors(), other in cursors()) {
            let joined = one.joined(&other);
            for position in positions() {
                let either = one.has_seen(position) || other.has_seen(position);
                if joined.has_seen(position) {
                    prop_assert!(either, "{:?} is missed", position);
                }
                let is_part = position.xid == one.at.xid || position.xid == other.at.xid;
                prop_assert!(joined.has_seen(position) == either || is_part);
            }
        }

        #[test]
        fn a_cut_cursor_has_seen_nothing_behind_the_cut(
            one in cursors(), other in cursors(), xid in 0_i64..30, session in 0_u128..4,
        ) {
            let cut = position(xid, session);
            let joined = one.joined_up_to(&other, cut);
            for position in positions().filter(|position| *position > cut) {
                prop_assert!(!joined.has_seen(position));
            }
        }
    }

    #[test]
    fn a_cursor_with_very_many_transactions_under_way_stands_before_the_rest() {
        let open: Vec<i64> = (1..=100).map(|n| n * 2).collect();
        let cursor = FeedCursor::new(0, position(500, 9), open.clone());
        assert_eq!(cursor.in_flight.len(), MAX_IN_FLIGHT);
        for xid in &open {
            assert!(!cursor.has_seen(position(*xid, 1)), "{xid} is missed");
        }
        assert!(cursor.has_seen(position(127, 1)));
        assert!(!cursor.has_seen(position(131, 1)));
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(FeedStart::After(cursor)));
    }

    #[test]
    fn a_time_begins_again_and_anything_else_is_no_cursor() {
        assert_eq!("0".parse(), Ok(FeedStart::Beginning));
        assert_eq!("1640995200000000".parse(), Ok(FeedStart::Beginning));
        let good = FeedCursor::new(1, position(1, 1), vec![]).to_string();
        for bad in [
            "",
            "x",
            "-1",
            "1-1",
            "9999999999999999999",
            &good.to_uppercase().replace('0', "A"),
            &format!("{good}-"),
            &format!("{good}-+1"),
            &format!("{good}{}", "-1".repeat(65)),
            &good[1..],
        ] {
            assert_eq!(bad.parse::<FeedStart>(), Err(InvalidFeedCursor), "{bad}");
        }
    }
}
