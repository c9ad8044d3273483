//! `[mail]`: how mails leave.

use std::path::PathBuf;

use secrecy::SecretString;

use super::super::reader::{Noted, Reader, Reading};
use super::super::redact::redact;
use super::super::shape;
use super::super::types::{MailConfig, MailTransportConfig, SmtpConfig, SmtpCredentials, SmtpTls};
use crate::domain::Language;

/// The sender of mails that only go to the log.
const LOG_SENDER: &str = "Back Office <no-reply@localhost>";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Smtp,
    Log,
}

pub(super) fn mail(reader: &mut Reader) -> Reading<MailConfig> {
    let transport = transport(reader);
    let from = reader.optional("mail.from", shape::sender);
    let language = reader.parsed("mail.language", |text| {
        Language::from_stored(text).ok_or("must be en, de, fr or es")
    });
    let templates_dir = path(reader, "mail.templates_dir");
    let contact = reader.optional("mail.contact", shape::line);
    // Read even if mail goes to the log, so that a mistake there is not found on the day it matters.
    let first = RelaySection::read(reader, "mail.smtp");
    let fallback = fallback(reader);
    if transport == Ok(Transport::Smtp) {
        let is_absent = [
            ("mail.from", matches!(from, Ok(None))),
            ("mail.smtp.host", matches!(first.host, Ok(None))),
        ];
        for (key, _) in is_absent.into_iter().filter(|(_, is_absent)| *is_absent) {
            reader.missing(key, "is required, unless mail.transport is log");
        }
    }
    let (transport, first) = (transport?, first.finish());
    Ok(MailConfig {
        from: sender(reader, transport, from?)?,
        transport: match transport {
            Transport::Smtp => MailTransportConfig::Smtp {
                first: first?.ok_or(Noted)?,
                fallback: fallback?.map(Box::new),
            },
            Transport::Log => MailTransportConfig::Log,
        },
        language: language?,
        templates_dir: templates_dir?,
        contact: contact?.unwrap_or_default(),
    })
}

fn transport(reader: &mut Reader) -> Reading<Transport> {
    reader.parsed("mail.transport", |text| match text {
        "smtp" => Ok(Transport::Smtp),
        "log" => Ok(Transport::Log),
        _ => Err("must be smtp or log"),
    })
}

/// The sender; mails that only go to the log have one by default.
fn sender(reader: &mut Reader, transport: Transport, from: Option<String>) -> Reading<String> {
    match (from, transport) {
        (Some(from), _) => Ok(from),
        (None, Transport::Log) => {
            reader.settle("mail.from", LOG_SENDER);
            Ok(LOG_SENDER.to_owned())
        }
        (None, Transport::Smtp) => Err(Noted),
    }
}

/// The second relay, if there is one.
fn fallback(reader: &mut Reader) -> Reading<Option<SmtpConfig>> {
    let relay = RelaySection::read(reader, "mail.fallback");
    if matches!(relay.host, Ok(None)) && matches!(relay.credentials, Ok(Some(_))) {
        // The operator believes that there is a second relay.
        reader.missing(
            "mail.fallback.host",
            "is required with mail.fallback.username",
        );
    }
    relay.finish()
}

/// The keys of a section that describes a relay.
struct RelaySection {
    host: Reading<Option<String>>,
    port: Reading<u16>,
    tls: Reading<SmtpTls>,
    credentials: Reading<Option<SmtpCredentials>>,
    hello_name: Reading<Option<String>>,
    ca_file: Reading<Option<PathBuf>>,
}

impl RelaySection {
    fn read(reader: &mut Reader, section: &str) -> Self {
        let key = |name: &str| format!("{section}.{name}");
        let host = reader.optional(&key("host"), shape::host);
        let port = reader.number(&key("port"), 0..=65_535);
        let tls = reader.parsed(&key("tls"), |text| match text {
            "required" => Ok(SmtpTls::Required),
            "starttls" => Ok(SmtpTls::StartTls),
            "none" => Ok(SmtpTls::None),
            _ => Err("must be required, starttls or none"),
        });
        Self {
            host,
            port: settle_port(reader, &key("port"), port, tls),
            tls,
            credentials: credentials(reader, section),
            hello_name: reader.optional(&key("hello_name"), shape::hello_name),
            ca_file: path(reader, &key("ca_file")),
        }
    }

    /// The relay; `None` if the section names no host.
    fn finish(self) -> Reading<Option<SmtpConfig>> {
        let (port, tls, credentials) = (self.port?, self.tls?, self.credentials?);
        let (hello_name, ca_file) = (self.hello_name?, self.ca_file?);
        Ok(self.host?.map(|host| SmtpConfig {
            host,
            port,
            tls,
            credentials,
            hello_name,
            ca_file,
        }))
    }
}

/// The port, which follows from `tls` if it is not set.
fn settle_port(
    reader: &mut Reader,
    key: &str,
    port: Reading<u32>,
    tls: Reading<SmtpTls>,
) -> Reading<u16> {
    let port = match u16::try_from(port?).map_err(|_| Noted)? {
        0 => usual_port(tls?),
        port => port,
    };
    reader.settle(key, i64::from(port));
    Ok(port)
}

fn usual_port(tls: SmtpTls) -> u16 {
    match tls {
        SmtpTls::Required => 465,
        SmtpTls::StartTls => 587,
        SmtpTls::None => 25,
    }
}

fn credentials(reader: &mut Reader, section: &str) -> Reading<Option<SmtpCredentials>> {
    let [name, password, file] =
        ["username", "password", "password_file"].map(|key| format!("{section}.{key}"));
    let username = reader.text(&name);
    let secret = reader.secret(&password, redact);
    let are_sound = [&name, &password, &file]
        .iter()
        .all(|key| reader.is_sound(key));
    let (username, secret) = (username?, secret?);
    match (username.is_empty(), secret) {
        (false, Some(secret)) => Ok(Some(SmtpCredentials {
            username,
            password: SecretString::from(secret.text),
        })),
        (true, None) => Ok(None),
        (false, None) if are_sound => {
            Err(reader.problem(&password, format!("is required with {name}")))
        }
        (false, None) => Err(Noted),
        (true, Some(_)) => Err(reader.missing(&name, &format!("is required with {password}"))),
    }
}

/// A path; a relative one counts from the working directory.
fn path(reader: &mut Reader, key: &str) -> Reading<Option<PathBuf>> {
    let text = reader.text(key)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{refused, with};
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
