//! What each key must be, and what keys must be to each other: one function per section.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::clients::clients;
use super::reader::Reader;
use super::secret::{redact, redact_url};
use super::{
    AuditConfig, Config, DatabaseConfig, ForwardedHeader, HttpConfig, IntrospectionConfig,
    KeysConfig, LimitsConfig, LogConfig, LogFormat, PasswordsConfig, SecretsConfig,
    TelemetryConfig, TokensConfig, TwoFactorConfig, mail, shape,
};
use crate::domain::{Limit, MasterKey};

const DAY: u32 = 86_400;
const TEN_YEARS: u32 = 3650 * DAY;

/// How many may wait for each hashing worker.
const QUEUE_PER_WORKER: usize = 64;

/// Reads every key. With problems noted in `reader`, what is returned holds stand-ins; `None` if
/// there is none for a secret.
pub(super) fn config(reader: &mut Reader) -> Option<Config> {
    let http = http(reader);
    let database = database(reader);
    let secrets = secrets(reader);
    let tokens = tokens(reader);
    let two_factor = two_factor(reader);
    let passwords = passwords(reader);
    let limits = limits(reader);
    let mail = mail::mail(reader);
    let introspection = IntrospectionConfig {
        clients: clients(reader),
        max_waiting: count(reader.number("introspection.max_waiting", 0..=1_000_000)),
    };
    let keys = keys(reader);
    let audit = AuditConfig {
        retention: days(reader.number("audit.retention_days", 0..=3650)),
    };
    let log = log(reader);
    let telemetry = telemetry(reader);
    Some(Config {
        http,
        database: database?,
        secrets: secrets?,
        tokens,
        two_factor,
        passwords,
        limits,
        mail,
        introspection,
        keys,
        audit,
        log,
        telemetry,
    })
}

fn http(reader: &mut Reader) -> HttpConfig {
    let http = HttpConfig {
        listen: listen(reader, "http.listen"),
        management_listen: listen(reader, "http.management_listen"),
        trusted_proxies: reader.list("http.trusted_proxies", shape::network),
        forwarded_header: forwarded_header(reader),
        allowed_origins: reader.list("http.allowed_origins", shape::origin),
        allows_loopback_pages: false,
        allowed_headers: reader.list("http.allowed_headers", shape::header_name),
        max_connections: count(reader.number("http.max_connections", 1..=1_000_000)),
        drain_delay: reader.seconds("http.drain_seconds", 0..=8),
        docs: reader.flag("http.docs"),
    };
    let are_sound = reader.sound(&["http.listen", "http.management_listen"]);
    if are_sound && collide(http.listen, http.management_listen) {
        let message = format!("must not take the place of http.listen ({})", http.listen);
        reader.problem("http.management_listen", message);
    }
    http
}

fn forwarded_header(reader: &mut Reader) -> ForwardedHeader {
    let either = ForwardedHeader::Either;
    reader.parsed("http.forwarded_header", either, |text| match text {
        "either" => Ok(ForwardedHeader::Either),
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        _ => Err("must be either, x-forwarded-for or forwarded"),
    })
}

fn listen(reader: &mut Reader, key: &str) -> SocketAddr {
    let stand_in = (Ipv4Addr::LOCALHOST, 0).into();
    reader.parsed(key, stand_in, shape::socket_address)
}

/// Whether the system would refuse the second of two listeners.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let overlap = one.ip() == other.ip() || is_any && one.is_ipv4() == other.is_ipv4();
    one.port() != 0 && one.port() == other.port() && overlap
}

fn database(reader: &mut Reader) -> Option<DatabaseConfig> {
    let url = reader.required_secret("database.url", redact_url);
    let max_connections = reader.number("database.max_connections", 1..=1000);
    let wait = reader.seconds("database.wait_seconds", 0..=3600);
    let migrate = reader.flag("database.migrate");
    let transaction_pooling = reader.flag("database.transaction_pooling");
    let url = url?;
    if let Err(must) = shape::is_database_url(&url.text) {
        reader.problem(&url.key, must);
    }
    Some(DatabaseConfig {
        url: url.text.into(),
        max_connections,
        wait,
        migrate,
        transaction_pooling,
    })
}

fn secrets(reader: &mut Reader) -> Option<SecretsConfig> {
    let secret = reader.required_secret("secrets.master_key", redact)?;
    let text = if secret.is_from_file {
        secret.text.trim_ascii()
    } else {
        &secret.text
    };
    match MasterKey::from_base64(text) {
        Ok(master_key) => Some(SecretsConfig { master_key }),
        Err(error) => {
            reader.problem(&secret.key, error.to_string());
            None
        }
    }
}

