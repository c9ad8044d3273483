-- Adds passkeys (WebAuthn). Nothing existing is read or rewritten.

-- The user's name towards authenticators (user.id of WebAuthn): 32 random bytes, from the first passkey on.
ALTER TABLE users ADD COLUMN passkey_handle BYTEA;
CREATE UNIQUE INDEX users_passkey_handle_key ON users (passkey_handle) WHERE passkey_handle IS NOT NULL;

CREATE TABLE passkeys (
    passkey_id    UUID        NOT NULL,
    user_id       BIGINT      NOT NULL,
    -- The id that the authenticator knows it by.
    credential_id BYTEA       NOT NULL,
    -- A COSE_Key (RFC 9052), as it came.
    public_key    BYTEA       NOT NULL,
    -- The domain that it was made for. It works for no other.
    rp_id         TEXT        NOT NULL,
    name          TEXT        NOT NULL,
    transports    TEXT[]      NOT NULL,
    -- It can be copied to other devices.
    is_synced     BOOLEAN     NOT NULL,
    -- It has verified its owner once, when it was made or after the password: it may replace the password.
    verifies_user BOOLEAN     NOT NULL,
    -- The highest that was seen. Zero where the authenticator does not count.
    sign_count    BIGINT      NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    last_used_at  TIMESTAMPTZ,

    CONSTRAINT passkeys_pkey PRIMARY KEY (passkey_id),
    CONSTRAINT passkeys_credential_id_key UNIQUE (credential_id),
    CONSTRAINT passkeys_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE,
    CONSTRAINT passkeys_credential_id_length CHECK (octet_length(credential_id) BETWEEN 1 AND 1023)
);

CREATE INDEX passkeys_user_id_idx ON passkeys (user_id);

-- Requests by which somebody signed in with a passkey alone. A request is stored when it succeeds, so that it
-- does not twice.
CREATE TABLE used_passkey_requests (
    request_id UUID        NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,

    CONSTRAINT used_passkey_requests_pkey PRIMARY KEY (request_id)
);

CREATE INDEX used_passkey_requests_expires_at_idx ON used_passkey_requests (expires_at);
