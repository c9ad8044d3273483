-- Sign-ins that wait for a mailed code, and the mails themselves. Neither holds the code: it follows
-- from the nonce under a key derived from the master key.

CREATE TABLE challenges (
    challenge_id       UUID        NOT NULL,
    user_id            BIGINT      NOT NULL,
    nonce              BYTEA       NOT NULL,
    -- The user's, when the password was checked.
    credential_version INTEGER     NOT NULL,
    attempts           INTEGER     NOT NULL DEFAULT 0,
    created_at         TIMESTAMPTZ NOT NULL,
    expires_at         TIMESTAMPTZ NOT NULL,
    consumed_at        TIMESTAMPTZ,
    client_network     CIDR        NOT NULL,

    CONSTRAINT challenges_pkey PRIMARY KEY (challenge_id),
    CONSTRAINT challenges_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE,
    CONSTRAINT challenges_nonce_length CHECK (length(nonce) = 16)
);

CREATE INDEX challenges_user_id_idx ON challenges (user_id);
CREATE INDEX challenges_expires_at_idx ON challenges (expires_at);

-- A code mail that is to leave, at most one for a challenge, written with it in one transaction.
CREATE TABLE outbox (
    challenge_id    UUID        NOT NULL,
    request_id      TEXT        NOT NULL,
    next_attempt_at TIMESTAMPTZ NOT NULL,
    -- An instance that is sending it holds it until then.
    leased_until    TIMESTAMPTZ,
    attempts        INTEGER     NOT NULL DEFAULT 0,
    sent_at         TIMESTAMPTZ,
    given_up_at     TIMESTAMPTZ,
    -- What the mail server said last.
    last_reply      TEXT,

    CONSTRAINT outbox_pkey PRIMARY KEY (challenge_id),
    CONSTRAINT outbox_challenge_id_fkey FOREIGN KEY (challenge_id) REFERENCES challenges (challenge_id) ON DELETE CASCADE
);

CREATE INDEX outbox_due_idx ON outbox (next_attempt_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
