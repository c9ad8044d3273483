//! A person who may sign in.

use std::fmt;
use std::str::FromStr;

use super::words::words;
use super::{EmailAddress, PasswordHash, Timestamp, UserId};

/// Whether signing in takes a code besides the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TwoFactor {
    /// The password is enough.
    Off,
    /// A six-digit code is mailed.
    Email,
}

impl TwoFactor {
    /// The word for it on the command line and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Email => "email",
        }
    }
}

impl fmt::Display for TwoFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

/// A word that names no second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `email` or `off`")]
pub struct UnknownTwoFactor;

impl FromStr for TwoFactor {
    type Err = UnknownTwoFactor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "email" => Ok(Self::Email),
            _ => Err(UnknownTwoFactor),
        }
    }
}

words! {
    /// The state of an account, in a word. Of several that are so, the first.
    pub enum UserState {
        /// An operator or an administrator shut the user out.
        Disabled = "disabled",
        /// The user has no password yet.
        Invited = "invited",
        /// So many codes in a row were wrong that no more are taken.
        Locked = "locked",
        /// None of these.
        Active = "active",
    }
}

/// A user as stored.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's number.
    pub user_id: UserId,
    /// The address that codes are sent to and that the user signs in with.
    pub email: EmailAddress,
    /// The hash against which a password is checked. A user without one cannot sign in.
    pub password_hash: Option<PasswordHash>,
    /// Whether signing in takes a code by mail, where there is neither an authenticator app nor a passkey.
    pub two_factor: TwoFactor,
    /// Whether signing in takes a code of an authenticator app.
    pub has_totp: bool,
    /// Whether signing in takes a passkey.
    pub has_passkey: bool,
    /// Whether the user manages others.
    pub is_administrator: bool,
    /// Goes up with each change to how the user proves themselves; a challenge made before it is void.
    pub credential_version: i32,
    /// Wrong codes since the last right one.
    pub second_factor_failures: i32,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When an operator shut the user out.
    pub disabled_at: Option<Timestamp>,
    /// When the password was last set.
    pub password_changed_at: Option<Timestamp>,
}

impl User {
    /// Whether an operator shut the user out.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled_at.is_some()
    }

    /// Whether the user has a second factor beside which no mailed code is taken.
    #[must_use]
    pub fn has_strong_factor(&self) -> bool {
        self.has_totp || self.has_passkey
    }
}
