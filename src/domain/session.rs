//! The facts of a session that its tokens state.

use super::{AuthenticationMethods, EmailAddress, Generation, KeyId, SessionId, Timestamp, UserId};

/// All that a token pair follows from: signing the same values again gives the same bytes.
#[derive(Debug, Clone)]
pub struct Session {
    /// `sid`.
    pub session_id: SessionId,
    /// `sub`.
    pub user_id: UserId,
    /// `email`.
    pub email: EmailAddress,
    /// `gen`.
    pub generation: Generation,
    /// The key that signs this generation's access token.
    pub key_id: KeyId,
    /// The key that signs its refresh token. `None`: the same one.
    pub refresh_key_id: Option<KeyId>,
    /// `amr`.
    pub methods: AuthenticationMethods,
    /// `auth_time`: when the session opened.
    pub created_at: Timestamp,
    /// `iat`: when this generation was made.
    pub rotated_at: Timestamp,
    /// When this generation's access token expires.
    pub access_expires_at: Timestamp,
    /// When this generation's refresh token expires.
    pub idle_expires_at: Timestamp,
}
