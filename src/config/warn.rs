//! Settings that are legal but weak. A server that starts with one of them says so.

use std::collections::BTreeMap;

use ipnet::IpNet;
use secrecy::ExposeSecret as _;
use url::Url;

use super::shape::is_loopback;
use super::types::{
    Config, ForwardedHeader, HttpConfig, MailTransportConfig, PasswordsConfig, SmtpConfig, SmtpTls,
};

/// Pairs of memory in KiB and passes that are equally strong with one lane: the minima that the OWASP
/// Password Storage Cheat Sheet recommends for Argon2id.
const OWASP_MINIMA: [(u32, u32); 5] = [(47_104, 1), (19_456, 2), (12_288, 3), (9216, 4), (7168, 5)];

/// A sentence for each weakness, beginning with its key.
pub(super) fn warnings(config: &Config, environment: &BTreeMap<String, String>) -> Vec<String> {
    let hash = weak_hash(&config.passwords);
    let issuer = plain_issuer(&config.tokens.issuer);
    let mail = mail(&config.mail.transport);
    let parameters = unknown_parameters(config.database.url.expose_secret());
    let proxies = either_header(&config.http);
    let database = unverified_database(config.database.url.expose_secret(), environment);
    let all = hash.into_iter().chain(parameters).chain(mail).chain(issuer);
    let everybody = everybody_is_a_proxy(&config.http.trusted_proxies);
    all.chain(proxies)
        .chain(shut_out_administrators(config))
        .chain(stranded_pages(config))
        .chain(everybody)
        .chain(database)
        .collect()
}

/// An administrator must have signed in with a factor that nobody can enrol.
fn shut_out_administrators(config: &Config) -> Option<String> {
    let can_enrol = config.two_factor.totp || config.passkeys.party.is_some();
    (config.administration.requires_mfa && !can_enrol).then(|| {
        "administration.requires_mfa: administrators need an authenticator app or a passkey, and \
         nobody can enrol one: two_factor.totp is false and passkeys.rp_id is empty"
            .to_owned()
    })
}

/// The page that sets passwords, and those that use passkeys, call this server. One of another origin must be
/// allowed to.
fn stranded_pages(config: &Config) -> Vec<String> {
    let origin = |url: &str| Some(Url::parse(url).ok()?.origin().ascii_serialization());
    let own = origin(&config.tokens.issuer);
    let of_links = config.links.password_url.as_deref().and_then(origin);
    let of_links = of_links.map(|origin| ("links.password_url", origin));
    let of_passkeys = config
        .passkeys
        .party
        .iter()
        .flat_map(|party| &party.origins);
    let of_passkeys = of_passkeys.map(|origin| ("passkeys.origins", origin.clone()));
    let all = of_links.into_iter().chain(of_passkeys);
    let stranded = all.filter(|(_, page)| {
        !config.http.allowed_origins.contains(page) && own.as_ref() != Some(page)
    });
    stranded
        .map(|(key, page)| {
            format!(
                "{key}: browsers will not let that page call this server, because \
                 http.allowed_origins does not list {page}"
            )
        })
        .collect()
}

/// A network of all addresses makes every client a proxy.
fn everybody_is_a_proxy(trusted: &[IpNet]) -> Option<String> {
    let all = trusted.iter().find(|network| network.prefix_len() == 0)?;
    Some(format!(
        "http.trusted_proxies: {all} lets each client choose the address that limits and the log know \
         it by; name the networks of your proxies alone"
    ))
}

/// Without `verify-full` the driver accepts any certificate, or the certificate of any host, or none: a
/// machine in between can read and change what passes. On this machine there is nothing in between.
fn unverified_database(url: &str, environment: &BTreeMap<String, String>) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let said = |names: &[&str]| {
        let named = url
            .query_pairs()
            .filter(|(name, _)| names.contains(&&**name));
        named.last().map(|(_, value)| value.into_owned())
    };
    let variable = |name| environment.get(name).cloned();
    let in_place = url.host_str().filter(|host| !host.is_empty());
    let host = said(&["host", "hostaddr"])
        .or(in_place.map(str::to_owned))
        .or_else(|| variable("PGHOSTADDR"))
        .or_else(|| variable("PGHOST"))?;
    let is_socket = host.starts_with('/') || host.to_ascii_lowercase().starts_with("%2f");
    let mode = said(&["sslmode", "ssl-mode"]).or_else(|| variable("PGSSLMODE"));
    let is_verified = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("verify-full"));
    (!is_socket && !is_loopback(&host) && !is_verified).then(|| {
        "database.url: sslmode below verify-full lets those between here and the database read and \
         change what passes; set sslmode=verify-full, and sslrootcert to the authority of its certificate"
            .to_owned()
    })
}

