//! Secrets: given as a value or as a file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use toml::Value;

use super::reader::{Noted, Reader, Reading};
use super::redact::REDACTED;

/// A secret as it was given. No `Debug`.
pub(super) struct Secret {
    /// The secret itself.
    pub(super) text: String,
    /// The key that gave it: its own, or that with `_file`. Its problems are noted under this key.
    pub(super) key: String,
    /// Whether it is a file's contents.
    pub(super) is_from_file: bool,
}

/// Shows as much of a secret as may be shown.
type Redact = fn(&str) -> String;

impl Reader {
    /// A secret, from `key` or the file that `key` with `_file` names; `None` if neither is set.
    pub(super) fn secret(&mut self, key: &str, redact: Redact) -> Reading<Option<Secret>> {
        let file = format!("{key}_file");
        if !self.is_sound(key) || !self.is_sound(&file) {
            return Err(Noted);
        }
        let (text, path) = (self.secret_text(key)?, self.secret_text(&file)?);
        if text.is_empty() && !path.is_empty() {
            return self.secret_in_file(file, &path, redact).map(Some);
        }
        Ok(self.secret_in_place(key, text, redact))
    }

    /// A secret that must be set.
    pub(super) fn required_secret(&mut self, key: &str, redact: Redact) -> Reading<Secret> {
        let secret = self.secret(key, redact)?;
        secret.ok_or_else(|| {
            let message = format!("is required; {key}_file can name a file that holds it");
            self.problem(key, message)
        })
    }

    /// The text under a key; empty if it is not set.
    fn secret_text(&mut self, key: &str) -> Reading<String> {
        match self.given(key).map(|given| &given.value) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.problem(key, "must be text in quotes")),
        }
    }

    fn secret_in_place(&mut self, key: &str, text: String, redact: Redact) -> Option<Secret> {
        let shown = if text.is_empty() {
            String::new()
        } else {
            redact(&text)
        };
        self.show(key, Value::String(shown), None);
        (!text.is_empty()).then(|| Secret {
            text,
            key: key.to_owned(),
            is_from_file: false,
        })
    }

    fn secret_in_file(&mut self, key: String, path: &str, redact: Redact) -> Reading<Secret> {
        let text = read(path).map_err(|message| self.problem(&key, message))?;
        if is_open_to_others(path) {
            let message =
                format!("{path:?} can be read by every user of this machine; chmod 600 it");
            self.warn(&key, &message);
        }
        let holds = Some(redact(&text)).filter(|shown| shown != REDACTED);
        self.show(&key, Value::String(path.to_owned()), holds);
        Ok(Secret {
            text,
            key,
            is_from_file: true,
        })
    }
}

/// The folder in which containers get their secrets: the platform sets the mode of its files, and nobody
/// else is there to read them.
const OF_THE_PLATFORM: &str = "/run/secrets";

/// Whether the mode of a file lets every user of this machine read it. The folders above it may keep them
/// out all the same.
fn is_open_to_others(path: &str) -> bool {
    let mode = fs::metadata(path).map_or(0, |file| file.permissions().mode());
    mode & 0o004 != 0 && !Path::new(path).starts_with(OF_THE_PLATFORM)
}

/// The contents of a secret's file, less the one line break that editors and `echo` put there.
fn read(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("names {path:?}, which cannot be read: {error}"))?;
    let text = trim_one_line_break(&text);
    if text.is_empty() {
        return Err(format!("names {path:?}, which is empty"));
    }
    Ok(text.to_owned())
}

fn trim_one_line_break(text: &str) -> &str {
    let trimmed = text.strip_suffix('\n');
    trimmed.map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_loses_one_line_break_and_no_more() {
        for (text, left) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            (" a \n", " a "),
            ("a\r", "a\r"),
        ] {
            assert_eq!(trim_one_line_break(text), left, "{text:?}");
        }
    }
}
