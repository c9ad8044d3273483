-- $1: at most so many, $2: seconds of the lease, $3: whether they were tried before, $4: the most copies,
-- $5: the kinds to lease, $6: the notices that this release knows.
WITH due AS (
    SELECT o.mail_id, o.recipient_id, o.challenge_id, o.link_id
      FROM outbox AS o JOIN users AS u ON u.user_id = o.recipient_id
                       LEFT JOIN challenges AS c ON c.challenge_id = o.challenge_id
                       LEFT JOIN links AS l ON l.link_id = o.link_id
     WHERE o.kind = ANY ($5) AND (o.notice IS NULL OR o.notice = ANY ($6))
       AND o.sent_at IS NULL AND o.given_up_at IS NULL
       AND (o.attempts > 0) = $3 AND o.copies < $4
       AND o.next_attempt_at <= clock_timestamp()
       AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
       AND o.expires_at > clock_timestamp()
       AND (o.challenge_id IS NULL
            OR c.expires_at > clock_timestamp() AND c.consumed_at IS NULL
               AND u.credential_version = c.credential_version AND u.disabled_at IS NULL)
       AND (o.link_id IS NULL
            OR l.expires_at > clock_timestamp() AND l.consumed_at IS NULL
               AND u.credential_version = l.credential_version AND u.disabled_at IS NULL)
     ORDER BY o.next_attempt_at
     LIMIT $1
       FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox AS o
   SET leased_until = clock_timestamp() + make_interval(secs => $2),
       attempts = o.attempts + 1
  FROM due JOIN users AS u ON u.user_id = due.recipient_id
           LEFT JOIN challenges AS c ON c.challenge_id = due.challenge_id
           LEFT JOIN links AS l ON l.link_id = due.link_id
 WHERE o.mail_id = due.mail_id
RETURNING o.mail_id, o.kind, u.user_id, COALESCE(o.to_address, u.email) AS "email!",
          c.challenge_id AS "challenge_id?", c.nonce AS "nonce?", l.link_id AS "link_id?",
          l.purpose AS "purpose?", o.notice,
          COALESCE(o.happened_at, c.created_at, l.created_at) AS created_at,
          COALESCE(o.happened_from, c.client_network, l.client_network) AS "client_network: IpNet",
          LEAST(o.expires_at, c.expires_at) AS "expires_at!", o.request_id, o.attempts, o.copies,
          GREATEST(EXTRACT(EPOCH FROM LEAST(o.expires_at, c.expires_at) - clock_timestamp()), 0)::FLOAT8
              AS "life!"
