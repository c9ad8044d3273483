//! The sessions in the table `sessions` that have ended, for those who follow the ends.
//!
//! Never from a standby: there, a session that ended is live until its end was replayed. Each statement
//! says where it ran, and the answer of a standby is thrown away.

use uuid::Uuid;

use super::run::Run as _;
use super::sessions::EndedSession;
use super::{Store, StoreError};
use crate::domain::{FeedCursor, FeedPosition, SessionId, Timestamp};

/// An end, and its place among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadEnd {
    /// Its place in the feed.
    pub at: FeedPosition,
    /// The session that ended, and when.
    pub session: EndedSession,
}

/// A step through the ends, by their dates.
#[derive(Debug)]
pub struct EndsByDate {
    /// Those whose access tokens may be unexpired.
    pub ended: Vec<ReadEnd>,
    /// The last end that was looked at, if there may be more.
    pub stopped_at: Option<(Timestamp, SessionId)>,
}

/// A step through the ends that a cursor has not seen.
#[derive(Debug)]
pub struct UnseenEnds {
    /// Those whose access tokens may be unexpired.
    pub ended: Vec<ReadEnd>,
    /// The position after these ends.
    pub cursor: FeedCursor,
    /// The first transaction that had not begun.
    pub next_xid: i64,
    /// Whether that is all there was when it was looked.
    pub is_all: bool,
    /// The database's clock when it looked.
    pub now: Timestamp,
}

/// A row of a step through the ends that a cursor has not seen. The columns about the step itself are in each
/// row; a step without an end has one row, in which the end's columns are null.
struct UnseenRow {
    is_standby: bool,
    epoch: i64,
    next_xid: i64,
    in_flight: Vec<i64>,
    now: Timestamp,
    looked_at: i64,
    last_xid: Option<i64>,
    last_session_id: Option<Uuid>,
    xid: Option<i64>,
    session_id: Option<Uuid>,
    ended_at: Option<Timestamp>,
    access_horizon_at: Option<Timestamp>,
}

impl UnseenRow {
    /// How far a cursor has come that looked at up to `count` ends.
    fn position(&self, cursor: &FeedCursor, count: i64) -> FeedPosition {
        match position(self.last_xid, self.last_session_id) {
            Some(last) if self.looked_at < count => last.max(cursor.at()),
            // There may be more behind it, also ends from before its place that the cursor has not seen.
            Some(last) => last,
            None => cursor.at(),
        }
    }
}

/// The end that a row of a step stands for, if it stands for one.
fn read_end(
    xid: Option<i64>,
    session_id: Option<Uuid>,
    ended_at: Option<Timestamp>,
    horizon: Option<Timestamp>,
) -> Option<ReadEnd> {
    let session_id = SessionId(session_id?);
    Some(ReadEnd {
        at: FeedPosition {
            xid: xid.unwrap_or_default(),
            session_id,
        },
        session: EndedSession {
            session_id,
            ended_at: ended_at?,
            horizon: horizon?,
        },
    })
}

