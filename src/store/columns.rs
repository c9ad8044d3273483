//! Reading single columns back. A value that this release cannot read is [`StoreError::Unreadable`].

use super::StoreError;
use crate::domain::{AuthenticationMethods, CodeNonce, EmailAddress, TwoFactor};

/// An address. The table's own check keeps it canonical.
pub(super) fn email(text: &str) -> Result<EmailAddress, StoreError> {
    EmailAddress::from_stored(text.to_owned()).ok_or(StoreError::Unreadable("users.email"))
}

/// Whether a user's sign-ins take a mailed code.
pub(super) fn two_factor(text: &str) -> Result<TwoFactor, StoreError> {
    let read = text.parse();
    read.map_err(|_| StoreError::Unreadable("users.two_factor"))
}

/// The random bytes of a challenge.
pub(super) fn nonce(bytes: &[u8]) -> Result<CodeNonce, StoreError> {
    CodeNonce::from_stored(bytes).ok_or(StoreError::Unreadable("challenges.nonce"))
}

/// The methods that opened a session.
pub(super) fn methods(
    amr: &[String],
    factor: Option<&str>,
) -> Result<AuthenticationMethods, StoreError> {
    let methods = AuthenticationMethods::from_stored(amr, factor);
    methods.ok_or(StoreError::Unreadable("sessions.amr"))
}
