//! The one place where a reason becomes a status.
//!
//! Each match is exhaustive and has no `_` arm. A new reason does not compile until it is decided here
//! how much the caller may learn of it. The reason itself goes into the log alone. The conversions
//! only convert: the access log counts refusals.

use super::problem::{Code, FieldError, Problem};
use crate::admin::{self, ActError, UserError};
use crate::auth::{
    AdministrationError, AuthenticateError, ChangePasswordError, ConfirmError, EndSessionError,
    FactorsError, ForgotError, Limited, LinkError, PasskeySigninError, RefreshError,
    RevocationsError, SigninError, SignoutError,
};
use crate::domain::{AdministrationRefusal, ChallengeRefusal, WeakPassword};
use crate::password::HashingError;
use crate::store::StoreError;
use crate::token::{InvalidToken, MissingKey};

impl From<SigninError> for Problem {
    fn from(error: SigninError) -> Self {
        match error {
            // One answer for all: a stranger must not learn which addresses have an account.
            SigninError::Refused(refusal) => {
                Self::new(Code::InvalidCredentials).because(refusal.as_str())
            }
            SigninError::Limited(limited) => limited.into(),
            SigninError::Hashing(error) => error.into(),
            SigninError::Store(error) => error.into(),
            SigninError::MissingKey(error) => error.into(),
        }
    }
}

impl From<ChangePasswordError> for Problem {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            ChangePasswordError::Authenticate(error) => error.into(),
            ChangePasswordError::Weak(weak) => weak.into(),
            // One answer for all: it says no more than that nothing was changed.
            ChangePasswordError::Refused(refusal) => {
                Self::new(Code::WrongPassword).because(refusal.as_str())
            }
            ChangePasswordError::Limited(limited) => limited.into(),
            ChangePasswordError::Hashing(error) => error.into(),
            ChangePasswordError::Store(error) => error.into(),
        }
    }
}

impl From<WeakPassword> for Problem {
    fn from(weak: WeakPassword) -> Self {
        bad_field("newPassword", &weak.to_string())
    }
}

impl From<FactorsError> for Problem {
    fn from(error: FactorsError) -> Self {
        match error {
            FactorsError::Authenticate(error) => error.into(),
            FactorsError::NotFresh(max_age) => {
                Self::reauthentication_required(max_age).because("session not fresh")
            }
            FactorsError::Refused(refusal) => refusal.into(),
            FactorsError::NotEnrolled => Self::new(Code::NotFound).because("no such factor"),
            FactorsError::PasskeyRequestOver => {
                bad_field("token", "is not of this session, or too old")
            }
            FactorsError::PasskeyRefused(invalid) => {
                bad_field("credential", "does not verify").because(invalid)
            }
            FactorsError::PasskeyKnown => Code::PasskeyKnown.into(),
            FactorsError::TooManyPasskeys => Code::TooManyPasskeys.into(),
            FactorsError::Limited(limited) => limited.into(),
            FactorsError::Store(error) => error.into(),
        }
    }
}

fn bad_field(field: &'static str, message: &str) -> Problem {
    let message = message.to_owned();
    Problem::invalid(vec![FieldError { field, message }])
}

impl From<PasskeySigninError> for Problem {
    fn from(error: PasskeySigninError) -> Self {
        match error {
            // One answer for all: a stranger must not learn which passkeys are known, or whose are.
            PasskeySigninError::Refused(refusal) => {
                Self::new(Code::InvalidPasskey).because(refusal.as_str())
            }
            PasskeySigninError::Limited(limited) => limited.into(),
            PasskeySigninError::Store(error) => error.into(),
            PasskeySigninError::MissingKey(error) => error.into(),
        }
    }
}

impl From<HashingError> for Problem {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Overloaded { retry_after } => {
                Self::new(Code::Overloaded).retry_after(retry_after)
            }
            HashingError::OutOfMemory | HashingError::TooLarge { .. } => {
                Self::new(Code::Overloaded).because(error)
            }
            HashingError::Failed => Self::internal(error),
        }
    }
}

impl From<ForgotError> for Problem {
    fn from(error: ForgotError) -> Self {
        match error {
            ForgotError::Limited(limited) => limited.into(),
            ForgotError::Store(error) => error.into(),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            // One answer for all: a caller must not learn which links there were.
            LinkError::Refused(refusal) => Self::new(Code::InvalidLink).because(refusal.as_str()),
            LinkError::Limited(limited) => limited.into(),
            LinkError::Weak(weak) => weak.into(),
            LinkError::Hashing(error) => error.into(),
            LinkError::Store(error) => error.into(),
        }
    }
}

impl From<ConfirmError> for Problem {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::Refused(refusal) => refusal.into(),
            ConfirmError::Limited(limited) => limited.into(),
            ConfirmError::Store(error) => error.into(),
            ConfirmError::MissingKey(error) => error.into(),
        }
    }
}

