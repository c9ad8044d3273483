//! The sentences of `explain`: one for each reason, limit, state and obstacle there is. No match has a
//! `_` arm, so that a new one asks for its words at compile time.

use super::output;
use crate::admin::{MailState, Obstacle};
use crate::domain::{
    AdministrationRefusal, AuditKind, AuditReason, ChallengeRefusal, ClientNetwork, EndReason,
    KeyChange, LimitReached, LimitScope, LinkOutcome, LinkUse, MailKind, MailOutcome, NewNetwork,
    Overload, PasskeyRefusal, SigninGrant, SigninRefusal, TokenRefusal, UserChange,
};

/// The sentence for an obstacle, with advice for the operator.
pub(super) fn obstacle_text(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::NoUser => "Nobody has this address. `user create` makes a user.".to_owned(),
        Obstacle::Disabled { since } => format!(
            "An operator disabled the user on {}. `user enable` lets them in again.",
            output::instant(*since)
        ),
        Obstacle::NoPassword => {
            "The user has no password. `user link` mails a link to set one, `user password` sets one."
                .to_owned()
        }
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
        Obstacle::MailStuck(state) => mail_sentence(MailKind::SignInCode.as_str(), *state),
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

/// The sentence for a limit that refuses now.
fn limit_sentence(scope: LimitScope, network: Option<ClientNetwork>) -> String {
    let from = match network {
        Some(network) => format!("from {network}"),
        None => "from a network that is not among these events".to_owned(),
    };
    match scope {
        LimitScope::Account => {
            "Changes by this user to their own account are refused after too many; `user unlock` lifts \
             it."
                .to_owned()
        }
        LimitScope::Administration => {
            "Acts of this administrator on others are refused after too many; `user unlock` lifts it."
                .to_owned()
        }
        LimitScope::Signin => format!(
            "Sign-ins to this address {from} are blocked after too many attempts; `user unlock` \
             lifts it."
        ),
        LimitScope::SigninNetwork => {
            format!("Sign-ins {from} are refused for every account: there were too many.")
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
        LimitScope::Forgot => format!(
            "Requests for a link to this address {from} are blocked after too many; `user unlock` lifts it."
        ),
        LimitScope::ForgotNetwork => {
            format!("Requests for links {from} are refused for every address: there were too many.")
        }
        LimitScope::LinkMail => {
            "No more links are mailed to this address, there were too many; `user unlock` lifts it."
                .to_owned()
        }
        LimitScope::LinkUnknown => {
            format!("Links {from} that are not good are blocked: too many.")
        }
    }
}

/// The sentence for the state of a mail, of the kind with this word.
pub(super) fn mail_sentence(kind: &str, state: MailState) -> String {
    let (mail, over) = match MailKind::from_stored(kind) {
        Some(MailKind::SignInCode) => ("code mail", "its code"),
        Some(MailKind::ResetLink) => ("mail with a link", "its link"),
        Some(MailKind::InvitationLink) => ("invitation", "its link"),
        Some(MailKind::Notice) => ("notice of a change", "its time"),
        None => ("mail", "its time"),
    };
    match state {
        MailState::Waiting => format!("The {mail} could not be handed to the mail server yet."),
        MailState::Sent => format!("The mail server took the {mail}."),
        MailState::Unclear => {
            format!("The mail server was given the {mail} and has not said whether it took it.")
        }
        MailState::Refused => format!("The mail server refused the {mail} for good."),
        MailState::Expired => {
            format!("The {mail} was given up: {over} was over before it could leave.")
        }
    }
}

/// The sentence for the end of a session.
pub(super) fn end_sentence(reason: EndReason) -> &'static str {
    match reason {
        EndReason::SignedOut => "its owner signed out.",
        EndReason::Reuse => {
            "a refresh token came that had been traded in before: somebody has a copy, or a client \
             kept an old one."
        }
        EndReason::UserDisabled => "an operator disabled the user.",
        EndReason::PasswordChanged => "the password was changed.",
        EndReason::AddressChanged => "an operator changed the address.",
        EndReason::FactorsChanged => "a second factor or the recovery codes changed.",
        EndReason::UserDeleted => "an operator deleted the user.",
        EndReason::Operator => "an operator ended it.",
        EndReason::KeyRevoked => "the key that signed its tokens was revoked.",
        EndReason::TooManySessions => {
            "its owner opened another one and has as many as one may have; this was the one not \
             used for longest."
        }
    }
}

/// The title of an event.
pub(super) fn kind_name(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Signin => "Sign-in",
        AuditKind::Confirm => "Code",
        AuditKind::Refresh => "Refresh",
        AuditKind::Signout => "Sign-out",
        AuditKind::SessionEnded => "Session ended",
        AuditKind::Account => "Own account",
        AuditKind::UserChanged => "User changed",
        AuditKind::Administration => "Administrator",
        AuditKind::KeysChanged => "Keys changed",
        AuditKind::Link => "Link",
        AuditKind::Mail => "Mail",
        AuditKind::Refusals => "Refusals",
    }
}

