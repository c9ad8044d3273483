-- The next $3 ends in the order of their dates, after ($1, $2), or of the last 25 hours where $1 is null.
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
