//! The table `users`.

use super::factors::EnrolledFactors;
use super::run::Run as _;
use super::{Store, StoreError, Tx, columns};
use crate::domain::{
    EmailAddress, HashKind, NewPasswordHash, PasswordHash, SessionId, Timestamp, TwoFactor, User,
    UserId,
};

/// The advisory lock that keeps imports to one at a time.
const IMPORT_LOCK: i64 = 0x6261_636b_696d_7074;

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The number to take over from an older service; `None` for the next free one.
    pub user_id: Option<UserId>,
    /// The address to sign in with.
    pub email: EmailAddress,
    /// The password as stored; `None` for a user who has none yet.
    pub password_hash: Option<NewPasswordHash>,
    /// Whether signing in takes a code.
    pub two_factor: TwoFactor,
    /// Whether the user is shut out from the start.
    pub is_disabled: bool,
}

/// How many users have a hash of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashKindCount {
    /// The kind; `None` where nothing can be checked.
    pub kind: Option<HashKind>,
    /// The number of users.
    pub users: i64,
    /// The highest number among them.
    pub last: UserId,
}

impl NewUser {
    fn hash(&self) -> Option<&str> {
        self.password_hash.as_ref().map(|new| new.hash().expose())
    }

    fn kind(&self) -> Option<&str> {
        self.password_hash.as_ref().map(|new| new.kind().as_str())
    }
}

/// A user as the owner of a live session sees them.
#[derive(Debug, Clone)]
pub struct Account {
    /// The user's number.
    pub user_id: UserId,
    /// The address to sign in with.
    pub email: EmailAddress,
    /// Whether the user manages others.
    pub is_administrator: bool,
    /// Whether signing in takes a code by mail, where there is neither an authenticator app nor a passkey.
    pub two_factor: TwoFactor,
    /// The factors that are enrolled.
    pub factors: EnrolledFactors,
    /// When the session was opened.
    pub signed_in_at: Timestamp,
}

pub(super) struct UserRow {
    pub(super) user_id: i64,
    pub(super) email: String,
    pub(super) password_hash: Option<String>,
    pub(super) two_factor: String,
    pub(super) credential_version: i32,
    pub(super) second_factor_failures: i32,
    pub(super) created_at: Timestamp,
    pub(super) disabled_at: Option<Timestamp>,
    pub(super) password_changed_at: Option<Timestamp>,
    pub(super) is_administrator: bool,
    pub(super) has_totp: bool,
    pub(super) has_passkey: bool,
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId(row.user_id),
            email: columns::email(&row.email)?,
            password_hash: row.password_hash.map(PasswordHash::new),
            two_factor: columns::two_factor(&row.two_factor)?,
            has_totp: row.has_totp,
            has_passkey: row.has_passkey,
            is_administrator: row.is_administrator,
            credential_version: row.credential_version,
            second_factor_failures: row.second_factor_failures,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
            password_changed_at: row.password_changed_at,
        })
    }
}

impl Store {
    /// The user with this address.
    pub async fn find_user(&self, email: &EmailAddress) -> Result<Option<User>, StoreError> {
        let query = sqlx::query_as!(
            UserRow,
            r#"
            SELECT user_id, email, password_hash, two_factor, credential_version,
                   second_factor_failures, created_at, disabled_at, password_changed_at,
                   is_administrator,
                   EXISTS (SELECT FROM totp_factors AS t
                            WHERE t.user_id = users.user_id AND t.confirmed_at IS NOT NULL)
                       AS "has_totp!",
                   EXISTS (SELECT FROM passkeys AS p WHERE p.user_id = users.user_id)
                       AS "has_passkey!"
              FROM users
             WHERE email = $1
            "#,
            email.as_str(),
        );
        let row = self.fetch_optional(query).await?;
        row.map(User::try_from).transpose()
    }

