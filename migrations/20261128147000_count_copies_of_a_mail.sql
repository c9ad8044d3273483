-- How many copies of a mail may have reached its recipient. Counted before a relay gets to the end of
-- one, so that a sender that dies there, or gets no answer, cannot make it come more than twice. The
-- release before does not count and is not kept from anything.

ALTER TABLE outbox ADD COLUMN copies INTEGER NOT NULL DEFAULT 0;
