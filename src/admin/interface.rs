//! The interface of administrators: all that they see and do over HTTP.

use std::sync::Arc;

use super::{Admin, Explanation, MailLinkError, RequestedLink, UserError};
use crate::auth::{Acting, AdministrationError, Auth};
use crate::config::Config;
use crate::domain::{
    Actor, AdministrationRefusal, EmailAddress, EventId, SessionId, TwoFactor, UserId,
};
use crate::store::{AuditRecord, SessionRecord, Store, StoreError, UserSearch, UserSummary};

/// Why an administrator's act was not done.
#[derive(Debug)]
pub enum ActError {
    /// The administrator may not do it, or not now.
    NotAdmitted(AdministrationError),
    /// It cannot be done.
    NotDone(MailLinkError),
}

impl From<StoreError> for ActError {
    fn from(error: StoreError) -> Self {
        Self::NotAdmitted(error.into())
    }
}

/// A change of one user, as an administrator asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// To shut the user out.
    Disable,
    /// To let the user in again.
    Enable,
    /// To lift every limit.
    Unlock,
    /// To end all sessions.
    SignOut,
    /// To end one session.
    EndSession(SessionId),
    /// To set whether signing in takes a mailed code.
    TwoFactor(TwoFactor),
    /// To remove the second factors.
    ResetFactors,
    /// To give another address.
    Email(EmailAddress),
    /// To remove the user.
    Delete,
}

/// The interface of administrators: all that they see and do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Administration {
    auth: Auth,
    admin: Arc<Admin>,
}

impl Administration {
    /// The interface of an instance.
    #[must_use]
    pub fn new(store: Store, config: &Config, auth: Auth) -> Self {
        let admin = Arc::new(Admin::of_instance(store, config, auth.clone()));
        Self { auth, admin }
    }

    /// Users in the order of their addresses, at most `count`.
    pub async fn search(
        &self,
        search: &UserSearch,
        count: i64,
    ) -> Result<Vec<UserSummary>, StoreError> {
        self.admin.search_users(search, count).await
    }

    /// One user, with the obstacles to a sign-in now and the mails of the last days.
    pub async fn show(&self, user_id: UserId) -> Result<(UserSummary, Explanation), UserError> {
        let summary = self.admin.find_summary(user_id).await?;
        let explanation = self.admin.explain_address(&summary.email).await?;
        Ok((summary, explanation))
    }

    /// A user's live sessions, newest first.
    pub async fn list_sessions(&self, user_id: UserId) -> Result<Vec<SessionRecord>, UserError> {
        self.admin.list_sessions(user_id).await
    }

    /// The events about a user and their address, newest first: at most `count` before the number `before`.
    pub async fn list_events(
        &self,
        user_id: UserId,
        before: Option<EventId>,
        count: i64,
    ) -> Result<Vec<AuditRecord>, UserError> {
        self.admin.list_events(user_id, before, count).await
    }

    /// Makes a user without a password, and mails a link to set one.
    pub async fn invite(
        &self,
        acting: Acting,
        email: &EmailAddress,
        two_factor: TwoFactor,
    ) -> Result<UserSummary, ActError> {
        let invite = async |admin: &Admin, actor: Actor| {
            let user_id = admin.invite_new_user(actor, email, two_factor).await?;
            Ok(admin.find_summary(user_id).await?)
        };
        self.act(acting, None, invite).await
    }

    /// Mails a link to set a password, if the user may get one.
    pub async fn mail_link(
        &self,
        acting: Acting,
        user_id: UserId,
    ) -> Result<RequestedLink, ActError> {
        let mail = async |admin: &Admin, actor| admin.request_link(actor, user_id).await;
        self.act(acting, Some(user_id), mail).await
    }

    /// Changes a user.
    pub async fn change(
        &self,
        acting: Acting,
        user_id: UserId,
        change: Change,
    ) -> Result<(), ActError> {
        let change = async |admin: &Admin, actor: Actor| {
            match change {
                Change::Disable => admin.disable_user(actor, user_id).await?,
                Change::Enable => admin.enable_user(actor, user_id).await?,
                Change::Unlock => admin.unlock_user(actor, user_id).await?,
                Change::SignOut => {
                    admin.sign_user_out(actor, user_id).await?;
                }
                Change::EndSession(session_id) => {
                    admin.end_session(actor, user_id, session_id).await?;
                }
                Change::TwoFactor(two_factor) => {
                    admin.change_two_factor(actor, user_id, two_factor).await?;
                }
                Change::ResetFactors => admin.reset_factors(actor, user_id).await?,
                Change::Email(email) => admin.change_email(actor, user_id, &email).await?,
                Change::Delete => admin.delete_user(actor, user_id).await?,
            }
            Ok(())
        };
        self.act(acting, Some(user_id), change).await
    }

    /// Acts, and settles the attempt by the outcome.
    async fn act<T>(
        &self,
        acting: Acting,
        target: Option<UserId>,
        act: impl AsyncFnOnce(&Admin, Actor) -> Result<T, MailLinkError>,
    ) -> Result<T, ActError> {
        let error = match act(&self.admin, acting.actor()).await {
            Ok(done) => {
                self.auth.note_act(acting);
                return Ok(done);
            }
            Err(error) => error,
        };
        let Some(refusal) = refusal_of(&error) else {
            self.auth.release_act(acting, is_unavailable(&error)).await;
            return Err(ActError::NotDone(error));
        };
        self.auth.refuse_act(acting, target, refusal).await?;
        Err(match error {
            MailLinkError::TooMany { .. } => ActError::NotDone(error),
            _ => ActError::NotAdmitted(self.auth.refused(refusal)),
        })
    }
}

/// The refusal that the audit log has of an act; `None` where nothing was decided.
fn refusal_of(error: &MailLinkError) -> Option<AdministrationRefusal> {
    match error {
        MailLinkError::TooMany { .. } => Some(AdministrationRefusal::TooManyLinks),
        MailLinkError::User(error) => match error {
            UserError::Refused(refusal) => Some(*refusal),
            UserError::Unknown | UserError::UnknownSession => {
                Some(AdministrationRefusal::UnknownUser)
            }
            UserError::AddressTaken | UserError::NumberTaken => {
                Some(AdministrationRefusal::AddressTaken)
            }
            UserError::SessionEnded
            | UserError::Weak(_)
            | UserError::Hashing(_)
            | UserError::Store(_) => None,
        },
        MailLinkError::Off | MailLinkError::Disabled | MailLinkError::HasPassword => None,
    }
}

/// Whether the answer is 503, so that nothing counts.
fn is_unavailable(error: &MailLinkError) -> bool {
    matches!(error, MailLinkError::User(UserError::Store(error)) if error.is_unavailable())
}
