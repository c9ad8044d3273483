//! What is written down of what happened: who, what, with what outcome, from where, and why.

use super::words::words;
use super::{
    ChallengeId, Client, ClientNetwork, EmailAddress, EndReason, LimitScope, Operator, RequestId,
    SessionId, UserId,
};

words! {
    /// What happened.
    pub enum AuditKind {
        /// Somebody tried to sign in.
        Signin = "signin",
        /// Somebody tried to confirm a code.
        Confirm = "confirm",
        /// A refresh was refused, or came from a network that was new to its session (other granted
        /// ones are not recorded).
        Refresh = "refresh",
        /// A sign-out was refused (a granted one ends a session).
        Signout = "signout",
        /// A session ended.
        SessionEnded = "session_ended",
        /// An operator changed a user.
        UserChanged = "user_changed",
        /// An operator or the server changed the signing keys.
        KeysChanged = "keys_changed",
        /// A code mail left, or was given up.
        Mail = "mail",
        /// Refusals of many requests.
        Refusals = "refusals",
    }
}

words! {
    /// How it ended.
    pub enum Outcome {
        /// As was asked.
        Granted = "granted",
        /// Refused, for the event's reason.
        Refused = "refused",
    }
}

words! {
    /// Why, or what exactly. `explain` has a sentence for each.
    pub enum AuditReason {
        /// The password, or the code after it, was right.
        SessionOpened = "session_opened",
        /// The password was right, and a code is on its way.
        Challenged = "challenged",
        /// The password was right, but so many codes were mailed lately that this one was not.
        ChallengedWithoutMail = "challenged_without_mail",
        /// Nobody has the address.
        UnknownAddress = "unknown_address",
        /// The password was wrong.
        WrongPassword = "wrong_password",
        /// An operator has disabled the user.
        UserDisabled = "user_disabled",
        /// The user has no password to sign in with.
        NoPassword = "no_password",
        /// The user was disabled or the password changed in the middle of it, or another request
        /// used the challenge up.
        ChangedMeanwhile = "changed_meanwhile",

        /// More sign-ins came at once than passwords can be checked.
        Overloaded = "overloaded",

        /// There was no room to write each of them down.
        LeftOut = "left_out",

        /// What was sent is no challenge of ours.
        UnknownChallenge = "unknown_challenge",
        /// The challenge was used or has expired.
        ChallengeEnded = "challenge_over",
        /// The challenge has had all its guesses.
        ChallengeExhausted = "challenge_exhausted",
        /// The account has had all its wrong codes.
        SecondFactorLocked = "second_factor_locked",
        /// The code was wrong.
        WrongCode = "wrong_code",

        /// A limit is reached: sign-ins to the address from the network.
        LimitedSignin = "limited_signin",
        /// A limit is reached: sign-ins from the network.
        LimitedSigninNetwork = "limited_signin_network",
        /// A limit is reached: failed sign-ins to the address.
        LimitedSigninFailures = "limited_signin_failures",
        /// A limit is reached: codes tried by the user.
        LimitedConfirm = "limited_confirm",
        /// A limit is reached: unknown challenges from the network.
        LimitedConfirmUnknown = "limited_confirm_unknown",
        /// A limit is reached: refreshes of the session.
        LimitedRefresh = "limited_refresh",
        /// A limit is reached: refreshes with tokens that are not ours, from the network.
        LimitedRefreshUnknown = "limited_refresh_unknown",
        /// A limit is reached: code mails to the user.
        LimitedMail = "limited_mail",

        /// What was sent is no such token of ours.
        ForeignToken = "foreign_token",
        /// The token had expired.
        TokenExpired = "token_expired",
        /// The session is not stored any more.
        UnknownSession = "unknown_session",
        /// The session had ended or idled out, or its user was disabled.
        SessionEnded = "session_over",
        /// An old refresh token was used; the session was ended.
        Reuse = "reuse",
        /// A session was refreshed from a network from which it had not been used before.
        OtherNetwork = "other_network",
        /// The token before the current one was used again within its grace, from a network from which
        /// the session had not been used before.
        RepeatedElsewhere = "repeated_elsewhere",
        /// Its owner ended a session.
        SignedOut = "signed_out",
        /// An operator ended a session.
        Operator = "operator",
        /// The user opened more sessions than one may have; this was the one not used for longest.
        TooManySessions = "too_many_sessions",

        /// An operator made the user.
        Created = "created",
        /// An operator imported the user.
        Imported = "imported",
        /// An operator set the password.
        PasswordChanged = "password_changed",
        /// An operator switched the second factor off.
        TwoFactorOff = "two_factor_off",
        /// An operator switched the second factor on.
        TwoFactorEmail = "two_factor_email",
        /// An operator disabled the user.
        Disabled = "disabled",
        /// An operator enabled the user.
        Enabled = "enabled",
        /// An operator lifted all limits of the user.
        Unlocked = "unlocked",
        /// An operator ended the user's sessions.
        SessionsEnded = "sessions_ended",
        /// An operator deleted the user.
        Deleted = "deleted",
        /// A session ended because its user was deleted.
        UserDeleted = "user_deleted",

        /// The first signing key was made.
        FirstKeyMade = "first_key_made",
        /// A signing key was imported.
        KeyImported = "key_imported",
        /// A signing key was made to follow the one before.
        KeyRotated = "key_rotated",
        /// A published key was told to sign at once.
        KeyActivated = "key_activated",
        /// A signing key was revoked.
        KeyRevoked = "key_revoked",
        /// The private keys were sealed under another master key.
        KeysResealed = "keys_resealed",

        /// The mail server took the mail.
        MailSent = "mail_sent",
        /// The mail server refused the mail for good.
        MailRefused = "mail_refused",
        /// The code expired before the mail could leave.
        MailExpired = "mail_expired",
    }
}

