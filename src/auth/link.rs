//! The use of a link: to see whose it is, and to set a password.

use crate::domain::{
    AuditEvent, AuditKind, AuditReason, Client, EndReason, LimitReached, LinkUse, NewPasswordHash,
    Notice, Outcome, PlainPassword, WeakPassword, read_link_token,
};
use crate::password::HashingError;
use crate::store::{EndedSession, FoundLink, NewNotice, StoreError};
use crate::telemetry::note_user;

use super::reserve::NotReserved;
use super::{Auth, Limited};

/// Why a link did nothing.
#[derive(Debug)]
pub enum LinkError {
    /// It is no live link.
    Refused(LinkUse),
    /// Too many links that are not good.
    Limited(Limited),
    /// The password breaks the rules. The link stays good.
    Weak(WeakPassword),
    /// The password could not be hashed now.
    Hashing(HashingError),
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for LinkError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NotReserved> for LinkError {
    fn from(error: NotReserved) -> Self {
        match error {
            NotReserved::Limited(limited) => Self::Limited(limited),
            NotReserved::Store(error) => Self::Store(error),
        }
    }
}

impl Auth {
    /// The live link of a token, and its user. Uses nothing up: scanners of mails open links.
    pub async fn find_link(&self, client: &Client, token: &str) -> Result<FoundLink, LinkError> {
        // The MAC comes first, so that guesses cost no query.
        let Some((link_id, purpose)) = read_link_token(&self.0.link_key, token) else {
            return Err(self.refuse_link(client, None, LinkUse::Unknown).await);
        };
        let found = self.0.store.find_link(link_id, purpose).await?;
        match found {
            Some(link) if link.is_live => {
                note_user(link.user_id);
                Ok(link)
            }
            Some(link) => Err(self.refuse_link(client, Some(&link), LinkUse::Over).await),
            None => Err(self.refuse_link(client, None, LinkUse::Unknown).await),
        }
    }

    /// Sets a password by a link, which is used up by that; ends all sessions, and lifts the limits on
    /// sign-ins, so that the new password works at once. Signs nobody in.
    ///
    /// Only for a live link is a password hashed. Of several uses at once, and of several links of a user,
    /// one sets its password.
    pub async fn set_password(
        &self,
        client: &Client,
        token: &str,
        password: PlainPassword,
    ) -> Result<(), LinkError> {
        let link = self.find_link(client, token).await?;
        if let Err(weak) = password.check_strength(&link.email, &self.0.blocklist) {
            let event = refused(client, Some(&link), LinkUse::WeakPassword);
            self.record_if_room(&event).await;
            return Err(LinkError::Weak(weak));
        }
        let hash = self.0.pool.hash(password).await;
        let hash = hash.map_err(LinkError::Hashing)?;
        let Some(ended) = self.use_link(client, &link, &hash).await? else {
            return Err(self.refuse_link(client, Some(&link), LinkUse::Over).await);
        };
        self.note_ended(EndReason::PasswordChanged, ended);
        self.0.mail_is_due.notify_one();
        Ok(())
    }

    /// Uses the link up and sets the password, in one transaction with all that follows; `None` if the link
    /// is no longer live.
    async fn use_link(
        &self,
        client: &Client,
        link: &FoundLink,
        hash: &NewPasswordHash,
    ) -> Result<Option<Vec<EndedSession>>, StoreError> {
        let (user_id, email) = (link.user_id, &link.email);
        let mut tx = self.0.store.begin().await?;
        let Some(consumed) = tx.consume_link(link.link_id).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let version = consumed.credential_version;
        if !tx.replace_password(user_id, version, hash).await? {
            tx.rollback().await?;
            return Ok(None);
        }
        let ended = tx
            .end_sessions_of(user_id, EndReason::PasswordChanged)
            .await?;
        tx.lift_signin_limits(self.0.attempt_keys.account(email))
            .await?;
        let notice = NewNotice::by_client(user_id, email, Notice::PasswordSet, client);
        tx.insert_notice(&notice).await?;
        tx.record(&event(
            client,
            Some(link),
            Outcome::Granted,
            LinkUse::PasswordSet,
        ))
        .await?;
        tx.commit().await?;
        Ok(Some(ended))
    }

    /// A link that is not good counts for the network that it came from.
    async fn refuse_link(
        &self,
        client: &Client,
        link: Option<&FoundLink>,
        refusal: LinkUse,
    ) -> LinkError {
        let key = self.0.attempt_keys.link_unknown(client.network);
        let limited = |reason: LimitReached| refused(client, link, reason);
        let limit = &self.0.rules.confirm;
        let pending = match self.reserve_for_stranger(&key, limit, limited).await {
            Ok(pending) => pending,
            Err(error) => return error.into(),
        };
        let event = refused(client, link, refusal);
        match self.refuse(pending, true, &event).await {
            Ok(()) => LinkError::Refused(refusal),
            Err(error) => error.into(),
        }
    }
}

fn refused(
    client: &Client,
    link: Option<&FoundLink>,
    reason: impl Into<AuditReason>,
) -> AuditEvent {
    event(client, link, Outcome::Refused, reason)
}

fn event(
    client: &Client,
    link: Option<&FoundLink>,
    outcome: Outcome,
    reason: impl Into<AuditReason>,
) -> AuditEvent {
    AuditEvent {
        user_id: link.map(|link| link.user_id),
        email: link.map(|link| link.email.clone()),
        ..AuditEvent::by_client(AuditKind::Link, outcome, reason, client)
    }
}
