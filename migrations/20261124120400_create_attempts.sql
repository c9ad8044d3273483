-- What the limits count, shared by all instances under this database's clock. Logged tables: a
-- crash must not give anybody new attempts.

CREATE TABLE attempts (
    -- A keyed hash of what is counted by; names nobody.
    attempt_key   BYTEA         NOT NULL,
    -- Which limit it is, and whose: the same keyed hash of an address for all limits of an account,
    -- so that an operator can lift and explain them.
    scope         TEXT          NOT NULL,
    account_key   BYTEA,
    hits          TIMESTAMPTZ[] NOT NULL,
    blocked_until TIMESTAMPTZ,
    -- From when the row means nothing.
    stale_at      TIMESTAMPTZ   NOT NULL,

    CONSTRAINT attempts_pkey PRIMARY KEY (attempt_key)
);

CREATE INDEX attempts_account_key_idx ON attempts (account_key) WHERE account_key IS NOT NULL;
CREATE INDEX attempts_stale_at_idx ON attempts (stale_at);

-- Networks from which a user signed in: they stay open to that user when failures elsewhere have
-- used up the account's ceiling, so that a lock-out cannot be used against its owner.
CREATE TABLE known_networks (
    user_id        BIGINT      NOT NULL,
    network        CIDR        NOT NULL,
    last_signin_at TIMESTAMPTZ NOT NULL,

    CONSTRAINT known_networks_pkey PRIMARY KEY (user_id, network),
    CONSTRAINT known_networks_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE
);

CREATE INDEX known_networks_last_signin_at_idx ON known_networks (last_signin_at);
