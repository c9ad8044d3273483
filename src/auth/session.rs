//! Opening a session: the last step of both ways to sign in.

use crate::domain::{
    AuditEvent, AuditKind, AuditReason, AuthenticationMethod, Client, EmailAddress, EndReason,
    Outcome, Session, UserId,
};
use crate::store::{NewSession, StoreError, Tx};
use crate::telemetry::metrics::{SESSIONS_ENDED, SESSIONS_OPENED};

use super::Auth;

/// A session that was opened, and what that takes with it.
pub(super) struct Opened {
    pub(super) session: Session,
    method: AuthenticationMethod,
    /// How many others it ended.
    surplus: u64,
}

impl Opened {
    /// Counts it, once its transaction is committed.
    pub(super) fn count(&self) {
        SESSIONS_OPENED.add(1, [self.method.as_str().into()]);
        let reason = EndReason::TooManySessions;
        SESSIONS_ENDED.add(self.surplus, [reason.as_str().into()]);
    }
}

impl Auth {
    /// Opens a session within `tx`, remembers the network and writes it down; `None` if the user
    /// was disabled or the password changed meanwhile. Nothing of it is counted yet.
    pub(super) async fn open_session(
        &self,
        tx: &mut Tx,
        client: &Client,
        user_id: UserId,
        email: &EmailAddress,
        credential_version: i32,
        method: AuthenticationMethod,
    ) -> Result<Option<Opened>, StoreError> {
        let ring = self.0.tokens.ring().current();
        let new = NewSession {
            user_id,
            email,
            credential_version,
            method,
            key_id: ring.active(),
            client,
        };
        let opened = tx.insert_session(&new, &self.0.rules.lives).await?;
        let Some(session) = opened else {
            return Ok(None);
        };
        tx.upsert_known_network(user_id, client.network).await?;
        let kind = match method {
            AuthenticationMethod::Password => AuditKind::Signin,
            AuthenticationMethod::PasswordAndCode => AuditKind::Confirm,
        };
        tx.record(&AuditEvent {
            user_id: Some(user_id),
            email: Some(email.clone()),
            session_id: Some(session.session_id),
            ..AuditEvent::by_client(kind, Outcome::Granted, AuditReason::SessionOpened, client)
        })
        .await?;
        let surplus = self.end_surplus(tx, client, &session).await?;
        Ok(Some(Opened {
            session,
            method,
            surplus,
        }))
    }

    /// Keeps a user's sessions within their number. That this ended some, other instances learn as
    /// they learn of any end, and so does this one: it may yet not be committed. Tells how many.
    async fn end_surplus(
        &self,
        tx: &mut Tx,
        client: &Client,
        opened: &Session,
    ) -> Result<u64, StoreError> {
        let (user_id, max) = (opened.user_id, self.0.rules.max_sessions);
        let ended = tx
            .end_surplus_sessions(user_id, opened.session_id, max)
            .await?;
        for session in &ended {
            let (kind, reason) = (AuditKind::SessionEnded, EndReason::TooManySessions);
            tx.record(&AuditEvent {
                user_id: Some(user_id),
                session_id: Some(session.session_id),
                ..AuditEvent::by_client(kind, Outcome::Granted, reason, client)
            })
            .await?;
        }
        Ok(ended.len() as u64)
    }
}
