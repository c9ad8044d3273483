-- Ends the sessions of the user $4 beyond a number, those not used for longest, and records that; $5 is spared.
--
-- Settles the attempts of a request: each counts, or is taken back. The arrays $1 to $3 are a Settlement. It
-- locks the rows in the order in which they were reserved, so that nobody waits in a circle; all are settled
-- if both steps have as many rows.
WITH locked AS MATERIALIZED (
    SELECT a.attempt_key, o.reserved_at, o.counts
      FROM unnest($1::BYTEA[], $2::TIMESTAMPTZ[], $3::BOOLEAN[])
               WITH ORDINALITY AS o (attempt_key, reserved_at, counts, place)
      JOIN attempts AS a ON a.attempt_key = o.attempt_key
     ORDER BY o.place
       FOR UPDATE OF a
), settled AS (
    UPDATE attempts AS a
       SET hits = CASE WHEN l.counts
                       THEN ARRAY(SELECT hit FROM unnest(a.hits || l.reserved_at) AS hit
                                   ORDER BY hit)
                       ELSE a.hits END,
           in_flight = array_remove(a.in_flight, l.reserved_at)
      FROM locked AS l
     WHERE a.attempt_key = l.attempt_key AND l.reserved_at = ANY (a.in_flight)
    RETURNING a.attempt_key
)
, ended AS (
    UPDATE sessions
       SET ended_at = clock_timestamp(), end_reason = $7
     WHERE session_id = ANY (ARRAY(
           SELECT session_id FROM sessions
            WHERE user_id = $4 AND ended_at IS NULL AND session_id <> $5
            ORDER BY rotated_at DESC
           OFFSET $6 LIMIT $8))
       AND ended_at IS NULL
    RETURNING session_id
), recorded AS (
    INSERT INTO audit_events (kind, outcome, reason, user_id, session_id, network,
                              request_id)
    SELECT $9, $10, $7, $4, session_id, $11, $12 FROM ended
)
SELECT (SELECT count(*) FROM ended) AS "ended!",
       (SELECT count(*) FROM settled) = (SELECT count(*) FROM locked) AS "is_settled!"
