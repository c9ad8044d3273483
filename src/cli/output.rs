//! Output: tables for people, JSON for programs.

use std::fmt;
use std::io::{ErrorKind, Write as _, stdout};
use std::process::exit;

use crate::domain::{Timestamp, rfc3339};

/// Prints a line, as `println!` does, which panics when its reader has gone away.
macro_rules! say {
    ($($argument:tt)*) => { $crate::cli::output::line(format_args!($($argument)*)) };
}

pub(super) use say;

/// Prints a line. A reader who has seen enough (`user list | head`) ends the program; that is no
/// failure.
pub(super) fn line(text: fmt::Arguments<'_>) {
    match writeln!(stdout(), "{text}") {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit(0),
        Err(error) => {
            eprintln!("backoffice-auth: cannot write to standard output: {error}");
            exit(1);
        }
    }
}

/// An instant as it stands on the wire and on the terminal.
pub(super) fn instant(at: Timestamp) -> String {
    rfc3339(at)
}

/// Prints a value as JSON.
pub(super) fn json(value: &serde_json::Value) {
    say!("{value:#}");
}

/// Prints rows in columns as wide as they need to be.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        say!("{}", padded.join("  ").trim_end());
    };
    line(head);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
}
