-- Steps through the index users_password_hash_kind_idx from one kind of hash to the next, so that it reads a few
-- rows for each kind, however many users there are.
WITH RECURSIVE kinds AS (
    SELECT min(password_hash_kind) AS kind FROM users
     UNION ALL
    SELECT (SELECT min(password_hash_kind) FROM users WHERE password_hash_kind > kind)
      FROM kinds
     WHERE kind IS NOT NULL
)
SELECT kind AS "kind!" FROM kinds WHERE kind IS NOT NULL LIMIT $1
