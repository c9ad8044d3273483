-- Gives each mail a key, a kind, a recipient and an end of its own: the next kinds of mails belong to no
-- challenge. Meanwhile no mail is read or written and no user is changed: for as long as it takes to write
-- a day's mails once.

ALTER TABLE outbox
    ADD COLUMN mail_id      UUID NOT NULL DEFAULT gen_random_uuid(),
    -- An instance leases only the kinds that it knows. The release before writes codes alone.
    ADD COLUMN kind         TEXT NOT NULL DEFAULT 'sign_in_code',
    -- Not `user_id`: the release before joins other tables `USING (user_id)`.
    ADD COLUMN recipient_id BIGINT,
    -- When nobody wants the mail any more.
    ADD COLUMN expires_at   TIMESTAMPTZ;

UPDATE outbox AS o
   SET recipient_id = c.user_id, expires_at = c.expires_at
  FROM challenges AS c
 WHERE c.challenge_id = o.challenge_id;

-- The release before names neither of the two. A release that has no release before it which writes
-- mails in that way can drop the trigger and put NOT NULL in place of the check.
CREATE FUNCTION complete_mail() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    SELECT user_id, expires_at INTO NEW.recipient_id, NEW.expires_at
      FROM challenges WHERE challenge_id = NEW.challenge_id;
    RETURN NEW;
END
$$;

CREATE TRIGGER outbox_complete_mail
    BEFORE INSERT ON outbox
    FOR EACH ROW WHEN (NEW.recipient_id IS NULL AND NEW.challenge_id IS NOT NULL)
    EXECUTE FUNCTION complete_mail();

ALTER TABLE outbox
    DROP CONSTRAINT outbox_pkey,
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (mail_id),
    -- The release before reads it through a join with challenges alone, so it meets no NULL.
    ALTER COLUMN challenge_id DROP NOT NULL,
    -- At most one mail for a challenge.
    ADD CONSTRAINT outbox_challenge_id_key UNIQUE (challenge_id),
    ADD CONSTRAINT outbox_recipient_id_fkey
        FOREIGN KEY (recipient_id) REFERENCES users (user_id) ON DELETE CASCADE,
    ADD CONSTRAINT outbox_is_complete CHECK (recipient_id IS NOT NULL AND expires_at IS NOT NULL),
    ADD CONSTRAINT outbox_code_has_challenge
        CHECK (kind <> 'sign_in_code' OR challenge_id IS NOT NULL);

-- Finds a user's mails, also when the user is deleted.
CREATE INDEX outbox_recipient_id_idx ON outbox (recipient_id);
