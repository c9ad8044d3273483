//! The reasons of events and refusals, in one vocabulary.
//!
//! A reason is of a group, and each group is an enum with the words that are stored: [`AuditReason`] is
//! any of them. A use case that refuses for reasons of one group says so in its error. Where two groups
//! have the same word, it means the same in both.

use super::words::words;
use super::{AdministrationRefusal, LimitScope};

words! {
    /// The ways in which a sign-in is granted.
    pub enum SigninGrant {
        /// The password, or the code after it, was right.
        SessionOpened = "session_opened",
        /// The password was right, and a code is on its way.
        Challenged = "challenged",
        /// The password was right, but so many codes were mailed recently that this one was not.
        ChallengedWithoutMail = "challenged_without_mail",
        /// The password was right, and a code of the authenticator app is asked for.
        ChallengedForTotp = "challenged_for_totp",
        /// The password was right, and a passkey is asked for.
        ChallengedForPasskey = "challenged_for_passkey",
        /// A passkey was right whose counter did not go up: there may be a copy of it.
        PasskeyCounter = "passkey_counter",
        /// A recovery code was right, and is used up.
        RecoveryCodeUsed = "recovery_code_used",
    }
}

words! {
    /// Why a sign-in was refused, when the answer to the client is that it was.
    pub enum SigninRefusal {
        /// Nobody has the address.
        UnknownAddress = "unknown_address",
        /// The password is wrong.
        WrongPassword = "wrong_password",
        /// An operator has disabled the user.
        UserDisabled = "user_disabled",
        /// The user has no password to sign in with.
        NoPassword = "no_password",
        /// The user was disabled or the password changed while it was being checked.
        ChangedMeanwhile = "changed_meanwhile",
    }
}

words! {
    /// Why a code was refused.
    pub enum ChallengeRefusal {
        /// There is no such challenge, or the text that was sent is no challenge's id.
        Unknown = "unknown_challenge",
        /// The challenge was used or has expired.
        Ended = "challenge_over",
        /// The challenge has had all its guesses.
        Exhausted = "challenge_exhausted",
        /// The account has had all its wrong codes; an operator must unlock it.
        SecondFactorLocked = "second_factor_locked",
        /// The code is wrong.
        WrongCode = "wrong_code",
        /// The code of the authenticator app was right, and has been used before.
        CodeReused = "code_reused",
        /// The user has no such passkey.
        UnknownPasskey = "unknown_passkey",
        /// The passkey did not prove what it was asked for.
        PasskeyRefused = "passkey_refused",
        /// The user was disabled or the password changed since the challenge was made, or another
        /// request used it in this very moment.
        ChangedMeanwhile = "changed_meanwhile",
    }
}

words! {
    /// Why a passkey was refused that was to be added, or to sign in alone.
    pub enum PasskeyRefusal {
        /// It was asked for by nobody, or for something else.
        RequestUnknown = "passkey_request_unknown",
        /// It was asked for too long ago, or came before.
        RequestOver = "passkey_request_over",
        /// Nobody has it.
        UnknownPasskey = "unknown_passkey",
        /// It did not prove what it was asked for.
        PasskeyRefused = "passkey_refused",
        /// It was never seen to verify its owner, so it does not replace a password.
        NotAlone = "passkey_not_alone",
        /// An operator has disabled the user.
        UserDisabled = "user_disabled",
        /// The user was disabled, or how they prove themselves changed, in this very moment.
        ChangedMeanwhile = "changed_meanwhile",
    }
}

words! {
    /// The outcome of a request for a link.
    pub enum LinkOutcome {
        /// It goes out by mail.
        Mailed = "link_mailed",
        /// So many links were mailed to the account recently that this one was not.
        NotMailed = "link_not_mailed",
        /// Nobody has the address.
        UnknownAddress = "unknown_address",
        /// An operator has disabled the user.
        UserDisabled = "user_disabled",
    }
}

words! {
    /// The outcome of a link that came back.
    pub enum LinkUse {
        /// A password was set by it.
        PasswordSet = "password_set",
        /// It is none of ours, or is long gone.
        Unknown = "link_unknown",
        /// It was used or has expired, or the password changed or the user was disabled since it was made.
        Over = "link_over",
        /// The password that was to be set breaks the rules. The link stays good.
        WeakPassword = "weak_password",
    }
}

words! {
    /// Why a token was refused.
    pub enum TokenRefusal {
        /// It is no such token of ours.
        Foreign = "foreign_token",
        /// It has expired.
        Expired = "token_expired",
        /// Its session is not stored any more.
        UnknownSession = "unknown_session",
        /// Its session has ended or expired, or its user is disabled.
        SessionEnded = "session_over",
        /// An old refresh token was used; the session was ended.
        Reuse = "reuse",
        /// Its session was opened too long ago for what was asked.
        NotFresh = "not_fresh",
    }
}

