//! The configuration that is shipped.

use std::fs;
use std::path::Path;
use std::time::Duration;

use backoffice_auth::config::Config;

const REQUIRED: [(&str, &str); 5] = [
    (
        "database.url",
        "postgres://user:password@localhost/database",
    ),
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

/// The variables that a file sets: in YAML as `NAME: value`, in a unit as `Environment=NAME=value`.
fn variables_in(file: &str) -> Vec<(String, String)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(str::trim_start);
    let lines = lines.map(|line| line.strip_prefix("Environment=").unwrap_or(line));
    let settings = lines.filter(|line| line.starts_with("BACKOFFICE_AUTH__"));
    let split = |line: &str| {
        let (name, value) = line.split_once(": ").or_else(|| line.split_once('='))?;
        // `${NAME:-default}` of compose.
        let value = value.rsplit(":-").next()?.trim_end_matches('}');
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    };
    settings.map(|line| split(line).expect(line)).collect()
}

/// Red when a key in one of them is misspelt.
#[test]
fn every_deployment_that_is_shipped_has_a_sound_configuration() {
    let folder = tempfile::tempdir().unwrap();
    for file in [
        "compose.yaml",
        "docs/deploy/kubernetes/configmap.yaml",
        "docs/deploy/systemd/backoffice-auth.service",
    ] {
        let mut all = variables_in(file);
        assert!(all.len() >= 3, "{file}: {all:?}");
        // A file with a secret is there; the settings that the operator has to add are added.
        for (name, value) in all.iter_mut().filter(|(name, _)| name.ends_with("_FILE")) {
            let secret = variables().into_iter();
            let mut secret = secret.filter(|(secret, _)| name.trim_end_matches("_FILE") == secret);
            let secret = secret
                .next()
                .map_or_else(|| "secret".to_owned(), |(_, text)| text);
            let path = folder.path().join(&*name);
            fs::write(&path, secret).unwrap();
            path.to_str().unwrap().clone_into(value);
        }
        let username = ("BACKOFFICE_AUTH__MAIL__SMTP__USERNAME", "backoffice-auth");
        let username = (username.0.to_owned(), username.1.to_owned());
        let has_password = all.iter().any(|(name, _)| name.contains("SMTP__PASSWORD"));
        let more = variables()
            .into_iter()
            .chain(has_password.then_some(username));
        for (name, value) in more {
            let is_there = |(there, _): &(String, String)| there.trim_end_matches("_FILE") == name;
            if !all.iter().any(is_there) {
                all.push((name, value));
            }
        }
        if let Err(error) = Config::load(None, all) {
            panic!("{file}: {error}");
        }
    }
}