/// The sentence for a reason in the audit log.
pub(super) fn reason_sentence(reason: AuditReason) -> &'static str {
    match reason {
        AuditReason::Granted(grant) => grant_sentence(grant),
        AuditReason::Signin(refusal) => signin_sentence(refusal),
        AuditReason::Challenge(refusal) => challenge_sentence(refusal),
        AuditReason::Passkey(refusal) => passkey_sentence(refusal),
        AuditReason::LinkRequest(outcome) => link_outcome_sentence(outcome),
        AuditReason::LinkUse(use_of_link) => link_use_sentence(use_of_link),
        AuditReason::Token(refusal) => token_sentence(refusal),
        AuditReason::Network(network) => network_sentence(network),
        AuditReason::Limited(limit) => limited_sentence(limit),
        AuditReason::Overload(Overload::Overloaded) => {
            "more sign-ins came at once than the server can check."
        }
        AuditReason::Overload(Overload::LeftOut) => "too many came at once to write each down.",
        AuditReason::User(change) => user_sentence(change),
        AuditReason::Administration(refusal) => administration_sentence(refusal),
        AuditReason::Keys(change) => keys_sentence(change),
        AuditReason::Mail(outcome) => outcome_sentence(outcome),
        AuditReason::Ended(EndReason::UserDeleted) => user_sentence(UserChange::Deleted),
        AuditReason::Ended(reason) => end_sentence(reason),
    }
}

fn administration_sentence(refusal: AdministrationRefusal) -> &'static str {
    match refusal {
        AdministrationRefusal::NotAdministrator => "the caller is no administrator.",
        AdministrationRefusal::NoStrongFactor => {
            "the administrator has neither an authenticator app nor a passkey."
        }
        AdministrationRefusal::WithoutFactor => {
            "the administrator had signed in without the authenticator app or passkey."
        }
        AdministrationRefusal::NotFresh => "the administrator had signed in too long ago to act.",
        AdministrationRefusal::OnAdministrator => "it was meant for an administrator.",
        AdministrationRefusal::UnknownUser => {
            "there is no such user, or no such session of theirs."
        }
        AdministrationRefusal::AddressTaken => "somebody has the address already.",
        AdministrationRefusal::TooManyLinks => {
            "so many links were mailed to the address recently that no more are."
        }
    }
}

fn grant_sentence(grant: SigninGrant) -> &'static str {
    match grant {
        SigninGrant::SessionOpened => "a session was opened.",
        SigninGrant::Challenged => "the password was right, and a code goes out by mail.",
        SigninGrant::ChallengedWithoutMail => {
            "the password was right, but no more codes are mailed now."
        }
        SigninGrant::ChallengedForTotp => {
            "the password was right, and the authenticator app's code is asked for."
        }
        SigninGrant::ChallengedForPasskey => "the password was right, and a passkey is asked for.",
        SigninGrant::PasskeyCounter => {
            "a passkey was used whose counter did not go up: there may be a copy of it."
        }
        SigninGrant::RecoveryCodeUsed => "a recovery code was used.",
    }
}

