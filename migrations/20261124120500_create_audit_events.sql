-- What happened, written in the transaction of what it records. It answers "why was I refused" and
-- "who did that", and holds no password, code or token. No foreign keys: it outlives what it names.

CREATE TABLE audit_events (
    event_id     BIGINT      GENERATED ALWAYS AS IDENTITY,
    happened_at  TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    kind         TEXT        NOT NULL,
    outcome      TEXT        NOT NULL,
    reason       TEXT        NOT NULL,
    user_id      BIGINT,
    email        TEXT,
    session_id   UUID,
    challenge_id UUID,
    network      CIDR,
    request_id   TEXT,
    actor        TEXT,
    -- What else helps to understand it: a signing key's id, what a mail server said.
    detail       TEXT,

    CONSTRAINT audit_events_pkey PRIMARY KEY (event_id)
);

CREATE INDEX audit_events_happened_at_idx ON audit_events (happened_at);
CREATE INDEX audit_events_request_id_idx ON audit_events (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX audit_events_email_idx ON audit_events (email, event_id) WHERE email IS NOT NULL;
CREATE INDEX audit_events_user_id_idx ON audit_events (user_id, event_id) WHERE user_id IS NOT NULL;
