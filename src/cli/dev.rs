//! `dev`: everything with nothing set up.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::output::say;
use super::serve::{runtime, told_to_stop};
use crate::config::process_environment;
use crate::dev::{Demo, ReceivedMail, Workshop};
use crate::telemetry;

/// Where all state lives.
const FOLDER: &str = ".dev";

pub(super) fn run(offline: bool, config: Option<&Path>) -> anyhow::Result<()> {
    anyhow::ensure!(
        config.is_none(),
        "dev writes its own configuration; to run with another one, use `serve`"
    );
    runtime()?.block_on(async {
        say!("Starting PostgreSQL, the mailbox and the server …");
        let workshop = Workshop::open(Path::new(FOLDER), process_environment(), offline).await?;
        let config = &workshop.config;
        let telemetry = telemetry::start(&config.log, &config.telemetry)?;
        let demo = Demo::start(workshop).await?;
        let printer = tokio::spawn(print_mails(demo.mails()));
        say!("{}", demo.welcome().trim_end());
        told_to_stop().await?;
        say!("\nStopping.");
        printer.abort();
        demo.stop().await;
        telemetry.finish().await;
        Ok(())
    })
}

/// Prints of each mail what its reader needs: the code, the link, or what it is about.
async fn print_mails(mut mails: Receiver<Arc<ReceivedMail>>) {
    loop {
        match mails.recv().await {
            Ok(mail) => {
                let to = mail.to.join(", ");
                match (&mail.code, mail.link()) {
                    (Some(code), _) => say!("\n  Mail to {to}. The code is {code}\n"),
                    (None, Some(link)) => say!("\n  Mail to {to}. The link is {link}\n"),
                    (None, None) => say!("\n  Mail to {to}. {}\n", mail.subject),
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
