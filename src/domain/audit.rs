//! The events of the audit log: the person, the act, its outcome, its origin and its reason.

use super::words::words;
use super::{
    Actor, Administrator, AuditReason, ChallengeId, Client, ClientNetwork, EmailAddress, Operator,
    RequestId, SessionId, UserId,
};

words! {
    /// The kind of act.
    pub enum AuditKind {
        /// An attempt to sign in.
        Signin = "signin",
        /// An attempt to confirm a code.
        Confirm = "confirm",
        /// A refresh was refused, or came from a network that was new to its session (other granted
        /// ones are not recorded).
        Refresh = "refresh",
        /// A sign-out was refused (a granted one ends a session).
        Signout = "signout",
        /// A session ended, for one of the reasons of [`EndReason`](super::EndReason).
        SessionEnded = "session_ended",
        /// A user's change to their own account.
        Account = "account",
        /// An operator changed a user.
        UserChanged = "user_changed",
        /// An administrator changed a user, or was refused.
        Administration = "administration",
        /// An operator or the server changed the signing keys.
        KeysChanged = "keys_changed",
        /// A link to set a password was asked for or used.
        Link = "link",
        /// A mail left, or was given up.
        Mail = "mail",
        /// Refusals of many requests.
        Refusals = "refusals",
    }
}

words! {
    /// The outcome of the act.
    pub enum Outcome {
        /// As was asked.
        Granted = "granted",
        /// Refused, for the event's reason.
        Refused = "refused",
    }
}

/// One line of the audit log. It has no place for a password, a code or a token.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// The kind of act.
    pub kind: AuditKind,
    /// The outcome of the act.
    pub outcome: Outcome,
    /// The reason for the outcome.
    pub reason: AuditReason,
    /// The user it concerns, where known.
    pub user_id: Option<UserId>,
    /// The address that was given, in canonical form.
    pub email: Option<EmailAddress>,
    /// The session it concerns.
    pub session_id: Option<SessionId>,
    /// The challenge it concerns.
    pub challenge_id: Option<ChallengeId>,
    /// The network it came from.
    pub network: Option<ClientNetwork>,
    /// The request that it belongs to.
    pub request_id: Option<RequestId>,
    /// The author of the act: an operator, as the operating system knows them, or an administrator, as `user:1`.
    pub actor: Option<String>,
    /// Details: until when a limit refuses, why a token is invalid, a key's id, the reply of a mail
    /// server.
    pub detail: Option<String>,
}

impl AuditEvent {
    /// An event that a client's request caused.
    #[must_use]
    pub fn by_client(
        kind: AuditKind,
        outcome: Outcome,
        reason: impl Into<AuditReason>,
        client: &Client,
    ) -> Self {
        Self {
            network: Some(client.network),
            request_id: Some(client.request_id.clone()),
            ..Self::bare(kind, outcome, reason)
        }
    }

    /// An event that an operator caused.
    #[must_use]
    pub fn by_operator(kind: AuditKind, reason: impl Into<AuditReason>, actor: &Operator) -> Self {
        Self {
            actor: Some(actor.to_string()),
            ..Self::bare(kind, Outcome::Granted, reason)
        }
    }

    /// An event that an operator or an administrator caused. For an operator it is of this kind; for an
    /// administrator it is always of the same, and names session, network and request.
    #[must_use]
    pub fn by_actor(kind: AuditKind, reason: impl Into<AuditReason>, actor: &Actor) -> Self {
        match actor {
            Actor::Operator(operator) => Self::by_operator(kind, reason, operator),
            Actor::Administrator(administrator) => {
                Self::by_administrator(Outcome::Granted, reason, administrator)
            }
        }
    }

    /// An event that an administrator caused.
    #[must_use]
    pub fn by_administrator(
        outcome: Outcome,
        reason: impl Into<AuditReason>,
        administrator: &Administrator,
    ) -> Self {
        Self {
            session_id: Some(administrator.session_id),
            network: Some(administrator.network),
            request_id: Some(administrator.request_id.clone()),
            actor: Some(format!("user:{}", administrator.user_id)),
            ..Self::bare(AuditKind::Administration, outcome, reason)
        }
    }

    /// An event that the server itself caused.
    #[must_use]
    pub fn bare(kind: AuditKind, outcome: Outcome, reason: impl Into<AuditReason>) -> Self {
        Self {
            kind,
            outcome,
            reason: reason.into(),
            user_id: None,
            email: None,
            session_id: None,
            challenge_id: None,
            network: None,
            request_id: None,
            actor: None,
            detail: None,
        }
    }
}
