//! What attempts are counted by.

use crate::domain::{
    AttemptKey, ClientNetwork, DerivedKey, EmailAddress, LimitScope, MasterKey, Purpose, SessionId,
    UserId,
};

/// Makes the keys of the table of attempts: hashes under a key that the database does not hold, so
/// that a copy of it does not tell who tried to sign in from where.
#[derive(Debug, Clone)]
pub struct AttemptKeys(DerivedKey);

impl AttemptKeys {
    /// The keys of a master key.
    #[must_use]
    pub fn new(master_key: &MasterKey) -> Self {
        Self(master_key.derive(Purpose::AttemptKeys))
    }

    /// Sign-ins to an address from a network.
    #[must_use]
    pub fn signin(&self, email: &EmailAddress, network: ClientNetwork) -> AttemptKey {
        let network = network.to_string();
        self.key(LimitScope::Signin, &[email.as_str(), &network], Some(email))
    }

    /// Sign-ins from a network.
    #[must_use]
    pub fn signin_network(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::SigninNetwork, &[&network.to_string()], None)
    }

    /// Failed sign-ins to an address.
    #[must_use]
    pub fn signin_failures(&self, email: &EmailAddress) -> AttemptKey {
        self.key(LimitScope::SigninFailures, &[email.as_str()], Some(email))
    }

    /// Failed sign-ins to an address from anywhere at a network's provider.
    #[must_use]
    pub fn signin_failures_nearby(
        &self,
        email: &EmailAddress,
        network: ClientNetwork,
    ) -> AttemptKey {
        let provider = network.provider().to_string();
        let of = [email.as_str(), &provider];
        self.key(LimitScope::SigninFailures, &of, Some(email))
    }

    /// Confirmations of a user.
    #[must_use]
    pub fn confirm(&self, user_id: UserId, email: &EmailAddress) -> AttemptKey {
        self.key(LimitScope::Confirm, &[&user_id.to_string()], Some(email))
    }

    /// Confirmations of challenges that do not exist, from a network.
    #[must_use]
    pub fn confirm_unknown(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::ConfirmUnknown, &[&network.to_string()], None)
    }

    /// Refreshes with tokens that are not ours, from a network.
    #[must_use]
    pub fn refresh_unknown(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::RefreshUnknown, &[&network.to_string()], None)
    }

    /// Refreshes with tokens of a session that is no more.
    #[must_use]
    pub fn refresh_ended(&self, session_id: SessionId) -> AttemptKey {
        let of = ["session", &session_id.to_string()];
        self.key(LimitScope::RefreshUnknown, &of, None)
    }

    /// Code mails to a user.
    #[must_use]
    pub fn mail(&self, user_id: UserId, email: &EmailAddress) -> AttemptKey {
        self.key(LimitScope::Mail, &[&user_id.to_string()], Some(email))
    }

    /// What all limits of an address have in common.
    #[must_use]
    pub fn account(&self, email: &EmailAddress) -> [u8; 32] {
        self.0.mac(&[b"account", email.as_str().as_bytes()])
    }

    fn key(&self, scope: LimitScope, of: &[&str], email: Option<&EmailAddress>) -> AttemptKey {
        let parts: Vec<&[u8]> = [scope.as_str()]
            .iter()
            .chain(of)
            .map(|part| part.as_bytes())
            .collect();
        AttemptKey {
            scope,
            hash: self.0.mac(&parts),
            account: email.map(|email| self.account(email)),
        }
    }
}
