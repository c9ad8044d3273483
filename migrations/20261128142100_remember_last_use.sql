-- A copy of a refresh token that is used within the grace gets what its owner gets, and used to leave no
-- trace. So a session says from where it was used last, and the audit log names each network in turn.

ALTER TABLE sessions
    -- The network and agent of the last refresh; `last_network` is NULL where both are those of the
    -- opening, as they mostly are.
    ADD COLUMN last_network    CIDR,
    ADD COLUMN last_user_agent TEXT,
    -- When it was used last, if that was by a repeat after `rotated_at`.
    ADD COLUMN last_used_at    TIMESTAMPTZ,
    -- The networks besides `client_network` that the audit log names for this session; a bounded number.
    ADD COLUMN other_networks  CIDR[] NOT NULL DEFAULT '{}';
