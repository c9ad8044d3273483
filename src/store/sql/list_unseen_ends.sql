-- The next $4 ends that a cursor has not seen: those of the transactions $1, which were under way when it
-- looked last, and those after its place ($2, $3).
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
