//! The `backoffice-auth` program: reads the command line, runs it, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    backoffice_auth::cli::run(std::env::args_os())
}
