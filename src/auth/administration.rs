//! Letting administrators in: the role, the second factor, a fresh session, and the limit on acts.

use std::time::Duration;

use crate::domain::{
    Actor, AdministrationAccess, AdministrationRefusal, Administrator, AdministratorFacts,
    AuditEvent, AuditReason, Client, LimitReached, Outcome, SessionId, UserId,
};
use crate::store::StoreError;
use crate::token::AccessClaims;

use super::reserve::{NotReserved, Pending};
use super::{Auth, AuthenticateError, Limited};

/// Why an administrator is not let in.
#[derive(Debug)]
pub enum AdministrationError {
    /// The caller is not let in, or its session ended meanwhile.
    Authenticate(AuthenticateError),
    /// The caller may not do it, or not now.
    Refused {
        /// The reason for it.
        refusal: AdministrationRefusal,
        /// How recent a sign-in has to be.
        max_age: Duration,
    },
    /// Too many acts.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
}

impl From<AuthenticateError> for AdministrationError {
    fn from(error: AuthenticateError) -> Self {
        Self::Authenticate(error)
    }
}

impl From<StoreError> for AdministrationError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for AdministrationError {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

/// An administrator who is about to act. The attempt counts, even if the act is refused, unless the answer is 503.
#[derive(Debug)]
pub struct Acting {
    administrator: Administrator,
    pending: Pending,
}

impl Acting {
    /// The administrator who acts.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Administrator(self.administrator.clone())
    }
}

impl Auth {
    /// Lets an administrator in who wants to see, and tells the session that asks.
    pub async fn admit_reader(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<SessionId, AdministrationError> {
        let claims = self.authenticate(token).await?;
        let facts = self.find_facts(&claims).await?;
        let administrator = Administrator::of(claims.sub, claims.sid, client);
        self.check(&claims, &administrator, facts, AdministrationAccess::Read)
            .await?;
        Ok(claims.sid)
    }

    /// Lets an administrator in who wants to act. The rule is checked once more in the transaction of the
    /// act; here it is checked before anything of the request is looked at.
    pub async fn admit_actor(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<Acting, AdministrationError> {
        let claims = self.authenticate(token).await?;
        let facts = self.find_facts(&claims).await?;
        let mut administrator = Administrator::of(claims.sub, claims.sid, client);
        // The role first: nobody else has a row in the table of attempts.
        self.check(&claims, &administrator, facts, AdministrationAccess::Read)
            .await?;
        let key = self
            .0
            .attempt_keys
            .administration(claims.sub, &claims.email);
        let limit = self.0.rules.administration;
        let limited = |reason: LimitReached| event_about(&claims, &administrator, reason);
        let pending = self.reserve(&key, &limit, limited).await?;
        administrator.attempts = pending.attempts().to_vec();
        // A pending attempt that is dropped counts, as a refused act has to.
        self.check(&claims, &administrator, facts, AdministrationAccess::Act)
            .await?;
        Ok(Acting {
            administrator,
            pending,
        })
    }

    /// The act was made, with the attempt in its transaction.
    pub fn note_act(&self, acting: Acting) {
        acting.pending.end();
    }

    /// The act was refused: records that, about the user whom it was meant for.
    pub async fn refuse_act(
        &self,
        acting: Acting,
        target: Option<UserId>,
        refusal: AdministrationRefusal,
    ) -> Result<(), StoreError> {
        let event = AuditEvent {
            user_id: target.or(Some(acting.administrator.user_id)),
            ..AuditEvent::by_administrator(Outcome::Refused, refusal, &acting.administrator)
        };
        self.refuse(acting.pending, true, &event).await
    }

    /// The act could not be made for another reason.
    pub async fn release_act(&self, acting: Acting, is_unavailable: bool) {
        acting.pending.release_if(is_unavailable).await;
    }

    /// A refusal, as the caller is told it.
    #[must_use]
    pub fn refused(&self, refusal: AdministrationRefusal) -> AdministrationError {
        AdministrationError::Refused {
            refusal,
            max_age: self.0.rules.administrators.fresh,
        }
    }

    async fn find_facts(
        &self,
        claims: &AccessClaims,
    ) -> Result<AdministratorFacts, AdministrationError> {
        let fresh = self.0.rules.administrators.fresh;
        let store = &self.0.store;
        let facts = store
            .find_administrator(claims.sub, claims.sid, fresh)
            .await?;
        Ok(facts.ok_or(AuthenticateError::SessionEnded)?)
    }

    async fn check(
        &self,
        claims: &AccessClaims,
        administrator: &Administrator,
        facts: AdministratorFacts,
        access: AdministrationAccess,
    ) -> Result<(), AdministrationError> {
        let checked = self.0.rules.administrators.check(facts, access);
        if let Err(refusal) = checked {
            let event = event_about(claims, administrator, refusal);
            self.record_if_room(&event).await;
            return Err(self.refused(refusal));
        }
        Ok(())
    }
}

/// A refusal that is about the caller.
fn event_about(
    claims: &AccessClaims,
    administrator: &Administrator,
    reason: impl Into<AuditReason>,
) -> AuditEvent {
    AuditEvent {
        user_id: Some(claims.sub),
        email: Some(claims.email.clone()),
        ..AuditEvent::by_administrator(Outcome::Refused, reason, administrator)
    }
}
