//! Opening a session: the last step of both ways to sign in.

use crate::domain::{AttemptInFlight, AuthenticationMethods, EndReason, Session};
use crate::store::{NewSession, StoreError, Tx};
use crate::telemetry::metrics::{SESSIONS_ENDED, SESSIONS_OPENED};

use super::Auth;

/// A session that was opened, and the consequences to count.
pub(super) struct OpenedSession {
    pub(super) session: Session,
    methods: AuthenticationMethods,
    /// The number of other sessions that it ended.
    surplus: u64,
}

impl OpenedSession {
    /// Counts it, once its transaction is committed.
    pub(super) fn count(&self) {
        SESSIONS_OPENED.add(1, [self.methods.as_str().into()]);
        let reason = EndReason::TooManySessions;
        SESSIONS_ENDED.add(self.surplus, [reason.as_str().into()]);
    }
}

impl Auth {
    /// Opens a session within `tx`, keeps the user's sessions within their number, and settles the
    /// attempts that led to it; `None` if the user was disabled or the password changed meanwhile.
    /// Nothing of it is counted yet.
    ///
    /// This instance learns of the sessions that it ended in the same way as all others do: the
    /// transaction may still fail.
    pub(super) async fn open_session(
        &self,
        tx: &mut Tx,
        new: &NewSession<'_>,
        attempts: &[AttemptInFlight],
    ) -> Result<Option<OpenedSession>, StoreError> {
        let Some(session) = self.insert_session(tx, new).await? else {
            return Ok(None);
        };
        let max = self.0.rules.max_sessions;
        let surplus = tx
            .settle_and_end_surplus_sessions(&session, new.client, max, attempts)
            .await?;
        Ok(Some(OpenedSession {
            session,
            methods: new.methods,
            surplus,
        }))
    }

    /// Opens it under the keys that sign. One that was revoked a moment ago opens none: the next one is
    /// tried.
    async fn insert_session(
        &self,
        tx: &mut Tx,
        new: &NewSession<'_>,
    ) -> Result<Option<Session>, StoreError> {
        let mut ring = self.0.tokens.ring().current();
        loop {
            let lifetimes = &self.0.rules.lifetimes;
            let session = tx
                .open_and_record_session(new, ring.signers(), lifetimes)
                .await?;
            if session.is_some() {
                return Ok(session);
            }
            self.catch_up_with_keys().await?;
            let current = self.0.tokens.ring().current();
            if current.signers() == ring.signers() {
                return Ok(None);
            }
            ring = current;
        }
    }
}
