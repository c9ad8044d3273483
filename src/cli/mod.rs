//! The command line: one file per family of commands, each thin: parse, call, print.
//!
//! Exit status 0 is success, 1 refused or failed (one line on standard error says why), 2 usage. `serve`
//! has one more, for settings with which no start succeeds.

#![expect(clippy::print_stderr, reason = "printing is what it is for")]

mod config;
#[cfg(feature = "dev")]
mod dev;
#[cfg(not(feature = "dev"))]
#[path = "without_dev.rs"]
mod dev;
mod doctor;
mod explain;
mod hashes;
mod healthcheck;
mod help;
mod import;
mod key;
mod output;
mod secret_input;
mod serve;
mod supervisor;
mod user;
mod words;

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, Subcommand};

use output::say;

use crate::config::{Config, Loaded, process_environment};
use crate::domain::Operator;
use crate::store::Store;
use crate::telemetry::causes;

/// Signs people in and out of a Back Office.
///
/// Settings come from built-in defaults, then from --config FILE, then from the environment
/// (`BACKOFFICE_AUTH__DATABASE__URL` is `database.url`). `config show` prints them all.
#[derive(Debug, Parser)]
#[command(name = "backoffice-auth", version, max_term_width = 100, after_long_help = help::PROGRAM)]
struct Cli {
    /// The configuration file (TOML): the settings that differ from the defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The operator, as the audit log is to call them; by default the system's user
    #[arg(long = "as", global = true, value_name = "NAME")]
    actor: Option<String>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server; applies migrations first unless `database.migrate` is false
    #[command(after_long_help = help::SERVE)]
    Serve,
    /// Run everything with nothing set up: own PostgreSQL, mailbox, keys and demo users, on loopback
    Dev {
        /// Fetch nothing: without PostgreSQL on this machine, say so and stop
        #[arg(long)]
        offline: bool,
    },
    /// Apply the database migrations and stop
    #[command(after_long_help = help::MIGRATE)]
    Migrate,
    /// Manage users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Manage the signing keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Tell all that is wrong with the configuration and the database: `config check --database`
    #[command(after_long_help = help::DOCTOR)]
    Doctor(doctor::CheckArgs),
    /// Print the OpenAPI description of the interface
    Openapi,
    /// Tell why a person cannot sign in or a request was refused, from the audit log
    #[command(after_long_help = help::EXPLAIN)]
    Explain(explain::ExplainArgs),
    /// Ask this machine's server whether it is ready; for container health checks
    #[command(after_long_help = help::HEALTHCHECK)]
    Healthcheck,
}

/// Runs the program.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let is_server = matches!(cli.command, Command::Serve);
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let told = causes(error.as_ref());
            // Each use case wraps the store's error in its own; the SQLSTATE is in the text of all.
            let advice = if told.ends_with("(42501)") {
                "; `backoffice-auth doctor` tells every right that the role lacks"
            } else {
                ""
            };
            tell(format!("backoffice-auth: {told}{advice}"));
            if is_server {
                serve::exit_code(&error)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let file = cli.config.as_deref();
    let actor = || actor(cli.actor.as_deref());
    match cli.command {
        Command::Config(command) => config::run(command, file),
        Command::Doctor(args) => doctor::run(&args.with_database(), file),
        Command::Dev { offline } => dev::run(offline, file),
        Command::Serve => serve::run(&Config::load(file, process_environment())?),
        Command::Openapi => {
            say!("{}", crate::http::printed_description());
            Ok(())
        }
        Command::Healthcheck => healthcheck::run(&load(file)?),
        Command::Migrate => block_on(migrate(&load(file)?)),
        Command::User(command) => block_on(user::run(command, &load(file)?, &actor())),
        Command::Explain(args) => block_on(explain::run(&args, &load(file)?)),
        Command::Key(command) => block_on(key::run(command, &load(file)?, &actor())),
    }
}

/// Prints the last line. A standard error that nobody reads delays the end of the program by at most a
/// second.
fn tell(line: String) {
    let (told, until_told) = mpsc::channel();
    thread::spawn(move || {
        eprintln!("{line}");
        let _ = told.send(());
    });
    let _ = until_told.recv_timeout(Duration::from_secs(1));
}

fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    let Loaded { config, .. } = Config::load(file, process_environment())?;
    Ok(config)
}

fn block_on(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(work)
}

/// The access that a command needs to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Nothing that a standby could not answer.
    Reads,
    Writes,
}

async fn migrate(config: &Config) -> anyhow::Result<()> {
    let store = connect(config).await?;
    let state = store.server_state().await?;
    if let Some(obstacle) = state.obstacle_to_writing() {
        bail!(obstacle);
    }
    store.migrate().await.map_err(|error| {
        let advice = if error.is_denied() {
            "the role may not change the tables: run `migrate` with the role that owns them"
        } else {
            "the migrations failed"
        };
        anyhow::Error::new(error).context(advice)
    })?;
    say!("The database is up to date.");
    Ok(())
}

async fn connect(config: &Config) -> anyhow::Result<Store> {
    let connected = Store::connect(&config.database).await;
    connected.map_err(|error| {
        let advice = error.advice_on_connecting();
        anyhow::Error::new(error).context(advice)
    })
}

/// Connects, and refuses a database that the command cannot use, with advice.
async fn connect_migrated(config: &Config, access: Access) -> anyhow::Result<Store> {
    let store = connect(config).await?;
    if access == Access::Writes
        && let Some(obstacle) = store.server_state().await?.obstacle_to_writing()
    {
        bail!(obstacle);
    }
    let missing = store.missing_migrations().await?.len();
    ensure!(
        missing == 0,
        "the database lacks {missing} migrations of this release; run `backoffice-auth migrate`"
    );
    Ok(store)
}

/// The operator, for the audit log: the name given with `--as`, else that of the session, else the
/// system's user.
fn actor(given: Option<&str>) -> Operator {
    let variables = ["SUDO_USER", "USER", "LOGNAME"].into_iter();
    let name = given
        .map(str::to_owned)
        .or_else(|| {
            let mut names = variables.filter_map(|name| std::env::var(name).ok());
            names.find(|name| !name.is_empty())
        })
        .or_else(system_user);
    Operator::named(name.as_deref().unwrap_or("unknown"))
}

/// The name of the user that this process runs as, or its number.
fn system_user() -> Option<String> {
    // The owner of a process's files in /proc is the user of that process.
    let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let known = fields.find(|fields| fields.get(2) == Some(&id.as_str()));
    Some(known.map_or_else(|| format!("uid {id}"), |fields| fields[0].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_its_user() {
        assert!(system_user().is_some_and(|name| !name.is_empty()));
    }
}
