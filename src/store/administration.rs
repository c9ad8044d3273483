//! Administrators: their role, and how they search users. The role is a column of `users`.

use std::time::Duration;

use super::run::Run as _;
use super::{Store, StoreError, Tx, columns, seconds};
use crate::domain::{
    AdministratorFacts, AuthenticationMethod, EmailAddress, SessionId, StrongFactor, Timestamp,
    TwoFactor, UserId, UserState,
};

/// Wrong codes in a row from which a user is in the index of those who may be locked. The migrations have the
/// same number. Where fewer lock, the search reads all active users.
const MANY_WRONG_CODES: i32 = 3;

/// After all addresses with a prefix: an address is made of characters that are less.
const LAST: char = '\u{7f}';

/// A user, as an administrator sees them in a list.
#[derive(Debug, Clone)]
pub struct UserSummary {
    /// The user's number.
    pub user_id: UserId,
    /// The user's address.
    pub email: EmailAddress,
    /// The state of the account.
    pub state: UserState,
    /// Whether the user manages others.
    pub is_administrator: bool,
    /// Whether signing in takes a code by mail, where there is neither an authenticator app nor a passkey.
    pub two_factor: TwoFactor,
    /// Whether the user has an authenticator app.
    pub has_totp: bool,
    /// How many passkeys the user has.
    pub passkeys: i64,
    /// Recovery codes that were not used.
    pub recovery_codes_left: i64,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When the password was last set.
    pub password_changed_at: Option<Timestamp>,
    /// When a session was last opened.
    pub last_signin_at: Option<Timestamp>,
}

/// Which users to list.
#[derive(Debug, Clone, Default)]
pub struct UserSearch {
    /// The beginning of the address, in lower case.
    pub prefix: String,
    /// The state; `None` for all.
    pub state: Option<UserState>,
    /// The address after which the page begins.
    pub after: Option<EmailAddress>,
}

struct SummaryRow {
    user_id: i64,
    email: String,
    state: String,
    is_administrator: bool,
    two_factor: String,
    has_totp: bool,
    passkeys: i64,
    recovery_codes_left: i64,
    created_at: Timestamp,
    password_changed_at: Option<Timestamp>,
    last_signin_at: Option<Timestamp>,
}

impl TryFrom<SummaryRow> for UserSummary {
    type Error = StoreError;

    fn try_from(row: SummaryRow) -> Result<Self, StoreError> {
        Ok(Self {
            user_id: UserId(row.user_id),
            email: columns::email(&row.email)?,
            state: UserState::from_stored(&row.state).ok_or(StoreError::Unreadable("state"))?,
            is_administrator: row.is_administrator,
            two_factor: columns::two_factor(&row.two_factor)?,
            has_totp: row.has_totp,
            passkeys: row.passkeys,
            recovery_codes_left: row.recovery_codes_left,
            created_at: row.created_at,
            password_changed_at: row.password_changed_at,
            last_signin_at: row.last_signin_at,
        })
    }
}

/// A statement that reads users as administrators see them: the first parameter is the number of wrong codes that
/// locks, and the text says which users.
///
/// It counts apps, too: for `EXISTS`, PostgreSQL may read all apps first, since it plans for all users who match and
/// not for a page of them.
macro_rules! summaries {
    ([$($which:literal),+], $max_wrong_codes:expr $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            SummaryRow,
            r#"
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
            "# $(+ $which)+,
            $max_wrong_codes
            $(, $argument)*
        )
    };
}

/// A page of users in the order of their addresses: those for whom a condition holds that an index is made for.
macro_rules! page {
    ($condition:literal, $search:expr, $max_wrong_codes:expr, $count:expr) => {
        summaries!(
            [
                r#"
             WHERE email COLLATE "C" > $2 AND email COLLATE "C" >= $3 AND email COLLATE "C" < $4
               AND "#,
                $condition,
                r#"
             ORDER BY email COLLATE "C"
             LIMIT $5
            "#
            ],
            $max_wrong_codes,
            $search.after.as_ref().map_or("", EmailAddress::as_str),
            $search.prefix,
            format!("{}{LAST}", $search.prefix),
            $count,
        )
    };
}