fn tokens(reader: &mut Reader) -> TokensConfig {
    // The lives may be in any order: the shortest that applies decides.
    TokensConfig {
        issuer: reader.parsed("tokens.issuer", String::new(), shape::issuer),
        audience: reader.required("tokens.audience"),
        access_ttl: reader.seconds("tokens.access_ttl_seconds", 1..=DAY),
        refresh_idle_ttl: reader.seconds("tokens.refresh_idle_ttl_seconds", 1..=TEN_YEARS),
        session_ttl: reader.seconds("tokens.session_ttl_seconds", 1..=TEN_YEARS),
        refresh_grace: reader.seconds("tokens.refresh_grace_seconds", 0..=300),
        max_sessions_per_user: reader.number("tokens.max_sessions_per_user", 1..=100_000),
        legacy_ttl: reader.seconds("tokens.legacy_ttl_seconds", 0..=DAY),
    }
}

fn two_factor(reader: &mut Reader) -> TwoFactorConfig {
    TwoFactorConfig {
        ttl: reader.seconds("two_factor.ttl_seconds", 1..=600),
    }
}

fn passwords(reader: &mut Reader) -> PasswordsConfig {
    let memory_kib = reader.number("passwords.memory_kib", 8..=4_194_304);
    let iterations = reader.number("passwords.iterations", 1..=100);
    let parallelism = reader.number("passwords.parallelism", 1..=64);
    let workers = workers(reader);
    let least = 8 * parallelism;
    if memory_kib < least && reader.sound(&["passwords.memory_kib", "passwords.parallelism"]) {
        let message = format!(
            "must be at least 8 times passwords.parallelism ({least}), but is {memory_kib}"
        );
        reader.problem("passwords.memory_kib", message);
    }
    PasswordsConfig {
        memory_kib,
        iterations,
        parallelism,
        workers,
        queue: queue(reader, workers),
    }
}

fn workers(reader: &mut Reader) -> usize {
    let workers = match count(reader.number("passwords.workers", 0..=1024)) {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(1024)),
        workers => workers,
    };
    settle(reader, "passwords.workers", workers);
    workers
}

fn queue(reader: &mut Reader, workers: usize) -> usize {
    let queue = match count(reader.number("passwords.queue", 0..=1_000_000)) {
        0 => workers * QUEUE_PER_WORKER,
        queue => queue,
    };
    settle(reader, "passwords.queue", queue);
    queue
}

fn limits(reader: &mut Reader) -> LimitsConfig {
    LimitsConfig {
        signin: limit(
            reader,
            "limits.signin.attempts",
            "limits.signin.window_seconds",
            "limits.signin.block_seconds",
        ),
        confirm: limit(
            reader,
            "limits.confirm.attempts",
            "limits.confirm.window_seconds",
            "limits.confirm.block_seconds",
        ),
        refresh: limit(
            reader,
            "limits.refresh.attempts",
            "limits.refresh.window_seconds",
            "limits.refresh.block_seconds",
        ),
        signin_network_per_minute: reader.number("limits.signin_network_per_minute", 1..=1_000_000),
        signin_account_failures_per_hour: reader
            .number("limits.signin_account_failures_per_hour", 1..=1_000_000),
        confirm_failures_per_account: reader
            .number("limits.confirm_failures_per_account", 1..=1_000_000),
        mails_per_account: reader.number("limits.mails_per_account", 1..=1_000_000),
        strangers_burst: reader.number("limits.strangers_burst", 1..=1_000_000),
        strangers_per_second: reader.number("limits.strangers_per_second", 1..=1_000_000),
        flood_burst: reader.number("limits.flood_burst", 1..=1_000_000),
        flood_per_second: reader.number("limits.flood_per_second", 1..=1_000_000),
    }
}

fn limit(reader: &mut Reader, attempts: &str, window: &str, block: &str) -> Limit {
    Limit {
        attempts: reader.number(attempts, 1..=1_000_000),
        window: reader.seconds(window, 1..=DAY),
        block: Some(reader.seconds(block, 1..=DAY)),
    }
}

fn keys(reader: &mut Reader) -> KeysConfig {
    let bits = reader.number("keys.bits", 2048..=4096);
    if reader.sound(&["keys.bits"]) && ![2048, 3072, 4096].contains(&bits) {
        let message = format!("must be 2048, 3072 or 4096, but is {bits}");
        reader.problem("keys.bits", message);
    }
    let rotate_days = reader.number("keys.rotate_days", 0..=3650);
    let publish_before = reader.seconds("keys.publish_seconds", 0..=7 * DAY);
    let rotate_after = days(rotate_days);
    let is_sound = reader.sound(&["keys.rotate_days", "keys.publish_seconds"]);
    if is_sound && rotate_days != 0 && publish_before >= rotate_after {
        let seconds = publish_before.as_secs();
        let message =
            format!("must be less than keys.rotate_days ({rotate_days} d), but is {seconds}");
        reader.problem("keys.publish_seconds", message);
    }
    KeysConfig {
        bits,
        rotate_after,
        publish_before,
    }
}

