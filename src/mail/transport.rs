//! How mails leave: over one relay or another, or into the log.

use std::time::Duration;

use lettre::Message;
use tokio::time::Instant;

use super::Trial;
use super::content::Content;
use super::message::Mail;
use super::problem::MailProblem;
use super::relay::{Failure, NotSent, Relay};
use super::reply::{SendError, SmtpReply};
use crate::config::MailTransportConfig;

/// The way that mails leave.
pub(super) enum Transport {
    /// Over one of these relays: the first, then the fallback.
    Smtp(Vec<Relay>),
    /// Into the log, with the code: for development.
    Log,
}

impl Transport {
    /// Prepares the relays; connects to nothing yet. `domain` is the sender's. The error lists everything
    /// that is wrong.
    pub(super) fn new(
        config: &MailTransportConfig,
        domain: &str,
    ) -> Result<Self, Vec<MailProblem>> {
        let MailTransportConfig::Smtp { first, fallback } = config else {
            return Ok(Self::Log);
        };
        let first = Relay::new("mail.smtp", first, domain);
        let fallback = fallback.as_deref();
        let fallback = fallback.map(|relay| Relay::new("mail.fallback", relay, domain));
        let (mut relays, mut problems) = (Vec::new(), Vec::new());
        for relay in [Some(first), fallback].into_iter().flatten() {
            match relay {
                Ok(relay) => relays.push(relay),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            Ok(Self::Smtp(relays))
        } else {
            Err(problems)
        }
    }

    /// Sends a mail, if it is still wanted when a relay is ready for it, before `until`.
    pub(super) async fn deliver<W: Future<Output = bool>>(
        &self,
        mail: &Mail,
        content: &Content,
        message: &Message,
        until: Instant,
        is_wanted: impl Fn() -> W,
    ) -> Result<SmtpReply, SendError> {
        match self {
            Self::Smtp(relays) => offer(relays, mail, message, until, is_wanted).await,
            Self::Log => {
                // The one place where a code is printed on purpose.
                tracing::info!(target: "mail", to = mail.to.as_str(), "{}", content.text);
                Ok(SmtpReply::new(mail, "logged"))
            }
        }
    }

    /// Sends a mail over each relay, independent of the other relay, for at most `patience` each; over none
    /// if mails go to the log.
    pub(super) async fn try_each(
        &self,
        mail: &Mail,
        message: &Message,
        patience: Duration,
    ) -> Vec<Trial> {
        let relays: &[Relay] = match self {
            Self::Smtp(relays) => relays,
            Self::Log => &[],
        };
        let mut trials = Vec::new();
        for relay in relays {
            let until = Instant::now() + patience;
            let outcome = relay
                .deliver(message, until, false, || std::future::ready(true))
                .await;
            let reply = |text: &str| SmtpReply::of_relay(&relay.name, mail, text);
            trials.push(Trial {
                section: relay.section,
                hello: relay.hello.to_string(),
                outcome: match outcome {
                    Ok(text) => Ok(reply(&text)),
                    Err(NotSent::Failed(failure)) => Err((failure.fault(), reply(&failure.text))),
                    Err(NotSent::Unwanted) => continue,
                },
            });
        }
        trials
    }
}

/// Offers a mail to one relay after the other, until one takes it, may have taken it, or refuses its
/// recipient for good.
///
/// A final refusal of the recipient is as true at the next relay. That relay would refuse, too, or take the
/// mail and fail to deliver it, and nobody would learn of that. A mail that one relay may have taken would
/// arrive twice.
async fn offer<W: Future<Output = bool>>(
    relays: &[Relay],
    mail: &Mail,
    message: &Message,
    until: Instant,
    is_wanted: impl Fn() -> W,
) -> Result<SmtpReply, SendError> {
    let mut told = SmtpReply::default();
    let mut relays = in_turn(relays).peekable();
    while let Some(relay) = relays.next() {
        let has_substitute = relays.peek().is_some();
        let outcome = relay.deliver(message, until, has_substitute, &is_wanted);
        match outcome.await {
            Ok(text) => {
                if relay.breaker.close() {
                    tracing::info!(relay = relay.name, "a mail relay works again");
                }
                return Ok(SmtpReply::of_relay(&relay.name, mail, &text).after(&told));
            }
            Err(NotSent::Unwanted) => return Err(SendError::Unwanted),
            Err(NotSent::Failed(failure)) => {
                let reply = SmtpReply::of_relay(&relay.name, mail, &failure.text);
                let is_over = Instant::now() >= until;
                if !is_over {
                    note(relay, &failure, &reply);
                }
                told = reply.after(&told);
                if failure.is_open() {
                    return Err(SendError::Unclear(told));
                }
                if failure.is_about_the_address() {
                    return Err(SendError::Permanent(told));
                }
                if is_over {
                    break;
                }
            }
        }
    }
    Err(SendError::Temporary(told))
}

/// The order in which relays are tried: a relay that is known not to work comes last. It is not left out,
/// so that a mail which the other relay does not take has lost nothing.
fn in_turn(relays: &[Relay]) -> impl Iterator<Item = &Relay> {
    let (down, up): (Vec<_>, Vec<_>) = relays.iter().partition(|relay| relay.breaker.is_open());
    up.into_iter().chain(down)
}

/// Decides by a failure whether the relay is tried first from now on.
fn note(relay: &Relay, failure: &Failure, reply: &SmtpReply) {
    if failure.is_of_the_relay() {
        if relay.breaker.open() {
            tracing::warn!(section = relay.section, %reply, "a mail relay does not work");
        }
    } else {
        // The relay answered, even if it refused.
        relay.breaker.close();
    }
}
