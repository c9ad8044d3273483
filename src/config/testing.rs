//! Loading a few settings in a test.

use super::types::Config;
use super::variables::variable;

/// The keys that have no default.
const REQUIRED: [(&str, &str); 5] = [
    ("database.url", "postgres://app:hunter2@db/auth"),
    (
        "secrets.master_key",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ),
    ("tokens.issuer", "https://auth.example.com"),
    ("mail.from", "no-reply@example.com"),
    ("mail.smtp.host", "smtp.example.com"),
];

/// Loads these settings on top of the required ones; the error lists what is wrong.
pub(super) fn with(settings: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let overridden = |key: &str| settings.iter().any(|(other, _)| *other == key);
    let pairs = REQUIRED
        .iter()
        .filter(|(key, _)| !overridden(key))
        .chain(settings);
    let environment = pairs.map(|(key, value)| (variable(key), (*value).to_owned()));
    let loaded = Config::load(None, environment).map_err(|error| {
        let problems = error.problems().iter();
        problems
            .map(|problem| format!("{}: {}", problem.key, problem.message))
            .collect::<Vec<_>>()
    })?;
    Ok(loaded.config)
}

/// The problems of these settings.
pub(super) fn refused(settings: &[(&str, &str)]) -> Vec<String> {
    with(settings).unwrap_err()
}
