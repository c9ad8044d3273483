//! The kinds of mails.

use super::words::words;

words! {
    /// The subject of a mail. The kind decides its templates, and when nobody wants the mail any more.
    pub enum MailKind {
        /// The code that confirms a sign-in.
        SignInCode = "sign_in_code",
        /// A link to set another password, for a person who forgot theirs.
        ResetLink = "reset_link",
        /// A link to set the first password.
        InvitationLink = "invitation_link",
        /// A notice that something changed about how a person proves themselves.
        Notice = "notice",
    }
}

words! {
    /// The change that a notice tells of.
    pub enum Notice {
        /// The password was changed, by its owner or by an operator.
        PasswordChanged = "password_changed",
        /// The password was set by a mailed link.
        PasswordSet = "password_set",
        /// The address was changed. Both the old and the new one are told.
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
        /// A recovery code confirmed a sign-in.
        RecoveryCodeUsed = "recovery_code_used",
        /// An operator removed all second factors but the mailed code.
        FactorsReset = "factors_reset",
    }
}

impl Notice {
    /// Whether the recipient can undo it by a link to set another password.
    #[must_use]
    pub fn is_about_the_password(self) -> bool {
        match self {
            Self::PasswordChanged | Self::PasswordSet => true,
            Self::AddressChanged
            | Self::TotpEnrolled
            | Self::TotpRemoved
            | Self::PasskeyAdded
            | Self::PasskeyRemoved
            | Self::RecoveryCodesMade
            | Self::RecoveryCodeUsed
            | Self::FactorsReset => false,
        }
    }
}
