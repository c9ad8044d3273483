//! A person as an export tells of them, and the user that they become here. No message about a person
//! repeats a value of the file: it could be a hash.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::config::PasswordsConfig;
use crate::domain::{EmailAddress, PasswordHash, TwoFactor, UserId};
use crate::password::read_foreign;
use crate::store::NewUser;

/// The highest number that every reader of JSON takes in exactly (RFC 8259, section 6).
pub(super) const MAX_NUMBER: i64 = (1 << 53) - 1;

/// The content of a file in one place: a line, or an element of an array.
#[derive(Debug)]
pub(super) struct Record {
    /// The line or the element, from 1.
    pub(super) number: usize,
    pub(super) person: Result<Person, Refusal>,
}

/// A person, unchecked.
#[derive(Debug, Default)]
pub(super) struct Person {
    pub(super) id: Option<UserId>,
    pub(super) email: Option<String>,
    /// `None`: they have no password.
    pub(super) hash: Option<PasswordHash>,
    /// `None`: the file does not say.
    pub(super) two_factor: Option<TwoFactor>,
    pub(super) is_disabled: bool,
}

/// Why somebody cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    /// Something is wrong with the record: the field and the reason.
    Flaw(String),
    SameAddress(usize),
    SameNumber(usize),
    AddressTaken,
    NumberTaken,
}

impl Refusal {
    /// The reason; `unit` is the word for a record of this file.
    pub(super) fn told(&self, unit: &str) -> String {
        match self {
            Self::Flaw(text) => text.clone(),
            Self::SameAddress(number) => format!("email: the same address as in {unit} {number}"),
            Self::SameNumber(number) => format!("id: the same number as in {unit} {number}"),
            Self::AddressTaken => "email: a user with this address exists already".to_owned(),
            Self::NumberTaken => "id: a user with this number exists already".to_owned(),
        }
    }

    /// The reason without what is particular to one record, to count by.
    pub(super) fn in_general(&self, unit: &str) -> String {
        match self {
            Self::SameAddress(_) => format!("email: the same address as in an earlier {unit}"),
            Self::SameNumber(_) => format!("id: the same number as in an earlier {unit}"),
            other => other.told(unit),
        }
    }
}

impl From<String> for Refusal {
    fn from(text: String) -> Self {
        Self::Flaw(text)
    }
}

impl From<&str> for Refusal {
    fn from(text: &str) -> Self {
        Self::Flaw(text.to_owned())
    }
}

/// The rules that hold for all people of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) passwords: PasswordsConfig,
    /// For users of whom the file does not say it.
    pub(super) two_factor: TwoFactor,
    /// Whether people leave their numbers behind.
    pub(super) gives_new_numbers: bool,
}

impl Rules {
    /// The user that becomes of a person.
    pub(super) fn apply(&self, person: Person) -> Result<NewUser, Refusal> {
        let email = person.email.ok_or("email: missing")?;
        let hash = person.hash.as_ref();
        let hash = hash.map(|hash| read_foreign(hash.expose(), &self.passwords));
        let hash = hash.transpose();
        Ok(NewUser {
            user_id: person.id.filter(|_| !self.gives_new_numbers),
            email: email.parse().map_err(|error| format!("email: {error}"))?,
            password_hash: hash
                .map_err(|error| format!("passwordHash: {error}"))?
                .flatten(),
            two_factor: person.two_factor.unwrap_or(self.two_factor),
            is_disabled: person.is_disabled,
        })
    }
}

/// Which records the addresses and numbers of a file stand in. A file may be large, so of an address it keeps
/// a hash alone: two of a million addresses have the same one less than once in ten million imports.
#[derive(Default)]
pub(super) struct Seen {
    hasher: RandomState,
    emails: HashMap<u64, usize>,
    ids: HashMap<i64, usize>,
}

impl Seen {
    /// Refuses a user whose address or number came before.
    pub(super) fn check(&mut self, number: usize, user: &NewUser) -> Result<(), Refusal> {
        if let Some(&other) = self.emails.get(&self.hash(&user.email)) {
            return Err(Refusal::SameAddress(other));
        }
        if let Some(id) = user.user_id {
            if let Some(&other) = self.ids.get(&id.0) {
                return Err(Refusal::SameNumber(other));
            }
            self.ids.insert(id.0, number);
        }
        self.emails.insert(self.hash(&user.email), number);
        Ok(())
    }

    fn hash(&self, email: &EmailAddress) -> u64 {
        self.hasher.hash_one(email)
    }
}

/// The number of a person in another service. A number that is none here, such as a UUID, stays behind.
pub(super) fn number(text: &str) -> Option<UserId> {
    let number = text.parse().ok();
    number
        .filter(|id| (1..=MAX_NUMBER).contains(id))
        .map(UserId)
}

/// The address of a person, or else the name under which they signed in, if that is one.
pub(super) fn address(email: Option<String>, name: Option<String>) -> Option<String> {
    let given = |text: &String| !text.is_empty();
    email
        .filter(given)
        .or_else(|| name.filter(|name| name.contains('@')))
}

/// The hash of a person; nothing if the text is empty.
pub(super) fn hash(text: Option<String>) -> Option<PasswordHash> {
    text.filter(|text| !text.is_empty()).map(PasswordHash::new)
}
