//! The sessions in the table `sessions` that have ended, for those who follow the ends.
//!
//! Never from a standby: there, a session that ended is live until its end was replayed. Each statement
//! says where it ran, and what a standby told is thrown away.

use uuid::Uuid;

use super::sessions::EndedSession;
use super::{Store, StoreError};
use crate::domain::{FeedCursor, FeedPosition, SessionId, Timestamp};

/// An end, and its place among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadEnd {
    /// Its place.
    pub at: FeedPosition,
    /// The session.
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
    /// What has been seen now.
    pub cursor: FeedCursor,
    /// The first transaction that had not begun.
    pub next_xid: i64,
    /// Whether that is all there was when it was looked.
    pub is_all: bool,
    /// The database's clock when it looked.
    pub now: Timestamp,
}

/// A row of a step. It stands for an end only where there is one: what is told of the step itself is in
/// each row, and in one without an end if there is none.
struct StepRow {
    xid: Option<i64>,
    session_id: Option<Uuid>,
    ended_at: Option<Timestamp>,
    access_horizon_at: Option<Timestamp>,
}

impl StepRow {
    fn end(&self) -> Option<ReadEnd> {
        let session_id = SessionId(self.session_id?);
        Some(ReadEnd {
            at: FeedPosition {
                xid: self.xid.unwrap_or_default(),
                session_id,
            },
            session: EndedSession {
                session_id,
                ended_at: self.ended_at?,
                horizon: self.access_horizon_at?,
            },
        })
    }
}

