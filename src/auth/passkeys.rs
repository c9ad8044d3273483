//! Passkeys: asking for one, signing in with it alone, and a user's own passkeys.
//!
//! No request for a passkey is stored before it succeeds, and a passkey cannot be guessed: there is nothing to
//! count before one was looked at. So a thief of a password cannot keep its owner from using a passkey.

use std::time::Duration;

use aws_lc_rs::rand;

use crate::domain::{
    AttemptInFlight, AuditEvent, AuditKind, AuditReason, AuthenticationMethods, Client,
    EmailAddress, LimitReached, MAX_PASSKEYS, Notice, Outcome, PasskeyId, PasskeyName,
    PasskeyOccasion, PasskeyRefusal, PasskeyRequest, RecoveryCode, SigninGrant, Timestamp,
    UserChange, UserId, whole_seconds,
};
use crate::passkey::{
    AssertionResponse, InvalidPasskey, PasskeyChallenge, PasskeyFacts, Proof, RegistrationResponse,
    RelyingParty, StoredPasskey,
};
use crate::store::{
    AddedPasskey, NewSession, OwnedPasskey, PasskeyDescriptor, PasskeyToAdd, PasskeyUse,
    StoreError, StoredKey, Tx,
};
use crate::telemetry::note_user;
use crate::token::{MissingKey, TokenPair};

use super::factors::{Changed, FactorChange, FactorRequest, FactorsError};
use super::reserve::NotReserved;
use super::{Auth, Limited};

/// How long a request for a passkey can be answered (WebAuthn level 3, section 15.1, recommends five to ten
/// minutes).
const REQUEST_LIFE: Duration = Duration::from_mins(5);

/// The options with which a browser asks for a passkey (`PublicKeyCredentialRequestOptions` of WebAuthn).
#[derive(Debug, Clone)]
pub struct PasskeyAsked {
    /// The bytes to be signed.
    pub challenge: PasskeyChallenge,
    /// The domain that the passkey was made for.
    pub rp_id: String,
    /// Those that are good; empty: any.
    pub allowed: Vec<PasskeyDescriptor>,
    /// The proof that it is asked for.
    pub proof: Proof,
    /// How long it is waited for.
    pub timeout: Duration,
}

/// The options with which a browser makes a passkey (`PublicKeyCredentialCreationOptions` of WebAuthn).
#[derive(Debug, Clone)]
pub struct PasskeyWanted {
    /// The bytes to be signed.
    pub challenge: PasskeyChallenge,
    /// The domain that it is to be made for.
    pub rp_id: String,
    /// That domain's name.
    pub rp_name: String,
    /// The owner's handle, which says nothing about them.
    pub user_handle: Vec<u8>,
    /// The owner's address, which an authenticator shows.
    pub email: EmailAddress,
    /// The owner's passkeys: an authenticator that has one makes no other.
    pub excluded: Vec<PasskeyDescriptor>,
    /// How long it is waited for.
    pub timeout: Duration,
}

/// A request for a passkey.
#[derive(Debug)]
pub struct PasskeyOptions<T> {
    /// The token that is sent back with the passkey.
    pub token: String,
    /// The options for the browser.
    pub public_key: T,
    /// Until when it can be answered.
    pub expires_at: Timestamp,
}

/// A passkey that was added.
#[derive(Debug)]
pub struct PasskeyAdded {
    /// The id by which its owner can remove it.
    pub passkey_id: PasskeyId,
    /// The name that its owner gave it.
    pub name: PasskeyName,
    /// When it was added.
    pub created_at: Timestamp,
    /// Whether it can be copied to other devices.
    pub is_synced: bool,
    /// Whether it may replace the password.
    pub verifies_user: bool,
    /// Recovery codes, if there were none left.
    pub recovery_codes: Option<Vec<RecoveryCode>>,
}

/// Why a passkey alone got nothing.
#[derive(Debug)]
pub enum PasskeySigninError {
    /// It is not good.
    Refused(PasskeyRefusal),
    /// Too many attempts.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
    /// The key to sign with is not here yet.
    MissingKey(MissingKey),
}

impl PasskeySigninError {
    /// Whether the answer is 503, so that nothing counts.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Limited(_) => false,
            Self::Store(error) => error.is_unavailable(),
            Self::MissingKey(_) => true,
        }
    }
}

