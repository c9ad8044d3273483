//! The parts of a secret that may be shown.

use url::Url;

use super::shape;

/// The text that stands in place of a secret.
pub(super) const REDACTED: &str = "***";

/// The parameters of a connection URL that may be shown; `password` is one of the others.
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

/// Shows nothing of a secret.
pub(super) fn redact(_: &str) -> String {
    REDACTED.into()
}

/// A connection URL without its password; nothing of it if the password cannot be found with certainty.
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
