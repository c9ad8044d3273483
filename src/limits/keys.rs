//! The keys by which attempts are counted.

use crate::domain::{
    AccountHash, AttemptKey, ClientNetwork, DerivedKey, EmailAddress, LimitScope, MasterKey,
    Purpose, SessionId, UserId,
};

/// Makes the keys of the table of attempts. They are keyed hashes, and the database does not hold the
/// key: a copy of the table does not tell which address was tried from which network.
#[derive(Debug, Clone)]
pub struct AttemptKeys(DerivedKey);

impl AttemptKeys {
    /// Derives the key of the hashes from the master key.
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

    /// Sign-ins from a network, over all addresses.
    #[must_use]
    pub fn signin_network(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::SigninNetwork, &[&network.to_string()], None)
    }

    /// Failed sign-ins to an address, over all networks.
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

    /// Confirmations by a user, over all challenges.
    #[must_use]
    pub fn confirm(&self, user_id: UserId, email: &EmailAddress) -> AttemptKey {
        self.key(LimitScope::Confirm, &[&user_id.to_string()], Some(email))
    }

    /// Changes that a user makes to their own account.
    #[must_use]
    pub fn account_change(&self, user_id: UserId, email: &EmailAddress) -> AttemptKey {
        self.key(LimitScope::Account, &[&user_id.to_string()], Some(email))
    }

    /// Acts of an administrator on others.
    #[must_use]
    pub fn administration(&self, user_id: UserId, email: &EmailAddress) -> AttemptKey {
        let user_id = user_id.to_string();
        self.key(LimitScope::Administration, &[&user_id], Some(email))
    }

    /// Confirmations of challenges that do not exist, from a network.
    #[must_use]
    pub fn confirm_unknown(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::ConfirmUnknown, &[&network.to_string()], None)
    }

    /// Refreshes with tokens that this service did not issue, from a network.
    #[must_use]
    pub fn refresh_unknown(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::RefreshUnknown, &[&network.to_string()], None)
    }

    /// Refreshes with tokens of a session that has ended.
    #[must_use]
    pub fn refresh_ended(&self, session_id: SessionId) -> AttemptKey {
        let of = ["session", &session_id.to_string()];
        self.key(LimitScope::RefreshUnknown, &of, None)
    }

    /// Code mails that are sent to a user.
    #[must_use]
    pub fn mail(&self, user_id: UserId, email: &EmailAddress) -> AttemptKey {
        self.key(LimitScope::Mail, &[&user_id.to_string()], Some(email))
    }

    /// Requests for a link to an address from a network.
    #[must_use]
    pub fn forgot(&self, email: &EmailAddress, network: ClientNetwork) -> AttemptKey {
        let network = network.to_string();
        self.key(LimitScope::Forgot, &[email.as_str(), &network], Some(email))
    }

    /// Requests for links from a network, over all addresses.
    #[must_use]
    pub fn forgot_network(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::ForgotNetwork, &[&network.to_string()], None)
    }

    /// Mails with links to an address, whether anybody has it or not.
    #[must_use]
    pub fn link_mail(&self, email: &EmailAddress) -> AttemptKey {
        self.key(LimitScope::LinkMail, &[email.as_str()], Some(email))
    }

    /// Links that are not good, from a network.
    #[must_use]
    pub fn link_unknown(&self, network: ClientNetwork) -> AttemptKey {
        self.key(LimitScope::LinkUnknown, &[&network.to_string()], None)
    }

    /// The hash that the keys of all limits of an address share.
    #[must_use]
    pub fn account(&self, email: &EmailAddress) -> AccountHash {
        AccountHash(self.0.mac(&[b"account", email.as_str().as_bytes()]))
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
