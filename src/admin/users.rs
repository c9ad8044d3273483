//! The acts of operators on users. A change that takes a right away ends the sessions that used it, in
//! the same transaction.

use super::Admin;
use crate::domain::{
    AuditEvent, AuditKind, EmailAddress, EndReason, Operator, PasswordHash, PlainPassword,
    Timestamp, TwoFactor, User, UserChange, UserId, WeakPassword,
};
use crate::password::{HashingError, HashingPool};
use crate::store::{NewUser, SessionRecord, StoreError, Tx, Unique};

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
        password.check_strength(email)?;
        let password_hash = pool.hash(password).await?;
        self.insert_user(actor, email, password_hash, two_factor)
            .await
    }

    /// Makes a user from a hash, for which no rule can be checked.
    pub async fn insert_user(
        &self,
        actor: &Operator,
        email: &EmailAddress,
        password_hash: PasswordHash,
        two_factor: TwoFactor,
    ) -> Result<UserId, UserError> {
        let mut tx = self.store.begin().await?;
        let new = NewUser {
            user_id: None,
            email: email.clone(),
            password_hash,
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

    /// Sets a password that keeps the rules, and ends the sessions.
    pub async fn change_password(
        &self,
        actor: &Operator,
        pool: &HashingPool,
        email: &EmailAddress,
        password: PlainPassword,
    ) -> Result<(), UserError> {
        let user = self.find_user(email).await?;
        password.check_strength(email)?;
        let hash = pool.hash(password).await?;
        let mut tx = self.store.begin().await?;
        tx.change_password(user.user_id, &hash).await?;
        tx.end_sessions_of(user.user_id, EndReason::PasswordChanged)
            .await?;
        record(
            actor,
            &mut tx,
            user.user_id,
            email,
            UserChange::PasswordChanged,
        )
        .await?;
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
        // In the order in which a confirmation locks, or the two could wait for each other.
        tx.delete_challenges_of(user.user_id).await?;
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
