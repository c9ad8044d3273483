//! Signing in: an email address and a password for a session, or for a challenge.

use crate::domain::{
    AttemptInFlight, AttemptKey, AuditEvent, AuditKind, AuditReason, AuthenticationMethods,
    Challenge, ChallengeId, Client, CodeNonce, EmailAddress, Limit, LimitScope, Outcome, Overload,
    PasswordHash, PlainPassword, Reservation, SigninGrant, SigninRefusal, TwoFactor, User, UserId,
};
use crate::password::{HashingError, Verdict};
use crate::store::{KnownNetwork, NewChallenge, NewSession, StoreError, Tx};
use crate::telemetry::metrics::LIMIT_REFUSALS;
use crate::telemetry::note_user;
use crate::token::{MissingKey, TokenPair};

use super::session::OpenedSession;
use super::{Auth, Limited, Pending};

/// The answer to a right password.
#[derive(Debug)]
pub enum SignedIn {
    /// A session.
    Session(TokenPair),
    /// A challenge; its code is on the way.
    Challenge(Challenge),
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

/// The outcome of a checked password: the answer, or a refusal and the user it is of.
type Verified = Result<SignedIn, (Option<User>, SigninRefusal)>;

/// A sign-in whose password is to be checked.
struct Admission {
    pending: Pending,
    /// The user with the address, unless a ceiling lets nobody in.
    user: Option<User>,
    /// The ceiling that refuses all but the right password.
    ceiling: Option<(AttemptKey, Limit)>,
}

impl Auth {
    /// Checks an address and a password. Opens a session, or a challenge whose code is mailed.
    ///
    /// The attempt is reserved before anything is done with the user who was found, and counts before it
    /// is answered. From there to the verdict the same statements happen whether the address is known or
    /// not, and a refusal is held back until it has taken as long as any other.
    pub async fn signin(
        &self,
        client: &Client,
        email: &EmailAddress,
        password: &PlainPassword,
    ) -> Result<SignedIn, SigninError> {
        let Admission {
            pending,
            user,
            ceiling,
        } = self.reserve_signin(client, email).await?;
        if let Some(user) = &user {
            note_user(user.user_id);
        }
        let stored = user.as_ref().and_then(|user| user.password_hash.clone());
        let check = match self.0.pool.verify(password.clone(), stored).await {
            Ok(check) => check,
            Err(error) => {
                if error.is_unavailable() {
                    pending.release().await;
                }
                self.record_if_room(&refused(client, email, None, Overload::Overloaded))
                    .await;
                return Err(SigninError::Hashing(error));
            }
        };
        let outcome = match admit(user, check.verdict) {
            Ok((user, is_outdated)) => {
                if is_outdated {
                    self.upgrade_hash_later(&user, password);
                }
                self.welcome(client, user, &pending).await
            }
            Err((user, refusal)) => Ok(Err((user, refusal))),
        };
        let answer = self
            .settle_signin(client, email, (pending, ceiling), outcome)
            .await;
        if let Err(SigninError::Refused(_) | SigninError::Limited(_)) = &answer {
            self.0.pool.delay_refusal(&check).await;
        }
        answer
    }

    /// Settles the attempts by the outcome of a sign-in, and records a refusal.
    async fn settle_signin(
        &self,
        client: &Client,
        email: &EmailAddress,
        (pending, ceiling): (Pending, Option<(AttemptKey, Limit)>),
        outcome: Result<Verified, SigninError>,
    ) -> Result<SignedIn, SigninError> {
        match outcome {
            Ok(Ok(signed_in)) => {
                pending.end();
                Ok(signed_in)
            }
            Ok(Err((user, refusal))) => {
                if let Some(ceiling) = ceiling {
                    return Err(self.refuse_by(client, email, pending, &ceiling).await?);
                }
                // A right password that came to nothing is no failure.
                let is_failure = refusal != SigninRefusal::ChangedMeanwhile;
                let event = refused(client, email, user.as_ref(), refusal);
                self.refuse(pending, is_failure, &event).await?;
                Err(SigninError::Refused(refusal))
            }
            Err(error) => {
                if error.is_unavailable() {
                    pending.release().await;
                }
                Err(error)
            }
        }
    }

    /// Reserves a sign-in, whose attempts are settled when its outcome is known, and finds the user.
    async fn reserve_signin(
        &self,
        client: &Client,
        email: &EmailAddress,
    ) -> Result<Admission, SigninError> {
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
        let refused_by = reserved.refused.map(|(key, _)| key.scope.as_str());
        tracing::debug!(?refused_by, "asked the limits of a sign-in");
        let admission = Admission {
            pending: Pending::new(self, reserved.granted),
            user: reserved.user,
            ceiling: None,
        };
        let Some(refused_by) = reserved.refused else {
            return Ok(admission);
        };
        if let Some(block) = reserved.block {
            let event = |reason| refused(client, email, None, reason);
            let limited = self.limited(refused_by.0.scope, block, event).await;
            return Err(SigninError::Limited(limited));
        }
        if refused_by.0.scope != LimitScope::SigninFailures {
            return Err(self
                .refuse_by(client, email, admission.pending, &refused_by)
                .await?);
        }
        self.pass_ceiling(client, email, admission, refused_by)
            .await
    }

