//! Tests of loading: the layers, and the messages about all of them together.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use secrecy::ExposeSecret as _;
use tempfile::NamedTempFile;
use toml::Table;

use super::super::MailTransportConfig;
use super::super::flatten::flatten;
use super::super::layers::DEFAULTS;
use super::*;

const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const URL: &str = "postgres://app:hunter2@localhost:5432/auth";

fn file(contents: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(contents.as_bytes()).unwrap();
    file
}

fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// A file with all that has no default, and `more`, written as dotted keys.
fn complete(more: &str) -> NamedTempFile {
    file(&format!(
        "database.url = '{URL}'
         secrets.master_key = '{MASTER_KEY}'
         tokens.issuer = 'https://auth.example.com'
         mail.from = 'no-reply@example.com'
         mail.smtp.host = 'smtp.example.com'
         {more}"
    ))
}

fn load(file: &NamedTempFile, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
    Config::load(Some(file.path()), environment.iter().map(owned))
}

fn told(file: &NamedTempFile, environment: &[(&str, &str)]) -> String {
    load(file, environment).unwrap_err().to_string()
}

fn database_url(file: &NamedTempFile, environment: &[(&str, &str)]) -> String {
    let url = load(file, environment).unwrap().config.database.url;
    url.expose_secret().to_owned()
}

