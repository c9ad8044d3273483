-- Refresh tokens get keys of their own, which are in no JWKS: many verifiers, set up as their documents
-- show, take whatever is signed by a published key for an access token. Building the index keeps sessions
-- from being written for as long as reading the table takes: a second for a few millions of them.

ALTER TABLE signing_keys
    -- What it signs: access tokens, or refresh tokens.
    ADD COLUMN purpose            TEXT NOT NULL DEFAULT 'access',
    -- The private part of a key for refresh tokens, sealed like the other. The release before signs
    -- access tokens with whatever has a sealed_private_key; a key without one it takes for one that
    -- verifies only, which is what it has to do with these.
    ADD COLUMN sealed_refresh_key BYTEA,
    -- Until when a key for access tokens verifies refresh tokens, too: those from the time before there
    -- were keys for them. NULL: as long as it verifies at all.
    ADD COLUMN refresh_expires_at TIMESTAMPTZ,
    ADD CONSTRAINT signing_keys_purpose CHECK (
        CASE purpose
            WHEN 'access' THEN sealed_refresh_key IS NULL
            WHEN 'refresh' THEN sealed_private_key IS NULL AND NOT is_legacy
            ELSE FALSE
        END);

ALTER TABLE sessions
    -- The key that signs this generation's refresh token. NULL: the one that signs its access token.
    ADD COLUMN refresh_key_id TEXT;

-- Finds the sessions of a revoked key.
CREATE INDEX sessions_refresh_key_id_idx ON sessions (refresh_key_id)
    WHERE ended_at IS NULL AND refresh_key_id IS NOT NULL;
