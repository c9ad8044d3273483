//! A user's own second factors: enrolling and removing an authenticator app, and recovery codes. Passkeys are in
//! [`passkeys`](super::passkeys).
//!
//! Each change asks for a fresh session, ends all others, voids what was begun with the former factors, and is
//! told by mail.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::domain::{
    AttemptKey, AuditEvent, AuditKind, AuditReason, ChallengeRefusal, Client, EndReason, Limit,
    LimitReached, Notice, Outcome, PasskeyRefusal, RECOVERY_CODES, RecoveryCode, Timestamp,
    TokenRefusal, TotpId, TotpSecret, UserChange,
};
use crate::passkey::InvalidPasskey;
use crate::store::{EndedSession, NewNotice, SealedTotp, SessionOwner, StoreError, Tx};
use crate::token::AccessClaims;

use super::reserve::{NotReserved, Pending};
use super::{Auth, AuthenticateError, Limited};

/// How long an enrolment waits for its first code.
const ENROLMENT_LIFE: Duration = Duration::from_mins(10);

/// Why nothing was changed.
#[derive(Debug)]
pub enum FactorsError {
    /// The caller is not let in, or its session ended meanwhile.
    Authenticate(AuthenticateError),
    /// The session was opened longer ago than this. A new sign-in opens a fresh one.
    NotFresh(Duration),
    /// The code does not confirm the enrolment.
    Refused(ChallengeRefusal),
    /// There is no such factor.
    NotEnrolled,
    /// The passkey was asked for by nobody, or too long ago.
    PasskeyRequestOver,
    /// The passkey does not prove what it was asked for.
    PasskeyRefused(InvalidPasskey),
    /// Somebody has the passkey already.
    PasskeyKnown,
    /// There are as many passkeys as one may have.
    TooManyPasskeys,
    /// Too many attempts.
    Limited(Limited),
    /// The database failed.
    Store(StoreError),
}

impl FactorsError {
    /// Whether the answer is 503, so that nothing counts.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Authenticate(AuthenticateError::Store(error)) | Self::Store(error) => {
                error.is_unavailable()
            }
            Self::Authenticate(_)
            | Self::NotFresh(_)
            | Self::Refused(_)
            | Self::NotEnrolled
            | Self::PasskeyRequestOver
            | Self::PasskeyRefused(_)
            | Self::PasskeyKnown
            | Self::TooManyPasskeys
            | Self::Limited(_) => false,
        }
    }
}

impl From<AuthenticateError> for FactorsError {
    fn from(error: AuthenticateError) -> Self {
        Self::Authenticate(error)
    }
}

impl From<StoreError> for FactorsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for FactorsError {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

/// An enrolment that waits for its first code.
#[derive(Debug)]
pub struct TotpEnrolment {
    /// The app that is to be confirmed.
    pub totp_id: TotpId,
    /// The secret in base32, for a user who cannot scan.
    pub secret: SecretString,
    /// The URI for the app.
    pub uri: SecretString,
    /// When it can no longer be confirmed.
    pub expires_at: Timestamp,
}

/// A change that is to be made, as the audit log has it and as its owner is told of it.
pub(super) struct FactorChange {
    pub(super) change: UserChange,
    pub(super) notice: Notice,
}

/// A request to change the factors of its caller, under a limit.
pub(super) struct FactorRequest<'a> {
    client: &'a Client,
    pub(super) claims: Arc<AccessClaims>,
    pub(super) pending: Pending,
}

impl FactorRequest<'_> {
    fn event(&self, outcome: Outcome, reason: impl Into<AuditReason>) -> AuditEvent {
        event(self.client, &self.claims, outcome, reason)
    }
}

/// A change that was made, and the sessions that ended by it.
pub(super) type Changed<T> = Result<(T, Vec<EndedSession>), FactorsError>;

impl Auth {
    /// Whether people can enrol an authenticator app.
    #[must_use]
    pub fn offers_totp(&self) -> bool {
        self.0.rules.offers_totp
    }