macro_rules! ends {
    ($rows:expr) => {
        $rows.iter().filter_map(|row| {
            let row = StepRow {
                xid: row.xid,
                session_id: row.session_id,
                ended_at: row.ended_at,
                access_horizon_at: row.access_horizon_at,
            };
            row.end()
        })
    };
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
        let row = self.run(|c| Box::pin(query.fetch_one(c))).await?;
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
        let row = self.run_reader(|c| Box::pin(query.fetch_one(c))).await?;
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
    /// would change with every refresh. So what is bounded is how many are looked through.
    ///
    /// An end whose transaction means nothing in this cluster, since it came with a dump of another, or
    /// from a time before they were noted, is one of those that were there first.
    pub async fn list_ends_by_date(
        &self,
        stopped_at: Option<(Timestamp, SessionId)>,
        count: i64,
    ) -> Result<EndsByDate, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH looked AS MATERIALIZED (
                SELECT CASE WHEN ended_xid < pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT
                            THEN ended_xid ELSE 0 END AS xid,
                       session_id, ended_at, access_horizon_at
                  FROM sessions
                 WHERE ended_at IS NOT NULL
                   AND (ended_at, session_id)
                       > (COALESCE($1, now() - INTERVAL '25 hours'), $2::UUID)
                 ORDER BY ended_at, session_id
                 LIMIT $3
            )
            SELECT step.is_standby AS "is_standby!", step.looked_at AS "looked_at!",
                   step.last_ended_at, step.last_session_id,
                   s.xid AS "xid?", s.session_id AS "session_id?", s.ended_at AS "ended_at?",
                   s.access_horizon_at AS "access_horizon_at?"
              FROM (SELECT pg_is_in_recovery() AS is_standby,
                           (SELECT count(*) FROM looked) AS looked_at,
                           last.ended_at AS last_ended_at, last.session_id AS last_session_id
                      FROM (VALUES (TRUE)) AS one
                      LEFT JOIN (SELECT ended_at, session_id FROM looked
                                  ORDER BY ended_at DESC, session_id DESC LIMIT 1) AS last ON TRUE
                   ) AS step
              LEFT JOIN looked AS s ON s.access_horizon_at > now()
            "#,
            stopped_at.map(|(at, _)| at),
            stopped_at.map_or(Uuid::nil(), |(_, session_id)| session_id.0),
            count,
        );
        let rows = self.run_reader(|c| Box::pin(query.fetch_all(c))).await?;
        let step = rows.first();
        self.refuse_standby(step.is_none_or(|row| row.is_standby))?;
        let stopped_at = step
            .filter(|row| row.looked_at >= count)
            .and_then(|row| Some((row.last_ended_at?, SessionId(row.last_session_id?))));
        Ok(EndsByDate {
            ended: ends!(rows).collect(),
            stopped_at,
        })
    }

    /// Looks through the next `count` ends that `cursor` has not seen, for those whose access tokens may be
    /// unexpired. `None` if the cursor means nothing here: it is of another history, or ahead of this one.
    ///
    /// What is visible and what is under way is told by one and the same snapshot, so nothing can be
    /// missed between the two.
    pub async fn list_unseen_ends(
        &self,
        cursor: &FeedCursor,
        count: i64,
    ) -> Result<Option<UnseenEnds>, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH looked AS MATERIALIZED (
                SELECT * FROM (
                    (SELECT s.* FROM unnest($1::BIGINT[]) AS open (xid)
                      CROSS JOIN LATERAL (
                            SELECT ended_xid AS xid, session_id, ended_at, access_horizon_at
                              FROM sessions
                             WHERE ended_xid IS NOT NULL AND ended_xid = open.xid
                             ORDER BY session_id
                             LIMIT $4) AS s)
                    UNION ALL
                    (SELECT ended_xid, session_id, ended_at, access_horizon_at
                       FROM sessions
                      WHERE ended_xid IS NOT NULL AND (ended_xid, session_id) > ($2, $3)
                        AND ended_xid < pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT
                      ORDER BY ended_xid, session_id
                      LIMIT $4)
                ) AS unseen
                 ORDER BY xid, session_id
                 LIMIT $4
            )
            SELECT step.is_standby AS "is_standby!", step.epoch AS "epoch!", step.next_xid AS "next_xid!",
                   step.in_flight AS "in_flight!", step.now AS "now!",
                   step.looked_at AS "looked_at!", step.last_xid, step.last_session_id,
                   s.xid AS "xid?", s.session_id AS "session_id?", s.ended_at AS "ended_at?",
                   s.access_horizon_at AS "access_horizon_at?"
              FROM (SELECT pg_is_in_recovery() AS is_standby,
                           CASE WHEN pg_is_in_recovery() THEN 0 ELSE
                               hashtextextended(
                                   (SELECT system_identifier FROM pg_control_system())::TEXT
                                   || left(pg_walfile_name(pg_current_wal_lsn()), 8), 0)
                           END AS epoch,
                           pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT AS next_xid,
                           ARRAY(SELECT xid::TEXT::BIGINT
                                   FROM pg_snapshot_xip(pg_current_snapshot()) AS xid) AS in_flight,
                           clock_timestamp() AS now,
                           (SELECT count(*) FROM looked) AS looked_at,
                           last.xid AS last_xid, last.session_id AS last_session_id
                      FROM (VALUES (TRUE)) AS one
                      LEFT JOIN (SELECT xid, session_id FROM looked
                                  ORDER BY xid DESC, session_id DESC LIMIT 1) AS last ON TRUE
                   ) AS step
              LEFT JOIN looked AS s ON s.access_horizon_at > now()
            "#,
            cursor.in_flight(),
            cursor.at().xid,
            cursor.at().session_id.0,
            count,
        );
        let rows = self.run_reader(|c| Box::pin(query.fetch_all(c))).await?;
        let Some(step) = rows.first() else {
            return Ok(None);
        };
        self.refuse_standby(step.is_standby)?;
        if step.epoch != cursor.epoch() || step.next_xid <= cursor.at().xid {
            return Ok(None);
        }
        let is_all = step.looked_at < count;
        let at = match position(step.last_xid, step.last_session_id) {
            Some(last) if is_all => last.max(cursor.at()),
            // There may be more behind it, also of what the cursor has not seen before its place.
            Some(last) => last,
            None => cursor.at(),
        };
        Ok(Some(UnseenEnds {
            ended: ends!(rows).collect(),
            cursor: FeedCursor::new(step.epoch, at, step.in_flight.clone()),
            next_xid: step.next_xid,
            is_all,
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
