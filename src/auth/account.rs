//! A person's own account: the view of it, and the change of its password.

use crate::domain::{
    AttemptInFlight, AuditEvent, AuditKind, Client, EndReason, NewPasswordHash, Notice, Outcome,
    PlainPassword, SigninRefusal, Timestamp, TokenRefusal, User, UserChange, WeakPassword,
};
use crate::password::HashingError;
use crate::store::{Account, EndedSession, NewNotice, StoreError};
use crate::token::AccessClaims;

use super::password_attempt::{
    CheckedPassword, NotChecked, PasswordAttempt, PasswordRefusal, ReservedPassword, admit,
};
use super::reserve::{NotReserved, Pending};
use super::{Auth, AuthenticateError, Limited};

/// Why a password was not changed.
#[derive(Debug)]
pub enum ChangePasswordError {
    /// The caller is not let in, or its session ended meanwhile.
    Authenticate(AuthenticateError),
    /// The new password breaks the rules.
    Weak(WeakPassword),
    /// The current password is not the one that was sent.
    Refused(SigninRefusal),
    /// Too many attempts.
    Limited(Limited),
    /// A password could not be checked or hashed now.
    Hashing(HashingError),
    /// The database failed.
    Store(StoreError),
}

impl ChangePasswordError {
    /// Whether the answer is 503, so that nothing counts.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Authenticate(AuthenticateError::Store(error)) | Self::Store(error) => {
                error.is_unavailable()
            }
            Self::Authenticate(_) | Self::Weak(_) | Self::Refused(_) | Self::Limited(_) => false,
            Self::Hashing(error) => error.is_unavailable(),
        }
    }
}

impl From<AuthenticateError> for ChangePasswordError {
    fn from(error: AuthenticateError) -> Self {
        Self::Authenticate(error)
    }
}

impl From<StoreError> for ChangePasswordError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for ChangePasswordError {
    fn from(error: NotReserved) -> Self {
        NotChecked::from(error).into()
    }
}

impl From<NotChecked> for ChangePasswordError {
    fn from(error: NotChecked) -> Self {
        match error {
            NotChecked::Limited(limited) => Self::Limited(limited),
            NotChecked::Hashing(error) => Self::Hashing(error),
            NotChecked::Store(error) => Self::Store(error),
        }
    }
}

/// The outcome of a right password.
enum Replaced {
    /// The new one is set, and these sessions ended.
    Done(Vec<EndedSession>),
    /// It was changed meanwhile, or the user disabled.
    ChangedMeanwhile,
    /// The session that asked ended meanwhile.
    SessionEnded,
}

impl Auth {
    /// A token's owner as the database knows them, and until when their session is fresh: for so long
    /// after a sign-in, and however often it is refreshed.
    pub async fn show_account(
        &self,
        token: &str,
    ) -> Result<(Account, Timestamp), AuthenticateError> {
        let claims = self.authenticate(token).await?;
        let account = self.0.store.find_account(claims.sub, claims.sid).await?;
        let account = account.ok_or(AuthenticateError::SessionEnded)?;
        let fresh_until = account.signed_in_at + self.0.rules.fresh;
        Ok((account, fresh_until))
    }

    /// Changes the password of a token's owner, who knows the current one, and ends their other sessions.
    /// They are told by mail.
    ///
    /// The current password counts as a sign-in to the account from this network. The new one is looked at,
    /// and hashed, before that: a refusal that came after would tell a stolen session that it guessed right,
    /// and its owner would learn nothing of it.
    pub async fn change_own_password(
        &self,
        client: &Client,
        token: &str,
        current: &PlainPassword,
        new: PlainPassword,
    ) -> Result<(), ChangePasswordError> {
        let claims = self.authenticate(token).await?;
        new.check_strength(&claims.email, &self.0.blocklist)
            .map_err(ChangePasswordError::Weak)?;
        let attempt = PasswordAttempt {
            kind: AuditKind::Account,
            client,
            email: &claims.email,
            session: Some((claims.sub, claims.sid)),
        };
        let key = self
            .0
            .attempt_keys
            .account_change(claims.sub, &claims.email);
        let event = |reason| attempt.refused(None, reason);
        let pending = self.reserve(&key, &self.0.rules.account, event).await?;
        let (pending, hash) = self.hash_new(pending, new).await?;
        let CheckedPassword {
            user,
            check,
            reserved,
        } = self.check_password(attempt, current, pending).await?;
        // An address may have gone to somebody else since the token was made.
        let user = user.filter(|user| user.user_id == claims.sub);
        let outcome = match admit(user, check.verdict) {
            Ok((user, _)) => {
                let attempts = reserved.pending.attempts();
                self.replace_password(client, &claims, &user, &hash, attempts)
                    .await
            }
            Err((_, refusal)) => Err(ChangePasswordError::Refused(refusal)),
        };
        let answer = self.settle_change(attempt, reserved, outcome).await;
        if let Err(ChangePasswordError::Refused(_) | ChangePasswordError::Limited(_)) = &answer {
            self.0.pool.delay_refusal(&check).await;
        }
        answer
    }