impl From<PasskeyRefusal> for PasskeySigninError {
    fn from(refusal: PasskeyRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for PasskeySigninError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for PasskeySigninError {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

/// A passkey that proved what it was asked for.
pub(super) struct ProvenPasskey {
    pub(super) used: PasskeyUse,
    pub(super) methods: AuthenticationMethods,
}

/// A refused passkey: the refusal, its owner and the fault, where they were looked at.
struct Refused {
    refusal: PasskeyRefusal,
    owner: Option<(UserId, EmailAddress)>,
    because: Option<InvalidPasskey>,
}

impl Refused {
    fn of_nobody(refusal: PasskeyRefusal) -> Self {
        Self {
            refusal,
            owner: None,
            because: None,
        }
    }

    fn of(passkey: &OwnedPasskey, refusal: PasskeyRefusal) -> Self {
        Self {
            refusal,
            owner: Some((passkey.user_id, passkey.email.clone())),
            because: None,
        }
    }

    fn event(&self, client: &Client) -> AuditEvent {
        let (user_id, email) = self.owner.clone().unzip();
        AuditEvent {
            user_id,
            email,
            detail: self.because.map(|invalid| invalid.to_string()),
            ..AuditEvent::by_client(AuditKind::Signin, Outcome::Refused, self.refusal, client)
        }
    }
}

/// Why a passkey alone opened no session, with what a refusal is on record as.
enum NotOpened {
    Refused(Refused),
    Failed(PasskeySigninError),
}

impl From<Refused> for NotOpened {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<StoreError> for NotOpened {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Auth {
    /// Whether people can have passkeys.
    #[must_use]
    pub fn offers_passkeys(&self) -> bool {
        self.0.passkeys.party().is_some()
    }

    /// Asks any caller for a passkey, to sign in with it alone. `None` where there are none. Stores nothing.
    #[must_use]
    pub fn ask_for_passkey(&self) -> Option<PasskeyOptions<PasskeyAsked>> {
        let party = self.0.passkeys.party()?;
        let (request, token, challenge) = self.new_request(PasskeyOccasion::SignIn);
        let asked = PasskeyAsked {
            challenge,
            rp_id: party.id().to_owned(),
            allowed: Vec::new(),
            proof: Proof::Alone,
            timeout: REQUEST_LIFE,
        };
        Some(PasskeyOptions {
            token,
            public_key: asked,
            expires_at: request.expires_at,
        })
    }

    fn new_request(&self, occasion: PasskeyOccasion) -> (PasskeyRequest, String, PasskeyChallenge) {
        let request = PasskeyRequest::new(whole_seconds(self.0.tokens.now() + REQUEST_LIFE));
        let key = self.0.passkeys.key();
        let (token, challenge) = (
            request.token(key, occasion),
            request.challenge(key, occasion),
        );
        (request, token, challenge)
    }

    /// Trades a passkey that verified its owner for a session, in place of password and second factor.
    ///
    /// It counts for the network that it comes from, as a sign-in does. The request that it answers is used up with
    /// it: of any number of the same answers one gets the session.
    pub async fn signin_with_passkey(
        &self,
        client: &Client,
        token: &str,
        response: &AssertionResponse,
    ) -> Result<TokenPair, PasskeySigninError> {
        let key = self.0.attempt_keys.signin_network(client.network);
        let limit = &self.0.rules.ceilings.signin_network;
        let limited = |reason: LimitReached| {
            AuditEvent::by_client(AuditKind::Signin, Outcome::Refused, reason, client)
        };
        let pending = self.reserve(&key, limit, limited).await?;
        let attempts = pending.attempts();
        let opened = self.open_by_passkey(client, token, response, attempts);
        match opened.await {
            Ok(pair) => {
                pending.end();
                Ok(pair)
            }
            Err(NotOpened::Refused(refused)) => {
                self.refuse(pending, true, &refused.event(client)).await?;
                Err(refused.refusal.into())
            }
            Err(NotOpened::Failed(error)) => {
                pending.release_if(error.is_unavailable()).await;
                Err(error)
            }
        }
    }

    /// Opens a session for the owner of a passkey that is proven, and uses its request up.
    async fn open_by_passkey(
        &self,
        client: &Client,
        token: &str,
        response: &AssertionResponse,
        attempts: &[AttemptInFlight],
    ) -> Result<TokenPair, NotOpened> {
        let (request, passkey, proven) = self.find_proven(token, response).await?;
        let refused = |refusal| Refused::of(&passkey, refusal);
        let mut tx = self.0.store.begin().await?;
        if !tx.use_passkey_request(&request).await? {
            return Err(refused(PasskeyRefusal::RequestOver).into());
        }
        let new = NewSession {
            user_id: passkey.user_id,
            email: &passkey.email,
            credential_version: passkey.credential_version,
            methods: proven.methods,
            forgets_wrong_codes: false,
            client,
        };
        let opened = self.open_session(&mut tx, &new, attempts).await?;
        let opened = opened.ok_or_else(|| refused(PasskeyRefusal::ChangedMeanwhile))?;
        note_use(&mut tx, &proven, || AuditEvent {
            user_id: Some(passkey.user_id),
            email: Some(passkey.email.clone()),
            session_id: Some(opened.session.session_id),
            ..counter_event(AuditKind::Signin, client)
        })
        .await?;
        let pair = self.0.tokens.issue(&opened.session);
        let pair =
            pair.map_err(|error| NotOpened::Failed(PasskeySigninError::MissingKey(error)))?;
        tx.commit_attempts(&self.0.store, attempts).await?;
        opened.count();
        Ok(pair)
    }

    /// The request that a passkey answers, and the passkey, if it proves enough to sign in alone.
    async fn find_proven(
        &self,
        token: &str,
        response: &AssertionResponse,
    ) -> Result<(PasskeyRequest, OwnedPasskey, ProvenPasskey), NotOpened> {
        let (key, occasion) = (self.0.passkeys.key(), PasskeyOccasion::SignIn);
        let request = PasskeyRequest::read(key, occasion, token);
        let (party, request) = (self.0.passkeys.party().zip(request))
            .ok_or_else(|| Refused::of_nobody(PasskeyRefusal::RequestUnknown))?;
        let id = &response.credential_id;
        let found = self.0.store.find_passkey(id, party.id()).await?;
        let passkey = found.ok_or_else(|| Refused::of_nobody(PasskeyRefusal::UnknownPasskey))?;
        note_user(passkey.user_id);
        let refused = |refusal| Refused::of(&passkey, refusal);
        let challenge = request.challenge(key, occasion);
        let proven = prove(party, &challenge, Proof::Alone, response, &passkey.key);
        let proven = proven.map_err(|invalid| Refused {
            because: Some(invalid),
            ..refused(PasskeyRefusal::PasskeyRefused)
        })?;
        if !passkey.key.verifies_user {
            return Err(refused(PasskeyRefusal::NotAlone).into());
        }
        if passkey.is_disabled {
            return Err(refused(PasskeyRefusal::UserDisabled).into());
        }
        Ok((request, passkey, proven))
    }

    /// Asks the owner of a fresh session for a new passkey.
    pub async fn begin_passkey(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<PasskeyOptions<PasskeyWanted>, FactorsError> {
        let request = self.reserve_factor_change(client, token).await?;
        let outcome = self.try_begin_passkey(&request).await;
        self.settle_factor_change(request, outcome).await
    }

    async fn try_begin_passkey(
        &self,
        request: &FactorRequest<'_>,
    ) -> Changed<PasskeyOptions<PasskeyWanted>> {
        let party = self.0.passkeys.party().ok_or(FactorsError::NotEnrolled)?;
        let (mut tx, owner) = self.lock_fresh_owner(request).await?;
        let excluded = tx.list_passkey_descriptors(owner.user_id).await?;
        if excluded.len() >= MAX_PASSKEYS {
            return Err(FactorsError::TooManyPasskeys);
        }
        let user_handle = tx.passkey_handle(owner.user_id, &new_handle()).await?;
        let attempts = request.pending.attempts();
        tx.settle_attempts(attempts).await?;
        tx.commit_attempts(&self.0.store, attempts).await?;
        let occasion = PasskeyOccasion::Enrolment(request.claims.sid);
        let (asked, token, challenge) = self.new_request(occasion);
        let wanted = PasskeyWanted {
            challenge,
            rp_id: party.id().to_owned(),
            rp_name: self.0.passkeys.rp_name().to_owned(),
            user_handle,
            email: owner.email,
            excluded,
            timeout: REQUEST_LIFE,
        };
        let options = PasskeyOptions {
            token,
            public_key: wanted,
            expires_at: asked.expires_at,
        };
        Ok((options, Vec::new()))
    }

    /// Adds a passkey for the owner of the session that asked for it. Returns recovery codes if there were none
    /// left.
    pub async fn add_passkey(
        &self,
        client: &Client,
        token: &str,
        request: &str,
        name: PasskeyName,
        response: RegistrationResponse,
    ) -> Result<PasskeyAdded, FactorsError> {
        let change = self.reserve_factor_change(client, token).await?;
        let outcome = self.try_add_passkey(&change, request, name, response).await;
        self.settle_factor_change(change, outcome).await
    }

    async fn try_add_passkey(
        &self,
        request: &FactorRequest<'_>,
        token: &str,
        name: PasskeyName,
        response: RegistrationResponse,
    ) -> Changed<PasskeyAdded> {
        let party = self.0.passkeys.party().ok_or(FactorsError::NotEnrolled)?;
        let (mut tx, owner) = self.lock_fresh_owner(request).await?;
        let (key, occasion) = (
            self.0.passkeys.key(),
            PasskeyOccasion::Enrolment(request.claims.sid),
        );
        let asked = PasskeyRequest::read(key, occasion, token)
            .filter(|asked| asked.expires_at > self.0.tokens.now())
            .ok_or(FactorsError::PasskeyRequestOver)?;
        let new = party
            .verify_registration(&asked.challenge(key, occasion), response)
            .map_err(FactorsError::PasskeyRefused)?;
        let added = tx
            .insert_passkey(&PasskeyToAdd {
                user_id: owner.user_id,
                credential_id: &new.credential_id,
                public_key: &new.public_key,
                rp_id: party.id(),
                name: &name,
                transports: &new.transports,
                is_synced: new.facts.is_synced,
                verifies_user: new.facts.is_user_verified,
                sign_count: new.facts.sign_count,
            })
            .await?;
        let (passkey_id, created_at) = match added {
            AddedPasskey::Added(passkey_id, created_at) => (passkey_id, created_at),
            AddedPasskey::Known => return Err(FactorsError::PasskeyKnown),
            AddedPasskey::TooMany => return Err(FactorsError::TooManyPasskeys),
        };
        let recovery_codes = self.make_missing_recovery_codes(&mut tx, &owner).await?;
        let change = FactorChange {
            change: UserChange::PasskeyAdded,
            notice: Notice::PasskeyAdded,
        };
        let ended = self.commit_change(request, tx, &owner, &change).await?;
        let added = PasskeyAdded {
            passkey_id,
            name,
            created_at,
            is_synced: new.facts.is_synced,
            verifies_user: new.facts.is_user_verified,
            recovery_codes,
        };
        Ok((added, ended))
    }

    /// Removes a passkey of the caller's; the recovery codes go with the last factor.
    pub async fn remove_passkey(
        &self,
        client: &Client,
        token: &str,
        passkey_id: &str,
    ) -> Result<(), FactorsError> {
        let request = self.reserve_factor_change(client, token).await?;
        let outcome = self.try_remove_passkey(&request, passkey_id).await;
        self.settle_factor_change(request, outcome).await
    }

    async fn try_remove_passkey(&self, request: &FactorRequest<'_>, id: &str) -> Changed<()> {
        let (mut tx, owner) = self.lock_fresh_owner(request).await?;
        let passkey_id = PasskeyId::parse(id).ok_or(FactorsError::NotEnrolled)?;
        if !tx.delete_passkey(owner.user_id, passkey_id).await? {
            return Err(FactorsError::NotEnrolled);
        }
        tx.delete_idle_recovery_codes(owner.user_id).await?;
        let change = FactorChange {
            change: UserChange::PasskeyRemoved,
            notice: Notice::PasskeyRemoved,
        };
        let ended = self.commit_change(request, tx, &owner, &change).await?;
        Ok(((), ended))
    }
}

/// Verifies a passkey, and says what its use is to be noted as.
pub(super) fn prove(
    party: &RelyingParty,
    challenge: &PasskeyChallenge,
    proof: Proof,
    response: &AssertionResponse,
    key: &StoredKey,
) -> Result<ProvenPasskey, InvalidPasskey> {
    let stored = StoredPasskey {
        public_key: &key.public_key,
        user_handle: &key.user_handle,
    };
    let facts: PasskeyFacts = party.verify_assertion(challenge, proof, response, stored)?;
    Ok(ProvenPasskey {
        used: PasskeyUse {
            passkey_id: key.passkey_id,
            sign_count: facts.sign_count,
            is_synced: facts.is_synced,
            verified_user: facts.is_user_verified,
        },
        methods: AuthenticationMethods::by_passkey(proof == Proof::Alone, facts.is_synced),
    })
}

/// Takes note that a passkey was used. Where its counter did not go up there may be a copy of it, which is
/// recorded and no more: that of a synced one stands still, or is another on each device.
pub(super) async fn note_use(
    tx: &mut Tx,
    proven: &ProvenPasskey,
    counter: impl FnOnce() -> AuditEvent,
) -> Result<(), StoreError> {
    if !tx.note_passkey_use(&proven.used).await? {
        tx.record(&counter()).await?;
    }
    Ok(())
}

/// The event that a counter did not go up.
pub(super) fn counter_event(kind: AuditKind, client: &Client) -> AuditEvent {
    let reason = AuditReason::from(SigninGrant::PasskeyCounter);
    AuditEvent::by_client(kind, Outcome::Granted, reason, client)
}

/// A handle that says nothing about its owner (WebAuthn level 3, section 14.6.1).
fn new_handle() -> [u8; 32] {
    let mut handle = [0; 32];
    rand::fill(&mut handle).expect("the operating system gives randomness");
    handle
}
