-- Opens a session, remembers when, and the network that it comes from, and records it.
--
--  1 session_id        2 user_id         3 credential_version   4 access key    5 amr
--  6 access lifetime   7 idle lifetime   8 session's lifetime   9 network      10 user agent
-- 11 email            12 kind           13 outcome             14 reason       15 request_id
-- 16 refresh key    17 factor          18 forgets wrong codes
WITH signed_in AS (
    UPDATE users
       SET last_signin_at = clock_timestamp(),
           second_factor_failures = CASE WHEN $18 THEN 0 ELSE second_factor_failures END
     WHERE user_id = $2 AND credential_version = $3 AND disabled_at IS NULL
       AND EXISTS (SELECT FROM signing_keys
                    WHERE key_id = $4 AND revoked_at IS NULL)
       AND ($16::TEXT IS NULL OR EXISTS (
            SELECT FROM signing_keys
             WHERE key_id = $16 AND revoked_at IS NULL))
    RETURNING user_id
), opened AS (
    INSERT INTO sessions (session_id, user_id, key_id, refresh_key_id, amr, created_at,
                          rotated_at, access_expires_at, idle_expires_at, expires_at,
                          access_horizon_at, client_network, user_agent, factor)
    SELECT $1, c.user_id, $4, $16, $5, c.now, c.now,
           c.second + make_interval(secs => LEAST($6::FLOAT8, $8::FLOAT8)),
           c.second + make_interval(secs => LEAST($7::FLOAT8, $8::FLOAT8)),
           c.second + make_interval(secs => $8),
           c.second + make_interval(secs => LEAST($6::FLOAT8, $8::FLOAT8)), $9, $10, $17
      FROM (SELECT user_id, now, date_trunc('second', now) AS second
              FROM (SELECT user_id, clock_timestamp() AS now FROM signed_in) AS clock) AS c
    RETURNING *
), known AS (
    INSERT INTO known_networks (user_id, network, last_signin_at)
    SELECT user_id, client_network, created_at FROM opened
    ON CONFLICT ON CONSTRAINT known_networks_pkey DO UPDATE
       SET last_signin_at = EXCLUDED.last_signin_at
), recorded AS (
    INSERT INTO audit_events (kind, outcome, reason, user_id, email, session_id,
                              network, request_id)
    SELECT $12, $13, $14, user_id, $11, session_id, client_network, $15 FROM opened
)
SELECT session_id, user_id, $11::TEXT AS "email!", generation, key_id,
       refresh_key_id, amr, factor, created_at, rotated_at, access_expires_at, idle_expires_at
  FROM opened
