-- While users move in from an older service, the access tokens that it issued can be good here until
-- they expire: under a key that has an end, and for users who are known to be the same there and here.

ALTER TABLE signing_keys
    -- The older service's key: it verifies that one's access tokens and nothing of ours.
    ADD COLUMN is_legacy BOOLEAN NOT NULL DEFAULT FALSE,
    ADD CONSTRAINT signing_keys_legacy_ends
        CHECK (NOT is_legacy OR (sealed_private_key IS NULL AND expires_at IS NOT NULL));

ALTER TABLE users
    -- Whether the older service's tokens with this number are this user's: yes if the number was
    -- imported from there, no from the first end of all sessions on. Somebody else's number there must
    -- open nobody's account here.
    ADD COLUMN takes_legacy_tokens BOOLEAN NOT NULL DEFAULT FALSE;
