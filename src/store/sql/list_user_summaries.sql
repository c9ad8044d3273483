-- Users as administrators see them, in the order of their addresses: of one state, the one that $6 names, or all of
-- them, a page of at most $5 with addresses after $2, from $3 on and before $4; or one user, the number $7. A user is
-- locked after $1 wrong codes in a row, and in the index of those who may be locked after $8.
--
-- Each state has its branch, with the condition of the index that was made for it: the page is a walk through that
-- index, and the other branches are not run. One condition for all of them would match no index.
--
-- It counts apps, too: for EXISTS, PostgreSQL may read all apps first.
SELECT user_id, email,
       CASE WHEN disabled_at IS NOT NULL THEN 'disabled'
            WHEN password_hash IS NULL THEN 'invited'
            WHEN second_factor_failures >= $1 THEN 'locked'
            ELSE 'active' END AS "state!",
       is_administrator, two_factor,
       (SELECT count(*) FROM totp_factors AS t
         WHERE t.user_id = u.user_id AND t.confirmed_at IS NOT NULL) > 0 AS "has_totp!",
       (SELECT count(*) FROM passkeys AS p WHERE p.user_id = u.user_id) AS "passkeys!",
       (SELECT count(*) FROM recovery_codes AS r
         WHERE r.user_id = u.user_id AND r.used_at IS NULL) AS "recovery_codes_left!",
       created_at, password_changed_at, last_signin_at
  FROM users AS u
 WHERE user_id = ANY (ARRAY(
       (SELECT user_id FROM users
         WHERE $6 = 'any'
           AND email COLLATE "C" > $2 AND email COLLATE "C" >= $3 AND email COLLATE "C" < $4
         ORDER BY email COLLATE "C" LIMIT $5)
       UNION ALL
       (SELECT user_id FROM users
         WHERE $6 = 'active' AND disabled_at IS NULL AND password_hash IS NOT NULL
           AND second_factor_failures < $1
           AND email COLLATE "C" > $2 AND email COLLATE "C" >= $3 AND email COLLATE "C" < $4
         ORDER BY email COLLATE "C" LIMIT $5)
       UNION ALL
       (SELECT user_id FROM users
         WHERE $6 = 'invited' AND disabled_at IS NULL AND password_hash IS NULL
           AND email COLLATE "C" > $2 AND email COLLATE "C" >= $3 AND email COLLATE "C" < $4
         ORDER BY email COLLATE "C" LIMIT $5)
       UNION ALL
       (SELECT user_id FROM users
         WHERE $6 = 'disabled' AND disabled_at IS NOT NULL
           AND email COLLATE "C" > $2 AND email COLLATE "C" >= $3 AND email COLLATE "C" < $4
         ORDER BY email COLLATE "C" LIMIT $5)
       UNION ALL
       (SELECT user_id FROM users
         WHERE $6 = 'locked' AND $1 >= $8 AND has_many_wrong_codes
           AND disabled_at IS NULL AND password_hash IS NOT NULL AND second_factor_failures >= $1
           AND email COLLATE "C" > $2 AND email COLLATE "C" >= $3 AND email COLLATE "C" < $4
         ORDER BY email COLLATE "C" LIMIT $5)
       UNION ALL
       (SELECT user_id FROM users
         WHERE $6 = 'locked' AND $1 < $8
           AND disabled_at IS NULL AND password_hash IS NOT NULL AND second_factor_failures >= $1
           AND email COLLATE "C" > $2 AND email COLLATE "C" >= $3 AND email COLLATE "C" < $4
         ORDER BY email COLLATE "C" LIMIT $5)
       UNION ALL
       SELECT $7))
 ORDER BY email COLLATE "C"
