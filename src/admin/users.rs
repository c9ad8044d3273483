//! The acts of operators on users. A change that takes a right away ends the sessions that used it, in
//! the same transaction.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::act::Act;
use super::{Admin, UserError};
use crate::domain::policy::MAX_HASH_KINDS;
use crate::domain::{
    Actor, AuditEvent, AuditKind, EmailAddress, EndReason, EventId, HashKind, NewPasswordHash,
    Notice, Operator, PlainPassword, SessionId, Timestamp, TwoFactor, User, UserChange, UserId,
};
use crate::password::HashingPool;
use crate::store::{
    AuditRecord, EnrolledFactors, NewUser, SessionRecord, StoreError, UserSearch, UserSummary,
};

/// The user whom an act is meant for.
#[derive(Debug, Clone)]
pub enum Target {
    /// The one who has this address.
    Address(EmailAddress),
    /// The one with this number.
    Number(UserId),
}

impl From<&EmailAddress> for Target {
    fn from(email: &EmailAddress) -> Self {
        Self::Address(email.clone())
    }
}

impl From<UserId> for Target {
    fn from(user_id: UserId) -> Self {
        Self::Number(user_id)
    }
}

/// Users whose kinds of hashes one statement counts.
const COUNTED_AT_A_TIME: i64 = 20_000;

impl Admin {
    /// Makes a user whose password keeps the rules.
    pub async fn create_user(
        &self,
        actor: &Operator,
        pool: &HashingPool,
        email: &EmailAddress,
        password: PlainPassword,
        two_factor: TwoFactor,
    ) -> Result<UserId, UserError> {
        password.check_strength(email, &self.blocklist)?;
        let password_hash = pool.hash(password).await?;
        self.insert_user(actor, email, password_hash, two_factor)
            .await
    }

