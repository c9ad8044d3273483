//! Signing in: an email address and a password for a session, or for a challenge.

use crate::domain::{
    AttemptInFlight, AuditEvent, AuditKind, AuthenticationMethods, Challenge, ChallengeId, Client,
    CodeNonce, EmailAddress, Outcome, PasswordHash, PlainPassword, SigninGrant, SigninRefusal,
    TwoFactor, User, UserId, second_factor_challenge,
};
use crate::passkey::{Proof, RelyingParty};
use crate::password::HashingError;
use crate::store::{NewChallenge, NewSession, PasskeyDescriptor, StoreError, Tx};
use crate::telemetry::metrics::LIMIT_REFUSALS;
use crate::token::{MissingKey, TokenPair};

use super::passkeys::PasskeyAsked;
use super::password_attempt::{
    CheckedPassword, NotChecked, PasswordAttempt, PasswordRefusal, ReservedPassword, admit,
};
use super::reserve::Pending;
use super::session::OpenedSession;
use super::{Auth, Limited};

/// The answer to a right password.
#[derive(Debug)]
pub enum SignedIn {
    /// The session's first token pair.
    Session(TokenPair),
    /// A challenge; its code is on the way, or an app or a passkey has it. With a passkey, the options for
    /// the browser.
    Challenge(Challenge, Option<PasskeyAsked>),
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

impl SigninError {
    /// Whether the answer is 503, so that nothing counts.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Limited(_) => false,
            Self::Hashing(error) => error.is_unavailable(),
            Self::Store(error) => error.is_unavailable(),
            Self::MissingKey(_) => true,
        }
    }
}

impl From<StoreError> for SigninError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotChecked> for SigninError {
    fn from(error: NotChecked) -> Self {
        match error {
            NotChecked::Limited(limited) => Self::Limited(limited),
            NotChecked::Hashing(error) => Self::Hashing(error),
            NotChecked::Store(error) => Self::Store(error),
        }
    }
}

/// The outcome of a checked password: the answer, or a refusal and the user it is of.
type Verified = Result<SignedIn, (Option<User>, SigninRefusal)>;

impl Auth {
    /// Checks an address and a password. Opens a session, or a challenge whose code is mailed.
    ///
    /// The attempt counts before it is answered. A refusal is held back until it has taken as long as any
    /// other.
    pub async fn signin(
        &self,
        client: &Client,
        email: &EmailAddress,
        password: &PlainPassword,
    ) -> Result<SignedIn, SigninError> {
        let attempt = PasswordAttempt {
            kind: AuditKind::Signin,
            client,
            email,
            session: None,
        };
        let pending = Pending::new(self, Vec::new());
        let CheckedPassword {
            user,
            check,
            reserved,
        } = self.check_password(attempt, password, pending).await?;
        let outcome = match admit(user, check.verdict) {
            Ok((user, is_outdated)) => {
                if is_outdated {
                    self.upgrade_hash_later(&user, password);
                }
                self.welcome(client, user, &reserved.pending).await
            }
            Err((user, refusal)) => Ok(Err((user, refusal))),
        };
        let answer = self.settle_signin(attempt, reserved, outcome).await;
        if let Err(SigninError::Refused(_) | SigninError::Limited(_)) = &answer {
            self.0.pool.delay_refusal(&check).await;
        }
        answer
    }

    /// Settles the attempts by the outcome of a sign-in, and records a refusal.
    async fn settle_signin(
        &self,
        attempt: PasswordAttempt<'_>,
        reserved: ReservedPassword,
        outcome: Result<Verified, SigninError>,
    ) -> Result<SignedIn, SigninError> {
        match outcome {
            Ok(Ok(signed_in)) => {
                reserved.pending.end();
                Ok(signed_in)
            }
            Ok(Err((user, refusal))) => {
                let refused = self.refuse_password(attempt, reserved, user.as_ref(), refusal);
                Err(match refused.await? {
                    PasswordRefusal::Refused(refusal) => SigninError::Refused(refusal),
                    PasswordRefusal::Limited(limited) => SigninError::Limited(limited),
                })
            }
            Err(error) => {
                reserved.pending.release_if(error.is_unavailable()).await;
                Err(error)
            }
        }
    }

