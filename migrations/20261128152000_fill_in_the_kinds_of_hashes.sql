-- Fills in the kind of each password hash. By itself, so that users can be read meanwhile; sign-ins of users who
-- were filled in wait for the end: some 20 seconds for a million of them, and longer on a busy machine.

UPDATE users
   SET password_hash_kind = substring(password_hash FROM
       '^\$(?:argon2[a-z]*\$(?:v=[0-9]+\$)?[^$]*|2[aby]\$[0-9]{2})')
 WHERE password_hash IS NOT NULL AND password_hash_kind IS NULL;
