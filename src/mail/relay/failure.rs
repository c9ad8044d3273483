//! How far an attempt at a mail came, and the meaning of its failure.

use lettre::transport::smtp::Error;
use lettre::transport::smtp::response::Severity;

/// How far an attempt at a mail came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Connecting, up to the end of the greetings and of the TLS handshake.
    Connecting,
    /// Signing in to the relay.
    SigningIn,
    /// Naming the sender.
    Sender,
    /// Naming the recipient.
    Recipient,
    /// Asking to hand over the mail.
    Content,
    /// Waiting for the relay to say that it has the mail.
    LastWord,
}

/// The subject of a failure, for the operator who has to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no conversation: the network, TLS, a wrong host or port.
    Connection,
    /// The name and password by which we sign in to the relay.
    Credentials,
    /// The address that the mail is from.
    Sender,
    /// The address that the mail goes to.
    Address,
    /// Us, or something at the relay; neither sender nor recipient.
    Refusal,
    /// Nothing that lasts: the relay asks to come again.
    Moment,
    /// The relay has the mail and does not say whether it takes it.
    Silence,
}

/// Why a relay did not take a mail.
#[derive(Debug)]
pub(in crate::mail) struct Failure {
    stage: Stage,
    /// The kind of answer; `None` if there was no answer.
    severity: Option<Severity>,
    /// The answer, or a description of the error if there was no answer.
    pub(in crate::mail) text: String,
}

/// Why a mail was not handed over.
#[derive(Debug)]
pub(in crate::mail) enum NotSent {
    /// The relay did not take it.
    Failed(Failure),
    /// Nobody can use it any more.
    Unwanted,
}

impl Failure {
    pub(super) fn new(stage: Stage, error: &Error) -> Self {
        Self {
            stage,
            severity: error.status().map(|code| code.severity),
            text: describe(error),
        }
    }

    /// A relay that gave no answer, or none that can be understood.
    pub(super) fn silence(stage: Stage, text: String) -> Self {
        Self {
            stage,
            severity: None,
            text,
        }
    }

    pub(super) fn is_silence(&self) -> bool {
        self.severity.is_none()
    }

    /// Whether the relay refused this recipient for good: no relay would fare better, now or later.
    ///
    /// Only the enhanced code says so. A bare 550 is as often about us ("relay not permitted") as
    /// about a mailbox, and a relay may refuse its client only when the recipient is named.
    pub(in crate::mail) fn is_about_the_address(&self) -> bool {
        self.stage >= Stage::Recipient
            && self.severity == Some(Severity::PermanentNegativeCompletion)
            && ABOUT_THE_ADDRESS.contains(&enhanced_code(&self.text))
    }

    /// Whether the mail may arrive all the same: the relay had all of it, and did not refuse it.
    pub(in crate::mail) fn is_open(&self) -> bool {
        self.stage == Stage::LastWord && self.severity.is_none()
    }

    /// Whether the relay does not work, or does not want us: the next mail would fare the same.
    pub(in crate::mail) fn is_of_the_relay(&self) -> bool {
        match self.severity {
            Some(Severity::TransientNegativeCompletion) => self.stage < Stage::Recipient,
            _ => !self.is_about_the_address(),
        }
    }

    /// The fault that an operator is told of.
    pub(in crate::mail) fn fault(&self) -> Fault {
        match (self.severity, self.stage) {
            (Some(Severity::TransientNegativeCompletion), _) => Fault::Moment,
            (None, Stage::Connecting) => Fault::Connection,
            (None, Stage::LastWord) => Fault::Silence,
            (_, Stage::SigningIn) => Fault::Credentials,
            (Some(_), Stage::Sender) => Fault::Sender,
            _ if self.is_about_the_address() => Fault::Address,
            _ => Fault::Refusal,
        }
    }
}

/// The enhanced codes of RFC 3463 that say something final about a recipient: no such mailbox, system or
/// syntax, moved without a new address, a null MX, disabled.
const ABOUT_THE_ADDRESS: [&str; 6] = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"];

/// The enhanced code of a reply (RFC 2034), such as `5.1.1`; some other word where there is none.
fn enhanced_code(reply: &str) -> &str {
    reply.split_ascii_whitespace().nth(1).unwrap_or_default()
}

impl From<Failure> for NotSent {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// `451 4.3.0 try later`, or what went wrong where there was no reply.
fn describe(error: &Error) -> String {
    use std::error::Error as _;
    match (error.status(), error.source()) {
        (Some(code), Some(text)) => format!("{code} {text}"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Severity::{PermanentNegativeCompletion as No, TransientNegativeCompletion as NotNow};

    fn failure(stage: Stage, severity: Option<Severity>, text: &str) -> Failure {
        Failure {
            stage,
            severity,
            text: text.to_owned(),
        }
    }

    #[test]
    fn only_an_enhanced_code_makes_a_refusal_one_of_the_address() {
        for (said, is_about_the_address) in [
            ("550 5.1.1 no such user", true),
            ("550 5.1.2 no such host", true),
            ("553 5.1.3 bad address", true),
            ("551 5.1.6 has moved", true),
            ("556 5.1.10 null MX", true),
            ("550 5.2.1 disabled", true),
            ("504 5.5.2 <vm>: Helo command rejected", false),
            ("554 5.7.1 Relay access denied", false),
            ("550 5.4.5 Daily user sending limit exceeded", false),
            ("552 5.2.2 mailbox full", false),
            ("550 5.1.11 something new", false),
            ("550 5.1.8 your domain", false),
            ("550 relay not permitted", false),
            ("550", false),
        ] {
            for stage in [Stage::Recipient, Stage::Content, Stage::LastWord] {
                let failure = failure(stage, Some(No), said);
                assert_eq!(
                    failure.is_about_the_address(),
                    is_about_the_address,
                    "{said}"
                );
                assert_eq!(failure.is_of_the_relay(), !is_about_the_address, "{said}");
            }
            let early = failure(Stage::Sender, Some(No), said);
            assert!(!early.is_about_the_address() && early.is_of_the_relay());
        }
        let later = failure(Stage::Recipient, Some(NotNow), "450 5.1.1 odd");
        assert!(!later.is_about_the_address());
    }

    #[test]
    fn a_deferral_is_about_the_relay_before_the_recipient_is_named_and_silence_always() {
        for (stage, severity, is_of_the_relay, is_open) in [
            (Stage::Connecting, Some(NotNow), true, false),
            (Stage::Sender, Some(NotNow), true, false),
            (Stage::Recipient, Some(NotNow), false, false),
            (Stage::Recipient, None, true, false),
            (Stage::Content, Some(NotNow), false, false),
            (Stage::Content, None, true, false),
            (Stage::LastWord, Some(NotNow), false, false),
            (Stage::LastWord, Some(No), true, false),
            (Stage::LastWord, None, true, true),
        ] {
            let failure = failure(stage, severity, "");
            let is = (failure.is_of_the_relay(), failure.is_open());
            assert_eq!(is, (is_of_the_relay, is_open), "{failure:?}");
        }
    }
}