impl Store {
    /// Whether a session has been neither ended nor outlived.
    pub async fn is_session_live(&self, session_id: SessionId) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT pg_is_in_recovery() AS "is_standby!",
                   EXISTS (SELECT FROM sessions
                            WHERE session_id = $1 AND ended_at IS NULL
                              AND expires_at > clock_timestamp()) AS "is_live!"
            "#,
            session_id.0,
        );
        let row = self.fetch_one(query).await?;
        self.refuse_standby(row.is_standby)?;
        Ok(row.is_live)
    }

    /// The cursor of those who have seen all ends that are visible now.
    pub async fn find_feed_head(&self) -> Result<FeedCursor, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT pg_is_in_recovery() AS "is_standby!",
                   CASE WHEN pg_is_in_recovery() THEN 0 ELSE
                       hashtextextended((SELECT system_identifier FROM pg_control_system())::TEXT
                                        || left(pg_walfile_name(pg_current_wal_lsn()), 8), 0)
                   END AS "epoch!",
                   ARRAY(SELECT xid::TEXT::BIGINT
                           FROM pg_snapshot_xip(pg_current_snapshot()) AS xid) AS "in_flight!",
                   last.ended_xid AS "xid?", last.session_id AS "session_id?"
              FROM (VALUES (TRUE)) AS one
              LEFT JOIN (SELECT ended_xid, session_id FROM sessions
                          WHERE ended_xid IS NOT NULL
                            AND ended_xid < pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT
                          ORDER BY ended_xid DESC, session_id DESC
                          LIMIT 1) AS last ON TRUE
            "#
        );
        let row = self.on_readers().fetch_one(query).await?;
        self.refuse_standby(row.is_standby)?;
        Ok(FeedCursor::new(
            row.epoch,
            position(row.xid, row.session_id).unwrap_or(FeedPosition::FIRST),
            row.in_flight,
        ))
    }

    /// Looks through the next `count` sessions that ended, in the order of the dates of their ends, from
    /// after `stopped_at` on, for those whose access tokens may be unexpired. Without it: through all that
    /// matter, since no access token lives longer than a day.
    ///
    /// Most that ended within a day have no token left, and no index tells which: one on the horizon
    /// would change with every refresh. So the number that are looked through is bounded.
    ///
    /// An end whose transaction means nothing in this cluster, since it came with a dump of another, or
    /// from a time before they were noted, is one of those that were there first.
    pub async fn list_ends_by_date(
        &self,
        stopped_at: Option<(Timestamp, SessionId)>,
        count: i64,
    ) -> Result<EndsByDate, StoreError> {
        let query = sqlx::query_file!(
            "src/store/sql/list_ends_by_date.sql",
            stopped_at.map(|(at, _)| at),
            stopped_at.map_or(Uuid::nil(), |(_, session_id)| session_id.0),
            count,
        );
        let rows = self.on_readers().fetch_all(query).await?;
        let step = rows.first();
        self.refuse_standby(step.is_none_or(|row| row.is_standby))?;
        let stopped_at = step
            .filter(|row| row.looked_at >= count)
            .and_then(|row| Some((row.last_ended_at?, SessionId(row.last_session_id?))));
        let ends = rows.iter().filter_map(|row| {
            read_end(row.xid, row.session_id, row.ended_at, row.access_horizon_at)
        });
        Ok(EndsByDate {
            ended: ends.collect(),
            stopped_at,
        })
    }

    /// Looks through the next `count` ends that `cursor` has not seen, for those whose access tokens may be
    /// unexpired. `None` if the cursor means nothing here: it is of another history, or ahead of this one.
    ///
    /// One snapshot tells which ends are visible and which transactions are under way, so nothing can be
    /// missed between the two.
    pub async fn list_unseen_ends(
        &self,
        cursor: &FeedCursor,
        count: i64,
    ) -> Result<Option<UnseenEnds>, StoreError> {
        let query = sqlx::query_file_as!(
            UnseenRow,
            "src/store/sql/list_unseen_ends.sql",
            cursor.in_flight(),
            cursor.at().xid,
            cursor.at().session_id.0,
            count,
        );
        let rows = self.on_readers().fetch_all(query).await?;
        let Some(step) = rows.first() else {
            return Ok(None);
        };
        self.refuse_standby(step.is_standby)?;
        if step.epoch != cursor.epoch() || step.next_xid <= cursor.at().xid {
            return Ok(None);
        }
        let ends = rows.iter().filter_map(|row| {
            read_end(row.xid, row.session_id, row.ended_at, row.access_horizon_at)
        });
        Ok(Some(UnseenEnds {
            ended: ends.collect(),
            cursor: FeedCursor::new(
                step.epoch,
                step.position(cursor, count),
                step.in_flight.clone(),
            ),
            next_xid: step.next_xid,
            is_all: step.looked_at < count,
            now: step.now,
        }))
    }

    /// Refuses what a standby told, and lets the connections that lead there be dropped.
    fn refuse_standby(&self, is_standby: bool) -> Result<(), StoreError> {
        if is_standby {
            return Err(self.guard.note_standby());
        }
        Ok(())
    }
}

fn position(xid: Option<i64>, session_id: Option<Uuid>) -> Option<FeedPosition> {
    Some(FeedPosition {
        xid: xid?,
        session_id: SessionId(session_id?),
    })
}
