-- For some time after a rotation the refresh token before it gets the same answer again. That time must
-- not run while commits are not answered, since nobody can be handed the answer: so it is kept on record
-- when that was, in a way that holds although every instance may die meanwhile.

-- The instances write it about once a second between them. A beat whose commit waits holds the row, and
-- all others wait behind it; so what can be read is the last beat that was answered.
CREATE TABLE heartbeat (
    is_only     BOOLEAN     NOT NULL DEFAULT TRUE,
    -- NULL until the first instance beats.
    beat_at     TIMESTAMPTZ,
    -- The beat before it.
    previous_at TIMESTAMPTZ,

    CONSTRAINT heartbeat_pkey PRIMARY KEY (is_only),
    CONSTRAINT heartbeat_is_only CHECK (is_only)
);

INSERT INTO heartbeat DEFAULT VALUES;

-- Times without a beat. They can overlap by a beat's length. Rows are kept for a day.
CREATE TABLE outages (
    began_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,

    CONSTRAINT outages_pkey PRIMARY KEY (ended_at),
    CONSTRAINT outages_end_after_their_beginning CHECK (began_at <= ended_at)
);

ALTER TABLE sessions
    -- From when the grace counts, if that is later than `rotated_at`: an instance that was cut off from
    -- the database by itself answered 503 instead. It counts for the generation of that time alone,
    -- since every later one has a later `rotated_at`.
    ADD COLUMN grace_from TIMESTAMPTZ;
