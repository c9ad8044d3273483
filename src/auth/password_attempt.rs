//! An attempt at an account's password: it is reserved, checked, and settled if it is refused. There are
//! two: a sign-in, and a change of the password by the owner of a session.
//!
//! Both count under the same limits and in the same way, so that neither is a way around the other.

use crate::domain::{
    AttemptInFlight, AttemptKey, AuditEvent, AuditKind, AuditReason, Client, EmailAddress, Limit,
    LimitScope, Outcome, Overload, PlainPassword, Reservation, SessionId, SigninRefusal, User,
    UserId,
};
use crate::password::{Check, HashingError, Verdict};
use crate::store::{KnownNetwork, StoreError};
use crate::telemetry::note_user;

use super::reserve::{NotReserved, Pending};
use super::{Auth, Limited};

/// A try of a password: the account, the client and the purpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct PasswordAttempt<'a> {
    /// The act that the password is asked for.
    pub(super) kind: AuditKind,
    /// Where the request comes from.
    pub(super) client: &'a Client,
    /// The account's address.
    pub(super) email: &'a EmailAddress,
    /// The owner and the session of the token that came with it. A sign-in has none.
    pub(super) session: Option<(UserId, SessionId)>,
}

impl PasswordAttempt<'_> {
    /// The event that it was refused, with the user that has the address, if it is known.
    pub(super) fn refused(
        &self,
        user: Option<&User>,
        reason: impl Into<AuditReason>,
    ) -> AuditEvent {
        let (owner, session_id) = self.session.unzip();
        AuditEvent {
            user_id: user.map(|user| user.user_id).or(owner),
            session_id,
            email: Some(self.email.clone()),
            ..AuditEvent::by_client(self.kind, Outcome::Refused, reason, self.client)
        }
    }
}

/// A password that was checked.
pub(super) struct CheckedPassword {
    /// The user with the address, unless a ceiling lets nobody in.
    pub(super) user: Option<User>,
    /// The result, and its time.
    pub(super) check: Check,
    /// The attempts that are to be settled.
    pub(super) reserved: ReservedPassword,
}

/// The attempts of a password, and how it is refused.
pub(super) struct ReservedPassword {
    /// The attempts, to be settled when the outcome is known.
    pub(super) pending: Pending,
    /// The ceiling that refuses all but the right password.
    ceiling: Option<(AttemptKey, Limit)>,
}