    /// The account's ceiling of failures is reached. It stops nobody who comes from a network that the
    /// account's owner is known from, or it would be a way to lock the owner out: such a sign-in is
    /// checked, and gets the ceiling's own answer if it is not right.
    ///
    /// Nor does it stop the owner on the way, with another address of the same provider. But there
    /// are strangers among the provider's clients, so their failures have a ceiling as well.
    ///
    /// The work, and so the time of the answer, depends on the network alone and not on whether the
    /// address has an account: on a network that any user is known from, a password is hashed.
    async fn pass_ceiling(
        &self,
        client: &Client,
        email: &EmailAddress,
        admission: Admission,
        ceiling: (AttemptKey, Limit),
    ) -> Result<Admission, SigninError> {
        let Admission {
            mut pending, user, ..
        } = admission;
        let known = match self.find_acquaintance(client, email).await {
            Ok(known) => known,
            Err(error) => {
                pending.release().await;
                return Err(error.into());
            }
        };
        let Some((known, nearby)) = known else {
            return Err(self.refuse_by(client, email, pending, &ceiling).await?);
        };
        let is_exempt = known.owner_here || (known.owner_nearby && nearby.is_some());
        if let Some(nearby) = nearby {
            pending.add(nearby);
        }
        Ok(Admission {
            pending,
            user: user.filter(|_| is_exempt),
            ceiling: Some(ceiling),
        })
    }

    /// The users who are known from this network and from its provider's, and an attempt under the
    /// ceiling of failures from there, if there is room; `None` if nobody is let through.
    async fn find_acquaintance(
        &self,
        client: &Client,
        email: &EmailAddress,
    ) -> Result<Option<(KnownNetwork, Option<AttemptInFlight>)>, StoreError> {
        let store = &self.0.store;
        let known = store.find_known_network(email, client.network).await?;
        if !known.anybody_nearby {
            return Ok(None);
        }
        let key = (self.0.attempt_keys).signin_failures_nearby(email, client.network);
        let limit = &self.0.rules.ceilings.signin_failures;
        match store.reserve_attempt(&key, limit).await? {
            Reservation::Granted { at } => Ok(Some((known, Some(AttemptInFlight { key, at })))),
            Reservation::Refused(_) if known.anybody_here => Ok(Some((known, None))),
            Reservation::Refused(_) => Ok(None),
        }
    }

    /// Refuses for a ceiling. The attempts that other limits granted count.
    async fn refuse_by(
        &self,
        client: &Client,
        email: &EmailAddress,
        pending: Pending,
        (key, limit): &(AttemptKey, Limit),
    ) -> Result<SigninError, StoreError> {
        let store = &self.0.store;
        let unanswered = pending.unanswered();
        let refusal = store.refuse_by(key, limit, pending.attempts(), unanswered);
        match refusal.await {
            Ok(refusal) => {
                pending.end();
                let event = |reason| refused(client, email, None, reason);
                let limited = self.limited(key.scope, refusal, event).await;
                Ok(SigninError::Limited(limited))
            }
            Err(error) => {
                if error.is_unavailable() {
                    pending.release().await;
                }
                // A defect is answered 500, which counts: attempts that are pending are counted when
                // dropped.
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
        let signed_in = match user.two_factor {
            TwoFactor::Off => {
                let opened = self
                    .open_session_of(&mut tx, client, &user, attempts)
                    .await?;
                opened.map(|(pair, opened)| (SignedIn::Session(pair), Some(opened)))
            }
            TwoFactor::Email => {
                let challenge = self
                    .open_challenge(&mut tx, client, &user, attempts)
                    .await?;
                challenge.map(|challenge| (SignedIn::Challenge(challenge), None))
            }
        };
        let Some((signed_in, opened)) = signed_in else {
            drop(tx);
            return Ok(Err((Some(user), SigninRefusal::ChangedMeanwhile)));
        };
        tx.commit_attempts(&self.0.store, attempts).await?;
        match opened {
            Some(opened) => opened.count(),
            None => self.0.mail_is_due.notify_one(),
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
            client,
        };
        let Some(opened) = self.open_session(tx, &new, attempts).await? else {
            return Ok(None);
        };
        let pair = self.0.tokens.issue(&opened.session);
        Ok(Some((pair.map_err(SigninError::MissingKey)?, opened)))
    }

    /// Makes a challenge, and puts its mail into the outbox in the same transaction.
    ///
    /// Past the limit on mails the answer is the same and nothing is sent: an attacker who floods a
    /// mailbox must not learn when to stop.
    async fn open_challenge(
        &self,
        tx: &mut Tx,
        client: &Client,
        user: &User,
        attempts: &[AttemptInFlight],
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
        let mail = tx.reserve_mail(&budget, &rules.ceilings.mails).await?;
        let is_mailed = mail.is_some();
        if !is_mailed {
            LIMIT_REFUSALS.add(1, [budget.scope.as_str().into()]);
        }
        if is_mailed {
            tx.insert_code_mail(&challenge, client.request_id.as_str())
                .await?;
        }
        let reason = if is_mailed {
            SigninGrant::Challenged
        } else {
            SigninGrant::ChallengedWithoutMail
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
