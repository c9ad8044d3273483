-- Adds administrators, and what they search users by. While the indexes are built, users are read but not
-- changed: about four seconds for a million of them, and half a minute for ten million.

ALTER TABLE users
    -- Given and taken on the command line alone.
    ADD COLUMN is_administrator BOOLEAN NOT NULL DEFAULT FALSE,
    -- When a session was last opened.
    ADD COLUMN last_signin_at TIMESTAMPTZ,
    -- Three wrong codes in a row or more: as few as may lock where somebody configured few. Changes so seldom that
    -- the search has an index on it: one on the count itself would have to be written with each code.
    ADD COLUMN has_many_wrong_codes BOOLEAN NOT NULL DEFAULT FALSE;

UPDATE users SET has_many_wrong_codes = TRUE WHERE second_factor_failures >= 3;

-- A trigger, since the statements of the release before do not know the column.
CREATE FUNCTION note_many_wrong_codes() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.has_many_wrong_codes := NEW.second_factor_failures >= 3;
    RETURN NEW;
END
$$;

CREATE TRIGGER users_note_many_wrong_codes
    BEFORE UPDATE OF second_factor_failures ON users
    FOR EACH ROW WHEN (NEW.has_many_wrong_codes <> (NEW.second_factor_failures >= 3))
    EXECUTE FUNCTION note_many_wrong_codes();

-- A page of users in the order of their addresses, by prefix and by state, reads as many entries of one of these
-- as it has users. Addresses are ASCII, so bytes are their order.
CREATE INDEX users_search_idx ON users (email COLLATE "C");
CREATE INDEX users_search_active_idx ON users (email COLLATE "C")
    WHERE disabled_at IS NULL AND password_hash IS NOT NULL;
CREATE INDEX users_search_invited_idx ON users (email COLLATE "C")
    WHERE disabled_at IS NULL AND password_hash IS NULL;
CREATE INDEX users_search_disabled_idx ON users (email COLLATE "C") WHERE disabled_at IS NOT NULL;
CREATE INDEX users_search_wrong_codes_idx ON users (email COLLATE "C") WHERE has_many_wrong_codes;
