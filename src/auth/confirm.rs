//! Confirming a sign-in: a challenge and its code for a session.

use std::sync::Arc;

use crate::domain::{
    AuditEvent, AuditKind, AuditReason, AuthenticationMethods, ChallengeId, Client, EmailAddress,
    OneTimeCode, Outcome, UserId,
};
use crate::store::{NewSession, SpentAttempt, StoreError};
use crate::telemetry::note_user;
use crate::token::{MissingKey, TokenPair};

use super::{Auth, Limited, NotReserved, Pending};

/// Why a confirmation got nothing.
#[derive(Debug)]
pub enum ConfirmError {
    /// There is no such challenge, or what was sent is no challenge's id.
    Unknown,
    /// The challenge was used or has expired.
    ChallengeEnded,
    /// The challenge has had all its guesses.
    Exhausted,
    /// The account has had all its wrong codes; an operator must unlock it.
    SecondFactorLocked,
    /// The code is wrong.
    WrongCode,
    /// The user was disabled or the password changed since the challenge was made, or another
    /// request used it in this very moment.
    ChangedMeanwhile,
    /// Too many attempts.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
    /// The key to sign with is not here yet.
    MissingKey(MissingKey),
}

impl ConfirmError {
    /// The reason for it in the audit log, for refusals that are written there.
    fn reason(&self) -> Option<AuditReason> {
        match self {
            Self::Unknown => Some(AuditReason::UnknownChallenge),
            Self::ChallengeEnded => Some(AuditReason::ChallengeEnded),
            Self::Exhausted => Some(AuditReason::ChallengeExhausted),
            Self::SecondFactorLocked => Some(AuditReason::SecondFactorLocked),
            Self::WrongCode => Some(AuditReason::WrongCode),
            Self::ChangedMeanwhile => Some(AuditReason::ChangedMeanwhile),
            Self::Limited(_) | Self::Store(_) | Self::MissingKey(_) => None,
        }
    }
}

impl ConfirmError {
    /// Whether the answer is 503, so that nothing counts.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_unavailable(),
            Self::MissingKey(_) => true,
            _ => false,
        }
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

/// Whose challenge it is.
struct Owner {
    challenge_id: ChallengeId,
    user_id: UserId,
    email: EmailAddress,
}

impl Auth {
    /// Trades a challenge and its code for a session.
    ///
    /// An attempt is counted against the user before the challenge is looked into, and against the
    /// challenge and the account before the code is compared. Using the challenge up decides who of
    /// several gets the session.
    pub async fn confirm(
        &self,
        client: &Client,
        token: &str,
        code: &str,
    ) -> Result<TokenPair, ConfirmError> {
        let Some(owner) = self.find_owner(token).await? else {
            return self.refuse_unknown(client).await;
        };
        note_user(owner.user_id);
        let key = self.0.attempt_keys.confirm(owner.user_id, &owner.email);
        let event = |reason| about(&owner, refused(client, reason));
        let pending = self.reserve(&key, &self.0.rules.confirm, event).await?;
        let max = self.0.rules.max_wrong_codes;
        let store = &self.0.store;
        let spent = match store.spend_confirm_attempt(owner.challenge_id, max).await {
            Ok(spent) => spent,
            Err(error) => {
                pending.release().await;
                return Err(error.into());
            }
        };
        let outcome = match self.check_code(owner.challenge_id, spent.as_ref(), code) {
            Ok(()) => self.open_confirmed(client, &owner, &pending).await,
            Err(error) => Err(error),
        };
        let outcome = match outcome.as_ref().err().and_then(ConfirmError::reason) {
            Some(reason) => {
                let event = event(reason);
                let unanswered = pending.is_unanswered();
                let written = store.refuse(pending.attempts(), true, Some(&event), unanswered);
                let written = written.await;
                written.map_err(ConfirmError::from).and(outcome)
            }
            None => outcome,
        };
        match &outcome {
            Err(error) if error.is_unavailable() => {
                pending.release().await;
                if let Some(spent) = spent {
                    self.release_guess(owner.challenge_id, &spent);
                }
            }
            // A defect is answered 500, which counts.
            Err(ConfirmError::Store(_)) => drop(pending),
            _ => pending.end(),
        }
        outcome
    }

    /// Takes a guess back whose answer is 503. Nobody waits for it: the request's time with the database
    /// may be used up.
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

    /// What is no challenge counts for the network it came from.
    async fn refuse_unknown(&self, client: &Client) -> Result<TokenPair, ConfirmError> {
        let key = self.0.attempt_keys.confirm_unknown(client.network);
        let event = |reason| refused(client, reason);
        let limit = &self.0.rules.confirm;
        let pending = self.reserve_for_stranger(&key, limit, event).await?;
        self.refuse(pending, true, &event(AuditReason::UnknownChallenge))
            .await?;
        Err(ConfirmError::Unknown)
    }

    /// The code is right: uses the challenge up, and opens a session.
    async fn open_confirmed(
        &self,
        client: &Client,
        owner: &Owner,
        pending: &Pending,
    ) -> Result<TokenPair, ConfirmError> {
        let mut tx = self.0.store.begin().await?;
        let consumed = tx.consume_challenge(owner.challenge_id).await?;
        let consumed = consumed.ok_or(ConfirmError::ChangedMeanwhile)?;
        tx.reset_second_factor_failures(consumed.user_id).await?;
        let new = NewSession {
            user_id: consumed.user_id,
            email: &consumed.email,
            credential_version: consumed.credential_version,
            methods: AuthenticationMethods::PASSWORD_AND_CODE,
            client,
        };
        let opened = self.open_session(&mut tx, &new, pending.attempts());
        let opened = opened.await?.ok_or(ConfirmError::ChangedMeanwhile)?;
        let pair = self.0.tokens.issue(&opened.session);
        let pair = pair.map_err(ConfirmError::MissingKey)?;
        tx.commit_attempts(&self.0.store, pending.attempts())
            .await?;
        opened.count();
        Ok(pair)
    }

    fn check_code(
        &self,
        challenge_id: ChallengeId,
        spent: Option<&SpentAttempt>,
        code: &str,
    ) -> Result<(), ConfirmError> {
        let spent = spent.ok_or(ConfirmError::ChallengeEnded)?;
        let right = OneTimeCode::derive(&self.0.code_key, challenge_id, spent.nonce);
        let is_right = right.matches(code);
        if !spent.is_within_account {
            Err(ConfirmError::SecondFactorLocked)
        } else if !spent.is_within_challenge {
            Err(ConfirmError::Exhausted)
        } else if !is_right {
            Err(ConfirmError::WrongCode)
        } else {
            Ok(())
        }
    }
}

fn refused(client: &Client, reason: AuditReason) -> AuditEvent {
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
