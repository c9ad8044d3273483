//! What the keys of `[mail]` must be.

use std::path::PathBuf;

use secrecy::SecretString;

use super::check::optional;
use super::reader::Reader;
use super::secret::redact;
use super::{MailConfig, MailTransportConfig, SmtpConfig, SmtpCredentials, SmtpTls, shape};
use crate::domain::Language;

/// Who mails are from when they only go to the log.
const LOG_SENDER: &str = "Back Office <no-reply@localhost>";

pub(super) fn mail(reader: &mut Reader) -> MailConfig {
    let is_log = reader.parsed("mail.transport", false, |text| match text {
        "smtp" => Ok(false),
        "log" => Ok(true),
        _ => Err("must be smtp or log"),
    });
    let from = optional(reader, "mail.from", shape::sender);
    let language = reader.parsed("mail.language", Language::English, |text| {
        Language::from_stored(text).ok_or("must be en, de, fr or es")
    });
    let templates_dir = path(reader, "mail.templates_dir");
    // Read even if mail goes to the log, so that a mistake there is not found on the day it matters.
    let first = relay(reader, "mail.smtp");
    let fallback = fallback(reader);
    if reader.sound(&["mail.transport"]) && !is_log {
        let absent = [
            ("mail.from", from.is_none()),
            ("mail.smtp.host", first.host.is_empty()),
        ];
        for (key, _) in absent.into_iter().filter(|(_, is_absent)| *is_absent) {
            reader.missing(key, "is required, unless mail.transport is log");
        }
    }
    let from = match (from, is_log) {
        (None, true) => {
            reader.settle("mail.from", LOG_SENDER);
            LOG_SENDER.to_owned()
        }
        (from, _) => from.unwrap_or_default(),
    };
    MailConfig {
        transport: if is_log {
            MailTransportConfig::Log
        } else {
            MailTransportConfig::Smtp {
                first,
                fallback: fallback.map(Box::new),
            }
        },
        from,
        language,
        templates_dir,
    }
}

/// The second relay, if there is one.
fn fallback(reader: &mut Reader) -> Option<SmtpConfig> {
    let relay = relay(reader, "mail.fallback");
    if relay.host.is_empty() && relay.credentials.is_some() {
        // Somebody believes to have a second relay.
        reader.missing(
            "mail.fallback.host",
            "is required with mail.fallback.username",
        );
    }
    (!relay.host.is_empty()).then_some(relay)
}

/// The relay that a section describes; without a host if it describes none.
fn relay(reader: &mut Reader, section: &str) -> SmtpConfig {
    let key = |name: &str| format!("{section}.{name}");
    let host = optional(reader, &key("host"), shape::host).unwrap_or_default();
    let port = reader.number(&key("port"), 0..=65_535);
    let tls = reader.parsed(&key("tls"), SmtpTls::Required, |text| match text {
        "required" => Ok(SmtpTls::Required),
        "starttls" => Ok(SmtpTls::StartTls),
        "none" => Ok(SmtpTls::None),
        _ => Err("must be required, starttls or none"),
    });
    let port = u16::try_from(port).ok().filter(|port| *port != 0);
    let port = port.unwrap_or_else(|| usual_port(tls));
    reader.settle(&key("port"), i64::from(port));
    SmtpConfig {
        host,
        port,
        tls,
        credentials: credentials(reader, section),
        hello_name: optional(reader, &key("hello_name"), shape::hello_name),
        ca_file: path(reader, &key("ca_file")),
    }
}

fn usual_port(tls: SmtpTls) -> u16 {
    match tls {
        SmtpTls::Required => 465,
        SmtpTls::StartTls => 587,
        SmtpTls::None => 25,
    }
}

fn credentials(reader: &mut Reader, section: &str) -> Option<SmtpCredentials> {
    let [name, password, file] =
        ["username", "password", "password_file"].map(|key| format!("{section}.{key}"));
    let username = reader.text(&name);
    let secret = reader.secret(&password, redact);
    let are_sound = reader.sound(&[&name, &password, &file]);
    match (username.is_empty(), secret) {
        (false, Some(secret)) => Some(SmtpCredentials {
            username,
            password: SecretString::from(secret.text),
        }),
        (true, None) => None,
        (false, None) => {
            if are_sound {
                reader.problem(&password, format!("is required with {name}"));
            }
            None
        }
        (true, Some(_)) => {
            reader.missing(&name, &format!("is required with {password}"));
            None
        }
    }
}

