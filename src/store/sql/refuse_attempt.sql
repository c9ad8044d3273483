-- Tells until when the limit on the key $4 refuses, and settles what other limits granted.
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
SELECT COALESCE(
           a.blocked_until,
           (SELECT hit + make_interval(secs => $5)
              FROM (SELECT unnest(a.hits)
                     UNION ALL
                    SELECT expected FROM unnest(a.in_flight) AS expected
                     WHERE $8 AND expected > c.now - make_interval(secs => $9)) AS h (hit)
             WHERE hit > c.now - make_interval(secs => $5)
             ORDER BY hit DESC
            OFFSET $6 LIMIT 1),
           (SELECT min(hit) + make_interval(secs => $7)
              FROM unnest(a.in_flight) AS hit
             WHERE hit > c.now - make_interval(secs => $7)),
           c.now) AS "until!",
       c.now AS "now!",
       (SELECT count(*) FROM settled) = (SELECT count(*) FROM locked) AS "is_settled!"
  FROM (SELECT clock_timestamp() AS now) AS c
  LEFT JOIN attempts AS a ON a.attempt_key = $4
