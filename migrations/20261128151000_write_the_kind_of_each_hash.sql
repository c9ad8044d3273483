-- Makes room beside each password hash for its kind: refusals are held back for as long as the most expensive
-- kind in use takes to check. The program reads the formats; this knows the two that the release before writes,
-- by the text before their salt. Meanwhile no user is read or changed: about a second for a million of them.

ALTER TABLE users ADD COLUMN password_hash_kind TEXT;

-- The release before names no kind. A release that has no release before it which writes hashes in that way
-- can drop the triggers, their function, and the index users_hash_kind_idx, which that release reads.
CREATE FUNCTION complete_hash_kind() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.password_hash_kind := substring(NEW.password_hash FROM
        '^\$(?:argon2[a-z]*\$(?:v=[0-9]+\$)?[^$]*|2[aby]\$[0-9]{2})');
    RETURN NEW;
END
$$;

CREATE TRIGGER users_complete_hash_kind
    BEFORE INSERT ON users
    FOR EACH ROW WHEN (NEW.password_hash IS NOT NULL AND NEW.password_hash_kind IS NULL)
    EXECUTE FUNCTION complete_hash_kind();

-- A hash that was replaced, by a statement that left the kind alone or wrote the same.
CREATE TRIGGER users_replace_hash_kind
    BEFORE UPDATE OF password_hash ON users
    FOR EACH ROW WHEN (NEW.password_hash IS DISTINCT FROM OLD.password_hash
                       AND NEW.password_hash_kind IS NOT DISTINCT FROM OLD.password_hash_kind)
    EXECUTE FUNCTION complete_hash_kind();

-- Tells within a few steps, however many users there are, which kinds are in use.
CREATE INDEX users_password_hash_kind_idx ON users (password_hash_kind);