words! {
    /// A session was used from a network from which it had not been used before.
    pub enum NewNetwork {
        /// With its current token.
        Current = "other_network",
        /// With the token before the current one, within its grace.
        Repeated = "repeated_elsewhere",
    }
}

words! {
    /// Why a session ended.
    pub enum EndReason {
        /// Its owner signed out, or ended it from a list of sessions.
        SignedOut = "signed_out",
        /// An old refresh token was used: somebody has a copy.
        Reuse = "reuse",
        /// An operator disabled the user.
        UserDisabled = "user_disabled",
        /// The user or an operator set another password, or a mailed link did.
        PasswordChanged = "password_changed",
        /// The user's address changed.
        AddressChanged = "address_changed",
        /// A second factor was added or removed, or the recovery codes replaced.
        FactorsChanged = "factors_changed",
        /// An operator deleted the user.
        UserDeleted = "user_deleted",
        /// An operator ended it.
        Operator = "operator",
        /// The key that signed its tokens was revoked.
        KeyRevoked = "key_revoked",
        /// Its user opened another one, and it was the one not used for longest.
        TooManySessions = "too_many_sessions",
    }
}

words! {
    /// A change to a user, by an operator or by themselves.
    pub enum UserChange {
        /// The user was made.
        Created = "created",
        /// The user was made without a password, to set one by a mailed link.
        Invited = "invited",
        /// The user was imported.
        Imported = "imported",
        /// The password was set.
        PasswordChanged = "password_changed",
        /// The second factor was switched off.
        TwoFactorOff = "two_factor_off",
        /// The second factor was switched on.
        TwoFactorEmail = "two_factor_email",
        /// The address was changed.
        AddressChanged = "address_changed",
        /// An authenticator app was enrolled.
        TotpEnrolled = "totp_enrolled",
        /// The authenticator app was removed, with the recovery codes.
        TotpRemoved = "totp_removed",
        /// A passkey was added.
        PasskeyAdded = "passkey_added",
        /// A passkey was removed.
        PasskeyRemoved = "passkey_removed",
        /// New recovery codes were made, and the former ones are void.
        RecoveryCodesMade = "recovery_codes_made",
        /// All second factors but the mailed code were removed.
        FactorsReset = "factors_reset",
        /// The user was made an administrator.
        AdministratorMade = "administrator_made",
        /// The user is no administrator any more.
        AdministratorUnmade = "administrator_unmade",
        /// One session of the user was ended.
        OneSessionEnded = "one_session_ended",
        /// The user was disabled.
        Disabled = "disabled",
        /// The user was enabled.
        Enabled = "enabled",
        /// All limits of the user were lifted.
        Unlocked = "unlocked",
        /// The user's sessions were ended.
        SessionsEnded = "sessions_ended",
        /// The user was deleted.
        Deleted = "deleted",
    }
}

words! {
    /// A change to the signing keys by an operator or by the server.
    pub enum KeyChange {
        /// The first key was made.
        FirstMade = "first_key_made",
        /// A key was imported.
        Imported = "key_imported",
        /// A key was made to follow the one before.
        Rotated = "key_rotated",
        /// A published key was told to sign at once.
        Activated = "key_activated",
        /// A key was revoked.
        Revoked = "key_revoked",
        /// The private keys were sealed under another master key.
        Resealed = "keys_resealed",
    }
}

words! {
    /// The outcome of a mail.
    pub enum MailOutcome {
        /// The mail server took it.
        Sent = "mail_sent",
        /// The mail server took a notice.
        Notified = "notified",
        /// The mail server refused it for good.
        Refused = "mail_refused",
        /// Nobody wanted it any more before it could leave.
        Expired = "mail_expired",
    }
}

words! {
    /// Which limit is reached.
    pub enum LimitReached {
        /// Changes that the user made to their own account.
        Account = "limited_account",
        /// Acts of an administrator.
        Administration = "limited_administration",
        /// Sign-ins to the address from the network.
        Signin = "limited_signin",
        /// Sign-ins from the network.
        SigninNetwork = "limited_signin_network",
        /// Failed sign-ins to the address.
        SigninFailures = "limited_signin_failures",
        /// Codes tried by the user.
        Confirm = "limited_confirm",
        /// Unknown challenges from the network.
        ConfirmUnknown = "limited_confirm_unknown",
        /// Refreshes of the session. It is counted in the session's row, so it is no [`LimitScope`].
        Refresh = "limited_refresh",
        /// Refreshes with tokens that are not ours, from the network.
        RefreshUnknown = "limited_refresh_unknown",
        /// Code mails to the user.
        Mail = "limited_mail",
        /// Requests for a link to the address from the network.
        Forgot = "limited_forgot",
        /// Requests for links from the network.
        ForgotNetwork = "limited_forgot_network",
        /// Mails with links to the address.
        LinkMail = "limited_link_mail",
        /// Links that are not good, from the network.
        LinkUnknown = "limited_link_unknown",
    }
}

