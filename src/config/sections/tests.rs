//! Tests of all sections: defaults, bounds, and keys that depend on each other.

use std::time::Duration;

use super::super::testing::{refused, with};
use super::super::types::{Config, ForwardedHeader, LogFormat, MailTransportConfig, SmtpTls};
use crate::domain::Language;

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
    assert_eq!(tokens.fresh.as_secs(), 900);
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
        limits.account.attempts,
        limits.signin_network_per_minute,
        limits.signin_account_failures_per_hour,
        limits.confirm_failures_per_account,
        limits.mails_per_account,
        limits.flood_burst,
        limits.flood_per_second,
    ];
    assert_eq!(ceilings, [20, 60, 100, 100, 5, 100, 50]);
}

#[test]
fn every_number_has_bounds() {
    for (key, bad) in [
        ("http.max_connections", "0"),
        ("http.drain_seconds", "9"),
        ("database.max_connections", "1001"),
        ("tokens.access_ttl_seconds", "0"),
        ("tokens.refresh_grace_seconds", "301"),
        ("tokens.fresh_seconds", "59"),
        ("tokens.fresh_seconds", "86401"),
        ("tokens.max_sessions_per_user", "0"),
        ("two_factor.ttl_seconds", "601"),
        ("passwords.memory_kib", "4194305"),
        ("passwords.memory_kib", "7"),
        ("passwords.iterations", "0"),
        ("passwords.parallelism", "65"),
        ("passwords.workers", "1025"),
        ("passwords.queue", "1000001"),
        ("passwords.imported_memory_mib", "65537"),
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
        ["passwords.memory_kib: must be at least 8 times passwords.parallelism (32), but is 31"]
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
fn a_file_of_words_is_read_at_the_start_and_told_if_it_cannot_be() {
    let list = |path: &str| {
        Ok(with(&[("passwords.blocklist_file", path)])?
            .blocklist
            .words())
    };
    assert_eq!(list(""), Ok(0));
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, "# ours\nacme-office\nacme-berlin\n").unwrap();
    assert_eq!(list(path), Ok(2));
    std::fs::write(path, [0xff, 0xfe]).unwrap();
    let told: Vec<String> = list(path).unwrap_err();
    assert!(
        told[0].contains("cannot be read: stream did not contain valid UTF-8"),
        "{told:?}"
    );
    file.as_file().set_len(16 * 1024 * 1024 + 1).unwrap();
    let told = list(path).unwrap_err();
    assert!(told[0].ends_with("which is larger than 16 MiB"), "{told:?}");
    let told = list("/nowhere").unwrap_err();
    assert!(
        told[0].starts_with("passwords.blocklist_file: names \"/nowhere\", which cannot"),
        "{told:?}"
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
fn a_required_setting_is_asked_for_by_name() {
    let told = Config::load(None, []).unwrap_err().to_string();
    insta::assert_snapshot!(told, @"
    database.url: is required; database.url_file can name a file that holds it
    secrets.master_key: is required; secrets.master_key_file can name a file that holds it
    tokens.issuer: is required
    mail.from: is required, unless mail.transport is log
    mail.smtp.host: is required, unless mail.transport is log
    ");
}
