//! The party that passkeys are made for, as it is configured.

use crate::config::PasskeysConfig;
use crate::domain::{DerivedKey, MasterKey, Purpose};
use crate::passkey::RelyingParty;

/// The party that passkeys are made for, and the key of the challenges.
#[derive(Debug)]
pub(super) struct Passkeys {
    party: Option<RelyingParty>,
    rp_name: String,
    key: DerivedKey,
}

impl Passkeys {
    pub(super) fn new(config: &PasskeysConfig, master_key: &MasterKey) -> Self {
        let party = config.party.as_ref();
        Self {
            party: party.map(|party| RelyingParty::new(&party.rp_id, &party.origins)),
            rp_name: config.rp_name.clone(),
            key: master_key.derive(Purpose::PasskeyChallenges),
        }
    }

    /// The party; `None` where there are no passkeys.
    pub(super) fn party(&self) -> Option<&RelyingParty> {
        self.party.as_ref()
    }

    /// The party's name, which an authenticator shows.
    pub(super) fn rp_name(&self) -> &str {
        &self.rp_name
    }

    /// The key of the challenges.
    pub(super) fn key(&self) -> &DerivedKey {
        &self.key
    }
}
