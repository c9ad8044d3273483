//! The mail with the code: what it says and how it leaves.
//!
//! A mail tells its reader which sign-in it is about, so that a code that was not asked for is
//! recognised as such, and nothing that the request brought along: its headers are a stranger's
//! words. The code stands in the body and nowhere else; it is in no log, but for the transport
//! that exists to show it ([`MailTransportConfig::Log`]).
//!
//! Whoever sends decides when to try again: a [`SendError`] says whether that can help. Two
//! attempts at the same challenge are the same message, byte for byte, so that a mail server that
//! got both can tell.

mod message;
mod reply;
mod transport;

use lettre::Address;
use lettre::message::Mailbox;

use crate::config::{MailConfig, MailTransportConfig};
use message::Templates;
use transport::{Refusal, Relay, Transport};

pub use message::CodeMail;
pub use reply::{SendError, SmtpReply};

/// Sends mails, from one sender over one transport.
pub struct Mailer {
    from: Mailbox,
    templates: Templates,
    transport: Transport,
}

/// Why no mail could be sent with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum MailConfigError {
    /// The sender is not an address that mail can come from.
    #[error("mail.from: must be `Name <address>` or an address alone, in ASCII")]
    From,
    /// TLS cannot be set up.
    #[error("mail.smtp.tls: cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// A template cannot be read.
    #[error("a mail template cannot be read")]
    Template(#[from] minijinja::Error),
}

impl Mailer {
    /// Checks the configuration; connects to nothing yet.
    pub fn new(config: &MailConfig) -> Result<Self, MailConfigError> {
        let transport = match &config.transport {
            MailTransportConfig::Smtp(smtp) => {
                Transport::Smtp(Relay::new(smtp).map_err(MailConfigError::Tls)?)
            }
            MailTransportConfig::Log => Transport::Log,
        };
        Ok(Self {
            from: parse_sender(&config.from)?,
            templates: Templates::embedded()?,
            transport,
        })
    }

    /// Sends a mail and tells what the relay said to it, within 20 seconds.
    ///
    /// Dropping the future is safe at any point; the relay may have taken the mail all the same.
    pub async fn send(&self, mail: &CodeMail) -> Result<SmtpReply, SendError> {
        let outcome = self.try_send(mail).await;
        outcome
            .map(|text| SmtpReply::to(mail, &text))
            .map_err(|refusal| match refusal {
                Refusal::Temporary(text) => SendError::Temporary(SmtpReply::to(mail, &text)),
                Refusal::Permanent(text) => SendError::Permanent(SmtpReply::to(mail, &text)),
            })
    }

    async fn try_send(&self, mail: &CodeMail) -> Result<String, Refusal> {
        // SMTP is narrower than our canonical form: a local part has at most 64 bytes, say.
        let to: Address = (mail.to.as_str().parse())
            .map_err(|_| Refusal::Permanent("not an address that mail can go to".to_owned()))?;
        let content =
            (self.templates.render(mail)).map_err(|error| Refusal::Permanent(error.to_string()))?;
        let message = (mail.compose(self.from.clone(), to, &content))
            .map_err(|error| Refusal::Permanent(error.to_string()))?;
        self.transport.deliver(mail, &content, &message).await
    }
}

/// Reads `mail.from`. A sender outside ASCII would need SMTPUTF8 on every server on the way.
fn parse_sender(text: &str) -> Result<Mailbox, MailConfigError> {
    let sender: Mailbox = text.parse().map_err(|_| MailConfigError::From)?;
    let is_plain = text.chars().all(|c| !c.is_control()) && sender.email.to_string().is_ascii();
    is_plain.then_some(sender).ok_or(MailConfigError::From)
}

#[cfg(test)]
mod tests;