    /// The users that have the address or the number of one of these, which are not made yet.
    pub async fn find_taken(
        &self,
        users: &[NewUser],
    ) -> Result<Vec<(UserId, EmailAddress)>, StoreError> {
        let ids: Vec<_> = (users.iter())
            .filter_map(|user| Some(user.user_id?.0))
            .collect();
        let emails: Vec<_> = users
            .iter()
            .map(|user| user.email.as_str().to_owned())
            .collect();
        let query = sqlx::query!(
            "SELECT user_id, email FROM users WHERE email = ANY($1) OR user_id = ANY($2)",
            &emails,
            &ids,
        );
        let rows = self.fetch_all(query).await?;
        rows.iter()
            .map(|row| Ok((UserId(row.user_id), columns::email(&row.email)?)))
            .collect()
    }

    /// The user with this number.
    pub async fn find_user_by_id(&self, user_id: UserId) -> Result<Option<User>, StoreError> {
        let query = sqlx::query_as!(
            UserRow,
            r#"
            SELECT user_id, email, password_hash, two_factor, credential_version,
                   second_factor_failures, created_at, disabled_at, password_changed_at,
                   is_administrator,
                   EXISTS (SELECT FROM totp_factors AS t
                            WHERE t.user_id = users.user_id AND t.confirmed_at IS NOT NULL)
                       AS "has_totp!",
                   EXISTS (SELECT FROM passkeys AS p WHERE p.user_id = users.user_id)
                       AS "has_passkey!"
              FROM users
             WHERE user_id = $1
            "#,
            user_id.0,
        );
        let row = self.fetch_optional(query).await?;
        row.map(User::try_from).transpose()
    }

    /// Users in the order of their numbers, at most `count` after number `after`.
    pub async fn list_users(&self, after: UserId, count: i64) -> Result<Vec<User>, StoreError> {
        let query = sqlx::query_as!(
            UserRow,
            r#"
            SELECT user_id, email, password_hash, two_factor, credential_version,
                   second_factor_failures, created_at, disabled_at, password_changed_at,
                   is_administrator,
                   EXISTS (SELECT FROM totp_factors AS t
                            WHERE t.user_id = users.user_id AND t.confirmed_at IS NOT NULL)
                       AS "has_totp!",
                   EXISTS (SELECT FROM passkeys AS p WHERE p.user_id = users.user_id)
                       AS "has_passkey!"
              FROM users
             WHERE user_id > $1
             ORDER BY user_id
             LIMIT $2
            "#,
            after.0,
            count,
        );
        let rows = self.fetch_all(query).await?;
        rows.into_iter().map(User::try_from).collect()
    }

    /// Which kinds of password hashes are in use, at most `count`. By steps through an index, a few for each kind.
    pub async fn list_hash_kinds(&self, count: i64) -> Result<Vec<HashKind>, StoreError> {
        let query = sqlx::query_file_scalar!("src/store/sql/list_hash_kinds.sql", count,);
        let kinds = self.fetch_all(query).await?;
        Ok(kinds.into_iter().map(HashKind::new).collect())
    }

    /// How many of the `count` users after number `after` have a hash of which kind, and the highest number among
    /// them. Users without a password, and hashes that nothing can check, are of no kind.
    pub async fn count_hash_kinds(
        &self,
        after: UserId,
        count: i64,
    ) -> Result<Vec<HashKindCount>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT password_hash_kind, count(*) AS "users!", max(user_id) AS "last!"
              FROM (SELECT user_id, password_hash_kind
                      FROM users
                     WHERE user_id > $1
                     ORDER BY user_id
                     LIMIT $2) AS page
             GROUP BY password_hash_kind
            "#,
            after.0,
            count,
        );
        let rows = self.fetch_all(query).await?.into_iter();
        let counted = rows.map(|row| HashKindCount {
            kind: row.password_hash_kind.map(HashKind::new),
            users: row.users,
            last: UserId(row.last),
        });
        Ok(counted.collect())
    }

    /// Replaces a hash by one of the same password, unless it was changed since it was read.
    pub async fn upgrade_password_hash(
        &self,
        user_id: UserId,
        old: &PasswordHash,
        new: &NewPasswordHash,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET password_hash = $3, password_hash_kind = $4
             WHERE user_id = $1 AND password_hash = $2
            "#,
            user_id.0,
            old.expose(),
            new.hash().expose(),
            new.kind().as_str(),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// A user's account as they are told of it, if the session is live, theirs, and they are not disabled.
    pub async fn find_account(
        &self,
        user_id: UserId,
        session_id: SessionId,
    ) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT u.email, u.two_factor, u.is_administrator, s.created_at
              FROM sessions AS s
              JOIN users AS u ON u.user_id = s.user_id
             WHERE s.session_id = $2
               AND s.user_id = $1
               AND s.ended_at IS NULL
               AND s.expires_at > clock_timestamp()
               AND u.disabled_at IS NULL
            "#,
            user_id.0,
            session_id.0,
        );
        let row = self.fetch_optional(query).await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Account {
            user_id,
            email: columns::email(&row.email)?,
            is_administrator: row.is_administrator,
            two_factor: columns::two_factor(&row.two_factor)?,
            factors: self.find_factors(user_id).await?,
            signed_in_at: row.created_at,
        }))
    }

    /// The address of a user, if the older service's tokens with this number are theirs and they may
    /// sign in.
    pub async fn find_legacy_owner(
        &self,
        user_id: UserId,
    ) -> Result<Option<EmailAddress>, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            SELECT email FROM users
             WHERE user_id = $1 AND takes_legacy_tokens AND disabled_at IS NULL
            "#,
            user_id.0,
        );
        let found = self.fetch_optional(query).await?;
        found.as_deref().map(columns::email).transpose()
    }
}

