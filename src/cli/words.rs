//! What `explain` says: a sentence for each reason, limit, state and obstacle there is. No match has
//! a `_` arm, so that a new one asks for its words at compile time.

use super::output;
use crate::admin::{MailState, Obstacle};
use crate::domain::{AuditKind, AuditReason, ClientNetwork, EndReason, LimitScope};

/// What stands in the way, and what an operator can do about it.
pub(super) fn obstacle_text(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::NoUser => "Nobody has this address. `user create` makes a user.".to_owned(),
        Obstacle::Disabled { since } => format!(
            "An operator disabled the user on {}. `user enable` lets them in again.",
            output::instant(*since)
        ),
        Obstacle::NoPassword => "The user has no password. `user password` sets one.".to_owned(),
        Obstacle::SecondFactorLocked { wrong_codes } => format!(
            "The second factor is locked after {wrong_codes} wrong codes in a row. `user unlock` \
             unlocks it."
        ),
        Obstacle::Limited {
            scope,
            network,
            until,
        } => format!(
            "{} Until {}.",
            limit_sentence(*scope, *network),
            output::instant(*until)
        ),
        Obstacle::MailStuck(state) => mail_sentence(*state).to_owned(),
    }
}

/// The word for it in JSON.
pub(super) fn obstacle_code(obstacle: &Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NoUser => "no_user",
        Obstacle::Disabled { .. } => "disabled",
        Obstacle::NoPassword => "no_password",
        Obstacle::SecondFactorLocked { .. } => "second_factor_locked",
        Obstacle::Limited { .. } => "limited",
        Obstacle::MailStuck(_) => "mail_stuck",
    }
}

/// What a limit refuses now.
fn limit_sentence(scope: LimitScope, network: Option<ClientNetwork>) -> String {
    let from = match network {
        Some(network) => format!("from {network}"),
        None => "from a network that is not among these events".to_owned(),
    };
    match scope {
        LimitScope::Signin => format!(
            "Sign-ins to this address {from} are blocked after too many attempts; `user unlock` \
             lifts it."
        ),
        LimitScope::SigninNetwork => {
            format!("Sign-ins {from} are refused, whoever signs in: there were too many.")
        }
        LimitScope::SigninFailures => {
            "Sign-ins to this address are refused from networks that its owner is not known from: \
             there were too many failures; `user unlock` lifts it."
                .to_owned()
        }
        LimitScope::Confirm => {
            "Codes of this user are refused after too many attempts; `user unlock` lifts it."
                .to_owned()
        }
        LimitScope::ConfirmUnknown => {
            format!("Codes {from} for challenges that do not exist are blocked: too many.")
        }
        LimitScope::RefreshUnknown => {
            format!("Refreshes {from} with tokens that are not ours are blocked: too many.")
        }
        LimitScope::Mail => {
            "No more code mails are sent to this user, there were too many; `user unlock` lifts it."
                .to_owned()
        }
    }
}

/// How far a code mail has come.
pub(super) fn mail_sentence(state: MailState) -> &'static str {
    match state {
        MailState::Waiting => "The code mail could not be handed to the mail server yet.",
        MailState::Sent => "The mail server took the code mail.",
        MailState::Unclear => {
            "The mail server was given the code mail and has not said whether it took it."
        }
        MailState::Refused => "The mail server refused the code mail for good.",
        MailState::Expired => {
            "The code mail was given up: its code was over before it could leave."
        }
    }
}

/// Why a session ended.
pub(super) fn end_sentence(reason: EndReason) -> &'static str {
    match reason {
        EndReason::SignedOut => "its owner signed out.",
        EndReason::Reuse => {
            "a refresh token came that had been traded in before: somebody has a copy, or a client \
             kept an old one."
        }
        EndReason::UserDisabled => "an operator disabled the user.",
        EndReason::PasswordChanged => "the password was changed.",
        EndReason::UserDeleted => "an operator deleted the user.",
        EndReason::Operator => "an operator ended it.",
        EndReason::KeyRevoked => "the key that signed its tokens was revoked.",
        EndReason::TooManySessions => {
            "its owner opened another one and has as many as one may have; this was the one not \
             used for longest."
        }
    }
}

/// What an event is about.
pub(super) fn kind_name(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Signin => "Sign-in",
        AuditKind::Confirm => "Code",
        AuditKind::Refresh => "Refresh",
        AuditKind::Signout => "Sign-out",
        AuditKind::SessionEnded => "Session ended",
        AuditKind::UserChanged => "User changed",
        AuditKind::KeysChanged => "Keys changed",
        AuditKind::Mail => "Mail",
        AuditKind::Refusals => "Refusals",
    }
}

