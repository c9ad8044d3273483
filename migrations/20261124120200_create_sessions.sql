-- A session is one row, and its tokens are not stored: they follow from the row. The refresh token
-- carries (session_id, generation), so that one guarded UPDATE decides which of many presenters
-- gets the next pair.

CREATE TABLE sessions (
    session_id            UUID          NOT NULL,
    -- No foreign key: an ended session outlives a deleted user until its last access token has
    -- expired, so that every instance learns of its end.
    user_id               BIGINT        NOT NULL,
    generation            BIGINT        NOT NULL DEFAULT 1,
    -- The key that signs this generation.
    key_id                TEXT          NOT NULL,
    amr                   TEXT[]        NOT NULL,
    created_at            TIMESTAMPTZ   NOT NULL,
    -- When this generation was made; `iat` of its tokens.
    rotated_at            TIMESTAMPTZ   NOT NULL,
    -- `exp` of this generation's access token and refresh token.
    access_expires_at     TIMESTAMPTZ   NOT NULL,
    idle_expires_at       TIMESTAMPTZ   NOT NULL,
    -- The end of the session's life, however often it is refreshed.
    expires_at            TIMESTAMPTZ   NOT NULL,
    -- The latest `exp` of any access token of the session: it differs from access_expires_at only
    -- after their configured life was shortened.
    access_horizon_at     TIMESTAMPTZ   NOT NULL,
    ended_at              TIMESTAMPTZ,
    end_reason            TEXT,
    refresh_hits          TIMESTAMPTZ[] NOT NULL DEFAULT '{}',
    refresh_blocked_until TIMESTAMPTZ,
    client_network        CIDR          NOT NULL,
    user_agent            TEXT,

    CONSTRAINT sessions_pkey PRIMARY KEY (session_id),
    CONSTRAINT sessions_end_has_reason CHECK ((ended_at IS NULL) = (end_reason IS NULL))
)
-- Room on the page for the next version of a row. A refresh changes no indexed column, but for the
-- first one under a new signing key, so it stays on its page and leaves the indexes alone.
WITH (fillfactor = 80);

CREATE INDEX sessions_user_id_idx ON sessions (user_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended_at_idx ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_expires_at_idx ON sessions (expires_at);
-- Finds the sessions of a revoked key.
CREATE INDEX sessions_key_id_idx ON sessions (key_id) WHERE ended_at IS NULL;