impl Tx {
    /// Refuses the older service's tokens of a user from now on, and tells whether they were taken. Of
    /// any number of callers one is told so.
    pub async fn refuse_legacy_tokens_of(&mut self, user_id: UserId) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET takes_legacy_tokens = FALSE
             WHERE user_id = $1 AND takes_legacy_tokens
            "#,
            user_id.0,
        );
        let done = self.execute(query).await?;
        Ok(done > 0)
    }

    /// Makes a user. A taken address or number violates `users_email_key` or `users_pkey`.
    pub async fn insert_user(&mut self, user: &NewUser) -> Result<UserId, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            INSERT INTO users (user_id, email, password_hash, password_hash_kind, two_factor,
                               disabled_at, password_changed_at)
            VALUES (COALESCE($1, nextval(pg_get_serial_sequence('users', 'user_id'))),
                    $2, $3::TEXT, $4, $5, CASE WHEN $6 THEN clock_timestamp() END,
                    CASE WHEN $3::TEXT IS NOT NULL THEN clock_timestamp() END)
            RETURNING user_id
            "#,
            user.user_id.map(|id| id.0),
            user.email.as_str(),
            user.hash(),
            user.kind(),
            user.two_factor.as_str(),
            user.is_disabled,
        );
        self.fetch_one(query).await.map(UserId)
    }

    /// Keeps every other import out until this transaction ends; `false` if one is under way.
    ///
    /// Each makes many users in one transaction: two that have some in common, in another order,
    /// would wait for each other.
    pub async fn try_lock_imports(&mut self) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar!(
            r#"SELECT pg_try_advisory_xact_lock($1) AS "is_mine!""#,
            IMPORT_LOCK
        );
        self.fetch_one(query).await
    }

    /// Makes all of `users` whose address and number are free, and tells which those were. Those who
    /// bring their number along take the older service's tokens with it.
    pub async fn insert_users(
        &mut self,
        users: &[NewUser],
    ) -> Result<Vec<(UserId, EmailAddress)>, StoreError> {
        let ids: Vec<_> = users
            .iter()
            .map(|user| user.user_id.map(|id| id.0))
            .collect();
        let emails: Vec<_> = users
            .iter()
            .map(|user| user.email.as_str().to_owned())
            .collect();
        let hashes: Vec<_> = users.iter().map(NewUser::hash).collect();
        let kinds: Vec<_> = users.iter().map(NewUser::kind).collect();
        let factors: Vec<_> = (users.iter())
            .map(|user| user.two_factor.as_str().to_owned())
            .collect();
        let disabled: Vec<_> = users.iter().map(|user| user.is_disabled).collect();
        let query = sqlx::query!(
            r#"
            INSERT INTO users (user_id, email, password_hash, password_hash_kind, two_factor,
                               disabled_at, password_changed_at, takes_legacy_tokens)
            SELECT COALESCE(n.user_id, nextval(pg_get_serial_sequence('users', 'user_id'))),
                   n.email, n.password_hash, n.kind, n.two_factor,
                   CASE WHEN n.is_disabled THEN clock_timestamp() END,
                   CASE WHEN n.password_hash IS NOT NULL THEN clock_timestamp() END,
                   n.user_id IS NOT NULL
              FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::TEXT[],
                          $6::BOOLEAN[])
                   AS n (user_id, email, password_hash, kind, two_factor, is_disabled)
            ON CONFLICT DO NOTHING
            RETURNING user_id, email
            "#,
            &ids as &[Option<i64>],
            &emails,
            &hashes as &[Option<&str>],
            &kinds as &[Option<&str>],
            &factors,
            &disabled,
        );
        let rows = self.fetch_all(query).await?;
        rows.iter()
            .map(|row| Ok((UserId(row.user_id), columns::email(&row.email)?)))
            .collect()
    }

    /// Sees to it that numbers given from now on are beyond `highest`. This stays so even if the
    /// transaction is undone.
    pub async fn skip_user_numbers(&mut self, highest: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT setval(numbers, $1)
              FROM (SELECT pg_get_serial_sequence('users', 'user_id')::REGCLASS AS numbers) AS s
             WHERE COALESCE(pg_sequence_last_value(numbers), 0) < $1
            "#,
            highest.0,
        );
        self.fetch_optional(query).await?;
        Ok(())
    }

    /// Sets a password and voids what was begun with the one before.
    pub async fn change_password(
        &mut self,
        user_id: UserId,
        hash: &NewPasswordHash,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET password_hash = $2,
                   password_hash_kind = $3,
                   password_changed_at = clock_timestamp(),
                   credential_version = credential_version + 1
             WHERE user_id = $1
            "#,
            user_id.0,
            hash.hash().expose(),
            hash.kind().as_str(),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Sets a password in place of the one that was read with a version of the credentials, unless the user
    /// was disabled. Of any number of callers with the same version one does. Voids what was begun with the
    /// one before.
    pub async fn replace_password(
        &mut self,
        user_id: UserId,
        read_version: i32,
        hash: &NewPasswordHash,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET password_hash = $3,
                   password_hash_kind = $4,
                   password_changed_at = clock_timestamp(),
                   credential_version = credential_version + 1
             WHERE user_id = $1 AND credential_version = $2 AND disabled_at IS NULL
            "#,
            user_id.0,
            read_version,
            hash.hash().expose(),
            hash.kind().as_str(),
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Gives a user another address, and voids what was begun with the one before; `false` if the user
    /// does not have the one before any more. An address that is taken violates `users_email_key`.
    pub async fn change_email(
        &mut self,
        user_id: UserId,
        old: &EmailAddress,
        new: &EmailAddress,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET email = $3,
                   credential_version = credential_version + 1
             WHERE user_id = $1 AND email = $2
            "#,
            user_id.0,
            old.as_str(),
            new.as_str(),
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Sets the second factor.
    pub async fn change_two_factor(
        &mut self,
        user_id: UserId,
        two_factor: TwoFactor,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE users SET two_factor = $2 WHERE user_id = $1",
            user_id.0,
            two_factor.as_str(),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Shuts a user out, and voids what was begun before.
    pub async fn disable_user(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET disabled_at = COALESCE(disabled_at, clock_timestamp()),
                   credential_version = credential_version + 1
             WHERE user_id = $1
            "#,
            user_id.0,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Lets a user in again.
    pub async fn enable_user(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE users SET disabled_at = NULL WHERE user_id = $1",
            user_id.0
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Starts the count of wrong codes at zero: after a right one, or by an operator.
    pub async fn reset_second_factor_failures(
        &mut self,
        user_id: UserId,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE users SET second_factor_failures = 0 WHERE user_id = $1",
            user_id.0,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Removes a user, with challenges and known networks. Sessions stay, and must be ended first.
    pub async fn delete_user(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!("DELETE FROM users WHERE user_id = $1", user_id.0);
        self.execute(query).await?;
        Ok(())
    }
}
