//! Mails: their content, by kind, and how they leave.
//!
//! A mail tells when its event happened and from which network, so that its reader recognises an event that
//! they did not cause. It repeats nothing that the request brought along, because a request's headers are a
//! stranger's words. A code or link stands in the body and nowhere else. It is in no log, except with the
//! transport that exists to show it
//! ([`MailTransportConfig::Log`](crate::config::MailTransportConfig::Log)).
//!
//! The caller decides when to try again: a [`SendError`] says whether that can help, and whether the mail
//! may have left all the same. Two attempts at the same mail are the same message, byte for byte, so that
//! a mail server that got both can tell.
//!
//! A new kind of mail is a variant of [`MailKind`] and of [`MailBody`], three
//! template names with their variables (`kind.rs`), and the texts in each language.

mod breaker;
mod content;
mod installation;
mod kind;
mod language;
mod message;
mod problem;
mod relay;
mod reply;
mod template;
mod transport;

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{Address, Message};
use tokio::time::Instant;

use crate::config::{LinksConfig, MailConfig};
use crate::domain::{EmailAddress, MailKind, Timestamp};
use content::Content;
use installation::Installation;
use template::Templates;
use transport::Transport;

pub use message::{ChangeNotice, Mail, MailBody, PasswordLink, SignInCode};
pub use problem::{MailConfigError, MailProblem};
pub use relay::Fault;
pub use reply::{SendError, SmtpReply};

/// Each relay has this long to take a test mail: longer than a person at a terminal waits for a code.
const TRIAL: Duration = Duration::from_mins(1);

/// Sends mails, from one sender over one transport.
pub struct Mailer {
    from: Mailbox,
    templates: Templates,
    transport: Transport,
}

/// The answer of a relay to a test mail.
#[derive(Debug)]
pub struct Trial {
    /// The section of the configuration that describes the relay.
    pub section: &'static str,
    /// The name by which it was greeted.
    pub hello: String,
    /// Its reply, and the fault if it did not take the mail.
    pub outcome: Result<SmtpReply, (Fault, SmtpReply)>,
}

impl Mailer {
    /// Checks the configuration, the templates and the certificates that it names; connects to
    /// nothing yet. The error lists everything that is wrong.
    pub fn new(config: &MailConfig, links: &LinksConfig) -> Result<Self, MailConfigError> {
        let mut problems = Vec::new();
        let from = parse_sender(&config.from).map_err(|problem| problems.push(problem));
        let domain = from.as_ref().map_or("", |from| from.email.domain());
        let transport = Transport::new(&config.transport, domain);
        let transport = transport.map_err(|wrong| problems.extend(wrong));
        let installation = Installation::new(config, links);
        let templates = match &config.templates_dir {
            Some(folder) => Templates::in_folder(installation, folder),
            None => Ok(Templates::built_in(installation)),
        };
        let templates = templates.map_err(|wrong| problems.extend(wrong));
        match (from, templates, transport) {
            (Ok(from), Ok(templates), Ok(transport)) => Ok(Self {
                from,
                templates,
                transport,
            }),
            _ => Err(MailConfigError(problems)),
        }
    }

    /// Sends a mail and returns what the relay said to it.
    ///
    /// No relay gets the mail after `until`, when it expires, or once `is_wanted` says no. That is asked
    /// when a relay is ready for the mail; after a yes the mail may arrive unless a relay says that it
    /// will not. By `until` this has returned, except for closing the connection.
    ///
    /// Dropping the future is safe at any point; the relay may have taken the mail all the same.
    pub async fn send<W: Future<Output = bool>>(
        &self,
        mail: &Mail,
        until: Instant,
        is_wanted: impl Fn() -> W,
    ) -> Result<SmtpReply, SendError> {
        let (content, message) = (self.compose(mail, ""))
            .map_err(|told| SendError::Permanent(SmtpReply::new(mail, &told)))?;
        self.transport
            .deliver(mail, &content, &message, until, is_wanted)
            .await
    }

    /// Sends a mail with a code over each relay, marked as a test and with a code that opens nothing; to
    /// the sender itself if no address is given. Returns what each relay said, and nothing if mails go
    /// to the log. The error says why there is no such mail.
    pub async fn try_relays(
        &self,
        to: Option<EmailAddress>,
        now: Timestamp,
    ) -> Result<Vec<Trial>, String> {
        let itself = || self.from.email.to_string().parse::<EmailAddress>();
        let to = to
            .map_or_else(itself, Ok)
            .map_err(|error| error.to_string())?;
        let mail = Mail::sample(MailKind::SignInCode, to, now);
        let (_, message) = self.compose(&mail, "Test: ")?;
        Ok(self.transport.try_each(&mail, &message, TRIAL).await)
    }

    /// Puts a mail into words, and the words into an envelope.
    fn compose(&self, mail: &Mail, mark: &str) -> Result<(Content, Message), String> {
        // SMTP is narrower than our canonical form: a local part has at most 64 bytes, say.
        let to: Address = (mail.to.as_str().parse())
            .map_err(|_| "not an address that mail can go to".to_owned())?;
        let mut content = self
            .templates
            .render(mail)
            .map_err(|error| error.to_string())?;
        content.subject.insert_str(0, mark);
        let message = mail.compose(self.from.clone(), to, &content);
        Ok((content, message.map_err(|error| error.to_string())?))
    }
}

/// Reads `mail.from`. A sender outside ASCII would need SMTPUTF8 on every server on the way.
fn parse_sender(text: &str) -> Result<Mailbox, MailProblem> {
    let sender: Mailbox = text.parse().map_err(|_| MailProblem::From)?;
    let is_plain = text.chars().all(|c| !c.is_control()) && sender.email.to_string().is_ascii();
    is_plain.then_some(sender).ok_or(MailProblem::From)
}

#[cfg(test)]
mod tests;
