//! What each kind of mail needs of its templates: their names, and the variables that they may use.

use std::collections::BTreeMap;

use minijinja::context;
use minijinja::value::Value;

use super::language::in_words;
use super::message::{Mail, MailBody};
use crate::domain::{EmailAddress, Language, MailKind, Timestamp};

/// A part of a mail that has a template of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Subject,
    Text,
    Html,
}

impl Part {
    /// All parts, in the order of [`texts`](super::language::texts).
    pub(super) const ALL: [Self; 3] = [Self::Subject, Self::Text, Self::Html];
}

/// A template, by what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TemplateId {
    pub(super) kind: MailKind,
    pub(super) part: Part,
}

impl TemplateId {
    /// All templates.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (MailKind::ALL.iter()).flat_map(|kind| Part::ALL.map(|part| Self { kind: *kind, part }))
    }

    /// The template in a file of this name.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        Self::all().find(|id| id.file() == name)
    }

    /// The name of its file. The ending `.html` switches escaping on.
    pub(super) fn file(self) -> &'static str {
        match (self.kind, self.part) {
            (MailKind::SignInCode, Part::Subject) => "code.subject.txt",
            (MailKind::SignInCode, Part::Text) => "code.txt",
            (MailKind::SignInCode, Part::Html) => "code.html",
        }
    }

    /// The values that the template may use. A subject gets no secret, because it is shown on locked
    /// screens.
    pub(super) fn values(self, language: Language, mail: &Mail) -> Value {
        let public = public_values(language, mail);
        if self.part == Part::Subject {
            return public;
        }
        let secrets = mail.body.secrets().into_iter();
        let secrets: BTreeMap<_, _> = secrets
            .map(|(name, text)| (name, Value::from(text)))
            .collect();
        context! { ..Value::from(secrets), ..public }
    }
}

fn public_values(language: Language, mail: &Mail) -> Value {
    match &mail.body {
        MailBody::SignInCode(body) => context! {
            requested_at => in_words(language, mail.requested_at),
            network => body.network.to_string(),
            expires_at => in_words(language, body.expires_at),
        },
    }
}

/// The mail that the templates of a kind are tried with.
pub(super) fn sample(kind: MailKind) -> Mail {
    let to = "somebody@example.com".parse::<EmailAddress>();
    Mail::sample(kind, to.expect("it is an address"), Timestamp::UNIX_EPOCH)
}