impl LimitReached {
    /// The limit's own name, for metrics.
    #[must_use]
    pub fn limit(self) -> &'static str {
        let word = self.as_str();
        word.strip_prefix("limited_").unwrap_or(word)
    }
}

impl From<LimitScope> for LimitReached {
    fn from(scope: LimitScope) -> Self {
        match scope {
            LimitScope::Account => Self::Account,
            LimitScope::Administration => Self::Administration,
            LimitScope::Signin => Self::Signin,
            LimitScope::SigninNetwork => Self::SigninNetwork,
            LimitScope::SigninFailures => Self::SigninFailures,
            LimitScope::Confirm => Self::Confirm,
            LimitScope::ConfirmUnknown => Self::ConfirmUnknown,
            LimitScope::RefreshUnknown => Self::RefreshUnknown,
            LimitScope::Mail => Self::Mail,
            LimitScope::Forgot => Self::Forgot,
            LimitScope::ForgotNetwork => Self::ForgotNetwork,
            LimitScope::LinkMail => Self::LinkMail,
            LimitScope::LinkUnknown => Self::LinkUnknown,
        }
    }
}

words! {
    /// The effects of too many requests at once.
    pub enum Overload {
        /// More sign-ins came at once than passwords can be checked.
        Overloaded = "overloaded",
        /// There was no room to write each event down.
        LeftOut = "left_out",
    }
}

/// Makes an enum whose variants are groups of reasons, and the ways between it and them.
macro_rules! groups {
    (
        $(#[$about:meta])*
        pub enum $name:ident {
            $( $(#[$variant_about:meta])* $variant:ident($group:ty), )+
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$variant_about])* $variant($group), )+
        }

        impl $name {
            /// All there are, in the order of their declaration.
            pub fn all() -> impl Iterator<Item = Self> {
                let none = std::iter::empty();
                $( let none = none.chain(<$group>::ALL.iter().copied().map(Self::$variant)); )+
                none
            }

            /// The word that is stored.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant(reason) => reason.as_str(), )+
                }
            }
        }

        $(
            impl From<$group> for $name {
                fn from(reason: $group) -> Self {
                    Self::$variant(reason)
                }
            }
        )+
    };
}

groups! {
    /// The reason for an outcome, or its exact kind. `explain` has a sentence for each.
    pub enum AuditReason {
        /// A sign-in was granted.
        Granted(SigninGrant),
        /// A sign-in was refused.
        Signin(SigninRefusal),
        /// A code was refused.
        Challenge(ChallengeRefusal),
        /// A passkey was refused.
        Passkey(PasskeyRefusal),
        /// A link was asked for.
        LinkRequest(LinkOutcome),
        /// A link came back.
        LinkUse(LinkUse),
        /// A token was refused.
        Token(TokenRefusal),
        /// A session was used from a new network.
        Network(NewNetwork),
        /// A limit is reached.
        Limited(LimitReached),
        /// Too much came at once.
        Overload(Overload),
        /// A user was changed.
        User(UserChange),
        /// An administrator was refused.
        Administration(AdministrationRefusal),
        /// The signing keys changed.
        Keys(KeyChange),
        /// A mail left, or was given up.
        Mail(MailOutcome),
        /// A session ended, for this reason.
        Ended(EndReason),
    }
}

impl AuditReason {
    /// Reads a stored word; `None` for one that another version of this program wrote.
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        Self::all().find(|known| known.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_reads_back_as_its_word() {
        for reason in AuditReason::all() {
            let read = AuditReason::from_stored(reason.as_str());
            assert_eq!(read.map(AuditReason::as_str), Some(reason.as_str()));
        }
        assert_eq!(AuditReason::from_stored("of_a_later_version"), None);
    }

    #[test]
    fn words_that_two_groups_share_are_these() {
        let mut words: Vec<_> = AuditReason::all().map(AuditReason::as_str).collect();
        words.sort_unstable();
        let shared = words.windows(2).filter(|pair| pair[0] == pair[1]);
        let shared: Vec<_> = shared.map(|pair| pair[0]).collect();
        let known = [
            "address_changed",
            "changed_meanwhile",
            "changed_meanwhile",
            "key_revoked",
            "not_fresh",
            "passkey_refused",
            "password_changed",
            "reuse",
            "unknown_address",
            "unknown_passkey",
            "user_disabled",
            "user_disabled",
            "user_disabled",
        ];
        assert_eq!(shared, known);
    }

    #[test]
    fn each_limit_has_its_scope_in_its_word() {
        for scope in LimitScope::ALL {
            assert_eq!(LimitReached::from(*scope).limit(), scope.as_str());
        }
    }
}