#[test]
fn the_defaults_and_what_is_required_are_enough() {
    let loaded = load(&complete(""), &[]).unwrap();
    assert_eq!(loaded.config.mail.from, "no-reply@example.com");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn the_environment_overrides_the_file_which_overrides_the_defaults() {
    let file = complete("http = { listen = '127.0.0.1:1', drain_seconds = 1 }");
    let environment = [
        ("BACKOFFICE_AUTH__HTTP__LISTEN", "127.0.0.1:2"),
        ("BACKOFFICE_AUTH__LIMITS__SIGNIN__ATTEMPTS", "9"),
        ("BACKOFFICE_AUTH__HTTP__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
    ];
    let config = load(&file, &environment).unwrap().config;
    assert_eq!(config.http.listen.port(), 2);
    assert_eq!(config.http.drain_delay.as_secs(), 1);
    assert_eq!(config.http.management_listen.port(), 9090);
    assert_eq!(config.limits.signin.attempts, 9);
    assert_eq!(config.http.trusted_proxies.len(), 2);
}

#[test]
fn an_empty_variable_empties_a_list() {
    let file = complete("http.trusted_proxies = ['10.0.0.0/8']");
    let variable = ("BACKOFFICE_AUTH__HTTP__TRUSTED_PROXIES", "");
    let config = load(&file, &[variable]).unwrap().config;
    assert!(config.http.trusted_proxies.is_empty());
}

#[test]
fn database_url_stands_between_the_file_and_our_own_variable() {
    let file = complete("");
    let usual = ("DATABASE_URL", "postgres://usual/x");
    let ours = ("BACKOFFICE_AUTH__DATABASE__URL", "postgres://ours/x");
    assert_eq!(database_url(&file, &[usual]), usual.1);
    assert_eq!(database_url(&file, &[ours, usual]), ours.1);
    assert_eq!(database_url(&file, &[("DATABASE_URL", "")]), URL);
}

#[test]
fn a_password_in_a_variable_is_not_taken_for_a_number() {
    for text in ["012345", "1e5", "true", " x", "a,b"] {
        let environment = [
            ("BACKOFFICE_AUTH__MAIL__SMTP__USERNAME", "007"),
            ("BACKOFFICE_AUTH__MAIL__SMTP__PASSWORD", text),
        ];
        let mail = load(&complete(""), &environment).unwrap().config.mail;
        let MailTransportConfig::Smtp { first, .. } = mail.transport else {
            panic!("mail leaves over SMTP");
        };
        let credentials = first.credentials.unwrap();
        assert_eq!(credentials.username, "007");
        assert_eq!(credentials.password.expose_secret(), text);
    }
}

#[test]
fn a_secret_can_be_a_file() {
    let (url, key) = (
        file(&format!("{URL}\n")),
        file(&format!(" {MASTER_KEY}\r\n\n")),
    );
    let environment = [
        ("BACKOFFICE_AUTH__DATABASE__URL_FILE", path(&url)),
        ("BACKOFFICE_AUTH__SECRETS__MASTER_KEY_FILE", path(&key)),
    ];
    let loaded = load(&complete(""), &environment).unwrap();
    assert_eq!(loaded.config.database.url.expose_secret(), URL);
    let shown = loaded.show();
    assert!(
        shown.contains(", holds postgres://app:***@localhost:5432/auth\n"),
        "{shown}"
    );
}

#[test]
fn the_stronger_layer_decides_between_a_secret_and_its_file() {
    let secret = file("postgres://file/x");
    let by_value = fs::read_to_string(complete("").path()).unwrap();
    let file_key = format!("url_file = {:?}", path(&secret));
    let by_path = file(&by_value.replace(&format!("url = '{URL}'"), &file_key));
    let ours = ("BACKOFFICE_AUTH__DATABASE__URL_FILE", path(&secret));
    let usual = ("DATABASE_URL", "postgres://usual/x");
    assert_eq!(database_url(&by_path, &[]), "postgres://file/x");
    assert_eq!(database_url(&by_path, &[usual]), "postgres://usual/x");
    assert_eq!(database_url(&by_path, &[usual, ours]), "postgres://file/x");
    assert_eq!(database_url(&complete(""), &[ours]), "postgres://file/x");
}

#[test]
fn a_secret_given_twice_in_one_layer_is_refused() {
    assert_eq!(
        told(&complete("secrets.master_key_file = '/x'"), &[]),
        "secrets.master_key: is given twice, here and as secrets.master_key_file; keep one"
    );
    let environment = [
        ("BACKOFFICE_AUTH__SECRETS__MASTER_KEY", "a"),
        ("BACKOFFICE_AUTH__SECRETS__MASTER_KEY_FILE", "/x"),
    ];
    assert_eq!(
        told(&complete(""), &environment),
        "secrets.master_key: is given twice, here and as secrets.master_key_file; keep one \
         (from BACKOFFICE_AUTH__SECRETS__MASTER_KEY)"
    );
}

#[test]
fn a_secret_file_that_cannot_be_read_or_is_empty_is_told_by_its_path() {
    let empty = file("\n");
    for path in ["/nowhere/key", path(&empty)] {
        let variable = "BACKOFFICE_AUTH__SECRETS__MASTER_KEY_FILE";
        let told = told(&complete(""), &[(variable, path)]);
        let begin = format!("secrets.master_key_file: names {path:?}, which ");
        assert!(told.starts_with(&begin), "{told}");
        assert!(told.ends_with(&format!(" (from {variable})")), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn a_secret_file_that_others_can_read_is_weak() {
    let key = file("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let told = |mode| {
        fs::set_permissions(key.path(), fs::Permissions::from_mode(mode)).unwrap();
        let text = fs::read_to_string(complete("").path()).unwrap();
        let text = text.replace(&format!("secrets.master_key = '{MASTER_KEY}'"), "");
        let variable = ("BACKOFFICE_AUTH__SECRETS__MASTER_KEY_FILE", path(&key));
        load(&file(&text), &[variable]).unwrap().warnings
    };
    for mode in [0o400, 0o600, 0o640] {
        assert_eq!(told(mode), [""; 0], "{mode:o}");
    }
    for mode in [0o644, 0o604] {
        let [warning] = &told(mode)[..] else {
            panic!("{mode:o}");
        };
        assert!(
            warning.starts_with("secrets.master_key_file: "),
            "{warning}"
        );
        assert!(warning.contains(path(&key)), "{warning}");
    }
}

#[test]
fn every_problem_is_told_at_once() {
    let file = file(
        "listen = 1
         [http]
         listn = 'x'
         listen = 'localhost:80'
         allowed_origins = ['*', 'https://ok.example']
         [passwords]
         memory_kib = 3
         [database]
         url = 5
         [tokenz]
         [mail]
         smtp = {}",
    );
    let environment = [
        ("BACKOFFICE_AUTH__LOG__FORMAT", "xml"),
        ("BACKOFFICE_AUTH__LOG__FORMT", "json"),
        ("BACKOFFICE_AUTH__TOKENS__ACCESS_TTL", "1"),
        ("BACKOFFICE_AUTH__http__docs", "true"),
        ("BACKOFFICE_AUTH__MAIL__FROM", "\u{fffd}@example.com"),
        ("BACKOFFICE_AUTH__SECRETS__MASTER_KEY", "hunter2"),
        ("BACKOFFICE_AUTH_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    insta::assert_snapshot!(told(&file, &environment), @r#"
    http.listn: is not a known key; did you mean http.listen?
    listen: is not a known key
    tokenz: is not a known key
    log.formt: is not a known key; did you mean BACKOFFICE_AUTH__LOG__FORMAT? (from BACKOFFICE_AUTH__LOG__FORMT)
    tokens.access_ttl: is not a known key; did you mean BACKOFFICE_AUTH__TOKENS__ACCESS_TTL_SECONDS? (from BACKOFFICE_AUTH__TOKENS__ACCESS_TTL)
    http.docs: is not a known key; did you mean BACKOFFICE_AUTH__HTTP__DOCS? (from BACKOFFICE_AUTH__http__docs)
    mail.from: is not UTF-8 (from BACKOFFICE_AUTH__MAIL__FROM)
    http.listen: must be an address and a port, as 127.0.0.1:8080 or [::1]:8080, but is "localhost:80"
    http.allowed_origins: must be exact origins, as https://office.example.com or http://localhost:3000, but holds "*"
    database.url: must be text in quotes
    secrets.master_key: must be 32 random bytes in base64, as `openssl rand -base64 32` prints them (from BACKOFFICE_AUTH__SECRETS__MASTER_KEY)
    tokens.issuer: is required
    passwords.memory_kib: must be between 8 and 4194304, but is 3
    mail.smtp.host: is required, unless mail.transport is log
    log.format: must be json or text, but is "xml" (from BACKOFFICE_AUTH__LOG__FORMAT)
    "#);
}

#[test]
fn a_quoted_key_with_a_dot_is_not_a_section_and_a_key() {
    assert_eq!(
        told(&complete("\"log.filter\" = 'x'"), &[]),
        "\"log.filter\": is not a known key; did you mean log.filter?"
    );
}

#[test]
fn a_file_that_cannot_be_read_stands_alone_but_for_names_in_the_environment() {
    let environment = [("BACKOFFICE_AUTH__HTTP__LISTN".to_owned(), "x".to_owned())];
    let error = Config::load(Some(Path::new("/nowhere/x.toml")), environment).unwrap_err();
    let keys: Vec<_> = error
        .problems()
        .iter()
        .map(|problem| &problem.key)
        .collect();
    assert_eq!(keys, ["/nowhere/x.toml", "http.listn"]);
}

#[test]
fn a_file_that_is_not_toml_is_told_by_line_and_column_and_not_repeated() {
    for (text, at) in [
        ("[http]\nlisten = 'x'\nhunter2", "line 3, column 8"),
        ("url = hunter2", "line 1, column 7"),
        ("\n  url = \"hunter2", "line 2, column 17"),
        ("hunter2 = 1\nhunter2 = 2", "line 2, column 1"),
        ("[hunter2]\n[hunter2]", "line 2, column 2"),
        ("a = 1\na.hunter2 = 2", "line 2, column 1"),
        ("url = 0xhunter2", "line 1, column 9"),
        ("url = \"\\hunter2\"", "line 1, column 9"),
        ("url = 99999999999999999999", "line 1, column 7"),
    ] {
        let told = told(&file(text), &[]);
        assert!(
            told.contains(": is not TOML: ") && told.ends_with(at),
            "{told}"
        );
        assert!(
            !told.contains("hunter2") && !told.contains("99999"),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let digest = "ab".repeat(32);
    let clients = format!("orders:{digest}");
    let right = [
        ("BACKOFFICE_AUTH__MAIL__SMTP__USERNAME", "relay"),
        ("BACKOFFICE_AUTH__MAIL__SMTP__PASSWORD", "hunter2"),
        ("BACKOFFICE_AUTH__MAIL__FALLBACK__HOST", "b.example.com"),
        ("BACKOFFICE_AUTH__MAIL__FALLBACK__USERNAME", "relay"),
        ("BACKOFFICE_AUTH__MAIL__FALLBACK__PASSWORD", "hunter2"),
        ("BACKOFFICE_AUTH__INTROSPECTION__CLIENTS", clients.as_str()),
    ];
    let loaded = load(&complete(""), &right).unwrap();
    let mut printed = vec![
        format!("{loaded:?}"),
        loaded.show(),
        loaded.show_json().to_string(),
    ];
    for wrong in [
        ("DATABASE_URL", "mysql://app:hunter2@db/x"),
        ("DATABASE_URL", "postgres://app:hunter2/@db/x"),
        ("BACKOFFICE_AUTH__DATABASE__URL", "hunter2"),
        ("BACKOFFICE_AUTH__SECRETS__MASTER_KEY", "hunter2"),
        ("BACKOFFICE_AUTH__SECRETS__MASTER_KYE", "hunter2"),
        ("BACKOFFICE_AUTH__MAIL__SMTP__PASSWORD", "hunter2"),
        ("BACKOFFICE_AUTH__MAIL__FALLBACK__PASSWORD", "hunter2"),
        ("BACKOFFICE_AUTH__INTROSPECTION__CLIENTS", "orders:hunter2"),
    ] {
        let error = load(&complete(""), &[wrong]).unwrap_err();
        printed.push(format!("{error}{error:?}"));
    }
    for text in printed {
        for secret in ["hunter2", MASTER_KEY, &digest] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn the_defaults_hold_exactly_the_keys_that_are_read() {
    let table: Table = DEFAULTS.parse().unwrap();
    let written: BTreeSet<_> = flatten(&table).into_iter().map(|(key, _)| key).collect();
    let entries = load(&complete(""), &[]).unwrap().entries;
    let mut read: BTreeSet<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(read.len(), entries.len(), "each is shown once");
    for secret in [
        "database.url",
        "secrets.master_key",
        "mail.smtp.password",
        "mail.fallback.password",
    ] {
        assert!(read.contains(secret));
        read.insert(format!("{secret}_file"));
    }
    assert_eq!(written, read);
}

#[test]
fn the_shown_settings_load_again_once_the_secrets_are_filled_in() {
    let password = file("pass\nword\n");
    let before = complete(
        "http.allowed_origins = ['https://a.example', 'http://b.example:8080']
         tokens.audience = 'quoted \"#\" text'
         limits.signin.attempts = 7",
    );
    let environment = [
        ("DATABASE_URL", URL),
        ("BACKOFFICE_AUTH__SECRETS__MASTER_KEY", MASTER_KEY),
        ("BACKOFFICE_AUTH__MAIL__SMTP__USERNAME", "relay"),
        (
            "BACKOFFICE_AUTH__MAIL__SMTP__PASSWORD_FILE",
            path(&password),
        ),
    ];
    let shown = load(&before, &environment).unwrap().show();
    let again = load(&file(&shown), &environment[..2]).unwrap().show();
    let values = |shown: &str| shown.parse::<Table>().unwrap();
    assert_eq!(values(&shown), values(&again));
    assert_eq!(
        values(&shown)["limits"]["signin"]["attempts"].as_integer(),
        Some(7)
    );
}

#[test]
fn each_shown_setting_says_where_it_came_from() {
    let variables = [
        ("BACKOFFICE_AUTH__HTTP__DOCS", "true"),
        ("BACKOFFICE_AUTH__LOG__FILTER", "warn"),
        ("RUST_LOG", "debug"),
        ("PGSSLMODE", "require"),
    ];
    let loaded = load(&complete("log.format = 'text'"), &variables).unwrap();
    assert_eq!(loaded.config.log.filter, "debug");
    let shown = loaded.show();
    for line in [
        "http.listen = \"127.0.0.1:8080\"  # default\n",
        "http.docs = true  # environment BACKOFFICE_AUTH__HTTP__DOCS\n",
        "log.format = \"text\"  # file\n",
        "log.filter = \"debug\"  # environment RUST_LOG\n",
        "# PGSSLMODE = \"require\"  # environment PGSSLMODE\n",
        "database.url = \"postgres://app:***@localhost:5432/auth\"  # file\n",
        "secrets.master_key = \"***\"  # file\n",
        "mail.smtp.password = \"\"  # default\n",
        "mail.smtp.port = 465  # default\n",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
    let json = loaded.show_json();
    assert_eq!(json["limits.confirm.attempts"]["value"], 3);
    assert_eq!(json["log.format"]["from"], "file");
    assert_eq!(json["PGSSLMODE"]["value"], "require");
}
