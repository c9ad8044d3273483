-- Tells within a few steps, however many users there are, which kinds of password hashes are in
-- use: refusals are held back for as long as the dearest of them takes to check. While the index is
-- built, users are read but not changed: about a second for a million of them.

CREATE INDEX users_hash_kind_idx ON users (
    (substring(password_hash FROM '^\$(?:argon2[a-z]*\$(?:v=[0-9]+\$)?[^$]*|2[aby]\$[0-9]{2})'))
);
