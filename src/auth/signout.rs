//! Signing out: the session ends, and all its tokens with it.

use crate::domain::{
    AuditEvent, AuditKind, Client, EndReason, Outcome, SessionId, TokenRefusal, UserId,
};
use crate::store::StoreError;
use crate::telemetry::note_user;
use crate::token::InvalidToken;

use super::Auth;

/// Why a sign-out did nothing.
#[derive(Debug)]
pub enum SignoutError {
    /// Not an access token of ours, or past its `exp`.
    Invalid(InvalidToken),
    /// Its session has ended.
    SessionEnded,
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for SignoutError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Auth {
    /// Ends the session of an access token. Of several at once, one succeeds.
    ///
    /// A token of ours whose `exp` alone has passed is refused as everywhere, but ends its session too:
    /// its owner left a page open for longer than the token lives, and must not stay signed in.
    ///
    /// Nothing counts refusals, since there is nothing to guess; so there is a bound on how many of
    /// them are recorded.
    pub async fn signout(&self, client: &Client, token: &str) -> Result<(), SignoutError> {
        let verified = self.verified(token, |tokens| tokens.verify_expired_access(token));
        let claims = match verified.await? {
            Ok(claims) => claims,
            Err(InvalidToken::Header) => return self.signout_legacy(client, token).await,
            Err(reason) => return Err(self.refuse_foreign_signout(client, reason).await),
        };
        note_user(claims.sub);
        let expiry = self.0.tokens.check_access_expiry(&claims);
        let detail = expiry.err().map(|reason| format!("token {reason}"));
        let ended = self
            .0
            .store
            .end_and_record_session(claims.sid, claims.sub, client, detail.as_deref())
            .await?;
        let Some(ended) = ended else {
            self.record_if_room(&of_ended_session(client, claims.sub, claims.sid))
                .await;
            return Err(expiry.map_or_else(SignoutError::Invalid, |()| SignoutError::SessionEnded));
        };
        self.note_ended(EndReason::SignedOut, [ended]);
        expiry.map_err(SignoutError::Invalid)
    }

    pub(super) async fn refuse_foreign_signout(
        &self,
        client: &Client,
        reason: InvalidToken,
    ) -> SignoutError {
        // The refusal stands even if it cannot be recorded.
        if let Err(error) = self.record_refusal(&foreign(client, reason)).await {
            tracing::warn!(%error, "a refusal could not be written down");
        }
        SignoutError::Invalid(reason)
    }
}

fn foreign(client: &Client, invalid: InvalidToken) -> AuditEvent {
    let reason = match invalid {
        InvalidToken::Expired => TokenRefusal::Expired,
        InvalidToken::Malformed
        | InvalidToken::Header
        | InvalidToken::NotYet
        | InvalidToken::LivesTooLong
        | InvalidToken::UnknownKey
        | InvalidToken::Unverified
        | InvalidToken::Claims => TokenRefusal::Foreign,
    };
    AuditEvent {
        detail: Some(invalid.to_string()),
        ..refused(client, reason)
    }
}

fn of_ended_session(client: &Client, user_id: UserId, session_id: SessionId) -> AuditEvent {
    AuditEvent {
        user_id: Some(user_id),
        session_id: Some(session_id),
        ..refused(client, TokenRefusal::SessionEnded)
    }
}

pub(super) fn refused(client: &Client, reason: TokenRefusal) -> AuditEvent {
    AuditEvent::by_client(AuditKind::Signout, Outcome::Refused, reason, client)
}