    /// Hashes the new password. If there is no room for it, the pending attempts are taken back.
    async fn hash_new(
        &self,
        pending: Pending,
        new: PlainPassword,
    ) -> Result<(Pending, NewPasswordHash), ChangePasswordError> {
        match self.0.pool.hash(new).await {
            Ok(hash) => Ok((pending, hash)),
            Err(error) => {
                pending.release_if(error.is_unavailable()).await;
                Err(ChangePasswordError::Hashing(error))
            }
        }
    }

    /// Settles the attempts by the outcome of a change, and records a refusal.
    async fn settle_change(
        &self,
        attempt: PasswordAttempt<'_>,
        reserved: ReservedPassword,
        outcome: Result<Replaced, ChangePasswordError>,
    ) -> Result<(), ChangePasswordError> {
        let refusal = match outcome {
            Ok(Replaced::Done(ended)) => {
                reserved.pending.end();
                self.note_ended(EndReason::PasswordChanged, ended);
                self.0.mail_is_due.notify_one();
                return Ok(());
            }
            Ok(Replaced::SessionEnded) => {
                let event = attempt.refused(None, TokenRefusal::SessionEnded);
                self.refuse(reserved.pending, false, &event).await?;
                return Err(AuthenticateError::SessionEnded.into());
            }
            Ok(Replaced::ChangedMeanwhile) => SigninRefusal::ChangedMeanwhile,
            Err(ChangePasswordError::Refused(refusal)) => refusal,
            Err(error) => {
                reserved.pending.release_if(error.is_unavailable()).await;
                return Err(error);
            }
        };
        Err(
            match self
                .refuse_password(attempt, reserved, None, refusal)
                .await?
            {
                PasswordRefusal::Refused(refusal) => ChangePasswordError::Refused(refusal),
                PasswordRefusal::Limited(limited) => ChangePasswordError::Limited(limited),
            },
        )
    }

    /// Sets the new password if the one that was checked is still the current one, the user is enabled and
    /// the session live: all in one transaction, with its consequences.
    async fn replace_password(
        &self,
        client: &Client,
        claims: &AccessClaims,
        user: &User,
        hash: &NewPasswordHash,
        attempts: &[AttemptInFlight],
    ) -> Result<Replaced, ChangePasswordError> {
        let mut tx = self.0.store.begin().await?;
        if !tx
            .replace_password(user.user_id, user.credential_version, hash)
            .await?
        {
            tx.rollback().await?;
            // Disabling a user, or changing the password elsewhere, ends the session, too.
            let is_live = self.0.store.is_session_live(claims.sid).await?;
            return Ok(if is_live {
                Replaced::ChangedMeanwhile
            } else {
                Replaced::SessionEnded
            });
        }
        let ended = tx
            .end_other_sessions_of(user.user_id, claims.sid, EndReason::PasswordChanged)
            .await?;
        let Some(ended) = ended else {
            tx.rollback().await?;
            return Ok(Replaced::SessionEnded);
        };
        let notice =
            NewNotice::by_client(user.user_id, &user.email, Notice::PasswordChanged, client);
        tx.insert_notice(&notice).await?;
        tx.record(&changed(client, claims, user)).await?;
        tx.settle_attempts(attempts).await?;
        tx.commit_attempts(&self.0.store, attempts).await?;
        Ok(Replaced::Done(ended))
    }
}

fn changed(client: &Client, claims: &AccessClaims, user: &User) -> AuditEvent {
    let reason = UserChange::PasswordChanged;
    AuditEvent {
        user_id: Some(user.user_id),
        session_id: Some(claims.sid),
        email: Some(user.email.clone()),
        ..AuditEvent::by_client(AuditKind::Account, Outcome::Granted, reason, client)
    }
}
