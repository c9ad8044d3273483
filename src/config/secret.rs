//! Secrets: given as a value or as a file, and never shown.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use toml::Value;
use url::Url;

use super::reader::Reader;
use super::shape;

/// What is shown in place of a secret.
pub(super) const REDACTED: &str = "***";

/// What of a connection URL's parameters may be seen; `password` is one of the others.
const HARMLESS_PARAMETERS: [&str; 8] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "sslmode",
    "sslrootcert",
    "user",
];

/// A secret as it was given. No `Debug`.
pub(super) struct Secret {
    /// The secret itself.
    pub(super) text: String,
    /// The key that gave it: its own, or that with `_file`. Problems with it go there.
    pub(super) key: String,
    /// Whether it is a file's contents.
    pub(super) is_from_file: bool,
}

impl Reader {
    /// A secret, from `key` or the file that `key` with `_file` names; `None` where neither is set
    /// or something is wrong with it. `redact` makes of it what may be shown.
    pub(super) fn secret(&mut self, key: &str, redact: fn(&str) -> String) -> Option<Secret> {
        let file = format!("{key}_file");
        if !self.sound(&[key, &file]) {
            return None;
        }
        match (self.secret_text(key)?, self.secret_text(&file)?) {
            (text, path) if text.is_empty() && !path.is_empty() => {
                self.secret_in_file(file, &path, redact)
            }
            (text, _) => self.secret_in_place(key, text, redact),
        }
    }

    /// A secret that must be set.
    pub(super) fn required_secret(
        &mut self,
        key: &str,
        redact: fn(&str) -> String,
    ) -> Option<Secret> {
        let secret = self.secret(key, redact);
        let file = format!("{key}_file");
        if secret.is_none() && self.sound(&[key, &file]) {
            self.problem(
                key,
                format!("is required; {file} can name a file that holds it"),
            );
        }
        secret
    }

    /// The text under a key, empty where it is not set.
    fn secret_text(&mut self, key: &str) -> Option<String> {
        match self.given(key).map(|given| &given.value) {
            None => Some(String::new()),
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.problem(key, "must be text in quotes");
                None
            }
        }
    }

    fn secret_in_place(
        &mut self,
        key: &str,
        text: String,
        redact: fn(&str) -> String,
    ) -> Option<Secret> {
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

    fn secret_in_file(
        &mut self,
        key: String,
        path: &str,
        redact: fn(&str) -> String,
    ) -> Option<Secret> {
        match read(path) {
            Ok(text) => {
                if is_open_to_others(path) {
                    let message =
                        format!("{path:?} can be read by every user of this machine; chmod 600 it");
                    self.warn(&key, &message);
                }
                let holds = Some(redact(&text)).filter(|shown| shown != REDACTED);
                self.show(&key, Value::String(path.to_owned()), holds);
                Some(Secret {
                    text,
                    key,
                    is_from_file: true,
                })
            }
            Err(message) => {
                self.problem(&key, message);
                None
            }
        }
    }
}

/// Where containers get their secrets: such a file has the mode that the platform gives it, and there is
/// nobody else to read it.
const OF_THE_PLATFORM: &str = "/run/secrets";

/// Whether everybody on this machine may read a file, as far as its mode says. The folders above it may
/// keep others out all the same.
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

/// Nothing of a secret.
pub(super) fn redact(_: &str) -> String {
    REDACTED.into()
}

/// A connection URL without its password; nothing of it if that cannot be told apart safely.
pub(super) fn redact_url(text: &str) -> String {
    Url::parse(text)
        .ok()
        .filter(|url| is_unambiguous(text, url))
        .and_then(without_secrets)
        .unwrap_or_else(|| REDACTED.into())
}

/// Readers differ about a second `@` before the host.
fn is_unambiguous(text: &str, url: &Url) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    !shape::ends_early(text, url) && rest.matches('@').count() <= 1
}

fn without_secrets(mut url: Url) -> Option<String> {
    if url.password().is_some() {
        url.set_password(Some(REDACTED)).ok()?;
    }
    let parameters: Vec<_> = url.query_pairs().map(redact_parameter).collect();
    if !parameters.is_empty() {
        url.set_query(Some(&parameters.join("&")));
    }
    Some(url.to_string())
}

fn redact_parameter(
    (name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>),
) -> String {
    if HARMLESS_PARAMETERS.contains(&name.as_ref()) {
        format!("{name}={value}")
    } else {
        format!("{name}={REDACTED}")
    }
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

    #[test]
    fn a_connection_url_is_shown_without_its_password() {
        for (url, shown) in [
            (
                "postgres://app:hunter2@db:5432/auth",
                "postgres://app:***@db:5432/auth",
            ),
            ("postgres://app@db/auth", "postgres://app@db/auth"),
            (
                "postgresql:///auth?host=/run/pg",
                "postgresql:///auth?host=/run/pg",
            ),
            (
                "postgres://app:hunter2@db/auth?sslmode=require&password=hunter2",
                "postgres://app:***@db/auth?sslmode=require&password=***",
            ),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn nothing_of_a_connection_url_is_shown_that_could_be_a_password() {
        for url in [
            "hunter2",
            "postgres://app:1/hunter2@db/auth",
            "postgres://app:1?hunter2@db/auth",
            "postgres://app:1#hunter2@db/auth",
            "postgres://app:1#hunter2",
            "postgres://app:hunter2/x@db/auth",
            "postgres://app:a@hunter2@db/auth",
        ] {
            assert_eq!(redact_url(url), "***", "{url}");
        }
    }
}