/// What the database says of a caller; the text says how it locks the user.
macro_rules! facts {
    ($lock:literal, $user_id:expr, $session_id:expr, $fresh:expr) => {
        sqlx::query_as!(
            FactsRow,
            r#"
            SELECT u.is_administrator, s.amr, s.factor,
                   EXISTS (SELECT FROM totp_factors AS t
                            WHERE t.user_id = u.user_id AND t.confirmed_at IS NOT NULL)
                       OR EXISTS (SELECT FROM passkeys AS p WHERE p.user_id = u.user_id)
                       AS "has_strong_factor!",
                   s.created_at + make_interval(secs => $3) > clock_timestamp() AS "is_fresh!"
              FROM (SELECT user_id, is_administrator FROM users
                     WHERE user_id = $1 AND disabled_at IS NULL
            "#
                + $lock
                + r#") AS u
              JOIN sessions AS s USING (user_id)
             WHERE s.session_id = $2 AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()
            "#,
            $user_id.0,
            $session_id.0,
            seconds($fresh),
        )
    };
}

struct FactsRow {
    is_administrator: bool,
    amr: Vec<String>,
    factor: Option<String>,
    has_strong_factor: bool,
    is_fresh: bool,
}

impl TryFrom<FactsRow> for AdministratorFacts {
    type Error = StoreError;

    fn try_from(row: FactsRow) -> Result<Self, StoreError> {
        let methods = columns::methods(&row.amr, row.factor.as_deref())?;
        Ok(Self {
            is_administrator: row.is_administrator,
            strong_factor: match methods.contains(AuthenticationMethod::MultiFactor) {
                _ if !row.has_strong_factor => StrongFactor::Missing,
                false => StrongFactor::Unused,
                true => StrongFactor::Used,
            },
            is_fresh: row.is_fresh,
        })
    }
}

impl Store {
    /// Role, factors and session of a caller; `None` if the session ended or the user is disabled.
    pub async fn find_administrator(
        &self,
        user_id: UserId,
        session_id: SessionId,
        fresh: Duration,
    ) -> Result<Option<AdministratorFacts>, StoreError> {
        let row = self.fetch_optional(facts!("", user_id, session_id, fresh));
        row.await?.map(AdministratorFacts::try_from).transpose()
    }

    /// Users in the order of their addresses, at most `count`. A user is locked after so many wrong codes.
    pub async fn search_users(
        &self,
        search: &UserSearch,
        max_wrong_codes: u32,
        count: i64,
    ) -> Result<Vec<UserSummary>, StoreError> {
        let max = i32::try_from(max_wrong_codes).unwrap_or(i32::MAX);
        let rows = match search.state {
            None => self.fetch_all(page!("TRUE", search, max, count)),
            Some(UserState::Active) => self.fetch_all(page!(
                "disabled_at IS NULL AND password_hash IS NOT NULL AND second_factor_failures < $1",
                search,
                max,
                count
            )),
            Some(UserState::Invited) => self.fetch_all(page!(
                "disabled_at IS NULL AND password_hash IS NULL",
                search,
                max,
                count
            )),
            Some(UserState::Disabled) => {
                self.fetch_all(page!("disabled_at IS NOT NULL", search, max, count))
            }
            Some(UserState::Locked) if max < MANY_WRONG_CODES => self.fetch_all(page!(
                "disabled_at IS NULL AND password_hash IS NOT NULL AND second_factor_failures >= $1",
                search,
                max,
                count
            )),
            Some(UserState::Locked) => self.fetch_all(page!(
                "has_many_wrong_codes AND disabled_at IS NULL AND password_hash IS NOT NULL
                 AND second_factor_failures >= $1",
                search,
                max,
                count
            )),
        };
        let rows = rows.await?;
        rows.into_iter().map(UserSummary::try_from).collect()
    }

    /// One user, as an administrator sees them.
    pub async fn find_user_summary(
        &self,
        user_id: UserId,
        max_wrong_codes: u32,
    ) -> Result<Option<UserSummary>, StoreError> {
        let max = i32::try_from(max_wrong_codes).unwrap_or(i32::MAX);
        let row = self.fetch_optional(summaries!(["WHERE user_id = $2"], max, user_id.0));
        row.await?.map(UserSummary::try_from).transpose()
    }
}

impl Tx {
    /// The same, and the role stays until this transaction ends.
    pub async fn lock_administrator(
        &mut self,
        user_id: UserId,
        session_id: SessionId,
        fresh: Duration,
    ) -> Result<Option<AdministratorFacts>, StoreError> {
        let row = self.fetch_optional(facts!("FOR SHARE", user_id, session_id, fresh));
        row.await?.map(AdministratorFacts::try_from).transpose()
    }

    /// Locks a user who is to be changed, and tells whether they are an administrator; `None` if nobody has the
    /// number.
    pub async fn lock_user(&mut self, user_id: UserId) -> Result<Option<bool>, StoreError> {
        let query = sqlx::query_scalar!(
            "SELECT is_administrator FROM users WHERE user_id = $1 FOR NO KEY UPDATE",
            user_id.0,
        );
        self.fetch_optional(query).await
    }

    /// Gives or takes the role.
    pub async fn change_administrator(
        &mut self,
        user_id: UserId,
        is_administrator: bool,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE users SET is_administrator = $2 WHERE user_id = $1",
            user_id.0,
            is_administrator,
        );
        self.execute(query).await?;
        Ok(())
    }
}
