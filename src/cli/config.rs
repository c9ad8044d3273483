//! `config`: what is set, and whether it can be run with.

use std::path::Path;

use clap::Subcommand;

use super::output::{self, say};
use crate::config::{Config, process_environment};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Tell every problem at once
    Check,
    /// Print every setting and where it comes from; secrets are not shown
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &ConfigCommand, file: Option<&Path>) -> anyhow::Result<()> {
    let loaded = Config::load(file, process_environment())?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    match command {
        ConfigCommand::Check => say!("The configuration is good."),
        ConfigCommand::Show { json: true } => output::json(&loaded.show_json()),
        ConfigCommand::Show { json: false } => say!("{}", loaded.show().trim_end()),
    }
    Ok(())
}
