//! Verifying passkeys: the part of a relying party of Web Authentication (WebAuthn level 3,
//! <https://www.w3.org/TR/webauthn-3/>). Pure functions over what a browser sent: nothing here is stored, and
//! no clock is read.
//!
//! Attestation is neither asked for nor looked at: which make of authenticator people use is their matter.
//! Signature counters and the backup state are told and not judged, since synced passkeys do not count.

mod authenticator_data;
mod client_data;
mod credential;
mod public_key;
#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{SHA256, digest};

use authenticator_data::{
    AuthenticatorData, BACKED_UP, BACKUP_ELIGIBLE, USER_PRESENT, USER_VERIFIED,
};
use client_data::Ceremony;
use public_key::PublicKey;

pub use credential::{AssertionResponse, MalformedCredential, RegistrationResponse};
pub use public_key::ALGORITHMS;

/// Bytes of a challenge (section 13.4.3 asks for at least 16).
pub const CHALLENGE_BYTES: usize = 32;

/// Random bytes that a relying party chose, and that an authenticator signs.
pub type PasskeyChallenge = [u8; CHALLENGE_BYTES];

/// The longest credential id (section 4, "Credential ID").
const MAX_CREDENTIAL_ID_BYTES: usize = 1023;

/// A party whose passkeys are verified: the domain that they are made for, and the pages that may use them.
#[derive(Debug, Clone)]
pub struct RelyingParty {
    id: String,
    id_hash: [u8; 32],
    origins: Vec<String>,
}

/// A passkey as its authenticator made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPasskey {
    /// The id that the authenticator knows it by.
    pub credential_id: Vec<u8>,
    /// Its public key as a `COSE_Key` (RFC 9052, section 7), byte for byte.
    pub public_key: Vec<u8>,
    /// How the authenticator can be reached, in the words of the browser.
    pub transports: Vec<String>,
    /// The authenticator's statements about it.
    pub facts: PasskeyFacts,
}

/// The statements that an authenticator makes about a passkey each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasskeyFacts {
    /// How often it was used, where the authenticator counts.
    pub sign_count: u32,
    /// Whether the person was verified, by a PIN or a finger, and not only there.
    pub is_user_verified: bool,
    /// Whether it can be copied to other devices (section 6.1.3, "backup eligible").
    pub is_synced: bool,
}

/// A passkey as it was stored, to verify an assertion with.
#[derive(Debug, Clone, Copy)]
pub struct StoredPasskey<'a> {
    /// Its public key, in the form of COSE.
    pub public_key: &'a [u8],
    /// The handle of its owner.
    pub user_handle: &'a [u8],
}

/// The proof that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// That the passkey is there, after a password.
    Possession,
    /// That it is there, whose it is, and that its owner is: in place of a password.
    Alone,
}

/// Why a passkey was refused. For the log: a client learns only that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPasskey {
    /// The client data are not what a browser makes for this.
    #[error("the client data cannot be read, or are of another ceremony")]
    ClientData,
    /// Another challenge was signed.
    #[error("another challenge was signed")]
    Challenge,
    /// A page of another origin asked.
    #[error("a page of another origin asked")]
    Origin,
    /// A page asked that is embedded in one of another origin.
    #[error("a page embedded in one of another origin asked")]
    CrossOrigin,
    /// The authenticator's part cannot be read.
    #[error("the authenticator data cannot be read")]
    AuthenticatorData,
    /// It was made for another domain.
    #[error("it was made for another domain")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("nobody was there")]
    UserAbsent,
    /// The authenticator did not verify the person.
    #[error("the person was not verified")]
    UserUnverified,
    /// It names another person, or none where it has to.
    #[error("it names another person, or nobody")]
    UserHandle,
    /// It is backed up and cannot be.
    #[error("it is backed up and cannot be")]
    BackupState,
    /// The key is of no kind that was asked for.
    #[error("its key is of no kind that was asked for")]
    PublicKey,
    /// The signature does not verify.
    #[error("the signature is wrong")]
    Signature,
}

