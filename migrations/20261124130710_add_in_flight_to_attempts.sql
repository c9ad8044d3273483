-- Attempts whose outcome is still open, apart from those that count for good. The ceiling of an
-- account's failures makes room for each sign-in before its password is checked, and who is refused
-- for lack of room must not be told to wait for an hour while all that is ahead may turn out right.
-- A release from before this column counts in `hits` alone: while both run, each sees only what the
-- other has finished.

ALTER TABLE attempts ADD COLUMN in_flight TIMESTAMPTZ[] NOT NULL DEFAULT '{}';
