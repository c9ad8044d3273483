//! Reading the file with the settings.

use std::fs;
use std::path::Path;

use toml::Table;

use super::problem::ConfigProblem;

/// The settings in a file.
pub(super) fn read_file(path: &Path) -> Result<Table, ConfigProblem> {
    let problem = |message| ConfigProblem {
        key: path.display().to_string(),
        message,
        variable: None,
    };
    let text =
        fs::read_to_string(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    text.parse()
        .map_err(|error| problem(misparse(&text, &error)))
}

/// The parser's message and its place, but neither the line itself nor the text after a colon, where serde
/// repeats the value: both may be a secret.
fn misparse(text: &str, error: &toml::de::Error) -> String {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let message = error.message().split(':').next().unwrap_or_default();
    format!("is not TOML: {message} at line {line}, column {column}")
}