impl RelyingParty {
    /// The party with this domain, whose pages have these origins.
    #[must_use]
    pub fn new(id: &str, origins: &[String]) -> Self {
        Self {
            id: id.to_owned(),
            id_hash: sha256(id.as_bytes()),
            origins: origins.to_vec(),
        }
    }

    /// Its domain: the RP ID.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Verifies that an authenticator made a passkey for `challenge` (section 7.1).
    pub fn verify_registration(
        &self,
        challenge: &PasskeyChallenge,
        response: RegistrationResponse,
    ) -> Result<NewPasskey, InvalidPasskey> {
        let client_data = &response.client_data_json;
        self.verify_client_data(client_data, Ceremony::Create, challenge)?;
        let bytes = authenticator_data::of_attestation(&response.attestation_object)?;
        let data = AuthenticatorData::read(&bytes)?;
        let facts = self.verify_authenticator(&data)?;
        let attested = data.attested.ok_or(InvalidPasskey::AuthenticatorData)?;
        if !(1..=MAX_CREDENTIAL_ID_BYTES).contains(&attested.credential_id.len()) {
            return Err(InvalidPasskey::AuthenticatorData);
        }
        PublicKey::read(attested.public_key)?;
        Ok(NewPasskey {
            credential_id: attested.credential_id.to_vec(),
            public_key: attested.public_key.to_vec(),
            transports: response.transports,
            facts,
        })
    }

    /// Verifies that an authenticator signed `challenge` with a passkey of this party (section 7.2).
    pub fn verify_assertion(
        &self,
        challenge: &PasskeyChallenge,
        proof: Proof,
        response: &AssertionResponse,
        stored: StoredPasskey<'_>,
    ) -> Result<PasskeyFacts, InvalidPasskey> {
        let client_data = &response.client_data_json;
        self.verify_client_data(client_data, Ceremony::Get, challenge)?;
        let data = AuthenticatorData::read(&response.authenticator_data)?;
        let facts = self.verify_authenticator(&data)?;
        if proof == Proof::Alone && !facts.is_user_verified {
            return Err(InvalidPasskey::UserUnverified);
        }
        match &response.user_handle {
            Some(handle) if handle != stored.user_handle => return Err(InvalidPasskey::UserHandle),
            None if proof == Proof::Alone => return Err(InvalidPasskey::UserHandle),
            Some(_) | None => {}
        }
        let signed = [&response.authenticator_data[..], &sha256(client_data)].concat();
        PublicKey::read(stored.public_key)?.verify(&signed, &response.signature)?;
        Ok(facts)
    }

    fn verify_client_data(
        &self,
        json: &[u8],
        ceremony: Ceremony,
        challenge: &PasskeyChallenge,
    ) -> Result<(), InvalidPasskey> {
        let data = client_data::read(json, ceremony)?;
        if data.challenge != challenge {
            Err(InvalidPasskey::Challenge)
        } else if !self.origins.contains(&data.origin) {
            Err(InvalidPasskey::Origin)
        } else if data.is_cross_origin {
            Err(InvalidPasskey::CrossOrigin)
        } else {
            Ok(())
        }
    }

    fn verify_authenticator(
        &self,
        data: &AuthenticatorData<'_>,
    ) -> Result<PasskeyFacts, InvalidPasskey> {
        if data.rp_id_hash != self.id_hash {
            Err(InvalidPasskey::RelyingParty)
        } else if !data.has(USER_PRESENT) {
            Err(InvalidPasskey::UserAbsent)
        } else if data.has(BACKED_UP) && !data.has(BACKUP_ELIGIBLE) {
            Err(InvalidPasskey::BackupState)
        } else {
            Ok(PasskeyFacts {
                sign_count: data.sign_count,
                is_user_verified: data.has(USER_VERIFIED),
                is_synced: data.has(BACKUP_ELIGIBLE),
            })
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}
