//! The acts of operators on users. A change that takes a right away ends the sessions that used it, in
//! the same transaction.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Admin;
use crate::domain::policy::MAX_HASH_KINDS;
use crate::domain::{
    AuditEvent, AuditKind, EmailAddress, EndReason, HashKind, NewPasswordHash, Notice, Operator,
    PlainPassword, RequestId, Timestamp, TwoFactor, User, UserChange, UserId, WeakPassword,
};
use crate::password::{HashingError, HashingPool};
use crate::store::{EnrolledFactors, NewNotice, NewUser, SessionRecord, StoreError, Tx, Unique};

/// Why a change to a user was not made.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Nobody has this address.
    #[error("there is no user with this address")]
    Unknown,
    /// Somebody has it already.
    #[error("a user with this address exists already")]
    AddressTaken,
    /// Somebody has this number already.
    #[error("a user with this number exists already")]
    NumberTaken,
    /// The password breaks the rules.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The password could not be hashed.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for UserError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Taken(Unique::Email) => Self::AddressTaken,
            StoreError::Taken(Unique::UserId) => Self::NumberTaken,
            _ => Self::Store(error),
        }
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
        record(actor, &mut tx, user_id, email, UserChange::Created).await?;
        tx.commit().await?;
        Ok(user_id)
    }

    /// The user with an address.
    pub async fn find_user(&self, email: &EmailAddress) -> Result<User, UserError> {
        self.store.find_user(email).await?.ok_or(UserError::Unknown)
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
        Ok(self.store.list_blocks(&account).await?)
    }

    /// A user's live sessions, newest first.
    pub async fn list_sessions(
        &self,
        email: &EmailAddress,
    ) -> Result<Vec<SessionRecord>, UserError> {
        let user = self.find_user(email).await?;
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
        let user = self.find_user(email).await?;
        password.check_strength(email, &self.blocklist)?;
        let hash = pool.hash(password).await?;
        let mut tx = self.store.begin().await?;
        tx.change_password(user.user_id, &hash).await?;
        tx.end_sessions_of(user.user_id, EndReason::PasswordChanged)
            .await?;
        let change = UserChange::PasswordChanged;
        record(actor, &mut tx, user.user_id, email, change).await?;
        notify(&mut tx, user.user_id, email, Notice::PasswordChanged).await?;
        Ok(tx.commit().await?)
    }

    /// Sets the second factor. Sessions stay.
    pub async fn change_two_factor(
        &self,
        actor: &Operator,
        email: &EmailAddress,
        two_factor: TwoFactor,
    ) -> Result<(), UserError> {
        let user = self.find_user(email).await?;
        let mut tx = self.store.begin().await?;
        tx.change_two_factor(user.user_id, two_factor).await?;
        let change = match two_factor {
            TwoFactor::Off => UserChange::TwoFactorOff,
            TwoFactor::Email => UserChange::TwoFactorEmail,
        };
        record(actor, &mut tx, user.user_id, email, change).await?;
        Ok(tx.commit().await?)
    }

    /// Shuts a user out and ends the sessions.
    pub async fn disable_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
    ) -> Result<(), UserError> {
        let user = self.find_user(email).await?;
        let mut tx = self.store.begin().await?;
        tx.disable_user(user.user_id).await?;
        tx.end_sessions_of(user.user_id, EndReason::UserDisabled)
            .await?;
        record(actor, &mut tx, user.user_id, email, UserChange::Disabled).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a user another address, and ends the sessions. Both addresses are told by mail.
    pub async fn change_email(
        &self,
        actor: &Operator,
        old: &EmailAddress,
        new: &EmailAddress,
    ) -> Result<(), UserError> {
        let user = self.find_user(old).await?;
        if old == new {
            return Err(UserError::AddressTaken);
        }
        let mut tx = self.store.begin().await?;
        if !tx.change_email(user.user_id, old, new).await? {
            return Err(UserError::Unknown);
        }
        tx.end_sessions_of(user.user_id, EndReason::AddressChanged)
            .await?;
        // Under the old address: whoever asks for the new one finds it by the user's number.
        tx.record(&AuditEvent {
            user_id: Some(user.user_id),
            email: Some(old.clone()),
            detail: Some(format!("to {new}")),
            ..AuditEvent::by_operator(AuditKind::UserChanged, UserChange::AddressChanged, actor)
        })
        .await?;
        for to in [old, new] {
            notify(&mut tx, user.user_id, to, Notice::AddressChanged).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Lets a user in again.
    pub async fn enable_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
    ) -> Result<(), UserError> {
        let user = self.find_user(email).await?;
        let mut tx = self.store.begin().await?;
        tx.enable_user(user.user_id).await?;
        record(actor, &mut tx, user.user_id, email, UserChange::Enabled).await?;
        Ok(tx.commit().await?)
    }

    /// Lifts every limit that is on for a user, the lock of the second factor included.
    pub async fn unlock_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
    ) -> Result<(), UserError> {
        let user = self.find_user(email).await?;
        let mut tx = self.store.begin().await?;
        tx.reset_second_factor_failures(user.user_id).await?;
        tx.lift_refresh_limits(user.user_id).await?;
        tx.delete_attempts_of(&self.attempt_keys.account(email))
            .await?;
        record(actor, &mut tx, user.user_id, email, UserChange::Unlocked).await?;
        Ok(tx.commit().await?)
    }

    /// The second factors that a user has enrolled.
    pub async fn find_factors(&self, user_id: UserId) -> Result<EnrolledFactors, UserError> {
        Ok(self.store.find_factors(user_id).await?)
    }

    /// Removes all second factors of a user who has lost them, and ends the sessions. Signing in takes a mailed
    /// code from then on. Its owner is told by mail.
    pub async fn reset_factors(
        &self,
        actor: &Operator,
        email: &EmailAddress,
    ) -> Result<(), UserError> {
        let user = self.find_user(email).await?;
        let mut tx = self.store.begin().await?;
        tx.note_changed_factors(user.user_id).await?;
        tx.delete_factors(user.user_id).await?;
        tx.end_sessions_of(user.user_id, EndReason::FactorsChanged)
            .await?;
        let change = UserChange::FactorsReset;
        record(actor, &mut tx, user.user_id, email, change).await?;
        notify(&mut tx, user.user_id, email, Notice::FactorsReset).await?;
        Ok(tx.commit().await?)
    }

    /// Ends a user's sessions, and tells how many.
    pub async fn sign_user_out(
        &self,
        actor: &Operator,
        email: &EmailAddress,
    ) -> Result<usize, UserError> {
        let user = self.find_user(email).await?;
        let mut tx = self.store.begin().await?;
        let ended = tx
            .end_sessions_of(user.user_id, EndReason::Operator)
            .await?;
        record(
            actor,
            &mut tx,
            user.user_id,
            email,
            UserChange::SessionsEnded,
        )
        .await?;
        tx.commit().await?;
        Ok(ended.len())
    }

    /// Removes a user, after ending the sessions.
    pub async fn delete_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
    ) -> Result<(), UserError> {
        let user = self.find_user(email).await?;
        let mut tx = self.store.begin().await?;
        // In the order in which a confirmation and the use of a link lock, or the two could wait for each other.
        tx.delete_challenges_of(user.user_id).await?;
        tx.delete_links_of(user.user_id).await?;
        // Disabled before the sessions end: it waits for a sign-in under way, and keeps out the
        // next one.
        tx.disable_user(user.user_id).await?;
        tx.end_sessions_of(user.user_id, EndReason::UserDeleted)
            .await?;
        tx.delete_user(user.user_id).await?;
        record(actor, &mut tx, user.user_id, email, UserChange::Deleted).await?;
        Ok(tx.commit().await?)
    }
}

async fn record(
    actor: &Operator,
    tx: &mut Tx,
    user_id: UserId,
    email: &EmailAddress,
    change: UserChange,
) -> Result<(), StoreError> {
    tx.record(&AuditEvent {
        user_id: Some(user_id),
        email: Some(email.clone()),
        ..AuditEvent::by_operator(AuditKind::UserChanged, change, actor)
    })
    .await
}

/// Tells a user by mail of what an operator changed.
async fn notify(
    tx: &mut Tx,
    user_id: UserId,
    to: &EmailAddress,
    notice: Notice,
) -> Result<(), StoreError> {
    tx.insert_notice(&NewNotice {
        user_id,
        to,
        notice,
        network: None,
        request_id: &RequestId::random(),
    })
    .await
}
