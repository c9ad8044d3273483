//! The links that operators have mailed: nobody sees a link but its recipient, and nobody chooses a password
//! for another person.

use super::{Admin, UserError};
use crate::domain::{
    AuditEvent, AuditKind, EmailAddress, LinkId, LinkRequest, Operator, Outcome, RequestId,
    TwoFactor, UserChange,
};
use crate::limits::Ceilings;
use crate::store::{InsertedLink, LinkLifetimes, NewLink, NewUser, StoreError, Tx};

/// Why no link was mailed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
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
    TooMany,
    /// The user cannot be found or made.
    #[error(transparent)]
    User(#[from] UserError),
}

impl From<StoreError> for LinkError {
    fn from(error: StoreError) -> Self {
        Self::User(error.into())
    }
}

impl Admin {
    /// Mails a link to set a password.
    pub async fn mail_link(&self, actor: &Operator, email: &EmailAddress) -> Result<(), LinkError> {
        let lifetimes = self.links.ok_or(LinkError::Off)?;
        self.find_user(email).await?;
        let tx = self.store.begin().await?;
        self.mail(actor, tx, email, lifetimes).await
    }

    /// Makes a user without a password and mails a link to set one. A user who has not set one yet gets
    /// another link; whether the user is new.
    pub async fn invite_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
        two_factor: TwoFactor,
    ) -> Result<bool, LinkError> {
        let lifetimes = self.links.ok_or(LinkError::Off)?;
        let user = self.store.find_user(email).await?;
        if user
            .as_ref()
            .is_some_and(|user| user.password_hash.is_some())
        {
            return Err(LinkError::HasPassword);
        }
        let mut tx = self.store.begin().await?;
        if user.is_none() {
            let new = NewUser {
                user_id: None,
                email: email.clone(),
                password_hash: None,
                two_factor,
                is_disabled: false,
            };
            let user_id = tx.insert_user(&new).await?;
            tx.record(&AuditEvent {
                user_id: Some(user_id),
                email: Some(email.clone()),
                ..AuditEvent::by_operator(AuditKind::UserChanged, UserChange::Invited, actor)
            })
            .await?;
        }
        self.mail(actor, tx, email, lifetimes).await?;
        Ok(user.is_none())
    }

    /// Puts the mail into the outbox within `tx`, if the account may get one, and commits.
    async fn mail(
        &self,
        actor: &Operator,
        mut tx: Tx,
        email: &EmailAddress,
        lifetimes: LinkLifetimes,
    ) -> Result<(), LinkError> {
        let budget = self.attempt_keys.link_mail(email);
        let limit = Ceilings::new(&self.limits).link_mails;
        let room = tx.reserve_mail(&budget, &limit).await?;
        let request_id = RequestId::random();
        let InsertedLink { user_id, request } = tx
            .insert_link(&NewLink {
                link_id: LinkId::random(),
                email,
                is_mailed: room.is_some(),
                network: None,
                request_id: &request_id,
                lifetimes,
            })
            .await?;
        let told = match request {
            LinkRequest::Mailed => Ok(()),
            LinkRequest::NotMailed => Err(LinkError::TooMany),
            LinkRequest::UserDisabled => Err(LinkError::Disabled),
            LinkRequest::UnknownAddress => Err(UserError::Unknown.into()),
        };
        let event = AuditEvent {
            outcome: if told.is_ok() {
                Outcome::Granted
            } else {
                Outcome::Refused
            },
            user_id,
            email: Some(email.clone()),
            request_id: Some(request_id),
            ..AuditEvent::by_operator(AuditKind::Link, request, actor)
        };
        let attempts: Vec<_> = room.into_iter().collect();
        tx.settle_and_record(&attempts, Some(&event)).await?;
        tx.commit().await?;
        told
    }
}
