//! An act on a user: one transaction, with the sessions that end by it, and the record of who did it.

use super::{Admin, UserError};
use crate::domain::{
    Actor, AdministrationAccess, AdministrationRefusal, AuditEvent, AuditKind, EmailAddress,
    EndReason, Notice, RequestId, User, UserChange,
};
use crate::store::{EndedSession, NewNotice, StoreError, Tx};

/// An act that has begun. Dropped, it leaves nothing behind.
pub(super) struct Act {
    pub(super) tx: Tx,
    pub(super) actor: Actor,
    pub(super) ended: Vec<(EndReason, EndedSession)>,
}

impl Act {
    /// Locks the user whom it is meant for. An administrator may not act on another one, nor on themselves.
    pub(super) async fn lock(&mut self, user: &User) -> Result<(), UserError> {
        if let Actor::Operator(_) = self.actor {
            return Ok(());
        }
        // Before the lock: two administrators who act on each other would wait for each other.
        if user.is_administrator {
            return Err(UserError::Refused(AdministrationRefusal::OnAdministrator));
        }
        match self.tx.lock_user(user.user_id).await? {
            Some(false) => Ok(()),
            Some(true) => Err(UserError::Refused(AdministrationRefusal::OnAdministrator)),
            None => Err(UserError::Unknown),
        }
    }

    /// Ends all sessions of a user.
    pub(super) async fn end_sessions(
        &mut self,
        user: &User,
        reason: EndReason,
    ) -> Result<(), StoreError> {
        let ended = self.tx.end_sessions_of(user.user_id, reason).await?;
        self.ended
            .extend(ended.into_iter().map(|session| (reason, session)));
        Ok(())
    }

    /// The event of a change to a user.
    pub(super) fn event(&self, user: &User, change: UserChange) -> AuditEvent {
        AuditEvent {
            user_id: Some(user.user_id),
            email: Some(user.email.clone()),
            ..AuditEvent::by_actor(AuditKind::UserChanged, change, &self.actor)
        }
    }

    /// Writes down a change to a user.
    pub(super) async fn record(
        &mut self,
        user: &User,
        change: UserChange,
    ) -> Result<(), StoreError> {
        let event = self.event(user, change);
        self.tx.record(&event).await
    }

    /// Tells a user by mail of a change.
    pub(super) async fn notify(
        &mut self,
        user: &User,
        to: &EmailAddress,
        notice: Notice,
    ) -> Result<(), StoreError> {
        let request_id = self.request_id();
        self.tx
            .insert_notice(&NewNotice {
                user_id: user.user_id,
                to,
                notice,
                network: None,
                request_id: &request_id,
            })
            .await
    }

    /// The request that it belongs to; a new number for an operator's act.
    pub(super) fn request_id(&self) -> RequestId {
        match &self.actor {
            Actor::Operator(_) => RequestId::random(),
            Actor::Administrator(administrator) => administrator.request_id.clone(),
        }
    }
}

impl Admin {
    /// Begins an act. An administrator's role and session are looked at in its transaction, and stay as they are
    /// until it ends: neither the token's word nor the state of a moment ago counts.
    pub(super) async fn admit(&self, actor: Actor) -> Result<Act, UserError> {
        let mut tx = self.store.begin().await?;
        if let Actor::Administrator(administrator) = &actor {
            let (user_id, session_id) = (administrator.user_id, administrator.session_id);
            let facts = tx
                .lock_administrator(user_id, session_id, self.rule.fresh)
                .await?
                .ok_or(UserError::SessionEnded)?;
            self.rule
                .check(facts, AdministrationAccess::Act)
                .map_err(UserError::Refused)?;
        }
        Ok(Act {
            tx,
            actor,
            ended: Vec::new(),
        })
    }

    /// Commits an act, and lets this instance know of its consequences at once; the others learn of them from
    /// the database.
    pub(super) async fn finish(&self, act: Act) -> Result<(), UserError> {
        let Act {
            mut tx,
            actor,
            ended,
        } = act;
        match &actor {
            Actor::Operator(_) => tx.commit().await?,
            Actor::Administrator(administrator) => {
                tx.settle_attempts(&administrator.attempts).await?;
                tx.commit_attempts(&self.store, &administrator.attempts)
                    .await?;
            }
        }
        if let Some(auth) = &self.instance {
            for (reason, session) in ended {
                auth.note_ended(reason, [session]);
            }
            auth.note_mail();
        }
        Ok(())
    }
}