/// A path, from the working directory if it is relative.
fn path(reader: &mut Reader, key: &str) -> Option<PathBuf> {
    let text = reader.text(key);
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::super::check::tests::{refused, with};
    use super::*;

    /// The relays that mail goes to with these settings.
    fn relays(settings: &[(&str, &str)]) -> (SmtpConfig, Option<SmtpConfig>) {
        match with(settings).unwrap().mail.transport {
            MailTransportConfig::Smtp { first, fallback } => (first, fallback.map(|relay| *relay)),
            MailTransportConfig::Log => panic!("mail leaves over SMTP"),
        }
    }

    #[test]
    fn the_port_follows_from_tls_unless_it_is_set() {
        for (tls, port, expected) in [
            ("required", "0", 465),
            ("starttls", "0", 587),
            ("none", "0", 25),
            ("none", "1025", 1025),
        ] {
            let (first, fallback) = relays(&[
                ("mail.smtp.tls", tls),
                ("mail.smtp.port", port),
                ("mail.fallback.host", "b.example.com"),
                ("mail.fallback.tls", tls),
                ("mail.fallback.port", port),
            ]);
            assert_eq!((first.port, fallback.unwrap().port), (expected, expected));
        }
    }

    #[test]
    fn only_mail_that_goes_to_the_log_needs_no_sender_and_no_relay() {
        let mail = |transport| {
            with(&[
                ("mail.transport", transport),
                ("mail.from", ""),
                ("mail.smtp.host", ""),
            ])
        };
        assert_eq!(mail("log").unwrap().mail.from, LOG_SENDER);
        assert_eq!(
            mail("smtp").unwrap_err(),
            [
                "mail.from: is required, unless mail.transport is log",
                "mail.smtp.host: is required, unless mail.transport is log"
            ]
        );
        assert_eq!(
            mail("pigeon").unwrap_err(),
            ["mail.transport: must be smtp or log, but is \"pigeon\""]
        );
    }

    #[test]
    fn a_username_and_a_password_come_together_for_each_relay() {
        for section in ["mail.smtp", "mail.fallback"] {
            let (name, secret) = (format!("{section}.username"), format!("{section}.password"));
            let host = ("mail.fallback.host", "b.example.com");
            let (username, password) = ((&*name, "u"), (&*secret, "p"));
            assert!(with(&[host, username, password]).is_ok());
            assert_eq!(
                refused(&[host, username]),
                [format!("{secret}: is required with {name}")]
            );
            assert_eq!(
                refused(&[host, password]),
                [format!("{name}: is required with {secret}")]
            );
        }
    }

    #[test]
    fn a_second_relay_has_a_host_and_all_that_the_first_has() {
        let (_, none) = relays(&[("mail.fallback.tls", "starttls")]);
        assert!(none.is_none());
        let (first, fallback) = relays(&[
            ("mail.smtp.ca_file", "/etc/relay-ca.pem"),
            ("mail.fallback.host", "b.example.com"),
            ("mail.fallback.tls", "starttls"),
            ("mail.fallback.username", "u"),
            ("mail.fallback.password", "p"),
        ]);
        let fallback = fallback.unwrap();
        assert_eq!((&*fallback.host, fallback.port), ("b.example.com", 587));
        assert_eq!(fallback.credentials.unwrap().username, "u");
        assert_eq!(first.ca_file.unwrap().to_str(), Some("/etc/relay-ca.pem"));
        assert!(first.credentials.is_none() && fallback.ca_file.is_none());
        assert_eq!(
            refused(&[
                ("mail.fallback.username", "u"),
                ("mail.fallback.password", "p")
            ]),
            ["mail.fallback.host: is required with mail.fallback.username"]
        );
    }

    #[test]
    fn a_name_to_greet_by_is_a_full_one_or_an_address_in_brackets() {
        let (first, fallback) = relays(&[
            ("mail.smtp.hello_name", "auth.example.com"),
            ("mail.fallback.host", "b.example.com"),
            ("mail.fallback.hello_name", "[IPv6:2001:db8::1]"),
        ]);
        assert_eq!(first.hello_name.as_deref(), Some("auth.example.com"));
        let literal = fallback.unwrap().hello_name;
        assert_eq!(literal.as_deref(), Some("[IPv6:2001:db8::1]"));
        assert!(relays(&[]).0.hello_name.is_none());
        for bad in [
            "vm",
            "192.0.2.1",
            "[::1]",
            "a_b.example.com",
            "a.example.com QUIT",
        ] {
            let told = refused(&[("mail.smtp.hello_name", bad)]);
            assert!(
                told[0].starts_with("mail.smtp.hello_name: must be"),
                "{told:?}"
            );
        }
    }

    #[test]
    fn a_language_is_one_that_is_built_in() {
        assert_eq!(
            with(&[("mail.language", "fr")]).unwrap().mail.language,
            Language::French
        );
        for language in Language::ALL {
            let told = refused(&[("mail.language", "xx")]);
            assert!(told[0].contains(language.as_str()), "{told:?}");
        }
    }
}
