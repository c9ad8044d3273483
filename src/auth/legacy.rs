//! Users with an access token of the older service, which has no session.
//!
//! **When this can be deleted:** once no installation has a key of an older service any more. A key
//! ends at most 90 days after its import ([`admin`](crate::admin), `MAX_LEGACY_DAYS`), and `key list` shows
//! its end as GOOD UNTIL. So the date is the last of these ends: 90 days after the last installation moved
//! over from its older service. Where `tokens.legacy_ttl_seconds` is 0, the default, nothing here is used.
//!
//! With this file go `token/legacy.rs`, [`LegacyCaller`], the variants of [`Caller`] and [`AuthenticateError`]
//! that it makes and their answers in `http`, the import of public keys, the setting, and the key stage `legacy`.

use super::Auth;
use super::caller::{AuthenticateError, Caller, LegacyCaller};
use super::signout::{SignoutError, refused};
use crate::domain::{AuditEvent, AuditKind, Client, EndReason, Outcome, TokenRefusal};

impl Auth {
    /// Identifies the owner of a token of the older service.
    pub(super) async fn identify_legacy(&self, token: &str) -> Result<Caller, AuthenticateError> {
        let claims = self.0.tokens.verify_legacy(token);
        let claims = claims.map_err(AuthenticateError::Invalid)?;
        let email = self.0.store.find_legacy_owner(claims.sub).await?;
        let email = email.ok_or(AuthenticateError::NoLegacyOwner)?;
        Ok(Caller::Legacy(LegacyCaller { claims, email }))
    }

    /// Ends all of the older service's tokens of a user: none of them has a session of its own.
    pub(super) async fn signout_legacy(
        &self,
        client: &Client,
        token: &str,
    ) -> Result<(), SignoutError> {
        let owner = match self.0.tokens.verify_legacy(token) {
            Ok(claims) => claims.sub,
            Err(reason) => return Err(self.refuse_foreign_signout(client, reason).await),
        };
        let mut tx = self.0.store.begin().await?;
        if !tx.refuse_legacy_tokens_of(owner).await? {
            drop(tx);
            let event = AuditEvent {
                user_id: Some(owner),
                ..refused(client, TokenRefusal::SessionEnded)
            };
            self.record_if_room(&event).await;
            return Err(SignoutError::SessionEnded);
        }
        tx.record(&AuditEvent {
            user_id: Some(owner),
            detail: Some("tokens of the older service".to_owned()),
            ..AuditEvent::by_client(
                AuditKind::SessionEnded,
                Outcome::Granted,
                EndReason::SignedOut,
                client,
            )
        })
        .await?;
        Ok(tx.commit().await?)
    }
}