/// One answer for all: a guess must not tell a challenge that ended from a wrong code.
impl From<ChallengeRefusal> for Problem {
    fn from(refusal: ChallengeRefusal) -> Self {
        Self::new(Code::InvalidTwoFactor).because(match refusal {
            ChallengeRefusal::Unknown => "unknown challenge",
            ChallengeRefusal::Ended => "challenge used or expired",
            ChallengeRefusal::Exhausted => "challenge exhausted",
            ChallengeRefusal::SecondFactorLocked => "second factor locked",
            ChallengeRefusal::WrongCode => "wrong code",
            ChallengeRefusal::CodeReused => "code used before",
            ChallengeRefusal::UnknownPasskey => "not a passkey of the user",
            ChallengeRefusal::PasskeyRefused => "passkey refused",
            ChallengeRefusal::ChangedMeanwhile => "user or challenge changed meanwhile",
        })
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        let refused = || Self::new(Code::InvalidRefreshToken);
        match error {
            // One answer for all: a caller must not learn which sessions exist.
            RefreshError::Invalid(reason) => refused().because(reason),
            RefreshError::Unknown => refused().because("unknown session"),
            RefreshError::SessionEnded => refused().because("session over"),
            RefreshError::Reused => refused().because("token reused, session ended"),
            RefreshError::Limited(limited) => limited.into(),
            RefreshError::Store(error) => error.into(),
            RefreshError::MissingKey(error) => error.into(),
        }
    }
}

impl From<SignoutError> for Problem {
    fn from(error: SignoutError) -> Self {
        match error {
            SignoutError::Invalid(reason) => reason.into(),
            SignoutError::SessionEnded => {
                Self::new(Code::InvalidAccessToken).because("session over")
            }
            SignoutError::Store(error) => error.into(),
        }
    }
}

impl From<AuthenticateError> for Problem {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Invalid(reason) => reason.into(),
            AuthenticateError::SessionEnded => {
                Self::new(Code::InvalidAccessToken).because("session over")
            }
            AuthenticateError::NoLegacyOwner => {
                Self::new(Code::InvalidAccessToken).because("no owner who takes legacy tokens")
            }
            AuthenticateError::Store(error) => error.into(),
        }
    }
}

impl From<EndSessionError> for Problem {
    fn from(error: EndSessionError) -> Self {
        match error {
            EndSessionError::Authenticate(error) => error.into(),
            // One answer for "not yours", "not there" and "over": ids of others are not confirmed.
            EndSessionError::NotFound => Self::new(Code::NotFound).because("no such live session"),
            EndSessionError::Store(error) => error.into(),
        }
    }
}

impl From<RevocationsError> for Problem {
    fn from(error: RevocationsError) -> Self {
        match error {
            RevocationsError::TooManyWaiting => {
                Self::new(Code::Overloaded).because("too many wait for a session to end")
            }
            RevocationsError::Store(error) => error.into(),
        }
    }
}

impl From<AdministrationError> for Problem {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::Authenticate(error) => error.into(),
            AdministrationError::Refused { refusal, max_age } => {
                let problem = match refusal {
                    AdministrationRefusal::NotAdministrator
                    | AdministrationRefusal::OnAdministrator => Self::new(Code::Forbidden),
                    AdministrationRefusal::NoStrongFactor => Self::new(Code::SecondFactorRequired),
                    AdministrationRefusal::WithoutFactor | AdministrationRefusal::NotFresh => {
                        Self::reauthentication_required(max_age)
                    }
                    AdministrationRefusal::UnknownUser => Self::new(Code::NotFound),
                    AdministrationRefusal::AddressTaken => Self::new(Code::AddressTaken),
                    // The answer to an act comes from its `MailLinkError`, which knows the wait.
                    AdministrationRefusal::TooManyLinks => Self::new(Code::TooManyAttempts),
                };
                problem.because(refusal.as_str())
            }
            AdministrationError::Limited(limited) => limited.into(),
            AdministrationError::Store(error) => error.into(),
        }
    }
}

impl From<ActError> for Problem {
    fn from(error: ActError) -> Self {
        match error {
            ActError::NotAdmitted(error) => error.into(),
            ActError::NotDone(error) => error.into(),
        }
    }
}

impl From<admin::MailLinkError> for Problem {
    fn from(error: admin::MailLinkError) -> Self {
        match error {
            admin::MailLinkError::Off => Self::new(Code::NotFound).because("there are no links"),
            admin::MailLinkError::Disabled => Code::UserDisabled.into(),
            admin::MailLinkError::HasPassword => Code::AddressTaken.into(),
            admin::MailLinkError::TooMany { retry_after } => Self::too_many_links(retry_after)
                .because(AdministrationRefusal::TooManyLinks.as_str()),
            admin::MailLinkError::User(error) => error.into(),
        }
    }
}

impl From<UserError> for Problem {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown | UserError::UnknownSession => {
                Self::new(Code::NotFound).because(error)
            }
            UserError::AddressTaken | UserError::NumberTaken => Code::AddressTaken.into(),
            UserError::Weak(weak) => weak.into(),
            UserError::Hashing(error) => error.into(),
            UserError::Refused(refusal) => Self::new(Code::Forbidden).because(refusal.as_str()),
            UserError::SessionEnded => AuthenticateError::SessionEnded.into(),
            UserError::Store(error) => error.into(),
        }
    }
}

/// An access token that is not valid. Refresh tokens are refused by `RefreshError::Invalid`.
impl From<InvalidToken> for Problem {
    fn from(reason: InvalidToken) -> Self {
        Self::new(Code::InvalidAccessToken).because(reason)
    }
}

impl From<Limited> for Problem {
    fn from(limited: Limited) -> Self {
        Self::too_many_attempts(limited.retry_after)
            .by_limit(limited.reason.limit())
            .because(limited.reason.as_str())
    }
}

/// Never a 401 because the database cannot be reached: nothing was decided about the credentials.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_unavailable() {
            Self::new(Code::Unavailable).because(error)
        } else {
            Self::internal(error)
        }
    }
}

/// The session was opened under a key that this instance has not loaded yet. It will in a moment.
impl From<MissingKey> for Problem {
    fn from(error: MissingKey) -> Self {
        Self::new(Code::Unavailable).because(error)
    }
}
