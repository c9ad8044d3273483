//! How a person proved who they are, in the words of RFC 8176.

use super::words::words;

words! {
    /// One method; its word is a value of the claim `amr`.
    pub enum AuthenticationMethod {
        /// A password that matched the stored hash.
        Password = "pwd",
        /// A one-time code.
        OneTimeCode = "otp",
        /// A key that never leaves its device.
        HardwareKey = "hwk",
        /// A key that can be copied to other devices.
        SoftwareKey = "swk",
        /// The person was there and said so.
        UserPresence = "user",
        /// Several factors, of which none is a mailbox.
        MultiFactor = "mfa",
    }
}

/// The methods by which a session was opened. A set, so that a further method is one more variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthenticationMethods(u8);

/// A set that is more than the words which every release knows, the part of it that is stored in those words, and
/// the word of the factor that makes up for the rest.
type Stored = (AuthenticationMethods, AuthenticationMethods, &'static str);

impl AuthenticationMethods {
    /// The password alone.
    pub const PASSWORD: Self = Self(AuthenticationMethod::Password.bit());

    /// The password and a mailed code.
    pub const PASSWORD_AND_CODE: Self = Self::PASSWORD.with(AuthenticationMethod::OneTimeCode);

    /// The password and a code of an authenticator app.
    pub const PASSWORD_AND_TOTP: Self =
        Self::PASSWORD_AND_CODE.with(AuthenticationMethod::MultiFactor);

    /// A passkey of one device alone, which verified the person.
    pub const PASSKEY: Self = Self(AuthenticationMethod::HardwareKey.bit())
        .with(AuthenticationMethod::UserPresence)
        .with(AuthenticationMethod::MultiFactor);

    /// A passkey that is synchronized alone; its device verified the person.
    pub const SYNCED_PASSKEY: Self = Self(AuthenticationMethod::SoftwareKey.bit())
        .with(AuthenticationMethod::UserPresence)
        .with(AuthenticationMethod::MultiFactor);

    /// The password and a passkey of one device.
    pub const PASSWORD_AND_PASSKEY: Self = Self::PASSKEY.with(AuthenticationMethod::Password);

    /// The password and a passkey that is synchronized.
    pub const PASSWORD_AND_SYNCED_PASSKEY: Self =
        Self::SYNCED_PASSKEY.with(AuthenticationMethod::Password);

    /// The sets by which sessions are opened.
    pub const ALL: [Self; 7] = [
        Self::PASSWORD,
        Self::PASSWORD_AND_CODE,
        Self::PASSWORD_AND_TOTP,
        Self::PASSWORD_AND_PASSKEY,
        Self::PASSWORD_AND_SYNCED_PASSKEY,
        Self::PASSKEY,
        Self::SYNCED_PASSKEY,
    ];

    const STORED: [Stored; 5] = [
        (Self::PASSWORD_AND_TOTP, Self::PASSWORD_AND_CODE, "totp"),
        (Self::PASSWORD_AND_PASSKEY, Self::PASSWORD, "passkey"),
        (
            Self::PASSWORD_AND_SYNCED_PASSKEY,
            Self::PASSWORD,
            "synced_passkey",
        ),
        (Self::PASSKEY, Self::PASSWORD, "passkey_alone"),
        (Self::SYNCED_PASSKEY, Self::PASSWORD, "synced_passkey_alone"),
    ];

    /// By a passkey, after the password or alone.
    #[must_use]
    pub const fn by_passkey(is_alone: bool, is_synced: bool) -> Self {
        match (is_alone, is_synced) {
            (false, false) => Self::PASSWORD_AND_PASSKEY,
            (false, true) => Self::PASSWORD_AND_SYNCED_PASSKEY,
            (true, false) => Self::PASSKEY,
            (true, true) => Self::SYNCED_PASSKEY,
        }
    }

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

    /// Whether a challenge was confirmed after the password.
    #[must_use]
    pub fn is_confirmed(self) -> bool {
        self.contains(AuthenticationMethod::Password) && self != Self::PASSWORD
    }

    /// The word for the set where sign-ins are counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PASSWORD => "password",
            Self::PASSWORD_AND_CODE => "password_and_code",
            Self::PASSWORD_AND_TOTP => "password_and_totp",
            Self::PASSKEY | Self::SYNCED_PASSKEY => "passkey",
            _ => "password_and_passkey",
        }
    }

    /// The set as it is stored: words that every release knows, and the factor that makes it more than they
    /// say.
    #[must_use]
    pub fn stored(self) -> (Vec<String>, Option<&'static str>) {
        let mut more = Self::STORED.iter();
        match more.find(|(set, ..)| *set == self) {
            Some((_, known, factor)) => (known.amr(), Some(factor)),
            None => (self.amr(), None),
        }
    }

    /// Reads a stored set; `None` if it is empty or holds a word that another version of this program
    /// wrote. A factor of another version adds nothing.
    #[must_use]
    pub fn from_stored(amr: &[String], factor: Option<&str>) -> Option<Self> {
        let mut set = Self(0);
        for word in amr {
            set = set.with(AuthenticationMethod::from_stored(word)?);
        }
        let mut more = Self::STORED.iter();
        let more = more.find(|(_, known, word)| *known == set && Some(*word) == factor);
        let set = more.map_or(set, |(set, ..)| *set);
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
        for (is_alone, is_synced, amr) in [
            (false, false, &["pwd", "hwk", "user", "mfa"][..]),
            (false, true, &["pwd", "swk", "user", "mfa"]),
            (true, false, &["hwk", "user", "mfa"]),
            (true, true, &["swk", "user", "mfa"]),
        ] {
            let set = AuthenticationMethods::by_passkey(is_alone, is_synced);
            assert_eq!(set.amr(), amr);
            assert_eq!(set.is_confirmed(), !is_alone);
        }
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
