-- Adds authenticator apps (TOTP, RFC 6238) and recovery codes. Nothing existing is read or rewritten.

CREATE TABLE totp_factors (
    totp_id       UUID        NOT NULL,
    user_id       BIGINT      NOT NULL,
    -- Sealed under a key of the master key; totp_id and user_id are authenticated with it.
    sealed_secret BYTEA       NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    -- Of the enrolment: until when a right code confirms it.
    expires_at    TIMESTAMPTZ NOT NULL,
    -- Null until a right code came: it is no factor before.
    confirmed_at  TIMESTAMPTZ,
    last_used_at  TIMESTAMPTZ,
    -- The newest time step of which a code was taken. No code of it, or of one before, is taken again.
    last_step     BIGINT      NOT NULL DEFAULT 0,

    CONSTRAINT totp_factors_pkey PRIMARY KEY (totp_id),
    CONSTRAINT totp_factors_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE
);

-- At most one app of a user, and one that is being enrolled.
CREATE UNIQUE INDEX totp_factors_confirmed_key ON totp_factors (user_id) WHERE confirmed_at IS NOT NULL;
CREATE UNIQUE INDEX totp_factors_begun_key ON totp_factors (user_id) WHERE confirmed_at IS NULL;
-- Finds enrolments whose time is over.
CREATE INDEX totp_factors_expires_at_idx ON totp_factors (expires_at) WHERE confirmed_at IS NULL;

CREATE TABLE recovery_codes (
    user_id    BIGINT      NOT NULL,
    -- A MAC of user and code, under a key that the database does not hold.
    code_hash  BYTEA       NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    used_at    TIMESTAMPTZ,

    CONSTRAINT recovery_codes_pkey PRIMARY KEY (user_id, code_hash),
    CONSTRAINT recovery_codes_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE
);

-- What the session was opened with besides what `amr` says: 'totp'. A column of its own, since a release
-- that does not know a word in `amr` could not refresh the session.
ALTER TABLE sessions ADD COLUMN factor TEXT;
