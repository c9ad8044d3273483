//! Test mails over the relays, sent the way codes are.

use super::finding::Finding;
use crate::domain::{Clock, EmailAddress};
use crate::mail::{Fault, Mailer};

/// Sends a test mail over each relay, and reports the answers.
pub(super) async fn try_all(mailer: &Mailer, to: Option<EmailAddress>) -> Vec<Finding> {
    let trials = match mailer.try_relays(to, Clock::system().now()).await {
        Ok(trials) => trials,
        Err(error) => {
            let text = format!("has no test mail to send: {error}");
            return vec![Finding::problem("mail.templates", text)];
        }
    };
    if trials.is_empty() {
        let text = "is log; set it to smtp, or there is no relay to try";
        return vec![Finding::problem("mail.transport", text)];
    }
    let told = trials.into_iter().map(|trial| {
        let section = trial.section;
        match trial.outcome {
            Ok(reply) => Finding::good(section, format!("took the test mail: {reply}")),
            Err((fault, reply)) => Finding::problem(
                section,
                format!(
                    "did not take the test mail: {reply}; {}",
                    advice(section, &trial.hello, fault)
                ),
            ),
        }
    });
    told.collect()
}

/// Advice about a relay that was greeted as `hello` and did not take a test mail.
fn advice(section: &str, hello: &str, fault: Fault) -> String {
    match fault {
        Fault::Connection => {
            format!("check {section}.host, port, tls and ca_file, and firewalls on the way")
        }
        Fault::Credentials => format!("check {section}.username and {section}.password"),
        Fault::Sender => format!(
            "check mail.from and {section}.hello_name (it was greeted as {hello}), and whether the \
             relay wants {section}.username"
        ),
        Fault::Address => "try another address, as in --smtp you@example.com".to_owned(),
        Fault::Refusal => format!(
            "another address would fare the same: check whether the relay takes mail from this \
             machine or wants {section}.username, and {section}.hello_name (it was greeted as \
             {hello}); else ask who runs it why it refuses"
        ),
        Fault::Moment => {
            "it asks to come again later (greylisting, or too much at a time): wait some \
                          minutes and try the same address again"
                .to_owned()
        }
        Fault::Silence => {
            "it has the test mail and did not say that it takes it (a minute is waited for): see \
                           whether it arrives; with such a relay codes come late, or twice"
                .to_owned()
        }
    }
}
