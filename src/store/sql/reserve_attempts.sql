-- Reserves an attempt under up to three limits, one after the other, until one refuses; and, if the first two
-- did not, finds the user with the address $7. The limits are the rows of the arrays $1 to $6; only the first
-- may start blocks. How long an attempt may be, and usually is, in flight: $8 and $9.
--
-- Each step is the same. The conflict clause runs on the locked, newest version of the row, so that attempts
-- made at the same instant on any number of instances take turns. A row comes back if the attempt was granted
-- (blocked_until is then null) or started a block; none comes back if it was refused, and nothing is written.
--
-- A block starts if what counts, and what is young enough to be expected to, takes up all the room. Where
-- older attempts in flight do, which may never count, the attempt is refused and no more.
--
-- An attempt's instant is its name, so no two in flight have the same. stale_at is rounded up, so that the
-- next attempt mostly changes no indexed column: the row's new version stays on its page, and the indexes are
-- left alone.
WITH flight (longest, usual) AS (
    VALUES (make_interval(secs => $8), make_interval(secs => $9))
), rules AS MATERIALIZED (
    SELECT place, scope, attempt_key, account_key, attempts,
           make_interval(secs => seconds) AS counted_for,
           make_interval(secs => block_seconds) AS blocked_for
      FROM unnest($1::TEXT[], $2::BYTEA[], $3::BYTEA[], $4::BIGINT[], $5::FLOAT8[], $6::FLOAT8[])
           WITH ORDINALITY
           AS r (scope, attempt_key, account_key, attempts, seconds, block_seconds, place)
), first AS (
    INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, in_flight, stale_at)
    SELECT r.attempt_key, r.scope, r.account_key, '{}', ARRAY[c.now],
           date_bin('10 minutes', c.now + r.counted_for, 'epoch') + INTERVAL '10 minutes'
      FROM rules AS r, (SELECT clock_timestamp() AS now) AS c
     WHERE r.place = 1
    ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
       SET (hits, in_flight, blocked_until, stale_at) = (
           SELECT l.hits,
                  CASE WHEN l.is_full THEN l.in_flight
                       ELSE l.in_flight
                            || GREATEST(c.now, l.in_flight[cardinality(l.in_flight)]
                                               + INTERVAL '1 microsecond')
                       END,
                  CASE WHEN l.is_full THEN c.now + r.blocked_for END,
                  date_bin('10 minutes', c.now + GREATEST(r.counted_for, r.blocked_for),
                           'epoch') + INTERVAL '10 minutes'
             FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                  LATERAL (SELECT ARRAY(SELECT hit FROM unnest(a.hits) AS hit
                                         WHERE a.blocked_until IS NULL
                                           AND hit > c.now - r.counted_for
                                         ORDER BY hit) AS hits,
                                  ARRAY(SELECT hit FROM unnest(a.in_flight) AS hit
                                         WHERE hit > c.now - f.longest
                                         ORDER BY hit) AS in_flight) AS k,
                  LATERAL (SELECT k.*, cardinality(k.hits) + cardinality(k.in_flight)
                                       >= r.attempts AS is_full) AS l
            WHERE r.scope = a.scope)
     WHERE (SELECT COALESCE(a.blocked_until <= c.now, TRUE)
                   AND (l.counted + l.in_flight < r.attempts
                        OR r.blocked_for IS NOT NULL
                           AND l.counted + l.expected >= r.attempts)
              FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                   LATERAL (SELECT (SELECT count(*) FROM unnest(a.hits) AS hit
                                     WHERE a.blocked_until IS NULL
                                       AND hit > c.now - r.counted_for) AS counted,
                                   count(*) AS in_flight,
                                   count(*) FILTER (WHERE hit > c.now - f.usual) AS expected
                              FROM unnest(a.in_flight) AS hit
                             WHERE hit > c.now - f.longest) AS l
             WHERE r.scope = a.scope)
    RETURNING in_flight[cardinality(in_flight)] AS newest, blocked_until
), second AS (
    INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, in_flight, stale_at)
    SELECT r.attempt_key, r.scope, r.account_key, '{}', ARRAY[c.now],
           date_bin('10 minutes', c.now + r.counted_for, 'epoch') + INTERVAL '10 minutes'
      FROM rules AS r, (SELECT clock_timestamp() AS now) AS c
     WHERE r.place = 2 AND EXISTS (SELECT FROM first WHERE blocked_until IS NULL)
    ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
       SET (hits, in_flight, blocked_until, stale_at) = (
           SELECT l.hits,
                  CASE WHEN l.is_full THEN l.in_flight
                       ELSE l.in_flight
                            || GREATEST(c.now, l.in_flight[cardinality(l.in_flight)]
                                               + INTERVAL '1 microsecond')
                       END,
                  CASE WHEN l.is_full THEN c.now + r.blocked_for END,
                  date_bin('10 minutes', c.now + GREATEST(r.counted_for, r.blocked_for),
                           'epoch') + INTERVAL '10 minutes'
             FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                  LATERAL (SELECT ARRAY(SELECT hit FROM unnest(a.hits) AS hit
                                         WHERE a.blocked_until IS NULL
                                           AND hit > c.now - r.counted_for
                                         ORDER BY hit) AS hits,
                                  ARRAY(SELECT hit FROM unnest(a.in_flight) AS hit
                                         WHERE hit > c.now - f.longest
                                         ORDER BY hit) AS in_flight) AS k,
                  LATERAL (SELECT k.*, cardinality(k.hits) + cardinality(k.in_flight)
                                       >= r.attempts AS is_full) AS l
            WHERE r.scope = a.scope)
     WHERE (SELECT COALESCE(a.blocked_until <= c.now, TRUE)
                   AND (l.counted + l.in_flight < r.attempts
                        OR r.blocked_for IS NOT NULL
                           AND l.counted + l.expected >= r.attempts)
              FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                   LATERAL (SELECT (SELECT count(*) FROM unnest(a.hits) AS hit
                                     WHERE a.blocked_until IS NULL
                                       AND hit > c.now - r.counted_for) AS counted,
                                   count(*) AS in_flight,
                                   count(*) FILTER (WHERE hit > c.now - f.usual) AS expected
                              FROM unnest(a.in_flight) AS hit
                             WHERE hit > c.now - f.longest) AS l
             WHERE r.scope = a.scope)
    RETURNING in_flight[cardinality(in_flight)] AS newest, blocked_until
), third AS (
    INSERT INTO attempts AS a (attempt_key, scope, account_key, hits, in_flight, stale_at)
    SELECT r.attempt_key, r.scope, r.account_key, '{}', ARRAY[c.now],
           date_bin('10 minutes', c.now + r.counted_for, 'epoch') + INTERVAL '10 minutes'
      FROM rules AS r, (SELECT clock_timestamp() AS now) AS c
     WHERE r.place = 3 AND EXISTS (SELECT FROM second)
    ON CONFLICT ON CONSTRAINT attempts_pkey DO UPDATE
       SET (hits, in_flight, blocked_until, stale_at) = (
           SELECT l.hits,
                  CASE WHEN l.is_full THEN l.in_flight
                       ELSE l.in_flight
                            || GREATEST(c.now, l.in_flight[cardinality(l.in_flight)]
                                               + INTERVAL '1 microsecond')
                       END,
                  CASE WHEN l.is_full THEN c.now + r.blocked_for END,
                  date_bin('10 minutes', c.now + GREATEST(r.counted_for, r.blocked_for),
                           'epoch') + INTERVAL '10 minutes'
             FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                  LATERAL (SELECT ARRAY(SELECT hit FROM unnest(a.hits) AS hit
                                         WHERE a.blocked_until IS NULL
                                           AND hit > c.now - r.counted_for
                                         ORDER BY hit) AS hits,
                                  ARRAY(SELECT hit FROM unnest(a.in_flight) AS hit
                                         WHERE hit > c.now - f.longest
                                         ORDER BY hit) AS in_flight) AS k,
                  LATERAL (SELECT k.*, cardinality(k.hits) + cardinality(k.in_flight)
                                       >= r.attempts AS is_full) AS l
            WHERE r.scope = a.scope)
     WHERE (SELECT COALESCE(a.blocked_until <= c.now, TRUE)
                   AND (l.counted + l.in_flight < r.attempts
                        OR r.blocked_for IS NOT NULL
                           AND l.counted + l.expected >= r.attempts)
              FROM rules AS r, flight AS f, (SELECT clock_timestamp() AS now) AS c,
                   LATERAL (SELECT (SELECT count(*) FROM unnest(a.hits) AS hit
                                     WHERE a.blocked_until IS NULL
                                       AND hit > c.now - r.counted_for) AS counted,
                                   count(*) AS in_flight,
                                   count(*) FILTER (WHERE hit > c.now - f.usual) AS expected
                              FROM unnest(a.in_flight) AS hit
                             WHERE hit > c.now - f.longest) AS l
             WHERE r.scope = a.scope)
    RETURNING in_flight[cardinality(in_flight)] AS newest, blocked_until
)
SELECT f.newest AS "first_at?", f.blocked_until, s.newest AS "second_at?", t.newest AS "third_at?",
       u.user_id AS "user_id?", u.email AS "email?", u.password_hash,
       u.two_factor AS "two_factor?", u.credential_version AS "credential_version?",
       u.second_factor_failures AS "second_factor_failures?",
       u.created_at AS "created_at?", u.disabled_at, u.password_changed_at,
       u.is_administrator AS "is_administrator?",
       EXISTS (SELECT FROM totp_factors AS a
                WHERE a.user_id = u.user_id AND a.confirmed_at IS NOT NULL) AS "has_totp!",
       EXISTS (SELECT FROM passkeys AS p WHERE p.user_id = u.user_id) AS "has_passkey!"
  FROM (SELECT) AS one
  LEFT JOIN first AS f ON TRUE
  LEFT JOIN second AS s ON TRUE
  LEFT JOIN third AS t ON TRUE
  LEFT JOIN users AS u ON u.email = (SELECT $7::TEXT FROM second)
