//! Signing in: an email address and a password for a session, or for a challenge.

use crate::domain::{
    AttemptInFlight, AuditEvent, AuditKind, AuditReason, AuthenticationMethod, Challenge,
    ChallengeId, Client, CodeNonce, EmailAddress, LimitScope, Outcome, PasswordHash, PlainPassword,
    Reservation, TwoFactor, User, UserId,
};
use crate::password::{HashingError, Verdict};
use crate::store::{NewChallenge, NewSession, StoreError, Tx};
use crate::telemetry::metrics::LIMIT_REFUSALS;
use crate::telemetry::note_user;
use crate::token::{MissingKey, TokenPair};

use super::session::Opened;
use super::{Auth, Limited, NotReserved};

/// What a right password got.
#[derive(Debug)]
pub enum SignedIn {
    /// A session.
    Session(TokenPair),
    /// A challenge; its code is on the way.
    Challenge(Challenge),
}

/// Why a sign-in was refused, when the answer to the client is that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigninRefusal {
    /// Nobody has this address.
    UnknownAddress,
    /// The password is wrong.
    WrongPassword,
    /// An operator disabled the user.
    UserDisabled,
    /// The user has no password to sign in with.
    NoPassword,
    /// The user was disabled or the password changed while it was being checked.
    ChangedMeanwhile,
}

impl SigninRefusal {
    /// The word for it in logs and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        AuditReason::from(self).as_str()
    }
}

impl From<SigninRefusal> for AuditReason {
    fn from(refusal: SigninRefusal) -> Self {
        match refusal {
            SigninRefusal::UnknownAddress => Self::UnknownAddress,
            SigninRefusal::WrongPassword => Self::WrongPassword,
            SigninRefusal::UserDisabled => Self::UserDisabled,
            SigninRefusal::NoPassword => Self::NoPassword,
            SigninRefusal::ChangedMeanwhile => Self::ChangedMeanwhile,
        }
    }
}

/// Why a sign-in got nothing.
#[derive(Debug)]
pub enum SigninError {
    /// The address and password do not go together.
    Refused(SigninRefusal),
    /// Too many attempts.
    Limited(Limited),
    /// The password could not be checked now.
    Hashing(HashingError),
    /// The database failed.
    Store(StoreError),
    /// The key to sign with is not here yet.
    MissingKey(MissingKey),
}

impl From<StoreError> for SigninError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for SigninError {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

impl Auth {
    /// Checks an address and a password. Opens a session, or a challenge whose code is mailed.
    ///
    /// The attempt is counted, for good, before anything is done with the user who was found. From there
    /// to the verdict the same statements happen whether the address is known or not, and a refusal
    /// is held back until it has taken as long as any other.
    pub async fn signin(
        &self,
        client: &Client,
        email: &EmailAddress,
        password: &PlainPassword,
    ) -> Result<SignedIn, SigninError> {
        let (attempt, user) = self.reserve_signin(client, email).await?;
        if let Some(user) = &user {
            note_user(user.user_id);
        }
        let stored = user.as_ref().and_then(|user| user.password_hash.clone());
        let check = match self.0.pool.verify(password.clone(), stored).await {
            Ok(check) => check,
            Err(error) => {
                self.release(attempt.as_ref()).await;
                self.record_if_room(&refused(client, email, None, AuditReason::Overloaded))
                    .await;
                return Err(SigninError::Hashing(error));
            }
        };
        let outcome = match admit(user, check.verdict) {
            Ok((user, is_outdated)) => {
                if is_outdated {
                    self.upgrade_hash_later(&user, password);
                }
                let outcome = self.welcome(client, &user, attempt.as_ref()).await;
                if outcome.is_err() {
                    self.release(attempt.as_ref()).await;
                }
                outcome
            }
            Err((user, refusal)) => {
                if let Some(attempt) = attempt {
                    self.0.store.count_failure(&attempt).await?;
                }
                let event = refused(client, email, user.as_ref(), refusal);
                self.record_signin(&event, email).await?;
                Err(SigninError::Refused(refusal))
            }
        };
        if let Err(SigninError::Refused(_)) = &outcome {
            self.0.pool.hold_back(&check).await;
        }
        outcome
    }

