//! The table `users`.

use super::run::Run as _;
use super::{Store, StoreError, Tx};
use crate::domain::{EmailAddress, PasswordHash, Timestamp, TwoFactor, User, UserId};

/// The advisory lock that keeps imports to one at a time.
const IMPORT_LOCK: i64 = 0x6261_636b_696d_7074;

/// A user to be made.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The number to take over from an older service; `None` for the next free one.
    pub user_id: Option<UserId>,
    /// The address.
    pub email: EmailAddress,
    /// The password as stored.
    pub password_hash: PasswordHash,
    /// Whether signing in takes a code.
    pub two_factor: TwoFactor,
    /// Whether the user is shut out from the start.
    pub is_disabled: bool,
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
}

impl TryFrom<UserRow> for User {
    type Error = StoreError;

    fn try_from(row: UserRow) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId(row.user_id),
            email: email(&row.email)?,
            password_hash: row.password_hash.map(PasswordHash::new),
            two_factor: (row.two_factor.parse())
                .map_err(|_| StoreError::Unreadable("users.two_factor"))?,
            credential_version: row.credential_version,
            second_factor_failures: row.second_factor_failures,
            created_at: row.created_at,
            disabled_at: row.disabled_at,
            password_changed_at: row.password_changed_at,
        })
    }
}

/// Reads an address back. The table's own check keeps it canonical.
pub(super) fn email(text: &str) -> Result<EmailAddress, StoreError> {
    EmailAddress::from_stored(text.to_owned()).ok_or(StoreError::Unreadable("users.email"))
}

impl Store {
    /// The user with this address.
    pub async fn find_user(&self, email: &EmailAddress) -> Result<Option<User>, StoreError> {
        let query = sqlx::query_as!(
            UserRow,
            r#"
            SELECT user_id, email, password_hash, two_factor, credential_version,
                   second_factor_failures, created_at, disabled_at, password_changed_at
              FROM users
             WHERE email = $1
            "#,
            email.as_str(),
        );
        let row = self.fetch_optional(query).await?;
        row.map(User::try_from).transpose()
    }

    /// The user with this number.
    pub async fn find_user_by_id(&self, user_id: UserId) -> Result<Option<User>, StoreError> {
        let query = sqlx::query_as!(
            UserRow,
            r#"
            SELECT user_id, email, password_hash, two_factor, credential_version,
                   second_factor_failures, created_at, disabled_at, password_changed_at
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
                   second_factor_failures, created_at, disabled_at, password_changed_at
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

    /// Which kinds of password hashes are in use, each told by what stands before the salt; at most
    /// `count`. By steps through an index, a few for each kind.
    pub async fn list_hash_kinds(&self, count: i64) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_file_scalar!("src/store/sql/list_hash_kinds.sql", count,);
        self.fetch_all(query).await
    }

    /// Replaces a hash by one of the same password, unless it was changed since it was read.
    pub async fn upgrade_password_hash(
        &self,
        user_id: UserId,
        old: &PasswordHash,
        new: &PasswordHash,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2",
            user_id.0,
            old.expose(),
            new.expose(),
        );
        self.execute(query).await?;
        Ok(())
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
        found.as_deref().map(email).transpose()
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
            INSERT INTO users (user_id, email, password_hash, two_factor, disabled_at,
                               password_changed_at)
            VALUES (COALESCE($1, nextval(pg_get_serial_sequence('users', 'user_id'))),
                    $2, $3, $4, CASE WHEN $5 THEN clock_timestamp() END, clock_timestamp())
            RETURNING user_id
            "#,
            user.user_id.map(|id| id.0),
            user.email.as_str(),
            user.password_hash.expose(),
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
        let hashes: Vec<_> = (users.iter())
            .map(|user| user.password_hash.expose().to_owned())
            .collect();
        let factors: Vec<_> = (users.iter())
            .map(|user| user.two_factor.as_str().to_owned())
            .collect();
        let disabled: Vec<_> = users.iter().map(|user| user.is_disabled).collect();
        let query = sqlx::query!(
            r#"
            INSERT INTO users (user_id, email, password_hash, two_factor, disabled_at,
                               password_changed_at, takes_legacy_tokens)
            SELECT COALESCE(n.user_id, nextval(pg_get_serial_sequence('users', 'user_id'))),
                   n.email, n.password_hash, n.two_factor,
                   CASE WHEN n.is_disabled THEN clock_timestamp() END, clock_timestamp(),
                   n.user_id IS NOT NULL
              FROM UNNEST($1::BIGINT[], $2::TEXT[], $3::TEXT[], $4::TEXT[], $5::BOOLEAN[])
                   AS n (user_id, email, password_hash, two_factor, is_disabled)
            ON CONFLICT DO NOTHING
            RETURNING user_id, email
            "#,
            &ids as &[Option<i64>],
            &emails,
            &hashes,
            &factors,
            &disabled,
        );
        let rows = self.fetch_all(query).await?;
        rows.iter()
            .map(|row| Ok((UserId(row.user_id), email(&row.email)?)))
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
        hash: &PasswordHash,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET password_hash = $2,
                   password_changed_at = clock_timestamp(),
                   credential_version = credential_version + 1
             WHERE user_id = $1
            "#,
            user_id.0,
            hash.expose(),
        );
        self.execute(query).await?;
        Ok(())
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
