-- Tells whether anybody is known from a network, whoever it is: past an account's ceiling of failures the
-- work of a refusal must depend on the network alone, or its time would tell which addresses have an
-- account. While the index is built, networks are read but not written: sign-ins wait, for about a
-- second for a million rows.

CREATE INDEX known_networks_network_idx ON known_networks (network);
