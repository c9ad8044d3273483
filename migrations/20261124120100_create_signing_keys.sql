-- The keys that sign tokens. They live here so that every instance signs with the same one and a
-- rotation is a row; the private part is sealed under the master key, which the database never sees.

CREATE TABLE signing_keys (
    -- The RFC 7638 thumbprint: `kid`.
    key_id             TEXT        NOT NULL,
    -- SubjectPublicKeyInfo, DER.
    public_key         BYTEA       NOT NULL,
    -- PKCS#8 under AES-256-GCM. NULL: a key of an older service that only verifies.
    sealed_private_key BYTEA,
    created_at         TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- From when it signs; until then it is only published.
    activates_at       TIMESTAMPTZ NOT NULL,
    -- When the last token it signed has expired; set when a later key takes over.
    expires_at         TIMESTAMPTZ,
    revoked_at         TIMESTAMPTZ,

    CONSTRAINT signing_keys_pkey PRIMARY KEY (key_id)
);