    /// Counts a sign-in, makes room for its failure, which is taken back if it turns out to be none,
    /// and finds the user. The account's ceiling of failures stops nobody who comes from a network
    /// that its owner is known from: it would be a way to lock the owner out.
    async fn reserve_signin(
        &self,
        client: &Client,
        email: &EmailAddress,
    ) -> Result<(Option<AttemptInFlight>, Option<User>), NotReserved> {
        let (keys, rules) = (&self.0.attempt_keys, &self.0.rules);
        let limits = [
            (keys.signin(email, client.network), rules.signin),
            (
                keys.signin_network(client.network),
                rules.ceilings.signin_network,
            ),
            (keys.signin_failures(email), rules.ceilings.signin_failures),
        ];
        let reserved = self.0.store.reserve_signin(&limits, email).await?;
        let (key, reservation) = (reserved.key, reserved.reservation);
        if let Reservation::Refused { .. } = reservation
            && key.scope == LimitScope::SigninFailures
            && self.0.store.is_known_network(email, client.network).await?
        {
            return Ok((None, reserved.user));
        }
        let event = |reason| refused(client, email, None, reason);
        let at = self.granted(reservation, key.scope, event).await?;
        Ok((Some(AttemptInFlight { key, at }), reserved.user))
    }

    /// Takes an attempt back that led to nothing, though the password may have been right. One that
    /// cannot be taken back counts as a failure.
    async fn release(&self, attempt: Option<&AttemptInFlight>) {
        if let Some(attempt) = attempt
            && let Err(error) = self.0.store.release_attempt(attempt).await
        {
            tracing::warn!(%error, "an attempt could not be taken back");
        }
    }

    /// The password is right: on to a session or to a challenge, and the attempt is taken back with it.
    async fn welcome(
        &self,
        client: &Client,
        user: &User,
        attempt: Option<&AttemptInFlight>,
    ) -> Result<SignedIn, SigninError> {
        let mut tx = self.0.store.begin().await?;
        let signed_in = match user.two_factor {
            TwoFactor::Off => {
                let opened = self.open_session_of(&mut tx, client, user, attempt).await?;
                opened.map(|(pair, opened)| (SignedIn::Session(pair), Some(opened)))
            }
            TwoFactor::Email => {
                let challenge = self.open_challenge(&mut tx, client, user, attempt).await?;
                challenge.map(|challenge| (SignedIn::Challenge(challenge), None))
            }
        };
        let Some((signed_in, opened)) = signed_in else {
            drop(tx);
            let refusal = SigninRefusal::ChangedMeanwhile;
            let event = refused(client, &user.email, Some(user), refusal);
            self.0.store.record(&event).await?;
            return Err(SigninError::Refused(refusal));
        };
        tx.commit().await?;
        match opened {
            Some(opened) => opened.count(),
            None => self.0.mail_is_due.notify_one(),
        }
        Ok(signed_in)
    }

    async fn open_session_of(
        &self,
        tx: &mut Tx,
        client: &Client,
        user: &User,
        attempt: Option<&AttemptInFlight>,
    ) -> Result<Option<(TokenPair, Opened)>, SigninError> {
        let new = NewSession {
            user_id: user.user_id,
            email: &user.email,
            credential_version: user.credential_version,
            method: AuthenticationMethod::Password,
            client,
        };
        let Some(opened) = self.open_session(tx, &new, attempt).await? else {
            return Ok(None);
        };
        let pair = self.0.tokens.issue(&opened.session);
        Ok(Some((pair.map_err(SigninError::MissingKey)?, opened)))
    }

