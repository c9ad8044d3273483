//! The figures of a scenario, as a row of a table.

use std::fmt::Write as _;
use std::sync::Once;
use std::time::Duration;

use crate::form::say;
use crate::history::{Outcome, Request};

/// The names of the columns, and their widths.
const COLUMNS: [(&str, usize); 15] = [
    ("requests", 8),
    ("200", 6),
    ("401", 5),
    ("429", 5),
    ("503", 5),
    ("no answer", 9),
    ("no connection", 13),
    ("slowest, s", 10),
    ("slowest 503, s", 14),
    ("faults", 6),
    ("slowest recovery, s", 19),
    ("sessions", 8),
    ("mails", 5),
    ("violations", 10),
    ("not ours, %", 11),
];

/// The figures of a scenario besides its requests.
pub struct Figures {
    /// How long each recovery took.
    pub recoveries: Vec<Duration>,
    /// How many sessions were tried at the end.
    pub sessions: usize,
    /// How many mails arrived.
    pub mails: usize,
    pub violations: usize,
    /// The share of the time that the machine was somebody else's.
    pub stolen: f64,
}

/// Prints a scenario's row, and before the first one what the columns are.
pub fn print(scenario: &str, history: &[Request], figures: &Figures) {
    static HEAD: Once = Once::new();
    HEAD.call_once(|| say(&head(&COLUMNS)));
    let count = |is_like: &dyn Fn(&&Request) -> bool| history.iter().filter(is_like).count();
    let status = |status: u16| count(&|r| r.status() == Some(status)).to_string();
    let slowest = |is_like: &dyn Fn(&&Request) -> bool| {
        let longest = history.iter().filter(is_like).map(Request::took).max();
        seconds(longest)
    };
    let cells = [
        history.len().to_string(),
        status(200),
        status(401),
        status(429),
        status(503),
        count(&|r| r.outcome == Outcome::Lost).to_string(),
        count(&|r| r.outcome == Outcome::Refused).to_string(),
        slowest(&|r| r.status().is_some()),
        slowest(&|r| r.status() == Some(503)),
        figures.recoveries.len().to_string(),
        seconds(figures.recoveries.iter().max().copied()),
        figures.sessions.to_string(),
        figures.mails.to_string(),
        figures.violations.to_string(),
        format!("{:.0}", 100.0 * figures.stolen),
    ];
    say(&line(scenario, &cells, &COLUMNS));
}

fn seconds(duration: Option<Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |d| format!("{:.2}", d.as_secs_f64()))
}

/// The line above a table.
pub fn head<const N: usize>(columns: &[(&str, usize); N]) -> String {
    line("", &columns.map(|(name, _)| name.to_owned()), columns)
}

/// A row of a table.
pub fn line<const N: usize>(
    name: &str,
    cells: &[String; N],
    columns: &[(&str, usize); N],
) -> String {
    let mut line = format!("{name:<18}");
    for (cell, (_, width)) in cells.iter().zip(columns) {
        write!(line, "  {cell:>width$}").unwrap();
    }
    line
}
