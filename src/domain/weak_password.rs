//! Why a password is too weak, and the parts that the rules for it share.

use zeroize::Zeroizing;

/// Why a password may not be set, although signing in with it would be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Under eight bytes or eight code points.
    #[error("the password must be at least 8 characters long")]
    TooShort,
    /// The address itself, or its local part.
    #[error("the password must not be the email address")]
    IsAddress,
    /// One of those that every attacker tries first.
    #[error("the password is among the most common ones")]
    Common,
    /// One of the words that this server's operator has listed.
    #[error("the password is on the list of those that are not taken here")]
    Blocked,
}

/// Whether a text is too short to be set as a password.
pub(super) fn is_short(text: &str) -> bool {
    text.len() < 8 || text.chars().count() < 8
}

/// The form in which a normalised password is compared: upper and lower case are the same.
pub(super) fn compared(normal: &str) -> Zeroizing<String> {
    Zeroizing::new(normal.to_lowercase())
}