    /// Makes a challenge, and puts its mail into the outbox in the same transaction.
    ///
    /// Past the mail budget the answer is as ever and nothing is sent: whoever floods a mailbox
    /// must not learn when to stop.
    async fn open_challenge(
        &self,
        tx: &mut Tx,
        client: &Client,
        user: &User,
        attempt: Option<&AttemptInFlight>,
    ) -> Result<Option<Challenge>, StoreError> {
        let rules = &self.0.rules;
        let new = NewChallenge {
            challenge_id: ChallengeId::random(),
            user_id: user.user_id,
            nonce: CodeNonce::random(),
            credential_version: user.credential_version,
            ttl: rules.code_ttl,
            network: client.network,
        };
        let Some(challenge) = tx.insert_challenge(&new).await? else {
            return Ok(None);
        };
        let budget = self.0.attempt_keys.mail(user.user_id, &user.email);
        let is_mailed = tx.reserve_mail(&budget, &rules.ceilings.mails).await?;
        if !is_mailed {
            LIMIT_REFUSALS.add(1, [budget.scope.as_str().into()]);
        }
        if is_mailed {
            tx.insert_mail(challenge.challenge_id, client.request_id.as_str())
                .await?;
        }
        let reason = if is_mailed {
            AuditReason::Challenged
        } else {
            AuditReason::ChallengedWithoutMail
        };
        tx.record(&AuditEvent {
            challenge_id: Some(challenge.challenge_id),
            user_id: Some(user.user_id),
            email: Some(user.email.clone()),
            ..AuditEvent::by_client(AuditKind::Signin, Outcome::Granted, reason, client)
        })
        .await?;
        if let Some(attempt) = attempt {
            tx.release_attempt(attempt).await?;
        }
        Ok(Some(challenge))
    }

    /// Replaces a weaker hash, off the answer's path. If there is no room for it now, the next
    /// sign-in tries again.
    fn upgrade_hash_later(&self, user: &User, password: &PlainPassword) {
        let Some(old) = user.password_hash.clone().filter(|_| self.0.pool.is_idle()) else {
            return;
        };
        let (auth, user_id, password) = (self.clone(), user.user_id, password.clone());
        tokio::spawn(async move {
            if let Err(error) = auth.upgrade_hash(user_id, old, password).await {
                tracing::warn!(%user_id, %error, "a password hash was not upgraded");
            }
        });
    }

    async fn upgrade_hash(
        &self,
        user_id: UserId,
        old: PasswordHash,
        password: PlainPassword,
    ) -> Result<(), UpgradeError> {
        let new = self.0.pool.hash(password).await?;
        self.0
            .store
            .upgrade_password_hash(user_id, &old, &new)
            .await?;
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    #[error(transparent)]
    Hashing(#[from] HashingError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Decides after the work was done, so that no reason shows in the time it took.
fn admit(
    user: Option<User>,
    verdict: Verdict,
) -> Result<(User, bool), (Option<User>, SigninRefusal)> {
    let Some(user) = user else {
        return Err((None, SigninRefusal::UnknownAddress));
    };
    let refusal = match verdict {
        _ if user.password_hash.is_none() => SigninRefusal::NoPassword,
        Verdict::Mismatch => SigninRefusal::WrongPassword,
        Verdict::Match { .. } if user.is_disabled() => SigninRefusal::UserDisabled,
        Verdict::Match { is_outdated } => return Ok((user, is_outdated)),
    };
    Err((Some(user), refusal))
}

fn refused(
    client: &Client,
    email: &EmailAddress,
    user: Option<&User>,
    reason: impl Into<AuditReason>,
) -> AuditEvent {
    AuditEvent {
        user_id: user.map(|user| user.user_id),
        email: Some(email.clone()),
        ..AuditEvent::by_client(AuditKind::Signin, Outcome::Refused, reason, client)
    }
}
