//! `config`: the settings, and whether the server can run with them.

use std::path::Path;

use clap::Subcommand;

use super::output::{self, say};
use super::{doctor, help};
use crate::config::{Config, process_environment};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Tell every problem at once, in the settings and in the files that they name
    #[command(after_long_help = help::CONFIG_CHECK)]
    Check(doctor::CheckArgs),
    /// Print every setting and where it comes from; secrets are not shown
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: ConfigCommand, file: Option<&Path>) -> anyhow::Result<()> {
    match command {
        ConfigCommand::Check(args) => doctor::run(&args, file),
        ConfigCommand::Show { json } => show(file, json),
    }
}

fn show(file: Option<&Path>, as_json: bool) -> anyhow::Result<()> {
    let loaded = Config::load(file, process_environment())?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    if as_json {
        output::json(&loaded.show_json());
    } else {
        say!("{}", loaded.show().trim_end());
    }
    Ok(())
}
