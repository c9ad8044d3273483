//! The templates of each kind of mail: their names, and the variables that they may use.

use std::collections::BTreeMap;

use minijinja::context;
use minijinja::value::Value;

use super::installation::Installation;
use super::language::{event, in_words};
use super::message::{Mail, MailBody};
use crate::domain::{ClientNetwork, EmailAddress, MailKind, Timestamp};

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
            (MailKind::ResetLink, Part::Subject) => "link.subject.txt",
            (MailKind::ResetLink, Part::Text) => "link.txt",
            (MailKind::ResetLink, Part::Html) => "link.html",
            (MailKind::InvitationLink, Part::Subject) => "invitation.subject.txt",
            (MailKind::InvitationLink, Part::Text) => "invitation.txt",
            (MailKind::InvitationLink, Part::Html) => "invitation.html",
            (MailKind::Notice, Part::Subject) => "notice.subject.txt",
            (MailKind::Notice, Part::Text) => "notice.txt",
            (MailKind::Notice, Part::Html) => "notice.html",
        }
    }

    /// The values that the template may use. A subject gets no secret, because it is shown on locked
    /// screens.
    pub(super) fn values(self, installation: &Installation, mail: &Mail) -> Value {
        let public = public_values(installation, mail);
        if self.part == Part::Subject {
            return public;
        }
        let secrets = mail.body.secrets().into_iter();
        // Nothing in them means anything in HTML: digits, and a URL of plain signs.
        let secrets: BTreeMap<_, _> = secrets
            .map(|(name, text)| (name, Value::from_safe_string(text.to_owned())))
            .collect();
        context! { ..Value::from(secrets), ..public }
    }
}

fn public_values(installation: &Installation, mail: &Mail) -> Value {
    let (language, contact) = (installation.language, &installation.contact);
    let at = in_words(language, mail.requested_at);
    match &mail.body {
        MailBody::SignInCode(body) => context! {
            requested_at => at,
            network => body.network.to_string(),
            expires_at => in_words(language, body.expires_at),
            self_service => installation.is_self_service,
        },
        MailBody::Link(body) => context! {
            requested_at => at,
            network => name(body.network),
            expires_at => in_words(language, body.expires_at),
            contact,
        },
        MailBody::Notice(body) => context! {
            event => event(language, body.notice),
            happened_at => at,
            network => name(body.network),
            self_service => installation.is_self_service && body.notice.is_about_the_password(),
            contact,
        },
    }
}

/// The name of a network; empty if there is none.
fn name(network: Option<ClientNetwork>) -> String {
    network.map_or_else(String::new, |network| network.to_string())
}

/// The mail that the templates of a kind are tried with.
pub(super) fn sample(kind: MailKind) -> Mail {
    let to = "somebody@example.com".parse::<EmailAddress>();
    Mail::sample(kind, to.expect("it is an address"), Timestamp::UNIX_EPOCH)
}