    /// Begins to enrol an authenticator app: nothing counts as enrolled before its first right code. Replaces
    /// an enrolment that was begun before.
    pub async fn begin_totp(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<TotpEnrolment, FactorsError> {
        let request = self.reserve_factor_change(client, token).await?;
        let outcome = self.try_begin_totp(&request).await;
        self.settle_factor_change(request, outcome).await
    }

    async fn try_begin_totp(&self, request: &FactorRequest<'_>) -> Changed<TotpEnrolment> {
        let (mut tx, owner) = self.lock_fresh_owner(request).await?;
        let (totp_id, secret) = (TotpId::random(), TotpSecret::random());
        let sealed = SealedTotp {
            totp_id,
            user_id: owner.user_id,
            secret: self.0.totp_sealer.seal(totp_id, owner.user_id, &secret),
        };
        let expires_at = tx.begin_totp(&sealed, ENROLMENT_LIFE).await?;
        let attempts = request.pending.attempts();
        tx.settle_attempts(attempts).await?;
        tx.commit_attempts(&self.0.store, attempts).await?;
        let enrolment = TotpEnrolment {
            totp_id,
            secret: secret.base32(),
            uri: secret.uri(&self.0.totp_issuer, &owner.email),
            expires_at,
        };
        Ok((enrolment, Vec::new()))
    }

    /// Makes an app the caller's second factor by its first right code, which no sign-in takes after that; in
    /// place of the one before. Returns recovery codes if there were none left.
    ///
    /// The code counts as any guess at a code of the user does.
    pub async fn confirm_totp(
        &self,
        client: &Client,
        token: &str,
        enrolment: &str,
        code: &str,
    ) -> Result<Option<Vec<RecoveryCode>>, FactorsError> {
        let claims = self.authenticate(token).await?;
        let key = self.0.attempt_keys.confirm(claims.sub, &claims.email);
        let request = self
            .reserve_factor_change_under(client, claims, &key, &self.0.rules.confirm)
            .await?;
        let outcome = self.try_confirm_totp(&request, enrolment, code).await;
        self.settle_factor_change(request, outcome).await
    }

    async fn try_confirm_totp(
        &self,
        request: &FactorRequest<'_>,
        enrolment: &str,
        code: &str,
    ) -> Changed<Option<Vec<RecoveryCode>>> {
        let (mut tx, owner) = self.lock_fresh_owner(request).await?;
        let totp_id =
            TotpId::parse(enrolment).ok_or(FactorsError::Refused(ChallengeRefusal::Unknown))?;
        let begun = tx.find_begun_totp(totp_id, owner.user_id).await?;
        let begun = begun.ok_or(FactorsError::Refused(ChallengeRefusal::Ended))?;
        let step = self.matching_step(&begun.totp, code, begun.step)?;
        let step = step.ok_or(FactorsError::Refused(ChallengeRefusal::WrongCode))?;
        if !tx.confirm_totp(totp_id, owner.user_id, step).await? {
            return Err(FactorsError::Refused(ChallengeRefusal::Ended));
        }
        let codes = self.make_missing_recovery_codes(&mut tx, &owner).await?;
        let change = FactorChange {
            change: UserChange::TotpEnrolled,
            notice: Notice::TotpEnrolled,
        };
        let ended = self.commit_change(request, tx, &owner, &change).await?;
        Ok((codes, ended))
    }

    /// Removes the caller's app. With the last factor the recovery codes go, and signing in takes a mailed code
    /// from then on.
    pub async fn remove_totp(&self, client: &Client, token: &str) -> Result<(), FactorsError> {
        let request = self.reserve_factor_change(client, token).await?;
        let outcome = self.try_remove_totp(&request).await;
        self.settle_factor_change(request, outcome).await
    }

    async fn try_remove_totp(&self, request: &FactorRequest<'_>) -> Changed<()> {
        let (mut tx, owner) = self.lock_fresh_owner(request).await?;
        if !tx.delete_totp(owner.user_id).await? {
            return Err(FactorsError::NotEnrolled);
        }
        tx.delete_idle_recovery_codes(owner.user_id).await?;
        let change = FactorChange {
            change: UserChange::TotpRemoved,
            notice: Notice::TotpRemoved,
        };
        let ended = self.commit_change(request, tx, &owner, &change).await?;
        Ok(((), ended))
    }

    /// Makes new recovery codes for the caller. The former ones are void.
    pub async fn renew_recovery_codes(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<Vec<RecoveryCode>, FactorsError> {
        let request = self.reserve_factor_change(client, token).await?;
        let outcome = self.try_renew_recovery_codes(&request).await;
        self.settle_factor_change(request, outcome).await
    }

    async fn try_renew_recovery_codes(
        &self,
        request: &FactorRequest<'_>,
    ) -> Changed<Vec<RecoveryCode>> {
        let (mut tx, owner) = self.lock_fresh_owner(request).await?;
        let codes = self.make_recovery_codes(&mut tx, &owner).await?;
        let change = FactorChange {
            change: UserChange::RecoveryCodesMade,
            notice: Notice::RecoveryCodesMade,
        };
        let ended = self.commit_change(request, tx, &owner, &change).await?;
        Ok((codes, ended))
    }

    /// Makes recovery codes for a user who has none left.
    pub(super) async fn make_missing_recovery_codes(
        &self,
        tx: &mut Tx,
        owner: &SessionOwner,
    ) -> Result<Option<Vec<RecoveryCode>>, FactorsError> {
        if tx.has_recovery_codes(owner.user_id).await? {
            return Ok(None);
        }
        self.make_recovery_codes(tx, owner).await.map(Some)
    }

    async fn make_recovery_codes(
        &self,
        tx: &mut Tx,
        owner: &SessionOwner,
    ) -> Result<Vec<RecoveryCode>, FactorsError> {
        let codes: Vec<_> = (0..RECOVERY_CODES)
            .map(|_| RecoveryCode::random())
            .collect();
        let hash = |code: &RecoveryCode| code.hash(&self.0.recovery_key, owner.user_id).to_vec();
        let hashes: Vec<_> = codes.iter().map(hash).collect();
        if tx.replace_recovery_codes(owner.user_id, &hashes).await? {
            Ok(codes)
        } else {
            Err(FactorsError::NotEnrolled)
        }
    }

    /// Lets the caller in, under the limit on changes to an account.
    pub(super) async fn reserve_factor_change<'a>(
        &self,
        client: &'a Client,
        token: &str,
    ) -> Result<FactorRequest<'a>, FactorsError> {
        let claims = self.authenticate(token).await?;
        let key = self
            .0
            .attempt_keys
            .account_change(claims.sub, &claims.email);
        self.reserve_factor_change_under(client, claims, &key, &self.0.rules.account)
            .await
    }

