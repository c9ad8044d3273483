-- Moves a session on by one generation if, and only if, the generation is current, the session and its user
-- are alive, the limit has room, the network is on record, and the keys that are to sign are not revoked.
-- It is Rotation::Advance of the rotation rule. One clock reading serves all columns, so that exp - iat is
-- exact.
--
--  1 session_id       2 generation      3 access key     4 access lifetime   5 idle lifetime
--  6 limit's window   7 limit's count   8 user_id        9 network          10 user agent
-- 11 most networks   12 refresh key
UPDATE sessions AS s
   SET (generation, key_id, refresh_key_id, rotated_at, access_expires_at, idle_expires_at,
        access_horizon_at, refresh_hits, refresh_blocked_until, last_network, last_user_agent,
        last_used_at) = (
       SELECT s.generation + 1, $3, $12, c.now,
              LEAST(c.second + make_interval(secs => $4), s.expires_at),
              LEAST(c.second + make_interval(secs => $5), s.expires_at),
              GREATEST(s.access_horizon_at,
                       LEAST(c.second + make_interval(secs => $4), s.expires_at)),
              CASE WHEN s.refresh_blocked_until IS NULL
                   THEN (SELECT COALESCE(array_agg(hit ORDER BY hit), '{}')
                           FROM unnest(s.refresh_hits) AS hit
                          WHERE hit > c.now - make_interval(secs => $6)) || c.now
                   ELSE ARRAY[c.now]
              END,
              NULL::TIMESTAMPTZ,
              CASE WHEN c.is_moved THEN $9::CIDR END,
              CASE WHEN c.is_moved THEN $10::TEXT END,
              NULL::TIMESTAMPTZ
         FROM (SELECT now, date_trunc('second', now) AS second,
                      (s.client_network, s.user_agent)
                          IS DISTINCT FROM ($9::CIDR, $10::TEXT) AS is_moved
                 FROM (SELECT clock_timestamp() AS now) AS clock) AS c)
  FROM users AS u
 WHERE s.session_id = $1
   AND s.generation = $2
   AND s.user_id = $8
   AND s.ended_at IS NULL
   AND s.idle_expires_at > clock_timestamp()
   AND (s.refresh_blocked_until <= clock_timestamp()
        OR s.refresh_blocked_until IS NULL
           AND (SELECT count(*) FROM unnest(s.refresh_hits) AS hit
                 WHERE hit > clock_timestamp() - make_interval(secs => $6)) < $7)
   AND ($9 = s.client_network
        OR $9 = ANY (s.other_networks)
        OR cardinality(s.other_networks) >= $11)
   AND u.user_id = s.user_id
   AND u.disabled_at IS NULL
   AND EXISTS (SELECT FROM signing_keys WHERE key_id = $3 AND revoked_at IS NULL)
   AND ($12::TEXT IS NULL
        OR EXISTS (SELECT FROM signing_keys WHERE key_id = $12 AND revoked_at IS NULL))
RETURNING s.session_id, s.user_id, u.email, s.generation, s.key_id, s.refresh_key_id, s.amr, s.factor,
          s.created_at, s.rotated_at, s.access_expires_at, s.idle_expires_at
