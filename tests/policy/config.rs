//! The configuration that is shipped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use backoffice_auth::config::Config;

const REQUIRED: [(&str, &str); 5] = [
    ("database.url", "postgres://user:password@host/database"),
    (
        "secrets.master_key",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ),
    ("tokens.issuer", "https://auth.example.com"),
    ("mail.from", "Back Office <no-reply@example.com>"),
    ("mail.smtp.host", "mail.example.com"),
];

fn variables() -> Vec<(String, String)> {
    let variable =
        |key: &str| format!("BACKOFFICE_AUTH__{}", key.replace('.', "__")).to_uppercase();
    REQUIRED
        .map(|(key, value)| (variable(key), value.to_owned()))
        .into()
}

#[test]
fn the_defaults_and_what_is_required_make_a_sound_configuration_with_the_documented_limits() {
    let loaded = Config::load(None, variables()).unwrap();
    assert_eq!(loaded.warnings, [""; 0]);
    let limits = loaded.config.limits;
    for (limit, attempts) in [(limits.signin, 5), (limits.confirm, 3), (limits.refresh, 5)] {
        assert_eq!(
            (limit.attempts, limit.window),
            (attempts, Duration::from_mins(1))
        );
        assert!(limit.block.is_some());
    }
}

#[test]
fn each_key_that_is_required_is_missed() {
    for (at, (missing, _)) in REQUIRED.iter().enumerate() {
        let mut variables = variables();
        variables.remove(at);
        let error = Config::load(None, variables).unwrap_err().to_string();
        assert!(error.contains(missing), "{error}");
    }
}

#[test]
fn every_key_is_explained_in_the_file_of_defaults() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/default.toml");
    let text = fs::read_to_string(file).unwrap();
    // A comment explains the keys right below it.
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let has_keys = block
            .lines()
            .any(|line| line.contains(" = ") && !line.starts_with('#'));
        let is_section = block.trim_start().starts_with('[');
        assert!(
            !has_keys || is_section || block.trim_start().starts_with('#'),
            "{block}"
        );
    }
}
