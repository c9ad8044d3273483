//! What is legal but weak. A server that starts with one of these says so.

use url::Url;

use super::shape::is_loopback;
use super::{Config, MailTransportConfig, PasswordsConfig, SmtpTls};

/// Memory in KiB and passes that are equally strong with one lane: the least that the OWASP
/// Password Storage Cheat Sheet recommends for Argon2id.
const OWASP_MINIMA: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9216, 4), (7168, 5)];

/// A sentence for each weakness, beginning with its key.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    [
        weak_hash(&config.passwords),
        mail(&config.mail.transport),
        plain_issuer(&config.tokens.issuer),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn weak_hash(passwords: &PasswordsConfig) -> Option<String> {
    let (memory, iterations) = (passwords.memory_kib, passwords.iterations);
    let reaches = |(m, t): &(u32, u32)| memory >= *m && iterations >= *t;
    (!OWASP_MINIMA.iter().any(reaches)).then(|| {
        format!(
            "passwords.memory_kib: {memory} with {iterations} iterations is below what OWASP \
             recommends for Argon2id (19456 with 2, or an equivalent)"
        )
    })
}

fn mail(transport: &MailTransportConfig) -> Option<String> {
    match transport {
        MailTransportConfig::Log => {
            Some("mail.transport: log writes every code to the log and mails nothing".into())
        }
        MailTransportConfig::Smtp(smtp)
            if smtp.tls == SmtpTls::None && !is_loopback(&smtp.host) =>
        {
            Some(format!(
                "mail.smtp.tls: none sends codes in the clear to {}",
                smtp.host
            ))
        }
        MailTransportConfig::Smtp(_) => None,
    }
}

fn plain_issuer(issuer: &str) -> Option<String> {
    let url = Url::parse(issuer).ok()?;
    let is_plain = url.scheme() == "http" && !is_loopback(url.host_str()?);
    is_plain.then(|| format!("tokens.issuer: {issuer} is not https, so tokens travel in the clear"))
}

#[cfg(test)]
mod tests {
    use super::super::SmtpConfig;
    use super::*;

    fn argon2(memory_kib: u32, iterations: u32) -> PasswordsConfig {
        PasswordsConfig {
            memory_kib,
            iterations,
            parallelism: 1,
            workers: 1,
            queue: 1,
        }
    }

    #[test]
    fn a_hash_below_every_recommended_minimum_is_weak() {
        for (memory, iterations) in [(19_456, 2), (47_104, 1), (7168, 5), (65_536, 3)] {
            assert_eq!(weak_hash(&argon2(memory, iterations)), None);
        }
        for (memory, iterations) in [(8, 1), (19_455, 2), (19_456, 1), (7167, 100)] {
            assert!(weak_hash(&argon2(memory, iterations)).is_some());
        }
    }

    #[test]
    fn mail_in_the_clear_is_weak_unless_it_stays_on_this_machine() {
        let smtp = |host: &str, tls| {
            mail(&MailTransportConfig::Smtp(SmtpConfig {
                host: host.into(),
                port: 25,
                tls,
                credentials: None,
            }))
        };
        assert!(mail(&MailTransportConfig::Log).is_some());
        assert!(smtp("relay.example.com", SmtpTls::None).is_some());
        assert_eq!(smtp("localhost", SmtpTls::None), None);
        assert_eq!(smtp("relay.example.com", SmtpTls::StartTls), None);
    }

    #[test]
    fn a_plain_issuer_is_weak_unless_it_stays_on_this_machine() {
        assert!(plain_issuer("http://auth.example.com").is_some());
        assert_eq!(plain_issuer("https://auth.example.com"), None);
        assert_eq!(plain_issuer("http://127.0.0.1:8080"), None);
        assert_eq!(plain_issuer("http://[::1]:8080"), None);
    }
}