fn signin_sentence(refusal: SigninRefusal) -> &'static str {
    match refusal {
        SigninRefusal::UnknownAddress => "nobody has this address.",
        SigninRefusal::WrongPassword => "the password was wrong.",
        SigninRefusal::UserDisabled => "the user was disabled.",
        SigninRefusal::NoPassword => "the user has no password.",
        SigninRefusal::ChangedMeanwhile => {
            "user, password or challenge changed in that very moment."
        }
    }
}

fn challenge_sentence(refusal: ChallengeRefusal) -> &'static str {
    match refusal {
        ChallengeRefusal::Unknown => "the 2FA token is none of ours, or is long gone.",
        ChallengeRefusal::Ended => "the 2FA token had expired or had been used.",
        ChallengeRefusal::Exhausted => "too many codes were tried with this 2FA token.",
        ChallengeRefusal::SecondFactorLocked => {
            "the second factor is locked: too many wrong codes in a row."
        }
        ChallengeRefusal::WrongCode => "the code was wrong.",
        ChallengeRefusal::CodeReused => "the authenticator app's code had been used before.",
        ChallengeRefusal::UnknownPasskey => passkey_sentence(PasskeyRefusal::UnknownPasskey),
        ChallengeRefusal::PasskeyRefused => passkey_sentence(PasskeyRefusal::PasskeyRefused),
        ChallengeRefusal::ChangedMeanwhile => signin_sentence(SigninRefusal::ChangedMeanwhile),
    }
}

fn passkey_sentence(refusal: PasskeyRefusal) -> &'static str {
    match refusal {
        PasskeyRefusal::RequestUnknown => "the passkey answered to no request of ours.",
        PasskeyRefusal::RequestOver => "the passkey came too late, or a second time.",
        PasskeyRefusal::UnknownPasskey => "nobody here has this passkey.",
        PasskeyRefusal::PasskeyRefused => "the passkey did not prove what it was asked for.",
        PasskeyRefusal::NotAlone => {
            "the passkey is good after a password alone: it never verified its owner."
        }
        PasskeyRefusal::UserDisabled => signin_sentence(SigninRefusal::UserDisabled),
        PasskeyRefusal::ChangedMeanwhile => signin_sentence(SigninRefusal::ChangedMeanwhile),
    }
}

fn link_outcome_sentence(outcome: LinkOutcome) -> &'static str {
    match outcome {
        LinkOutcome::Mailed => "a link to set a password goes out by mail.",
        LinkOutcome::NotMailed => "no more links are mailed to this address now.",
        LinkOutcome::UnknownAddress => signin_sentence(SigninRefusal::UnknownAddress),
        LinkOutcome::UserDisabled => signin_sentence(SigninRefusal::UserDisabled),
    }
}

fn link_use_sentence(use_of_link: LinkUse) -> &'static str {
    match use_of_link {
        LinkUse::PasswordSet => "the password was set by a mailed link, and the sessions ended.",
        LinkUse::Unknown => "the link is none of ours, or is long gone.",
        LinkUse::Over => {
            "the link had been used or had expired, or the password changed or the user was disabled \
             since it was mailed."
        }
        LinkUse::WeakPassword => "the password was too weak; the link stays good.",
    }
}

fn token_sentence(refusal: TokenRefusal) -> &'static str {
    match refusal {
        TokenRefusal::Foreign => "the token is none of ours, or not of the kind that belongs here.",
        TokenRefusal::Expired => "the token had expired.",
        TokenRefusal::UnknownSession => "the session of the token is long gone.",
        TokenRefusal::SessionEnded => "the session was over, or its user was disabled.",
        TokenRefusal::Reuse => {
            "the refresh token had been traded in before; the session was ended."
        }
        TokenRefusal::NotFresh => "the sign-in was too long ago for this.",
    }
}