/// Why a password was not checked.
pub(super) enum NotChecked {
    /// Too many attempts.
    Limited(Limited),
    /// There was no room for it.
    Hashing(HashingError),
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for NotChecked {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for NotChecked {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

/// How an attempt was refused.
pub(super) enum PasswordRefusal {
    /// By the check: the password is wrong, or its user may not sign in.
    Refused(SigninRefusal),
    /// By the ceiling, which let the password be checked.
    Limited(Limited),
}

/// A reservation, and the user with the address, unless a ceiling lets nobody in.
struct Admission {
    reserved: ReservedPassword,
    user: Option<User>,
}

impl Auth {
    /// Reserves an attempt and checks the password. The attempts in `pending` were reserved before, and are
    /// settled with it.
    ///
    /// The attempt is reserved before anything is done with the user who was found. From there to the
    /// verdict the same statements happen whether the address is known or not.
    pub(super) async fn check_password(
        &self,
        attempt: PasswordAttempt<'_>,
        password: &PlainPassword,
        pending: Pending,
    ) -> Result<CheckedPassword, NotChecked> {
        let Admission { reserved, user } = self.reserve_password(attempt, pending).await?;
        // A caller with a session was noted by its token.
        if let (Some(user), None) = (&user, attempt.session) {
            note_user(user.user_id);
        }
        let stored = user.as_ref().and_then(|user| user.password_hash.clone());
        match self.0.pool.verify(password.clone(), stored).await {
            Ok(check) => Ok(CheckedPassword {
                user,
                check,
                reserved,
            }),
            Err(error) => {
                reserved.pending.release_if(error.is_unavailable()).await;
                self.record_if_room(&attempt.refused(None, Overload::Overloaded))
                    .await;
                Err(NotChecked::Hashing(error))
            }
        }
    }

    /// Settles the attempts of a password that is refused, and records the refusal.
    pub(super) async fn refuse_password(
        &self,
        attempt: PasswordAttempt<'_>,
        reserved: ReservedPassword,
        user: Option<&User>,
        refusal: SigninRefusal,
    ) -> Result<PasswordRefusal, StoreError> {
        let ReservedPassword { pending, ceiling } = reserved;
        if let Some(ceiling) = ceiling {
            let limited = self.refuse_by(attempt, pending, &ceiling).await?;
            return Ok(PasswordRefusal::Limited(limited));
        }
        // A right password that came to nothing is no failure.
        let is_failure = refusal != SigninRefusal::ChangedMeanwhile;
        self.refuse(pending, is_failure, &attempt.refused(user, refusal))
            .await?;
        Ok(PasswordRefusal::Refused(refusal))
    }

    /// Reserves an attempt, which is settled when its outcome is known, and finds the user.
    async fn reserve_password(
        &self,
        attempt: PasswordAttempt<'_>,
        mut pending: Pending,
    ) -> Result<Admission, NotChecked> {
        let PasswordAttempt { client, email, .. } = attempt;
        let (keys, rules) = (&self.0.attempt_keys, &self.0.rules);
        let limits = [
            (keys.signin(email, client.network), rules.signin),
            (
                keys.signin_network(client.network),
                rules.ceilings.signin_network,
            ),
            (keys.signin_failures(email), rules.ceilings.signin_failures),
        ];
        let reserved = self.0.store.reserve_signin(&limits, email).await;
        let (reserved, user) = match reserved {
            Ok(reserved) => reserved,
            Err(error) => {
                pending.release_if(error.is_unavailable()).await;
                return Err(error.into());
            }
        };
        let refused_by = reserved.refused.map(|(key, _)| key.scope.as_str());
        tracing::debug!(?refused_by, "asked the limits of a password");
        for granted in reserved.granted {
            pending.add(granted);
        }
        let Some(refused_by) = reserved.refused else {
            return Ok(Admission {
                user,
                reserved: ReservedPassword {
                    pending,
                    ceiling: None,
                },
            });
        };
        if let Some(block) = reserved.block {
            let event = |reason| attempt.refused(None, reason);
            let limited = self.limited(refused_by.0.scope, block, event).await;
            return Err(NotChecked::Limited(limited));
        }
        if refused_by.0.scope != LimitScope::SigninFailures {
            let limited = self.refuse_by(attempt, pending, &refused_by).await?;
            return Err(NotChecked::Limited(limited));
        }
        self.pass_ceiling(attempt, pending, user, refused_by).await
    }

    /// The account's ceiling of failures is reached. It stops nobody who comes from a network that the
    /// account's owner is known from, or it would be a way to lock the owner out: such a password is
    /// checked, and gets the ceiling's own answer if it is not right.
    ///
    /// Nor does it stop the owner on the way, with another address of the same provider. But there
    /// are strangers among the provider's clients, so their failures have a ceiling as well.
    ///
    /// The work, and so the time of the answer, depends on the network alone and not on whether the
    /// address has an account: on a network that any user is known from, a password is hashed.
    async fn pass_ceiling(
        &self,
        attempt: PasswordAttempt<'_>,
        mut pending: Pending,
        user: Option<User>,
        ceiling: (AttemptKey, Limit),
    ) -> Result<Admission, NotChecked> {
        let known = match self.find_acquaintance(attempt.client, attempt.email).await {
            Ok(known) => known,
            Err(error) => {
                pending.release().await;
                return Err(error.into());
            }
        };
        let Some((known, nearby)) = known else {
            let limited = self.refuse_by(attempt, pending, &ceiling).await?;
            return Err(NotChecked::Limited(limited));
        };
        let is_exempt = known.owner_here || (known.owner_nearby && nearby.is_some());
        if let Some(nearby) = nearby {
            pending.add(nearby);
        }
        Ok(Admission {
            user: user.filter(|_| is_exempt),
            reserved: ReservedPassword {
                pending,
                ceiling: Some(ceiling),
            },
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
        attempt: PasswordAttempt<'_>,
        pending: Pending,
        ceiling: &(AttemptKey, Limit),
    ) -> Result<Limited, StoreError> {
        let event = |reason| attempt.refused(None, reason);
        self.refuse_for(pending, ceiling, event).await
    }
}

/// Decides after the work was done, so that no reason shows in the time it took.
pub(super) fn admit(
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
