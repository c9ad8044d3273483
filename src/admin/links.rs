//! The links that operators have mailed: nobody sees a link but its recipient, and nobody chooses a password
//! for another person.

use std::sync::Arc;
use std::time::Duration;

use super::act::Act;
use super::{Admin, Target, UserError};
use crate::domain::{
    Actor, AuditEvent, AuditKind, EmailAddress, LinkId, LinkOutcome, Operator, Outcome, TwoFactor,
    UserChange, UserId,
};
use crate::limits::Ceilings;
use crate::store::{InsertedLink, LinkLifetimes, NewLink, NewUser, StoreError};

/// Why no link was mailed.
#[derive(Debug, thiserror::Error)]
pub enum MailLinkError {
    /// There are no links.
    #[error(
        "there are no links: set links.password_url to the page on which people set a password"
    )]
    Off,
    /// The user is disabled.
    #[error("the user is disabled; `user enable` lets them in again")]
    Disabled,
    /// The user has a password, and needs no invitation.
    #[error("the user has a password already; `user link` mails a link to set another one")]
    HasPassword,
    /// The account has had all its mails.
    #[error(
        "so many links were mailed to this address in the last hour that no more are \
         (limits.link_mails_per_account); `user unlock` makes room"
    )]
    TooMany {
        /// The time until there is room for another one.
        retry_after: Duration,
    },
    /// The user cannot be found or made.
    #[error(transparent)]
    User(#[from] UserError),
}

/// The outcome of a request for a link.
#[derive(Debug, Clone, Copy)]
pub struct RequestedLink {
    /// Whether it goes out by mail.
    pub outcome: LinkOutcome,
    /// The time until there is room for another one; zero unless this one [was not mailed](LinkOutcome::NotMailed).
    pub retry_after: Duration,
}

impl From<StoreError> for MailLinkError {
    fn from(error: StoreError) -> Self {
        Self::User(error.into())
    }
}

impl Admin {
    /// Mails a link to set a password.
    pub async fn mail_link(
        &self,
        actor: &Operator,
        email: &EmailAddress,
    ) -> Result<(), MailLinkError> {
        told(self.request_link(actor, email).await?)
    }

    /// Mails a link to set a password, if the user may get one.
    pub async fn request_link(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<RequestedLink, MailLinkError> {
        let lifetimes = self.links.ok_or(MailLinkError::Off)?;
        let (mut act, user) = self.begin(actor, target).await?;
        let outcome = self.put_mail(&mut act, &user.email, lifetimes).await?;
        self.finish(act).await?;
        self.requested(outcome, &user.email).await
    }

    /// Makes a user without a password and mails a link to set one. A user who has not set one yet gets
    /// another link; whether the user is new.
    pub async fn invite_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
        two_factor: TwoFactor,
    ) -> Result<bool, MailLinkError> {
        let lifetimes = self.links.ok_or(MailLinkError::Off)?;
        let user = self.store.find_user(email).await?;
        if user
            .as_ref()
            .is_some_and(|user| user.password_hash.is_some())
        {
            return Err(MailLinkError::HasPassword);
        }
        let mut act = self.admit(actor.into()).await?;
        if user.is_none() {
            insert_invited(&mut act, email, two_factor).await?;
        }
        let outcome = self.put_mail(&mut act, email, lifetimes).await?;
        self.finish(act).await?;
        told(self.requested(outcome, email).await?)?;
        Ok(user.is_none())
    }

    /// The same for a user who must be new, and is not made if no link can be mailed.
    pub async fn invite_new_user(
        &self,
        actor: impl Into<Actor>,
        email: &EmailAddress,
        two_factor: TwoFactor,
    ) -> Result<UserId, MailLinkError> {
        let lifetimes = self.links.ok_or(MailLinkError::Off)?;
        let mut act = self.admit(actor.into()).await?;
        let user_id = insert_invited(&mut act, email, two_factor).await?;
        let outcome = self.put_mail(&mut act, email, lifetimes).await?;
        if outcome == LinkOutcome::Mailed {
            self.finish(act).await?;
        } else {
            drop(act);
        }
        told(self.requested(outcome, email).await?)?;
        Ok(user_id)
    }

    async fn requested(
        &self,
        outcome: LinkOutcome,
        email: &EmailAddress,
    ) -> Result<RequestedLink, MailLinkError> {
        let retry_after = if outcome == LinkOutcome::NotMailed {
            let budget = self.attempt_keys.link_mail(email);
            let limit = Ceilings::new(&self.limits).link_mails;
            let refusal = self.store.refuse_by(&budget, &limit, &[], Arc::default());
            refusal.await?.retry_after
        } else {
            Duration::ZERO
        };
        Ok(RequestedLink {
            outcome,
            retry_after,
        })
    }

    /// Puts the mail into the outbox, if the account may get one, and records what became of it.
    async fn put_mail(
        &self,
        act: &mut Act,
        email: &EmailAddress,
        lifetimes: LinkLifetimes,
    ) -> Result<LinkOutcome, MailLinkError> {
        let budget = self.attempt_keys.link_mail(email);
        let limit = Ceilings::new(&self.limits).link_mails;
        let room = act.tx.reserve_mail(&budget, &limit).await?;
        let request_id = act.request_id();
        let InsertedLink { user_id, outcome } = act
            .tx
            .insert_link(&NewLink {
                link_id: LinkId::random(),
                email,
                is_mailed: room.is_some(),
                network: None,
                request_id: &request_id,
                lifetimes,
            })
            .await?;
        let event = AuditEvent {
            outcome: if outcome == LinkOutcome::Mailed {
                Outcome::Granted
            } else {
                Outcome::Refused
            },
            user_id,
            email: Some(email.clone()),
            request_id: Some(request_id),
            ..AuditEvent::by_actor(AuditKind::Link, outcome, &act.actor)
        };
        let attempts: Vec<_> = room.into_iter().collect();
        act.tx.settle_and_record(&attempts, Some(&event)).await?;
        Ok(outcome)
    }
}

async fn insert_invited(
    act: &mut Act,
    email: &EmailAddress,
    two_factor: TwoFactor,
) -> Result<UserId, UserError> {
    let new = NewUser {
        user_id: None,
        email: email.clone(),
        password_hash: None,
        two_factor,
        is_disabled: false,
    };
    let user_id = act.tx.insert_user(&new).await?;
    let event = AuditEvent {
        user_id: Some(user_id),
        email: Some(email.clone()),
        ..AuditEvent::by_actor(AuditKind::UserChanged, UserChange::Invited, &act.actor)
    };
    act.tx.record(&event).await?;
    Ok(user_id)
}

fn told(requested: RequestedLink) -> Result<(), MailLinkError> {
    match requested.outcome {
        LinkOutcome::Mailed => Ok(()),
        LinkOutcome::NotMailed => Err(MailLinkError::TooMany {
            retry_after: requested.retry_after,
        }),
        LinkOutcome::UserDisabled => Err(MailLinkError::Disabled),
        LinkOutcome::UnknownAddress => Err(UserError::Unknown.into()),
    }
}