    async fn reserve_factor_change_under<'a>(
        &self,
        client: &'a Client,
        claims: Arc<AccessClaims>,
        key: &AttemptKey,
        limit: &Limit,
    ) -> Result<FactorRequest<'a>, FactorsError> {
        let limited = |reason: LimitReached| event(client, &claims, Outcome::Refused, reason);
        let pending = self.reserve(key, limit, limited).await?;
        Ok(FactorRequest {
            client,
            claims,
            pending,
        })
    }

    /// Settles the attempt by the outcome of a change, and records a refusal.
    pub(super) async fn settle_factor_change<T>(
        &self,
        request: FactorRequest<'_>,
        outcome: Changed<T>,
    ) -> Result<T, FactorsError> {
        let error = match outcome {
            Ok((changed, ended)) => {
                request.pending.end();
                self.note_ended(EndReason::FactorsChanged, ended);
                self.0.mail_is_due.notify_one();
                return Ok(changed);
            }
            Err(error) => error,
        };
        let refusal: AuditReason = match &error {
            FactorsError::Refused(refusal) => (*refusal).into(),
            FactorsError::NotFresh(_) => TokenRefusal::NotFresh.into(),
            FactorsError::PasskeyRequestOver => PasskeyRefusal::RequestOver.into(),
            FactorsError::PasskeyRefused(_) => PasskeyRefusal::PasskeyRefused.into(),
            FactorsError::Authenticate(AuthenticateError::SessionEnded) => {
                TokenRefusal::SessionEnded.into()
            }
            _ => {
                request.pending.release_if(error.is_unavailable()).await;
                return Err(error);
            }
        };
        let event = AuditEvent {
            detail: match &error {
                FactorsError::PasskeyRefused(invalid) => Some(invalid.to_string()),
                _ => None,
            },
            ..request.event(Outcome::Refused, refusal)
        };
        self.refuse(request.pending, true, &event).await?;
        Err(error)
    }

    /// Begins the transaction of a change: the caller's session is live and fresh in it, and no other change
    /// to the account is made before it ends.
    pub(super) async fn lock_fresh_owner(
        &self,
        request: &FactorRequest<'_>,
    ) -> Result<(Tx, SessionOwner), FactorsError> {
        let (claims, fresh) = (&request.claims, self.0.rules.fresh);
        let mut tx = self.0.store.begin().await?;
        let owner = tx
            .lock_session_owner(claims.sub, claims.sid, fresh)
            .await?
            .ok_or(AuthenticateError::SessionEnded)?;
        if !owner.is_fresh {
            return Err(FactorsError::NotFresh(fresh));
        }
        Ok((tx, owner))
    }

    /// Commits a change with all its consequences, and tells which sessions ended.
    pub(super) async fn commit_change(
        &self,
        request: &FactorRequest<'_>,
        mut tx: Tx,
        owner: &SessionOwner,
        change: &FactorChange,
    ) -> Result<Vec<EndedSession>, FactorsError> {
        tx.note_changed_factors(owner.user_id).await?;
        let ended = tx
            .end_other_sessions_of(owner.user_id, request.claims.sid, EndReason::FactorsChanged)
            .await?
            .ok_or(AuthenticateError::SessionEnded)?;
        let notice =
            NewNotice::by_client(owner.user_id, &owner.email, change.notice, request.client);
        tx.insert_notice(&notice).await?;
        tx.record(&request.event(Outcome::Granted, change.change))
            .await?;
        let attempts = request.pending.attempts();
        tx.settle_attempts(attempts).await?;
        tx.commit_attempts(&self.0.store, attempts).await?;
        Ok(ended)
    }
}

fn event(
    client: &Client,
    claims: &AccessClaims,
    outcome: Outcome,
    reason: impl Into<AuditReason>,
) -> AuditEvent {
    AuditEvent {
        user_id: Some(claims.sub),
        session_id: Some(claims.sid),
        email: Some(claims.email.clone()),
        ..AuditEvent::by_client(AuditKind::Account, outcome, reason, client)
    }
}
