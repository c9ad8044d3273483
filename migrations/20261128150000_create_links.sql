-- Adds links, by which people set a password of their own, and what the mails with them and notices of
-- changes need of the outbox. Meanwhile no mail is read or written: for as long as it takes to read a day's
-- mails once.

CREATE TABLE links (
    link_id            UUID        NOT NULL,
    -- Null for a decoy: a link for nobody, written so that asking for one takes the same work for all.
    user_id            BIGINT,
    purpose            TEXT        NOT NULL,
    -- The user's, when the link was made.
    credential_version INTEGER,
    created_at         TIMESTAMPTZ NOT NULL,
    expires_at         TIMESTAMPTZ NOT NULL,
    consumed_at        TIMESTAMPTZ,
    -- Null if an operator asked for it.
    client_network     CIDR,

    CONSTRAINT links_pkey PRIMARY KEY (link_id),
    CONSTRAINT links_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (user_id) ON DELETE CASCADE,
    CONSTRAINT links_have_version CHECK ((user_id IS NULL) = (credential_version IS NULL))
);

-- A link of a user and a decoy write the same number of index entries.
CREATE INDEX links_user_id_idx ON links (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX links_decoys_idx ON links (created_at) WHERE user_id IS NULL;
CREATE INDEX links_expires_at_idx ON links (expires_at);

ALTER TABLE outbox
    ADD COLUMN link_id       UUID,
    -- What a notice tells of.
    ADD COLUMN notice        TEXT,
    -- A notice goes to the address that the user had: a change of address is told to the old one, too.
    ADD COLUMN to_address    TEXT,
    -- When, and from which network, that happened which a notice tells of. No network: an operator's act.
    ADD COLUMN happened_at   TIMESTAMPTZ,
    ADD COLUMN happened_from CIDR,
    -- At most one mail for a link.
    ADD CONSTRAINT outbox_link_id_key UNIQUE (link_id),
    ADD CONSTRAINT outbox_link_id_fkey
        FOREIGN KEY (link_id) REFERENCES links (link_id) ON DELETE CASCADE,
    ADD CONSTRAINT outbox_link_has_link
        CHECK (kind NOT IN ('reset_link', 'invitation_link') OR link_id IS NOT NULL),
    ADD CONSTRAINT outbox_notice_is_complete
        CHECK (kind <> 'notice' OR notice IS NOT NULL AND to_address IS NOT NULL
                                   AND happened_at IS NOT NULL),
    -- The mail of a decoy is for nobody, and was given up before it was written.
    DROP CONSTRAINT outbox_is_complete,
    ADD CONSTRAINT outbox_is_complete
        CHECK (expires_at IS NOT NULL
               AND (recipient_id IS NOT NULL OR link_id IS NOT NULL AND given_up_at IS NOT NULL));

-- Finds notices whose time is over: other mails go with their challenges and links.
CREATE INDEX outbox_notices_idx ON outbox (expires_at) WHERE notice IS NOT NULL;