fn network_sentence(network: NewNetwork) -> &'static str {
    match network {
        NewNetwork::Current => "the session was used from this network for the first time.",
        NewNetwork::Repeated => {
            "the token before the current one was used again in time, and from a network from which the \
             session had not been used before: a copy, perhaps."
        }
    }
}

fn limited_sentence(limit: LimitReached) -> &'static str {
    match limit {
        LimitReached::Account => "too many changes by this user to their own account.",
        LimitReached::Administration => "too many acts of this administrator on others.",
        LimitReached::Signin => "too many sign-ins to this address from this network.",
        LimitReached::SigninNetwork => {
            "too many sign-ins from this network, to all accounts together."
        }
        LimitReached::SigninFailures => {
            "too many failed sign-ins to this address, and this was not its owner's right password from a \
             network that they are known from."
        }
        LimitReached::Confirm => "too many codes were tried by this user.",
        LimitReached::ConfirmUnknown => "too many 2FA tokens that are not ours, from this network.",
        LimitReached::Refresh => "too many refreshes of this session.",
        LimitReached::RefreshUnknown => "too many refresh tokens that are not ours, or are over.",
        LimitReached::Mail => "too many code mails to this user.",
        LimitReached::Forgot => "too many requests for a link to this address from this network.",
        LimitReached::ForgotNetwork => "too many requests for links from this network.",
        LimitReached::LinkMail => "too many mails with links to this address.",
        LimitReached::LinkUnknown => "too many links that are not good, from this network.",
    }
}

fn user_sentence(change: UserChange) -> &'static str {
    match change {
        UserChange::Created => "the user was made.",
        UserChange::Invited => "the user was made, to set a password by a mailed link.",
        UserChange::Imported => "the user was imported.",
        UserChange::PasswordChanged => {
            "the password was changed; the sessions ended, but for the one that changed it."
        }
        UserChange::TwoFactorOff => "the second factor was switched off.",
        UserChange::TwoFactorEmail => "the second factor was switched on.",
        UserChange::AddressChanged => "the address was changed, and the sessions ended.",
        UserChange::TotpEnrolled => {
            "an authenticator app was enrolled, and the other sessions ended."
        }
        UserChange::TotpRemoved => {
            "the authenticator app was removed, and the other sessions ended."
        }
        UserChange::PasskeyAdded => "a passkey was added, and the other sessions ended.",
        UserChange::PasskeyRemoved => "a passkey was removed, and the other sessions ended.",
        UserChange::RecoveryCodesMade => {
            "new recovery codes were made, and the other sessions ended."
        }
        UserChange::FactorsReset => "all second factors were removed, and the sessions ended.",
        UserChange::AdministratorMade => "the user was made an administrator.",
        UserChange::AdministratorUnmade => "the user is no administrator any more.",
        UserChange::OneSessionEnded => "one session of the user was ended.",
        UserChange::Disabled => "the user was disabled, and the sessions ended.",
        UserChange::Enabled => "the user was enabled.",
        UserChange::Unlocked => "every limit and lock of the user was lifted.",
        UserChange::SessionsEnded => "all sessions of the user were ended.",
        UserChange::Deleted => "the user was deleted, and the sessions ended.",
    }
}

fn keys_sentence(change: KeyChange) -> &'static str {
    match change {
        KeyChange::FirstMade => "the first signing key was made.",
        KeyChange::Imported => "a key was imported.",
        KeyChange::Rotated => "a new signing key was made.",
        KeyChange::Activated => "a published key was told to sign at once.",
        KeyChange::Revoked => "a signing key was revoked.",
        KeyChange::Resealed => "the signing keys were sealed under another master key.",
    }
}

fn outcome_sentence(outcome: MailOutcome) -> &'static str {
    match outcome {
        MailOutcome::Sent => "the mail server took the mail.",
        MailOutcome::Notified => "the mail server took the notice of a change.",
        MailOutcome::Refused => "the mail server refused the mail for good.",
        MailOutcome::Expired => "the time of the mail was over before it could leave.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_be_on_record_is_said_in_a_sentence() {
        let reasons = AuditReason::all().map(reason_sentence);
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
