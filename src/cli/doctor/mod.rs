//! `config check` and `doctor`: all that keeps a server from working with a configuration, told at once,
//! each with what to do about it.

mod database;
mod finding;
mod master_key;
mod relays;

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::output::{self, say};
use crate::config::{Config, Loaded, process_environment};
use crate::domain::EmailAddress;
use crate::mail::Mailer;

use finding::{Finding, Verdict};

#[derive(Debug, Clone, Args)]
pub(super) struct CheckArgs {
    /// Also connect to the database, and see whether the server could work with it
    #[arg(long)]
    database: bool,
    /// Also send a test mail over each relay, to ADDRESS or to the sender itself
    #[arg(long, value_name = "ADDRESS")]
    #[expect(clippy::option_option, reason = "the option may stand alone")]
    smtp: Option<Option<EmailAddress>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    pub(super) fn with_database(self) -> Self {
        Self {
            database: true,
            ..self
        }
    }
}

pub(super) fn run(args: &CheckArgs, file: Option<&Path>) -> anyhow::Result<()> {
    let loaded = match Config::load(file, process_environment()) {
        Ok(loaded) => loaded,
        Err(error) if args.json => {
            let problems = error.problems().iter();
            let found =
                problems.map(|problem| Finding::problem("configuration", problem.to_string()));
            return tell(&found.collect::<Vec<_>>(), true);
        }
        Err(error) => return Err(error.into()),
    };
    let mailer = match Mailer::new(&loaded.config.mail, &loaded.config.links) {
        Ok(mailer) => mailer,
        Err(error) if args.json => {
            return tell(
                &[Finding::problem("configuration", error.to_string())],
                true,
            );
        }
        Err(error) => return Err(error.into()),
    };
    if !args.json {
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
    }
    super::block_on(check(args, &loaded, &mailer))
}

async fn check(args: &CheckArgs, loaded: &Loaded, mailer: &Mailer) -> anyhow::Result<()> {
    let mut found = vec![Finding::good("configuration", "the settings are good")];
    if args.json {
        let weak = |warning: &String| Finding::weak("configuration", warning.clone());
        found.extend(loaded.warnings.iter().map(weak));
    }
    if args.database {
        found.extend(database::check(&loaded.config).await);
    }
    if let Some(to) = &args.smtp {
        found.extend(relays::try_all(mailer, to.clone()).await);
    }
    if args.database || args.json {
        tell(&found, args.json)
    } else {
        tell_briefly(&found)
    }
}

/// Prints the answers of the relays, and that all is good if it is.
fn tell_briefly(found: &[Finding]) -> anyhow::Result<()> {
    let (problems, good): (Vec<_>, Vec<_>) =
        (found.iter()).partition(|finding| finding.verdict == Verdict::Problem);
    for Finding { subject, text, .. } in &good[1..] {
        say!("{subject}: {text}");
    }
    let problems: Vec<_> = (problems.iter())
        .map(|finding| format!("{} {}", finding.subject, finding.text))
        .collect();
    anyhow::ensure!(problems.is_empty(), problems.join("; and "));
    say!("The configuration is good.");
    Ok(())
}

/// Prints the findings, and fails if a problem is among them.
fn tell(found: &[Finding], as_json: bool) -> anyhow::Result<()> {
    let problems = (found.iter()).filter(|finding| finding.verdict == Verdict::Problem);
    let problems = problems.count();
    if as_json {
        output::json(&json!({
            "good": problems == 0,
            "checks": found.iter().map(Finding::json).collect::<Vec<_>>(),
        }));
    } else {
        let width = found.iter().map(|finding| finding.subject.len()).max();
        for finding in found {
            let (word, subject) = (finding.verdict.word(), &finding.subject);
            let width = width.unwrap_or_default();
            say!("{word:<7}  {subject:<width$}  {}", finding.text);
        }
    }
    match problems {
        0 => Ok(()),
        1 => anyhow::bail!("there is a problem; its line says what to do"),
        _ => anyhow::bail!("there are {problems} problems; their lines say what to do"),
    }
}