    /// Makes a user from a hash, for which no rule can be checked.
    pub async fn insert_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
        password_hash: NewPasswordHash,
        two_factor: TwoFactor,
    ) -> Result<UserId, UserError> {
        let mut tx = self.store.begin().await?;
        let new = NewUser {
            user_id: None,
            email: email.clone(),
            password_hash: Some(password_hash),
            two_factor,
            is_disabled: false,
        };
        let user_id = tx.insert_user(&new).await?;
        let event = AuditEvent {
            user_id: Some(user_id),
            email: Some(email.clone()),
            ..AuditEvent::by_operator(AuditKind::UserChanged, UserChange::Created, actor)
        };
        tx.record(&event).await?;
        tx.commit().await?;
        Ok(user_id)
    }

    /// The user with an address or a number; [`UserError::Unknown`] if there is none.
    pub async fn find_user(&self, target: impl Into<Target>) -> Result<User, UserError> {
        let found = match target.into() {
            Target::Address(email) => self.store.find_user(&email).await?,
            Target::Number(user_id) => self.store.find_user_by_id(user_id).await?,
        };
        found.ok_or(UserError::Unknown)
    }

    /// Users in the order of their addresses, at most `count`.
    pub async fn search_users(
        &self,
        search: &UserSearch,
        count: i64,
    ) -> Result<Vec<UserSummary>, StoreError> {
        let max_wrong_codes = self.limits.confirm_failures_per_account;
        self.store
            .search_users(search, max_wrong_codes, count)
            .await
    }

    /// One user, as administrators see them.
    pub async fn find_summary(&self, user_id: UserId) -> Result<UserSummary, UserError> {
        let max_wrong_codes = self.limits.confirm_failures_per_account;
        let found = self
            .store
            .find_user_summary(user_id, max_wrong_codes)
            .await?;
        found.ok_or(UserError::Unknown)
    }

    /// The events about a user and their address, newest first: at most `count` before the number `before`.
    pub async fn list_events(
        &self,
        user_id: UserId,
        before: Option<EventId>,
        count: i64,
    ) -> Result<Vec<AuditRecord>, UserError> {
        let user = self.find_user(user_id).await?;
        let events = self
            .store
            .list_events_of_user(&user.email, Some(user_id), before, count)
            .await?;
        Ok(events)
    }

    /// Users in the order of their numbers, at most `count` after number `after`.
    pub async fn list_users(&self, after: UserId, count: i64) -> Result<Vec<User>, UserError> {
        Ok(self.store.list_users(after, count).await?)
    }

    /// The kinds of password hashes in use.
    pub async fn list_hash_kinds(&self) -> Result<Vec<HashKind>, UserError> {
        Ok(self.store.list_hash_kinds(MAX_HASH_KINDS).await?)
    }

    /// How many users have a hash of each kind, the most frequent first; `None` for those without one. Page by
    /// page, since one statement over all users may take longer than a statement may.
    pub async fn count_hash_kinds(&self) -> Result<Vec<(Option<HashKind>, i64)>, UserError> {
        let (mut counted, mut after) = (BTreeMap::new(), UserId(i64::MIN));
        loop {
            let page = self
                .store
                .count_hash_kinds(after, COUNTED_AT_A_TIME)
                .await?;
            let Some(last) = page.iter().map(|count| count.last).max() else {
                break;
            };
            after = last;
            for count in page {
                *counted.entry(count.kind).or_default() += count.users;
            }
        }
        let mut counted: Vec<(Option<HashKind>, i64)> = counted.into_iter().collect();
        counted.sort_by_key(|(_, users)| Reverse(*users));
        Ok(counted)
    }

    /// The limits that block an address now, and until when.
    pub async fn list_blocks(
        &self,
        email: &EmailAddress,
    ) -> Result<Vec<(String, Timestamp)>, UserError> {
        let account = self.attempt_keys.account(email);
        Ok(self.store.list_blocks(account).await?)
    }

    /// A user's live sessions, newest first.
    pub async fn list_sessions(
        &self,
        target: impl Into<Target>,
    ) -> Result<Vec<SessionRecord>, UserError> {
        let user = self.find_user(target).await?;
        Ok(self.store.list_sessions(user.user_id).await?)
    }

    /// Sets a password that keeps the rules, and ends the sessions. Its owner is told by mail.
    pub async fn change_password(
        &self,
        actor: &Operator,
        pool: &HashingPool,
        email: &EmailAddress,
        password: PlainPassword,
    ) -> Result<(), UserError> {
        password.check_strength(email, &self.blocklist)?;
        let hash = pool.hash(password).await?;
        let (mut act, user) = self.begin(actor, email).await?;
        act.tx.change_password(user.user_id, &hash).await?;
        act.end_sessions(&user, EndReason::PasswordChanged).await?;
        act.record(&user, UserChange::PasswordChanged).await?;
        act.notify(&user, &user.email, Notice::PasswordChanged)
            .await?;
        self.finish(act).await
    }

    /// Sets the second factor. Sessions stay.
    pub async fn change_two_factor(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
        two_factor: TwoFactor,
    ) -> Result<(), UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        act.tx.change_two_factor(user.user_id, two_factor).await?;
        let change = match two_factor {
            TwoFactor::Off => UserChange::TwoFactorOff,
            TwoFactor::Email => UserChange::TwoFactorEmail,
        };
        act.record(&user, change).await?;
        self.finish(act).await
    }

    /// Gives or takes the role of an administrator. On the command line alone: no administrator makes another one.
    pub async fn change_administrator(
        &self,
        actor: &Operator,
        email: &EmailAddress,
        is_administrator: bool,
    ) -> Result<User, UserError> {
        let (mut act, user) = self.begin(actor, email).await?;
        act.tx
            .change_administrator(user.user_id, is_administrator)
            .await?;
        let change = if is_administrator {
            UserChange::AdministratorMade
        } else {
            UserChange::AdministratorUnmade
        };
        act.record(&user, change).await?;
        self.finish(act).await?;
        Ok(user)
    }

    /// Shuts a user out and ends the sessions.
    pub async fn disable_user(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<(), UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        act.tx.disable_user(user.user_id).await?;
        act.end_sessions(&user, EndReason::UserDisabled).await?;
        act.record(&user, UserChange::Disabled).await?;
        self.finish(act).await
    }

    /// Gives a user another address, and ends the sessions. Both addresses are told by mail. If it is the user's
    /// address already, only the event is recorded: a request whose answer was lost can be repeated.
    pub async fn change_email(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
        new: &EmailAddress,
    ) -> Result<(), UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        let old = &user.email;
        if old != new {
            if !act.tx.change_email(user.user_id, old, new).await? {
                return Err(UserError::Unknown);
            }
            act.end_sessions(&user, EndReason::AddressChanged).await?;
            for to in [old, new] {
                act.notify(&user, to, Notice::AddressChanged).await?;
            }
        }
        // Under the old address: a search for the new one finds it by the user's number.
        let event = AuditEvent {
            detail: Some(format!("to {new}")),
            ..act.event(&user, UserChange::AddressChanged)
        };
        act.tx.record(&event).await?;
        self.finish(act).await
    }

    /// Lets a user in again.
    pub async fn enable_user(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<(), UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        act.tx.enable_user(user.user_id).await?;
        act.record(&user, UserChange::Enabled).await?;
        self.finish(act).await
    }

    /// Lifts every limit that is on for a user, the lock of the second factor included.
    pub async fn unlock_user(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<(), UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        act.tx.reset_second_factor_failures(user.user_id).await?;
        act.tx.lift_refresh_limits(user.user_id).await?;
        act.tx
            .delete_attempts_of(self.attempt_keys.account(&user.email))
            .await?;
        act.record(&user, UserChange::Unlocked).await?;
        self.finish(act).await
    }

    /// The second factors that a user has enrolled.
    pub async fn find_factors(&self, user_id: UserId) -> Result<EnrolledFactors, UserError> {
        Ok(self.store.find_factors(user_id).await?)
    }

    /// Removes all second factors of a user who has lost them, and ends the sessions. Signing in takes a mailed
    /// code from then on. Its owner is told by mail.
    pub async fn reset_factors(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<(), UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        act.tx.note_changed_factors(user.user_id).await?;
        act.tx.delete_factors(user.user_id).await?;
        act.end_sessions(&user, EndReason::FactorsChanged).await?;
        act.record(&user, UserChange::FactorsReset).await?;
        act.notify(&user, &user.email, Notice::FactorsReset).await?;
        self.finish(act).await
    }

    /// Ends a user's sessions, and tells how many.
    pub async fn sign_user_out(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<usize, UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        act.end_sessions(&user, EndReason::Operator).await?;
        act.record(&user, UserChange::SessionsEnded).await?;
        let ended = act.ended.len();
        self.finish(act).await?;
        Ok(ended)
    }

    /// Ends one session of a user.
    pub async fn end_session(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
        session_id: SessionId,
    ) -> Result<(), UserError> {
        let (mut act, user) = self.begin(actor, target).await?;
        let ended = act
            .tx
            .end_session(session_id, Some(user.user_id), EndReason::Operator)
            .await?
            .ok_or(UserError::UnknownSession)?;
        act.ended.push((EndReason::Operator, ended));
        let event = AuditEvent {
            detail: Some(format!("session {session_id}")),
            ..act.event(&user, UserChange::OneSessionEnded)
        };
        act.tx.record(&event).await?;
        self.finish(act).await
    }

    /// Removes a user, after ending the sessions.
    pub async fn delete_user(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<(), UserError> {
        let user = self.find_user(target).await?;
        let mut act = self.admit(actor.into()).await?;
        // In the order in which a confirmation and the use of a link lock, or the two could wait for each other.
        act.tx.delete_challenges_of(user.user_id).await?;
        act.tx.delete_links_of(user.user_id).await?;
        act.lock(&user).await?;
        // Disabled before the sessions end: it waits for a sign-in under way, and keeps out the
        // next one.
        act.tx.disable_user(user.user_id).await?;
        act.end_sessions(&user, EndReason::UserDeleted).await?;
        act.tx.delete_user(user.user_id).await?;
        act.record(&user, UserChange::Deleted).await?;
        self.finish(act).await
    }

    /// Begins an act on a user.
    pub(super) async fn begin(
        &self,
        actor: impl Into<Actor>,
        target: impl Into<Target>,
    ) -> Result<(Act, User), UserError> {
        let user = self.find_user(target).await?;
        let mut act = self.admit(actor.into()).await?;
        act.lock(&user).await?;
        Ok((act, user))
    }
}
