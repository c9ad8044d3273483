-- Steps through the index users_hash_kind_idx from one kind of hash to the next, so that it reads a few rows
-- for each kind, however many users there are.
WITH RECURSIVE kinds AS (
    SELECT min(substring(password_hash FROM
               '^\$(?:argon2[a-z]*\$(?:v=[0-9]+\$)?[^$]*|2[aby]\$[0-9]{2})')) AS kind
      FROM users
     UNION ALL
    SELECT (SELECT min(substring(password_hash FROM
                   '^\$(?:argon2[a-z]*\$(?:v=[0-9]+\$)?[^$]*|2[aby]\$[0-9]{2})'))
              FROM users
             WHERE substring(password_hash FROM
                   '^\$(?:argon2[a-z]*\$(?:v=[0-9]+\$)?[^$]*|2[aby]\$[0-9]{2})') > kind)
      FROM kinds
     WHERE kind IS NOT NULL
)
SELECT kind AS "kind!" FROM kinds WHERE kind IS NOT NULL LIMIT $1
