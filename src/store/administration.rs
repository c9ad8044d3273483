//! Administrators: their role, and how they search users. The role is a column of `users`.

use std::time::Duration;

use super::run::{Rows, Run as _};
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

/// Users as administrators see them: a page of a search, or one user.
fn summaries(
    search: Option<(&UserSearch, i64)>,
    user_id: Option<UserId>,
    max_wrong_codes: u32,
) -> impl Rows<SummaryRow> + use<> {
    let prefix = search.map_or("", |(search, _)| search.prefix.as_str());
    let after = search.and_then(|(search, _)| search.after.as_ref());
    let branch = search.map(|(search, _)| search.state.map_or("any", UserState::as_str));
    sqlx::query_file_as!(
        SummaryRow,
        "src/store/sql/list_user_summaries.sql",
        i32::try_from(max_wrong_codes).unwrap_or(i32::MAX),
        after.map_or("", EmailAddress::as_str),
        prefix,
        format!("{prefix}{LAST}"),
        search.map_or(0, |(_, count)| count),
        branch,
        user_id.map(|id| id.0),
        MANY_WRONG_CODES,
    )
}

/// The facts that the database has about a caller. The role is locked if it has to stay until the transaction ends.
fn facts(
    user_id: UserId,
    session_id: SessionId,
    fresh: Duration,
    is_locked: bool,
) -> impl Rows<FactsRow> {
    sqlx::query_as!(
        FactsRow,
        r#"
        SELECT u.is_administrator AS "is_administrator!", s.amr, s.factor,
               EXISTS (SELECT FROM totp_factors AS t
                        WHERE t.user_id = u.user_id AND t.confirmed_at IS NOT NULL)
                   OR EXISTS (SELECT FROM passkeys AS p WHERE p.user_id = u.user_id)
                   AS "has_strong_factor!",
               s.created_at + make_interval(secs => $3) > clock_timestamp() AS "is_fresh!"
          FROM (SELECT * FROM (SELECT user_id, is_administrator FROM users
                                WHERE user_id = $1 AND disabled_at IS NULL AND $4
                                  FOR SHARE) AS locked
                 UNION ALL
                SELECT user_id, is_administrator FROM users
                 WHERE user_id = $1 AND disabled_at IS NULL AND NOT $4) AS u
          JOIN sessions AS s USING (user_id)
         WHERE s.session_id = $2 AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()
        "#,
        user_id.0,
        session_id.0,
        seconds(fresh),
        is_locked,
    )
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
        let row = self.fetch_optional(facts(user_id, session_id, fresh, false));
        row.await?.map(AdministratorFacts::try_from).transpose()
    }

    /// Users in the order of their addresses, at most `count`. A user is locked after so many wrong codes.
    pub async fn search_users(
        &self,
        search: &UserSearch,
        max_wrong_codes: u32,
        count: i64,
    ) -> Result<Vec<UserSummary>, StoreError> {
        let page = summaries(Some((search, count)), None, max_wrong_codes);
        let rows = self.fetch_all(page).await?;
        rows.into_iter().map(UserSummary::try_from).collect()
    }

    /// One user, as an administrator sees them.
    pub async fn find_user_summary(
        &self,
        user_id: UserId,
        max_wrong_codes: u32,
    ) -> Result<Option<UserSummary>, StoreError> {
        let row = self.fetch_optional(summaries(None, Some(user_id), max_wrong_codes));
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
        let row = self.fetch_optional(facts(user_id, session_id, fresh, true));
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
