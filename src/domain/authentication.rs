//! How a person proved who they are, in the words of RFC 8176.

use super::words::words;

words! {
    /// One method; its word is a value of the claim `amr`.
    pub enum AuthenticationMethod {
        /// A password.
        Password = "pwd",
        /// A one-time code.
        OneTimeCode = "otp",
        /// Several factors, of which none is a mailbox.
        MultiFactor = "mfa",
    }
}

/// The factor of a session that an authenticator app confirmed, where it is stored.
const TOTP: &str = "totp";

/// The methods by which a session was opened. A set, so that a further method is one more variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationMethods(u8);

impl AuthenticationMethods {
    /// The password alone.
    pub const PASSWORD: Self = Self(AuthenticationMethod::Password.bit());

    /// The password and a mailed code.
    pub const PASSWORD_AND_CODE: Self = Self::PASSWORD.with(AuthenticationMethod::OneTimeCode);

    /// The password and a code of an authenticator app.
    pub const PASSWORD_AND_TOTP: Self =
        Self::PASSWORD_AND_CODE.with(AuthenticationMethod::MultiFactor);

    /// The sets by which sessions are opened.
    pub const ALL: [Self; 3] = [
        Self::PASSWORD,
        Self::PASSWORD_AND_CODE,
        Self::PASSWORD_AND_TOTP,
    ];

    /// This set and one method more.
    #[must_use]
    pub const fn with(self, method: AuthenticationMethod) -> Self {
        Self(self.0 | method.bit())
    }

    /// Whether the person used this method.
    #[must_use]
    pub const fn contains(self, method: AuthenticationMethod) -> bool {
        self.0 & method.bit() != 0
    }

    /// The claim `amr`.
    #[must_use]
    pub fn amr(self) -> Vec<String> {
        let methods = AuthenticationMethod::ALL.iter().copied();
        methods
            .filter(|method| self.contains(*method))
            .map(|method| method.as_str().to_owned())
            .collect()
    }

    /// The word for the set where sign-ins are counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        if self.contains(AuthenticationMethod::MultiFactor) {
            "password_and_totp"
        } else if self.contains(AuthenticationMethod::OneTimeCode) {
            "password_and_code"
        } else {
            "password"
        }
    }

    /// The set as it is stored: words that every release knows, and the factor that makes it more than they
    /// say.
    #[must_use]
    pub fn stored(self) -> (Vec<String>, Option<&'static str>) {
        let has_totp = self.contains(AuthenticationMethod::MultiFactor);
        let known = Self(self.0 & !AuthenticationMethod::MultiFactor.bit());
        (known.amr(), has_totp.then_some(TOTP))
    }

    /// Reads a stored set; `None` if it is empty or holds a word that another version of this program
    /// wrote. A factor of another version adds nothing.
    #[must_use]
    pub fn from_stored(amr: &[String], factor: Option<&str>) -> Option<Self> {
        let mut set = Self(0);
        for word in amr {
            set = set.with(AuthenticationMethod::from_stored(word)?);
        }
        if factor == Some(TOTP) {
            set = set.with(AuthenticationMethod::MultiFactor);
        }
        (!amr.is_empty()).then_some(set)
    }
}

impl AuthenticationMethod {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_methods_is_read_back_as_it_was_stored() {
        for set in AuthenticationMethods::ALL {
            let (amr, factor) = set.stored();
            assert_eq!(AuthenticationMethods::from_stored(&amr, factor), Some(set));
            let known = amr
                .iter()
                .all(|word| matches!(word.as_str(), "pwd" | "otp"));
            assert!(known, "the release before reads {amr:?}");
        }
        assert_eq!(AuthenticationMethods::PASSWORD.amr(), ["pwd"]);
        assert_eq!(
            AuthenticationMethods::PASSWORD_AND_CODE.amr(),
            ["pwd", "otp"]
        );
        assert_eq!(
            AuthenticationMethods::PASSWORD_AND_TOTP.amr(),
            ["pwd", "otp", "mfa"]
        );
    }

    #[test]
    fn a_set_with_an_unknown_method_or_without_any_is_not_read() {
        for amr in [&[] as &[&str], &["fax"], &["pwd", "fax"]] {
            let amr: Vec<_> = amr.iter().map(ToString::to_string).collect();
            assert_eq!(
                AuthenticationMethods::from_stored(&amr, None),
                None,
                "{amr:?}"
            );
        }
    }
}
