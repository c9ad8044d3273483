-- $1, $2, $3: kind, outcome and reason of the audit log; $4: at most so many.
WITH overdue AS MATERIALIZED (
    SELECT o.mail_id,
           o.copies = 0 AND c.consumed_at IS NULL AND l.consumed_at IS NULL
               AND (l.link_id IS NULL OR l.credential_version = u.credential_version) AS has_expired
      FROM outbox AS o JOIN users AS u ON u.user_id = o.recipient_id
                       LEFT JOIN challenges AS c ON c.challenge_id = o.challenge_id
                       LEFT JOIN links AS l ON l.link_id = o.link_id
     WHERE o.sent_at IS NULL AND o.given_up_at IS NULL
       AND (o.expires_at <= clock_timestamp() OR c.expires_at <= clock_timestamp()
            OR c.consumed_at IS NOT NULL OR l.consumed_at IS NOT NULL)
       AND (o.leased_until IS NULL OR o.leased_until <= clock_timestamp())
     LIMIT $4
       FOR UPDATE OF o SKIP LOCKED
), given_up AS (
    UPDATE outbox AS o
       SET given_up_at = clock_timestamp()
      FROM overdue
     WHERE o.mail_id = overdue.mail_id
    RETURNING o.challenge_id, o.recipient_id, o.request_id, o.last_reply, overdue.has_expired
), recorded AS (
    INSERT INTO audit_events (kind, outcome, reason, user_id, email, challenge_id,
                              request_id, detail)
    SELECT $1, $2, $3, u.user_id, u.email, g.challenge_id, g.request_id, g.last_reply
      FROM given_up AS g JOIN users AS u ON u.user_id = g.recipient_id
     WHERE g.has_expired
)
SELECT count(*) AS "mails!", count(*) FILTER (WHERE has_expired) AS "expired!"
  FROM given_up
