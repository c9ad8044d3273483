-- Settles the attempts of a request: each counts, or is taken back. The arrays $1 to $3 are a Settlement. It
-- locks the rows in the order in which they were reserved, so that nobody waits in a circle; all are settled
-- if both steps have as many rows.
--
-- Records the event $4 to $14, if there is one.
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
, recorded AS (
    INSERT INTO audit_events (kind, outcome, reason, user_id, email, session_id, challenge_id,
                              network, request_id, actor, detail)
    SELECT $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 WHERE $4::TEXT IS NOT NULL
)
SELECT (SELECT count(*) FROM settled) = (SELECT count(*) FROM locked) AS "is_settled!"