/// What a reason in the audit log means.
pub(super) fn reason_sentence(reason: AuditReason) -> &'static str {
    use AuditReason as Why;
    match reason {
        Why::SessionOpened => "a session was opened.",
        Why::Challenged => "the password was right, and a code goes out by mail.",
        Why::ChallengedWithoutMail => "the password was right, but no more codes are mailed now.",
        Why::UnknownAddress => "nobody has this address.",
        Why::WrongPassword => "the password was wrong.",
        Why::UserDisabled => "the user was disabled.",
        Why::NoPassword => "the user has no password.",
        Why::ChangedMeanwhile => "user, password or challenge changed in that very moment.",
        Why::Overloaded => "more sign-ins came at once than the server can check.",
        Why::LeftOut => "too many came at once to write each down.",
        Why::UnknownChallenge => "the 2FA token is none of ours, or is long gone.",
        Why::ChallengeEnded => "the 2FA token had expired or had been used.",
        Why::ChallengeExhausted => "too many codes were tried with this 2FA token.",
        Why::SecondFactorLocked => "the second factor is locked: too many wrong codes in a row.",
        Why::WrongCode => "the code was wrong.",
        Why::LimitedSignin => "too many sign-ins to this address from this network.",
        Why::LimitedSigninNetwork => "too many sign-ins from this network, whoever signs in.",
        Why::LimitedSigninFailures => {
            "too many failed sign-ins to this address, and this was not its owner's right password from a \
             network that they are known from."
        }
        Why::LimitedConfirm => "too many codes were tried by this user.",
        Why::LimitedConfirmUnknown => "too many 2FA tokens that are not ours, from this network.",
        Why::LimitedRefresh => "too many refreshes of this session.",
        Why::LimitedRefreshUnknown => "too many refresh tokens that are not ours, or are over.",
        Why::LimitedMail => "too many code mails to this user.",
        Why::ForeignToken => "the token is none of ours, or not of the kind that belongs here.",
        Why::OtherNetwork => "the session was used from this network for the first time.",
        Why::RepeatedElsewhere => {
            "the token before the current one was used again in time, and from a network from which the \
             session had not been used before: a copy, perhaps."
        }
        Why::TokenExpired => "the token had expired.",
        Why::UnknownSession => "the session of the token is long gone.",
        Why::SessionEnded => "the session was over, or its user was disabled.",
        Why::Reuse => "the refresh token had been traded in before; the session was ended.",
        Why::SignedOut => "its owner signed out.",
        Why::Operator => "an operator ended it.",
        Why::TooManySessions => {
            "its owner opened another one and has as many as one may have; this was the one not \
             used for longest."
        }
        Why::Created => "the user was made.",
        Why::Imported => "the user was imported.",
        Why::PasswordChanged => "the password was set anew, and the sessions ended.",
        Why::TwoFactorOff => "the second factor was switched off.",
        Why::TwoFactorEmail => "the second factor was switched on.",
        Why::Disabled => "the user was disabled, and the sessions ended.",
        Why::Enabled => "the user was enabled.",
        Why::Unlocked => "every limit and lock of the user was lifted.",
        Why::SessionsEnded => "all sessions of the user were ended.",
        Why::Deleted | Why::UserDeleted => "the user was deleted, and the sessions ended.",
        Why::FirstKeyMade => "the first signing key was made.",
        Why::KeyImported => "a key was imported.",
        Why::KeyRotated => "a new signing key was made.",
        Why::KeyActivated => "a published key was told to sign at once.",
        Why::KeyRevoked => "a signing key was revoked.",
        Why::KeysResealed => "the signing keys were sealed under another master key.",
        Why::MailSent => "the mail server took the code mail.",
        Why::MailRefused => "the mail server refused the code mail for good.",
        Why::MailExpired => "the code expired before its mail could leave.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_on_record_is_said_in_a_sentence() {
        let reasons = AuditReason::ALL.iter().copied().map(reason_sentence);
        let ends = EndReason::ALL.iter().copied().map(end_sentence);
        for sentence in reasons.chain(ends) {
            assert!(
                sentence.ends_with('.') && !sentence.contains('_'),
                "{sentence}"
            );
        }
        for scope in LimitScope::ALL {
            assert!(limit_sentence(*scope, None).ends_with('.'), "{scope:?}");
        }
    }
}