    /// The password is right: on to a session or to a challenge, and the attempts are settled with it.
    /// Returns the user if they were disabled, or the password changed, meanwhile.
    async fn welcome(
        &self,
        client: &Client,
        user: User,
        pending: &Pending,
    ) -> Result<Verified, SigninError> {
        let mut tx = self.0.store.begin().await?;
        let attempts = pending.attempts();
        let is_mailed = !user.has_strong_factor();
        let signed_in = match user.two_factor {
            TwoFactor::Off if is_mailed => {
                let opened = self
                    .open_session_of(&mut tx, client, &user, attempts)
                    .await?;
                opened.map(|(pair, opened)| (SignedIn::Session(pair), Some(opened)))
            }
            TwoFactor::Off | TwoFactor::Email => {
                let challenge = self
                    .open_challenge(&mut tx, client, &user, attempts)
                    .await?;
                challenge.map(|(challenge, asked)| (SignedIn::Challenge(challenge, asked), None))
            }
        };
        let Some((signed_in, opened)) = signed_in else {
            drop(tx);
            return Ok(Err((Some(user), SigninRefusal::ChangedMeanwhile)));
        };
        tx.commit_attempts(&self.0.store, attempts).await?;
        match opened {
            Some(opened) => opened.count(),
            None if is_mailed => self.0.mail_is_due.notify_one(),
            None => {}
        }
        Ok(Ok(signed_in))
    }

    async fn open_session_of(
        &self,
        tx: &mut Tx,
        client: &Client,
        user: &User,
        attempts: &[AttemptInFlight],
    ) -> Result<Option<(TokenPair, OpenedSession)>, SigninError> {
        let new = NewSession {
            user_id: user.user_id,
            email: &user.email,
            credential_version: user.credential_version,
            methods: AuthenticationMethods::PASSWORD,
            forgets_wrong_codes: false,
            client,
        };
        let Some(opened) = self.open_session(tx, &new, attempts).await? else {
            return Ok(None);
        };
        let pair = self.0.tokens.issue(&opened.session);
        Ok(Some((pair.map_err(SigninError::MissingKey)?, opened)))
    }

    /// Makes a challenge. Where there is no strong factor, puts its mail into the outbox in the same transaction.
    async fn open_challenge(
        &self,
        tx: &mut Tx,
        client: &Client,
        user: &User,
        attempts: &[AttemptInFlight],
    ) -> Result<Option<(Challenge, Option<PasskeyAsked>)>, StoreError> {
        let party = self.0.passkeys.party();
        let new = NewChallenge {
            challenge_id: ChallengeId::random(),
            user_id: user.user_id,
            nonce: CodeNonce::random(),
            credential_version: user.credential_version,
            has_totp: user.has_totp,
            has_passkey: user.has_passkey,
            rp_id: party.map(RelyingParty::id),
            ttl: self.0.rules.code_ttl,
            network: client.network,
        };
        let Some((challenge, passkeys)) = tx.insert_challenge(&new).await? else {
            return Ok(None);
        };
        let asked = party.filter(|_| !passkeys.is_empty());
        let asked = asked.map(|party| self.ask_to_confirm(party, &challenge, passkeys));
        let (reason, mail) = if user.has_passkey {
            (SigninGrant::ChallengedForPasskey, None)
        } else if user.has_totp {
            (SigninGrant::ChallengedForTotp, None)
        } else {
            self.mail_code(tx, client, user, &challenge).await?
        };
        tx.record(&AuditEvent {
            challenge_id: Some(challenge.challenge_id),
            user_id: Some(user.user_id),
            email: Some(user.email.clone()),
            ..AuditEvent::by_client(AuditKind::Signin, Outcome::Granted, reason, client)
        })
        .await?;
        let attempts: Vec<_> = mail.iter().chain(attempts).copied().collect();
        tx.settle_attempts(&attempts).await?;
        Ok(Some((challenge, asked)))
    }

    /// Asks for one of the user's passkeys, to confirm a challenge.
    fn ask_to_confirm(
        &self,
        party: &RelyingParty,
        challenge: &Challenge,
        passkeys: Vec<PasskeyDescriptor>,
    ) -> PasskeyAsked {
        let (key, id) = (self.0.passkeys.key(), challenge.challenge_id);
        PasskeyAsked {
            challenge: second_factor_challenge(key, id, challenge.nonce),
            rp_id: party.id().to_owned(),
            allowed: passkeys,
            proof: Proof::Possession,
            timeout: self.0.rules.code_ttl,
        }
    }

    /// Puts the mail with a challenge's code into the outbox, unless so many were mailed recently.
    ///
    /// Past that limit the answer is the same and nothing is sent: an attacker who floods a mailbox must not
    /// learn when to stop.
    async fn mail_code(
        &self,
        tx: &mut Tx,
        client: &Client,
        user: &User,
        challenge: &Challenge,
    ) -> Result<(SigninGrant, Option<AttemptInFlight>), StoreError> {
        let budget = self.0.attempt_keys.mail(user.user_id, &user.email);
        let mail = tx
            .reserve_mail(&budget, &self.0.rules.ceilings.mails)
            .await?;
        if mail.is_none() {
            LIMIT_REFUSALS.add(1, [budget.scope.as_str().into()]);
            return Ok((SigninGrant::ChallengedWithoutMail, None));
        }
        tx.insert_code_mail(challenge, &client.request_id).await?;
        Ok((SigninGrant::Challenged, mail))
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