impl From<EndReason> for AuditReason {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::SignedOut => Self::SignedOut,
            EndReason::Reuse => Self::Reuse,
            EndReason::UserDisabled => Self::UserDisabled,
            EndReason::PasswordChanged => Self::PasswordChanged,
            EndReason::UserDeleted => Self::UserDeleted,
            EndReason::Operator => Self::Operator,
            EndReason::KeyRevoked => Self::KeyRevoked,
            EndReason::TooManySessions => Self::TooManySessions,
        }
    }
}

/// The reason of a refusal by a limit.
impl From<LimitScope> for AuditReason {
    fn from(scope: LimitScope) -> Self {
        match scope {
            LimitScope::Signin => Self::LimitedSignin,
            LimitScope::SigninNetwork => Self::LimitedSigninNetwork,
            LimitScope::SigninFailures => Self::LimitedSigninFailures,
            LimitScope::Confirm => Self::LimitedConfirm,
            LimitScope::ConfirmUnknown => Self::LimitedConfirmUnknown,
            LimitScope::RefreshUnknown => Self::LimitedRefreshUnknown,
            LimitScope::Mail => Self::LimitedMail,
        }
    }
}

/// One line of the audit log. It has no place for a password, a code or a token.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// What happened.
    pub kind: AuditKind,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: AuditReason,
    /// Whom it concerns, where known.
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
    /// The operator who did it, as the operating system knows them.
    pub actor: Option<String>,
    /// What else helps to understand it: until when a limit refuses, what a token lacks, a key's
    /// id, what a mail server said.
    pub detail: Option<String>,
}

impl AuditEvent {
    /// An event of a client's making.
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
            ..Self::bare(kind, outcome, reason.into())
        }
    }

    /// An event of an operator's making.
    #[must_use]
    pub fn by_operator(kind: AuditKind, reason: AuditReason, actor: &Operator) -> Self {
        Self {
            actor: Some(actor.to_string()),
            ..Self::bare(kind, Outcome::Granted, reason)
        }
    }

    /// An event of the server's own making.
    #[must_use]
    pub fn bare(kind: AuditKind, outcome: Outcome, reason: AuditReason) -> Self {
        Self {
            kind,
            outcome,
            reason,
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_reason_has_a_word_of_its_own_that_reads_back() {
        let words: HashSet<&str> = AuditReason::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(words.len(), AuditReason::ALL.len());
        for reason in AuditReason::ALL {
            assert_eq!(AuditReason::from_stored(reason.as_str()), Some(*reason));
        }
        assert_eq!(AuditReason::from_stored("of_a_later_version"), None);
    }

    #[test]
    fn why_a_session_ended_is_the_same_word_in_both_tables() {
        for reason in EndReason::ALL {
            assert_eq!(AuditReason::from(*reason).as_str(), reason.as_str());
        }
    }
}
