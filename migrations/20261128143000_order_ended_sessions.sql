-- Gives ended sessions an order that no commit can slip behind. An end is dated by its statement but seen
-- after its commit, which can be held up for minutes; so those who follow the ends by their dates miss
-- some. The transaction's id and a reader's snapshot tell together what the reader has not seen yet.

ALTER TABLE sessions
    -- The transaction that ended the session. Null for those that ended before there was this column.
    -- In a database that was restored from a dump, these are ids of the cluster that was dumped.
    ADD COLUMN ended_xid BIGINT;

-- A trigger, so that no statement can forget it: neither one of the release before, which works beside
-- this one during a rolling upgrade, nor one that an operator types.
CREATE FUNCTION note_ended_xid() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.ended_xid := pg_current_xact_id()::TEXT::BIGINT;
    RETURN NEW;
END
$$;

-- Not called by statements that leave `ended_at` alone, as refreshes do.
CREATE TRIGGER sessions_note_ended_xid
    BEFORE UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL)
    EXECUTE FUNCTION note_ended_xid();
