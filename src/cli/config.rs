//! `config`: what is set, and whether it can be run with.

use std::path::Path;

use anyhow::{Context as _, ensure};
use clap::Subcommand;

use super::help;
use super::output::{self, say};
use crate::config::{Config, process_environment};
use crate::domain::{Clock, EmailAddress};
use crate::mail::{Fault, Mailer};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Tell every problem at once, in the settings and in the files that they name
    #[command(after_long_help = help::CONFIG_CHECK)]
    Check {
        /// Also send a test mail over each relay, to ADDRESS or to the sender itself
        #[arg(long, value_name = "ADDRESS")]
        #[expect(clippy::option_option, reason = "the option may stand alone")]
        smtp: Option<Option<EmailAddress>>,
    },
    /// Print every setting and where it comes from; secrets are not shown
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: ConfigCommand, file: Option<&Path>) -> anyhow::Result<()> {
    let loaded = Config::load(file, process_environment())?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    match command {
        ConfigCommand::Check { smtp } => {
            let mailer = Mailer::new(&loaded.config.mail)?;
            if let Some(to) = smtp {
                super::block_on(try_relays(&mailer, to))?;
            }
            say!("The configuration is good.");
        }
        ConfigCommand::Show { json: true } => output::json(&loaded.show_json()),
        ConfigCommand::Show { json: false } => say!("{}", loaded.show().trim_end()),
    }
    Ok(())
}

/// Sends a test mail over each relay, the way codes are sent, and prints what each said.
async fn try_relays(mailer: &Mailer, to: Option<EmailAddress>) -> anyhow::Result<()> {
    let sent = mailer.try_relays(to, Clock::system().now()).await;
    let trials = sent
        .map_err(anyhow::Error::msg)
        .context("there is no test mail to send")?;
    ensure!(
        !trials.is_empty(),
        "there is no relay to try: mail.transport is log; set it to smtp"
    );
    let mut refusals = Vec::new();
    for trial in trials {
        let section = trial.section;
        match trial.outcome {
            Ok(reply) => say!("{section}: took the test mail: {reply}"),
            Err((fault, reply)) => refusals.push(format!(
                "{section} did not take the test mail: {reply}; {}",
                advice(section, &trial.hello, fault)
            )),
        }
    }
    ensure!(refusals.is_empty(), "{}", refusals.join("; and "));
    Ok(())
}

/// What to do about a relay that was greeted as `hello` and did not take a test mail.
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