fn telemetry(reader: &mut Reader) -> TelemetryConfig {
    const ENDPOINT: &str = "telemetry.otlp_endpoint";
    let otlp_endpoint = optional(reader, ENDPOINT, shape::collector);
    if otlp_endpoint.is_some() && !cfg!(feature = "otlp") {
        let message = "needs a program that was built with `--features otlp`; this one was not";
        reader.problem(ENDPOINT, message);
    }
    TelemetryConfig {
        otlp_endpoint,
        sample_percent: reader.number("telemetry.sample_percent", 0..=100),
    }
}

fn log(reader: &mut Reader) -> LogConfig {
    let format = reader.parsed("log.format", LogFormat::Json, |text| match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err("must be json or text"),
    });
    let filter = reader.parsed("log.filter", "info".to_owned(), shape::log_filter);
    LogConfig { format, filter }
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * u64::from(DAY))
}

/// A text that may be left out.
pub(super) fn optional<T>(
    reader: &mut Reader,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Option<T> {
    let text = reader.text(key);
    if text.is_empty() || !reader.sound(&[key]) {
        return None;
    }
    parse(&text).map_err(|must| reader.refuse(key, must)).ok()
}

fn settle(reader: &mut Reader, key: &str, value: usize) {
    reader.settle(key, i64::try_from(value).unwrap_or(i64::MAX));
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::load::variable;
    use super::super::{MailTransportConfig, SmtpTls};
    use super::*;
    use crate::domain::Language;

    /// What has no default.
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

    /// What comes of these settings on top of what is required, or what is wrong with them.
    pub(in crate::config) fn with(settings: &[(&str, &str)]) -> Result<Config, Vec<String>> {
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

    pub(in crate::config) fn refused(settings: &[(&str, &str)]) -> Vec<String> {
        with(settings).unwrap_err()
    }

    #[test]
    fn the_defaults_of_the_server_are_those_of_the_manual() {
        let Config {
            http,
            database,
            keys,
            audit,
            log,
            ..
        } = with(&[]).unwrap();
        assert_eq!(http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(http.management_listen.to_string(), "127.0.0.1:9090");
        assert!(http.trusted_proxies.is_empty() && http.allowed_origins.is_empty());
        assert!(http.allowed_headers.is_empty());
        assert_eq!(http.forwarded_header, ForwardedHeader::Either);
        assert_eq!((http.drain_delay.as_secs(), http.docs), (2, false));
        assert_eq!((database.max_connections, database.migrate), (16, true));
        assert_eq!(database.wait.as_secs(), 60);
        let days = keys.rotate_after.as_secs() / 86_400;
        assert_eq!((days, keys.publish_before.as_secs()), (90, 600));
        assert_eq!(audit.retention.as_secs() / 86_400, 90);
        assert_eq!(log.format, LogFormat::Json);
        assert!(log.filter.starts_with("info"), "{}", log.filter);
    }

    #[test]
    fn the_defaults_of_signing_in_are_those_of_the_manual() {
        let Config {
            tokens,
            two_factor,
            passwords,
            mail,
            introspection,
            ..
        } = with(&[]).unwrap();
        assert_eq!(tokens.audience, "back-office");
        assert_eq!(tokens.access_ttl.as_secs(), 900);
        assert_eq!(tokens.refresh_idle_ttl.as_secs(), 86_400);
        assert_eq!(tokens.session_ttl.as_secs(), 2_592_000);
        assert_eq!(tokens.refresh_grace.as_secs(), 30);
        assert_eq!(tokens.max_sessions_per_user, 100);
        assert_eq!(two_factor.ttl.as_secs(), 600);
        assert_eq!(
            (
                passwords.memory_kib,
                passwords.iterations,
                passwords.parallelism
            ),
            (19_456, 2, 1)
        );
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!((passwords.workers, passwords.queue), (cores, cores * 64));
        let MailTransportConfig::Smtp { first, fallback } = mail.transport else {
            panic!("mail leaves over SMTP");
        };
        assert_eq!((first.port, first.tls), (465, SmtpTls::Required));
        assert!(first.credentials.is_none() && first.ca_file.is_none() && fallback.is_none());
        assert_eq!(mail.language, Language::English);
        assert!(mail.templates_dir.is_none() && introspection.clients.is_empty());
        assert_eq!(introspection.max_waiting, 2000);
    }

    #[test]
    fn the_default_limits_are_those_of_the_manual() {
        let limits = with(&[]).unwrap().limits;
        for (limit, attempts) in [(limits.signin, 5), (limits.confirm, 3), (limits.refresh, 5)] {
            assert_eq!(limit.attempts, attempts);
            assert_eq!(limit.window.as_secs(), 60);
            assert_eq!(limit.block, Some(Duration::from_mins(5)));
        }
        let ceilings = [
            limits.signin_network_per_minute,
            limits.signin_account_failures_per_hour,
            limits.confirm_failures_per_account,
            limits.mails_per_account,
            limits.flood_burst,
            limits.flood_per_second,
        ];
        assert_eq!(ceilings, [60, 100, 100, 5, 100, 50]);
    }

    #[test]
    fn every_number_has_bounds() {
        for (key, bad) in [
            ("http.max_connections", "0"),
            ("http.drain_seconds", "9"),
            ("database.max_connections", "1001"),
            ("tokens.access_ttl_seconds", "0"),
            ("tokens.refresh_grace_seconds", "301"),
            ("tokens.max_sessions_per_user", "0"),
            ("two_factor.ttl_seconds", "601"),
            ("passwords.memory_kib", "4194305"),
            ("passwords.memory_kib", "7"),
            ("passwords.iterations", "0"),
            ("passwords.parallelism", "65"),
            ("passwords.workers", "1025"),
            ("passwords.queue", "1000001"),
            ("limits.signin.attempts", "0"),
            ("limits.confirm.window_seconds", "86401"),
            ("limits.refresh.block_seconds", "0"),
            ("limits.signin_network_per_minute", "1000001"),
            ("limits.mails_per_account", "1000001"),
            ("mail.smtp.port", "65536"),
            ("keys.bits", "1024"),
            ("audit.retention_days", "3651"),
            ("keys.bits", "2049"),
            ("keys.rotate_days", "3651"),
            ("keys.publish_seconds", "604801"),
        ] {
            let told = refused(&[(key, bad)]);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with(key), "{told:?}");
            assert!(told[0].ends_with(&format!("is {bad}")), "{told:?}");
        }
    }

    #[test]
    fn argon2_needs_eight_blocks_for_each_lane() {
        let memory = |kib| {
            with(&[
                ("passwords.memory_kib", kib),
                ("passwords.parallelism", "4"),
            ])
        };
        assert!(memory("32").is_ok());
        assert_eq!(
            memory("31").unwrap_err(),
            [
                "passwords.memory_kib: must be at least 8 times passwords.parallelism (32), but is 31"
            ]
        );
    }

    #[test]
    fn one_header_of_a_proxy_can_be_named_and_nothing_else() {
        let named = |text| {
            Ok(with(&[("http.forwarded_header", text)])?
                .http
                .forwarded_header)
        };
        assert_eq!(named("either"), Ok(ForwardedHeader::Either));
        assert_eq!(named("x-forwarded-for"), Ok(ForwardedHeader::XForwardedFor));
        assert_eq!(named("forwarded"), Ok(ForwardedHeader::Forwarded));
        let told: Vec<String> = named("x-real-ip").unwrap_err();
        assert_eq!(
            told,
            [
                r#"http.forwarded_header: must be either, x-forwarded-for or forwarded, but is "x-real-ip""#
            ]
        );
    }

    #[test]
    fn a_queue_follows_the_workers_unless_it_is_set() {
        let queue = |queue| {
            let settings = [("passwords.workers", "3"), ("passwords.queue", queue)];
            with(&settings).unwrap().passwords.queue
        };
        assert_eq!((queue("0"), queue("7")), (192, 7));
    }

    #[test]
    fn two_listeners_do_not_take_each_others_place() {
        let listen = |one, other| with(&[("http.listen", one), ("http.management_listen", other)]);
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::1]:1", "[::]:1"),
        ] {
            assert!(listen(one, other).is_err(), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("0.0.0.0:1", "[::1]:1"),
        ] {
            assert!(listen(one, other).is_ok(), "{one} {other}");
        }
    }

    #[test]
    fn a_key_is_published_for_less_time_than_it_lives() {
        let keys = |days| {
            with(&[
                ("keys.rotate_days", days),
                ("keys.publish_seconds", "86400"),
            ])
        };
        assert!(keys("2").is_ok() && keys("0").is_ok());
        assert_eq!(
            keys("1").unwrap_err(),
            ["keys.publish_seconds: must be less than keys.rotate_days (1 d), but is 86400"]
        );
    }

    #[test]
    fn what_is_required_is_asked_for_by_name() {
        let told = Config::load(None, []).unwrap_err().to_string();
        insta::assert_snapshot!(told, @"
        database.url: is required; database.url_file can name a file that holds it
        secrets.master_key: is required; secrets.master_key_file can name a file that holds it
        tokens.issuer: is required
        mail.from: is required, unless mail.transport is log
        mail.smtp.host: is required, unless mail.transport is log
        ");
    }
}