/// A proxy writes one of the two headers and passes the other on as its client sent it.
fn either_header(http: &HttpConfig) -> Option<String> {
    let is_open = http.forwarded_header == ForwardedHeader::Either;
    (is_open && !http.trusted_proxies.is_empty()).then(|| {
        "http.forwarded_header: either lets a client who sends the header that your proxies do \
         not write hide behind their address; name the one that they write"
            .to_owned()
    })
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

fn mail(transport: &MailTransportConfig) -> Vec<String> {
    let MailTransportConfig::Smtp { first, fallback } = transport else {
        return vec!["mail.transport: log writes every code to the log and mails nothing".into()];
    };
    let mut warnings: Vec<String> = [
        ("mail.smtp", Some(first)),
        ("mail.fallback", fallback.as_deref()),
    ]
    .into_iter()
    .filter_map(|(section, relay)| in_the_clear(section, relay?))
    .collect();
    let is_same = |other: &SmtpConfig| other.host == first.host && other.port == first.port;
    if fallback.as_deref().is_some_and(is_same) {
        warnings
            .push("mail.fallback: is the relay of mail.smtp once more, so it helps little".into());
    }
    warnings
}

fn in_the_clear(section: &str, relay: &SmtpConfig) -> Option<String> {
    let is_weak = relay.tls == SmtpTls::None && !is_loopback(&relay.host);
    is_weak.then(|| {
        format!(
            "{section}.tls: none sends codes in the clear to {}",
            relay.host
        )
    })
}

/// Parameters of a database's URL that the driver knows, besides `options[…]`.
const PARAMETERS: [&str; 18] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// Parameters that other programs know. Only these are named: other words in a query may be a part of a
/// password.
const OF_OTHERS: [&str; 16] = [
    "channel_binding",
    "connect_timeout",
    "gssencmode",
    "keepalives",
    "load_balance_hosts",
    "passfile",
    "pgbouncer",
    "require_auth",
    "service",
    "sslcompression",
    "sslcrl",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// The driver ignores a parameter that it does not know. Its own message is not logged, because it repeats
/// the value.
fn unknown_parameters(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let is_known = |name: &str| PARAMETERS.contains(&name) || name.starts_with("options[");
    let mut names = url.query_pairs().map(|(name, _)| name);
    let unknown = names.find(|name| !is_known(name))?;
    let name = OF_OTHERS.iter().find(|other| **other == unknown);
    let name = name.map_or("a parameter that is not known", |name| *name);
    Some(format!("database.url: {name} has no effect; leave it out"))
}

fn plain_issuer(issuer: &str) -> Option<String> {
    let url = Url::parse(issuer).ok()?;
    let is_plain = url.scheme() == "http" && !is_loopback(url.host_str()?);
    is_plain.then(|| format!("tokens.issuer: {issuer} is not https, so tokens travel in the clear"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::with;
    use super::*;

    fn argon2(memory_kib: u32, iterations: u32) -> PasswordsConfig {
        PasswordsConfig {
            memory_kib,
            iterations,
            parallelism: 1,
            workers: 1,
            queue: 1,
            imported_memory_mib: 128,
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
        let smtp = |host: &str, tls| SmtpConfig {
            host: host.into(),
            port: 25,
            tls,
            credentials: None,
            hello_name: None,
            ca_file: None,
        };
        let told = |first, fallback: Option<SmtpConfig>| {
            let fallback = fallback.map(Box::new);
            mail(&MailTransportConfig::Smtp { first, fallback })
        };
        let sound = || smtp("relay.example.com", SmtpTls::StartTls);
        let clear = || smtp("relay.example.net", SmtpTls::None);
        assert_eq!(mail(&MailTransportConfig::Log).len(), 1);
        assert_eq!(told(sound(), None), [""; 0]);
        assert_eq!(told(smtp("localhost", SmtpTls::None), None), [""; 0]);
        assert!(told(clear(), Some(sound()))[0].starts_with("mail.smtp.tls"));
        assert!(told(sound(), Some(clear()))[0].starts_with("mail.fallback.tls"));
        assert!(told(sound(), Some(sound()))[0].starts_with("mail.fallback: is the relay of"));
    }

    #[test]
    fn a_proxy_whose_header_is_not_named_is_weak() {
        let told = |proxies, header| {
            let settings = [
                ("http.trusted_proxies", proxies),
                ("http.forwarded_header", header),
            ];
            either_header(&with(&settings).unwrap().http)
        };
        assert!(told("10.0.0.0/8", "either").is_some());
        assert_eq!(told("10.0.0.0/8", "x-forwarded-for"), None);
        assert_eq!(told("10.0.0.0/8", "forwarded"), None);
        assert_eq!(told("", "either"), None);
    }

    #[test]
    fn a_page_that_may_not_call_is_told() {
        let told = |page, origins| {
            let settings = [
                ("links.password_url", page),
                ("http.allowed_origins", origins),
            ];
            stranded_pages(&with(&settings).unwrap()).pop()
        };
        let page = "https://office.example.com/password";
        assert_eq!(told("", ""), None);
        assert_eq!(told(page, "https://office.example.com"), None);
        assert_eq!(told("https://auth.example.com/password", ""), None);
        let of_passkeys = [
            ("passkeys.rp_id", "example.com"),
            (
                "passkeys.origins",
                "https://office.example.com,https://auth.example.com",
            ),
        ];
        let told_of_passkeys = stranded_pages(&with(&of_passkeys).unwrap());
        assert_eq!(told_of_passkeys.len(), 1);
        assert!(told_of_passkeys[0].starts_with("passkeys.origins"));
        for origins in [
            "",
            "https://other.example.com",
            "https://office.example.com:8443",
        ] {
            assert!(
                told(page, origins)
                    .unwrap()
                    .contains("https://office.example.com")
            );
        }
    }

    #[test]
    fn a_parameter_of_the_database_url_that_does_nothing_is_told_without_its_value() {
        let told = |query: &str| unknown_parameters(&format!("postgres://u:p@db/auth{query}"));
        for query in [
            "",
            "?sslmode=require&options=x",
            "?options[statement_timeout]=5s",
        ] {
            assert_eq!(told(query), None);
        }
        let line = told("?sslmode=require&sslpassword=hunter2").unwrap();
        assert_eq!(
            line,
            "database.url: sslpassword has no effect; leave it out"
        );
        let line = told("?password=a&hunter2").unwrap();
        assert!(!line.contains("hunter2"), "{line}");
    }

    #[test]
    fn a_network_of_all_addresses_is_weak() {
        let told = |proxies: &str| {
            let http = with(&[("http.trusted_proxies", proxies)]).unwrap().http;
            everybody_is_a_proxy(&http.trusted_proxies)
        };
        assert!(told("10.0.0.0/8,0.0.0.0/0").is_some());
        assert!(told("::/0").is_some());
        assert_eq!(told("10.0.0.0/8,127.0.0.1"), None);
        assert_eq!(told(""), None);
    }

    #[test]
    fn a_database_elsewhere_is_weak_unless_its_certificate_is_verified() {
        let told = |url: &str, variables: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let variables = variables.iter().map(owned).collect();
            unverified_database(url, &variables).is_some()
        };
        for (url, is_weak) in [
            ("postgres://u:p@db.example/auth", true),
            ("postgres://u:p@db.example/auth?sslmode=require", true),
            ("postgres://u:p@db.example/auth?sslmode=verify-ca", true),
            ("postgres://u:p@db.example/auth?sslmode=verify-full", false),
            ("postgres://u:p@db.example/auth?ssl-mode=VERIFY-FULL", false),
            ("postgres://u:p@10.0.0.1/auth", true),
            ("postgres://u:p@[2001:db8::1]/auth", true),
            ("postgres://u:p@localhost/auth?host=db.example", true),
            ("postgres://u:p@localhost/auth", false),
            ("postgres://u:p@127.0.0.1:5432/auth", false),
            ("postgres://u:p@[::1]/auth", false),
            ("postgres://u:p@localhost/auth?host=/run/postgresql", false),
            ("postgres://u:p@%2Frun%2Fpostgresql/auth", false),
            ("postgres:///auth", false),
        ] {
            assert_eq!(told(url, &[]), is_weak, "{url}");
        }
        let elsewhere = ("PGHOST", "db.example");
        assert!(told("postgres:///auth", &[elsewhere]));
        let verified = ("PGSSLMODE", "verify-full");
        assert!(!told("postgres:///auth", &[elsewhere, verified]));
        assert!(told("postgres://u:p@db/auth?sslmode=require", &[verified]));
    }

    #[test]
    fn a_plain_issuer_is_weak_unless_it_stays_on_this_machine() {
        assert!(plain_issuer("http://auth.example.com").is_some());
        assert_eq!(plain_issuer("https://auth.example.com"), None);
        assert_eq!(plain_issuer("http://127.0.0.1:8080"), None);
        assert_eq!(plain_issuer("http://[::1]:8080"), None);
    }
}
