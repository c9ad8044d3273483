//! The mail with the code: what it says and how it leaves.
//!
//! A mail tells its reader which sign-in it is about, so that a code that was not asked for is
//! recognised as such, and nothing that the request brought along: its headers are a stranger's
//! words. The code stands in the body and nowhere else; it is in no log, but for the transport
//! that exists to show it ([`MailTransportConfig::Log`](crate::config::MailTransportConfig::Log)).
//!
//! Whoever sends decides when to try again: a [`SendError`] says whether that can help, and whether
//! the mail may have left all the same. Two attempts at the same challenge are the same message, byte
//! for byte, so that a mail server that got both can tell.

mod breaker;
mod language;
mod message;
mod relay;
mod reply;
mod template;
mod transport;

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::{Address, Message};
use tokio::time::Instant;

use crate::config::MailConfig;
use crate::domain::{EmailAddress, Timestamp};
use template::{Content, Templates};
use transport::Transport;

pub use message::CodeMail;
pub use relay::Fault;
pub use reply::{SendError, SmtpReply};

/// For each relay and a test mail: longer than somebody at a terminal wants to wait for a code.
const TRIAL: Duration = Duration::from_mins(1);

/// Sends mails, from one sender over one transport.
pub struct Mailer {
    from: Mailbox,
    templates: Templates,
    transport: Transport,
}

/// What is wrong with a configuration by which no mail can be sent, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct MailConfigError(Vec<MailProblem>);

/// One thing that is wrong, with the key that it hangs on.
#[derive(Debug, thiserror::Error)]
pub enum MailProblem {
    /// The sender is not an address that mail can come from.
    #[error("mail.from: must be `Name <address>` or an address alone, in ASCII")]
    From,
    /// The authority's certificates cannot be used.
    #[error("{section}.ca_file: names {path:?}, which {told}")]
    CaFile {
        /// Where the relay is described.
        section: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        told: String,
    },
    /// TLS cannot be set up.
    #[error("{section}.tls: cannot be set up: {told}")]
    Tls {
        /// Where the relay is described.
        section: &'static str,
        /// Why not.
        told: String,
    },
    /// The folder with templates cannot be read.
    #[error("mail.templates_dir: {folder:?} cannot be read: {told}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        told: String,
    },
    /// A template cannot be used.
    #[error("mail.templates_dir: {file}: {told}")]
    Template {
        /// Its name.
        file: String,
        /// What is wrong with it.
        told: String,
    },
}

/// What a relay said to a test mail.
#[derive(Debug)]
pub struct Trial {
    /// The section of the configuration that describes the relay.
    pub section: &'static str,
    /// The name by which it was greeted.
    pub hello: String,
    /// Its word, and if it did not take the mail, what that is about.
    pub outcome: Result<SmtpReply, (Fault, SmtpReply)>,
}

impl Mailer {
    /// Checks the configuration, the templates and the certificates that it names; connects to
    /// nothing yet. The error tells all that is wrong.
    pub fn new(config: &MailConfig) -> Result<Self, MailConfigError> {
        let mut problems = Vec::new();
        let from = parse_sender(&config.from).map_err(|problem| problems.push(problem));
        let domain = from.as_ref().map_or("", |from| from.email.domain());
        let transport = Transport::new(&config.transport, domain);
        let transport = transport.map_err(|wrong| problems.extend(wrong));
        let templates = match &config.templates_dir {
            Some(folder) => Templates::in_folder(config.language, folder),
            None => Ok(Templates::built_in(config.language)),
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

    /// Sends a mail and tells what the relay said to it.
    ///
    /// No relay gets the mail after `until`, when its code is over, or once `is_wanted` says no;
    /// that is asked when a relay is ready for the mail, and after a yes the mail may arrive unless a
    /// relay says that it will not. By `until` this is over, but for a farewell.
    ///
    /// Dropping the future is safe at any point; the relay may have taken the mail all the same.
    pub async fn send<W: Future<Output = bool>>(
        &self,
        mail: &CodeMail,
        until: Instant,
        is_wanted: impl Fn() -> W,
    ) -> Result<SmtpReply, SendError> {
        let (content, message) = (self.compose(mail, ""))
            .map_err(|told| SendError::Permanent(SmtpReply::new(mail, &told)))?;
        self.transport
            .deliver(mail, &content, &message, until, is_wanted)
            .await
    }

    /// Sends a mail like any other, but marked as a test and with a code that opens nothing, over
    /// each relay; to the sender itself if nobody is named. Tells what each said; nothing if mails
    /// go to the log. The error says why there is no such mail.
    pub async fn try_relays(
        &self,
        to: Option<EmailAddress>,
        now: Timestamp,
    ) -> Result<Vec<Trial>, String> {
        let itself = || self.from.email.to_string().parse::<EmailAddress>();
        let to = to
            .map_or_else(itself, Ok)
            .map_err(|error| error.to_string())?;
        let mail = CodeMail::sample(to, now);
        let (_, message) = self.compose(&mail, "Test: ")?;
        Ok(self.transport.try_each(&mail, &message, TRIAL).await)
    }

    /// Puts a mail into words, and the words into an envelope.
    fn compose(&self, mail: &CodeMail, mark: &str) -> Result<(Content, Message), String> {
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

fn lines(problems: &[MailProblem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests;
