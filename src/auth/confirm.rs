//! Confirming a sign-in: a challenge and its code, or a passkey, for a session.

use std::sync::Arc;

use crate::domain::{
    AttemptInFlight, AuditEvent, AuditKind, AuditReason, AuthenticationMethods, ChallengeId,
    ChallengeRefusal, Client, EmailAddress, LimitReached, Notice, OneTimeCode, Outcome,
    RecoveryCode, SigninGrant, TotpId, TotpStep, UserId, second_factor_challenge,
};
use crate::passkey::{AssertionResponse, InvalidPasskey, Proof as PasskeyProof};
use crate::store::{NewNotice, NewSession, SealedTotp, SpentAttempt, StoreError, Tx};
use crate::telemetry::note_user;
use crate::token::{MissingKey, TokenPair};

use super::passkeys::{ProvenPasskey, counter_event, note_use, prove};
use super::reserve::{NotReserved, Pending};
use super::{Auth, Limited};

/// Why a confirmation got nothing.
#[derive(Debug)]
pub enum ConfirmError {
    /// The code does not confirm the challenge.
    Refused(ChallengeRefusal),
    /// Too many attempts.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
    /// The key to sign with is not here yet.
    MissingKey(MissingKey),
}

impl ConfirmError {
    /// Whether the answer is 503, so that nothing counts.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Limited(_) => false,
            Self::Store(error) => error.is_unavailable(),
            Self::MissingKey(_) => true,
        }
    }
}

impl From<ChallengeRefusal> for ConfirmError {
    fn from(refusal: ChallengeRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for ConfirmError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for ConfirmError {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

/// The answer to a challenge.
#[derive(Debug, Clone, Copy)]
pub enum ConfirmAnswer<'a> {
    /// A code, as a person typed it.
    Code(&'a str),
    /// The use of a passkey, as a browser tells of it.
    Passkey(&'a AssertionResponse),
}

/// A confirmed sign-in.
#[derive(Debug)]
pub struct Confirmed {
    /// The tokens of its session.
    pub pair: TokenPair,
    /// Recovery codes that are left, if one was used.
    pub recovery_codes_left: Option<i64>,
}

/// A code that may confirm a challenge. One that works once is yet to be used up.
enum Proof {
    /// The mailed code.
    Mailed,
    /// The app's code of this step.
    Totp(TotpId, TotpStep),
    /// The hash that a recovery code is stored as.
    RecoveryCode([u8; 32]),
    /// A passkey whose signature over the challenge is good.
    Passkey(ProvenPasskey),
}

impl Proof {
    fn methods(&self) -> AuthenticationMethods {
        match self {
            // A user who lost the app enrols another one; a written code is good for no more than that.
            Self::Mailed | Self::RecoveryCode(_) => AuthenticationMethods::PASSWORD_AND_CODE,
            Self::Totp(..) => AuthenticationMethods::PASSWORD_AND_TOTP,
            Self::Passkey(proven) => proven.methods,
        }
    }

    /// Whether it was typed, and so might have been guessed: it counts against the account until it is right.
    fn is_code(&self) -> bool {
        !matches!(self, Self::Passkey(_))
    }
}

/// The owner of a challenge.
struct Owner {
    challenge_id: ChallengeId,
    user_id: UserId,
    email: EmailAddress,
}

impl Auth {
    /// Trades a challenge and its answer for a session.
    pub async fn confirm(
        &self,
        client: &Client,
        token: &str,
        answer: ConfirmAnswer<'_>,
    ) -> Result<Confirmed, ConfirmError> {
        match answer {
            ConfirmAnswer::Code(code) => self.confirm_by_code(client, token, code).await,
            ConfirmAnswer::Passkey(response) => {
                self.confirm_by_passkey(client, token, response).await
            }
        }
    }

    /// Trades a challenge and its code for a session.
    ///
    /// An attempt is counted against the user before the challenge is read, and against the challenge
    /// and the account before the code is compared. Of several right answers at once, the one that
    /// uses the challenge up gets the session.
    async fn confirm_by_code(
        &self,
        client: &Client,
        token: &str,
        code: &str,
    ) -> Result<Confirmed, ConfirmError> {
        let Some(owner) = self.find_owner(token).await? else {
            return self.refuse_unknown(client).await;
        };
        note_user(owner.user_id);
        let key = self.0.attempt_keys.confirm(owner.user_id, &owner.email);
        let limited = |reason: LimitReached| about(&owner, refused(client, reason));
        let pending = self.reserve(&key, &self.0.rules.confirm, limited).await?;
        let max = self.0.rules.max_wrong_codes;
        let spent = self.0.store.spend_confirm_attempt(owner.challenge_id, max);
        let spent = match spent.await {
            Ok(spent) => spent,
            Err(error) => {
                pending.release().await;
                return Err(error.into());
            }
        };
        let outcome = match self.check_code(&owner, spent.as_ref(), code) {
            Ok(proof) => {
                let attempts = pending.attempts();
                self.open_confirmed(client, &owner, &proof, attempts).await
            }
            Err(error) => Err(error),
        };
        let outcome = self.settle_confirm(client, &owner, pending, outcome).await;
        if let (Err(error), Some(spent)) = (&outcome, spent)
            && error.is_unavailable()
        {
            self.release_guess(owner.challenge_id, &spent);
        }
        outcome
    }

    /// Trades a challenge and a passkey for a session. A passkey cannot be guessed, so a good one takes no place
    /// under a limit and none keeps it out; one that is refused counts for the network that it came from.
    async fn confirm_by_passkey(
        &self,
        client: &Client,
        token: &str,
        response: &AssertionResponse,
    ) -> Result<Confirmed, ConfirmError> {
        let party = self.0.passkeys.party();
        let Some((party, challenge_id)) = party.zip(ChallengeId::parse(token)) else {
            return self.refuse_unknown(client).await;
        };
        let id = &response.credential_id;
        let found = self
            .0
            .store
            .find_challenged_passkey(challenge_id, id, party.id())
            .await?;
        let Some(found) = found else {
            return self.refuse_unknown(client).await;
        };
        note_user(found.user_id);
        let owner = Owner {
            challenge_id,
            user_id: found.user_id,
            email: found.email,
        };
        let Some(key) = found.key else {
            let refusal = ChallengeRefusal::UnknownPasskey;
            return self.refuse_passkey(client, &owner, refusal, None).await;
        };
        let challenge = second_factor_challenge(self.0.passkeys.key(), challenge_id, found.nonce);
        match prove(party, &challenge, PasskeyProof::Possession, response, &key) {
            Ok(proven) => {
                let proof = Proof::Passkey(proven);
                let opened = self.open_confirmed(client, &owner, &proof, &[]).await;
                if let Err(ConfirmError::Refused(refusal)) = opened {
                    return self.refuse_passkey(client, &owner, refusal, None).await;
                }
                opened
            }
            Err(invalid) => {
                let refusal = ChallengeRefusal::PasskeyRefused;
                self.refuse_passkey(client, &owner, refusal, Some(invalid))
                    .await
            }
        }
    }

    async fn refuse_passkey(
        &self,
        client: &Client,
        owner: &Owner,
        refusal: ChallengeRefusal,
        because: Option<InvalidPasskey>,
    ) -> Result<Confirmed, ConfirmError> {
        let key = self.0.attempt_keys.confirm_unknown(client.network);
        let limited = |reason: LimitReached| about(owner, refused(client, reason));
        let limit = &self.0.rules.confirm;
        let pending = self.reserve_for_stranger(&key, limit, limited).await?;
        let event = AuditEvent {
            detail: because.map(|invalid| invalid.to_string()),
            ..about(owner, refused(client, refusal))
        };
        self.refuse(pending, true, &event).await?;
        Err(refusal.into())
    }

    /// Settles the attempt by its outcome, and writes a refusal down.
    async fn settle_confirm(
        &self,
        client: &Client,
        owner: &Owner,
        pending: Pending,
        outcome: Result<Confirmed, ConfirmError>,
    ) -> Result<Confirmed, ConfirmError> {
        match &outcome {
            Ok(_) => pending.end(),
            Err(ConfirmError::Refused(refusal)) => {
                let event = about(owner, refused(client, *refusal));
                self.refuse(pending, true, &event).await?;
            }
            Err(error) => pending.release_if(error.is_unavailable()).await,
        }
        outcome
    }

    /// Takes back a guess whose answer is 503. The request does not wait for it: its time with the
    /// database may be used up.
    fn release_guess(&self, challenge_id: ChallengeId, spent: &SpentAttempt) {
        let Ok(permit) = Arc::clone(&self.0.late).try_acquire_owned() else {
            tracing::warn!("a guess at a code was not taken back");
            return;
        };
        let (auth, counted_for_account) = (self.clone(), spent.is_within_account);
        tokio::spawn(async move {
            let store = &auth.0.store;
            let released = store.release_confirm_attempt(challenge_id, counted_for_account);
            if let Err(error) = released.await {
                tracing::warn!(%error, "a guess at a code was not taken back");
            }
            drop(permit);
        });
    }

    async fn find_owner(&self, token: &str) -> Result<Option<Owner>, StoreError> {
        let Some(challenge_id) = ChallengeId::parse(token) else {
            return Ok(None);
        };
        let owner = self.0.store.find_challenge_owner(challenge_id).await?;
        Ok(owner.map(|(user_id, email)| Owner {
            challenge_id,
            user_id,
            email,
        }))
    }

    /// A token that is no challenge counts for the network that it came from.
    async fn refuse_unknown(&self, client: &Client) -> Result<Confirmed, ConfirmError> {
        let key = self.0.attempt_keys.confirm_unknown(client.network);
        let limited = |reason: LimitReached| refused(client, reason);
        let limit = &self.0.rules.confirm;
        let pending = self.reserve_for_stranger(&key, limit, limited).await?;
        let refusal = ChallengeRefusal::Unknown;
        self.refuse(pending, true, &refused(client, refusal))
            .await?;
        Err(refusal.into())
    }

    /// The answer may be right: uses it and the challenge up, and opens a session.
    async fn open_confirmed(
        &self,
        client: &Client,
        owner: &Owner,
        proof: &Proof,
        attempts: &[AttemptInFlight],
    ) -> Result<Confirmed, ConfirmError> {
        let mut tx = self.0.store.begin().await?;
        let consumed = tx.consume_challenge(owner.challenge_id).await?;
        let consumed = consumed.ok_or(ChallengeRefusal::ChangedMeanwhile)?;
        let recovery_codes_left = self.spend(&mut tx, client, owner, proof).await?;
        let new = NewSession {
            user_id: consumed.user_id,
            email: &consumed.email,
            credential_version: consumed.credential_version,
            methods: proof.methods(),
            forgets_wrong_codes: proof.is_code(),
            client,
        };
        let opened = self.open_session(&mut tx, &new, attempts);
        let opened = opened.await?.ok_or(ChallengeRefusal::ChangedMeanwhile)?;
        if let Proof::Passkey(proven) = proof {
            let counter = || about(owner, counter_event(AuditKind::Confirm, client));
            note_use(&mut tx, proven, counter).await?;
        }
        let pair = self.0.tokens.issue(&opened.session);
        let pair = pair.map_err(ConfirmError::MissingKey)?;
        tx.commit_attempts(&self.0.store, attempts).await?;
        opened.count();
        if recovery_codes_left.is_some() {
            self.0.mail_is_due.notify_one();
        }
        Ok(Confirmed {
            pair,
            recovery_codes_left,
        })
    }

    /// Uses up a code that works once, and tells how many recovery codes are left if it was one. Its owner is
    /// told of that by mail.
    async fn spend(
        &self,
        tx: &mut Tx,
        client: &Client,
        owner: &Owner,
        proof: &Proof,
    ) -> Result<Option<i64>, ConfirmError> {
        let hash = match proof {
            Proof::Mailed | Proof::Passkey(_) => return Ok(None),
            Proof::Totp(totp_id, step) => {
                let is_first = tx.spend_totp_step(*totp_id, *step).await?;
                let refusal = ChallengeRefusal::CodeReused;
                return is_first.then_some(None).ok_or_else(|| refusal.into());
            }
            Proof::RecoveryCode(hash) => hash,
        };
        let left = tx.spend_recovery_code(owner.user_id, hash).await?;
        let left = left.ok_or(ChallengeRefusal::WrongCode)?;
        let notice = NewNotice::by_client(
            owner.user_id,
            &owner.email,
            Notice::RecoveryCodeUsed,
            client,
        );
        tx.insert_notice(&notice).await?;
        let granted = AuditEvent::by_client(
            AuditKind::Confirm,
            Outcome::Granted,
            SigninGrant::RecoveryCodeUsed,
            client,
        );
        tx.record(&AuditEvent {
            detail: Some(format!("{left} left")),
            ..about(owner, granted)
        })
        .await?;
        Ok(Some(left))
    }

    fn check_code(
        &self,
        owner: &Owner,
        spent: Option<&SpentAttempt>,
        code: &str,
    ) -> Result<Proof, ConfirmError> {
        let spent = spent.ok_or(ChallengeRefusal::Ended)?;
        let proof = self.find_proof(owner, spent, code)?;
        Err(if !spent.is_within_account {
            ChallengeRefusal::SecondFactorLocked.into()
        } else if !spent.is_within_challenge {
            ChallengeRefusal::Exhausted.into()
        } else if let Some(proof) = proof {
            return Ok(proof);
        } else {
            ChallengeRefusal::WrongCode.into()
        })
    }

    /// The proof that a code is, if it is right. With an authenticator app or a passkey, no mailed code is right.
    fn find_proof(
        &self,
        owner: &Owner,
        spent: &SpentAttempt,
        code: &str,
    ) -> Result<Option<Proof>, ConfirmError> {
        if spent.totp.is_none() && !spent.has_passkey {
            let right = OneTimeCode::derive(&self.0.code_key, owner.challenge_id, spent.nonce);
            return Ok(right.matches(code).then_some(Proof::Mailed));
        }
        if let Some(recovery) = RecoveryCode::parse(code) {
            let hash = recovery.hash(&self.0.recovery_key, owner.user_id);
            return Ok(Some(Proof::RecoveryCode(hash)));
        }
        let Some(totp) = &spent.totp else {
            return Ok(None);
        };
        let step = self.matching_step(totp, code, spent.step)?;
        Ok(step.map(|step| Proof::Totp(totp.totp_id, step)))
    }

    /// The step of an app's code; `None` for a wrong one.
    pub(super) fn matching_step(
        &self,
        totp: &SealedTotp,
        code: &str,
        now: TotpStep,
    ) -> Result<Option<TotpStep>, StoreError> {
        let secret = self
            .0
            .totp_sealer
            .open(totp.totp_id, totp.user_id, &totp.secret)
            .ok_or(StoreError::Unreadable("totp_factors.sealed_secret"))?;
        Ok(secret.matching_step(code, now))
    }
}

fn refused(client: &Client, reason: impl Into<AuditReason>) -> AuditEvent {
    AuditEvent::by_client(AuditKind::Confirm, Outcome::Refused, reason, client)
}

fn about(owner: &Owner, event: AuditEvent) -> AuditEvent {
    AuditEvent {
        challenge_id: Some(owner.challenge_id),
        user_id: Some(owner.user_id),
        email: Some(owner.email.clone()),
        ..event
    }
}
