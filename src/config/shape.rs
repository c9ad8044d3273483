//! The form of single values: pure functions, and each refusal says what the value must be.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use tracing_subscriber::EnvFilter;
use url::{Host, Url, form_urlencoded};

use crate::domain::EmailAddress;

/// `127.0.0.1:8080`, `[::1]:8080`.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "must be an address and a port, as 127.0.0.1:8080 or [::1]:8080")
}

/// A network, or an address alone.
pub(super) fn network(text: &str) -> Result<IpNet, &'static str> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>()
        .or_else(|_| address())
        .map(|network| network.trunc())
        .map_err(|_| "must be networks or addresses, as 10.0.0.0/8 or ::1")
}

/// An origin as browsers send it (RFC 6454, section 6.2): lower case, without the scheme's usual port.
pub(super) fn origin(text: &str) -> Result<String, &'static str> {
    const MUST: &str =
        "must be exact origins, as https://office.example.com or http://localhost:3000";
    let (_, authority) = text.split_once("://").ok_or(MUST)?;
    let strange = |c: char| "/?#@\\*".contains(c) || !c.is_alphanumeric() && !c.is_ascii_graphic();
    let url = Url::parse(text).map_err(|_| MUST)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MUST)?;
    if authority.contains(strange) {
        return Err(MUST);
    }
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Ok(format!(
        "{}://{}{port}",
        url.scheme(),
        host.to_ascii_lowercase()
    ))
}

/// A domain, as browsers write it: lower case, no port, and no address.
pub(super) fn rp_id(text: &str) -> Result<String, &'static str> {
    let is_label = |label: &str| {
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(is_letter)
    };
    let is_domain = matches!(Host::parse(text), Ok(Host::Domain(_)));
    if is_domain && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err("must be a domain in lower case, as example.com or localhost")
    }
}

/// A header's name (RFC 9110, section 5.1), in lower case.
pub(super) fn header_name(text: &str) -> Result<String, &'static str> {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_sign) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be names of headers, each exactly, as traceparent or sentry-trace")
    }
}

/// The `iss` of tokens, kept as it was written: services compare it byte for byte.
pub(super) fn issuer(text: &str) -> Result<String, &'static str> {
    const MUST: &str = "must be an http or https URL in lower case without user, query, fragment \
                        or a slash at its end, as https://auth.example.com";
    let url = Url::parse(text).map_err(|_| MUST)?;
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"?#@\\".contains(&byte));
    // Parsing adds the root's slash. Another parser may not make its other changes.
    let is_canonical = url.as_str().strip_suffix('/').unwrap_or(url.as_str()) == text;
    if is_web && is_plain && is_canonical && !text.ends_with('/') {
        Ok(text.to_owned())
    } else {
        Err(MUST)
    }
}

/// The URL of a page that mails lead to, kept as it was written: a token is added behind a `#`, and the
/// whole is shown in HTML.
pub(super) fn page(text: &str) -> Result<String, &'static str> {
    const MUST: &str = "must be an https URL in lower case without user, query and fragment (or an http \
                        one of this machine), as https://office.example.com/password";
    let url = Url::parse(text).map_err(|_| MUST)?;
    let is_private = match url.scheme() {
        "https" => true,
        "http" => url.host_str().is_some_and(is_loopback),
        _ => false,
    };
    let is_plain = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"?#@\\<>\"'&`".contains(&byte));
    // Parsing adds the root's slash. Any other change means that the text is not the URL that was meant.
    let is_canonical =
        url.as_str().strip_suffix('/').unwrap_or(url.as_str()) == text.trim_end_matches('/');
    if is_private && is_plain && is_canonical {
        Ok(text.to_owned())
    } else {
        Err(MUST)
    }
}

/// A line of text that mails show, or nothing.
pub(super) fn line(text: &str) -> Result<String, &'static str> {
    if text.chars().count() <= 200 && !text.contains(char::is_control) {
        Ok(text.trim().to_owned())
    } else {
        Err("must be one line of at most 200 characters")
    }
}

/// The URL at which a collector takes traces, with its path.
pub(super) fn collector(text: &str) -> Result<String, &'static str> {
    const MUST: &str = "must be an http or https URL without user or fragment, as \
                        http://127.0.0.1:4318/v1/traces";
    let url = Url::parse(text).map_err(|_| MUST)?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if is_web && is_plain {
        Ok(text.to_owned())
    } else {
        Err(MUST)
    }
}

/// Refuses a connection URL that the database driver cannot take apart. The text is a secret.
pub(super) fn check_database_url(text: &str) -> Result<(), &'static str> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("must begin with postgres:// or postgresql://");
    }
    if names_several_hosts(text) {
        return Err(
            "names several hosts, and the driver takes one: give the one address at which the \
             primary is always reached, as that of a proxy (HAProxy, PgBouncer) or a virtual IP",
        );
    }
    let url = Url::parse(text).map_err(|_| {
        "must be a URL, as postgres://user:password@host:5432/database, with signs like / ? # @ in \
         the password percent-encoded"
    })?;
    // The driver would read a part of the password as a host, a database or a parameter.
    if ends_early(text, &url) {
        return Err(
            "can be read in two ways: signs like / ? # @ must be percent-encoded in the password, \
             and @ and # in what comes after the host, too (@ is %40, / is %2F, ? is %3F, # is %23)",
        );
    }
    Ok(())
}

/// Whether it lists hosts in libpq's form, `a,b` or `a:5432,b:5432` or `host=a,b`. A text that may be a part
/// of a password is left to [`ends_early`].
fn names_several_hosts(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let query = tail.split_once('?').map_or("", |(_, query)| query);
    let is_list = |pair: (Cow<'_, str>, Cow<'_, str>)| {
        ["host", "hostaddr", "port"].contains(&&*pair.0) && pair.1.contains(',')
    };
    !tail.contains('@')
        && (hosts.contains(',') || form_urlencoded::parse(query.as_bytes()).any(is_list))
}

/// Whether a password with a bare `/`, `?` or `#` in it may have ended the part of a URL that holds it
/// and the host: the rest of it lands in the path, the query or the fragment, and the true host after it.
pub(super) fn ends_early(text: &str, url: &Url) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let tail = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    url.fragment().is_some() || tail.contains('@')
}

/// A filter for the log, in the syntax of `RUST_LOG`.
///
/// A single word may be a target, so a misspelt level would count as a target and nothing would be logged.
pub(super) fn log_filter(text: &str) -> Result<String, &'static str> {
    const MUST: &str = "must be a filter such as info,sqlx=warn, with levels error, warn, info, debug, \
                        trace or off";
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let is_misspelt = |part: &str| {
        let word = part.trim().to_ascii_lowercase();
        let is_near =
            |level: &str| strsim::osa_distance(level, &word) <= 2 || word.starts_with(level);
        !LEVELS.contains(&word.as_str())
            && !word.contains(|c: char| !c.is_ascii_alphabetic())
            && LEVELS.iter().any(|level| is_near(level))
    };
    let is_filter = !text.trim().is_empty() && EnvFilter::try_new(text).is_ok();
    if is_filter && !text.split(',').any(is_misspelt) {
        Ok(text.to_owned())
    } else {
        Err(MUST)
    }
}

/// `Name <address>`, or an address alone.
pub(super) fn sender(text: &str) -> Result<String, &'static str> {
    const MUST: &str = "must be an address or a name and an address, as \
                        Back Office <no-reply@example.com>";
    let address = match text.rsplit_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').ok_or(MUST)?,
        None => text,
    };
    let is_one_line = !text.contains(char::is_control);
    match address.parse::<EmailAddress>() {
        Ok(_) if is_one_line => Ok(text.to_owned()),
        _ => Err(MUST),
    }
}

/// A host name or address without a port.
pub(super) fn host(text: &str) -> Result<String, &'static str> {
    let is_name = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    if is_name(text) || text.parse::<IpAddr>().is_ok() {
        Ok(text.to_owned())
    } else {
        Err("must be a host name or address without a port, as smtp.example.com")
    }
}

/// The name by which a mail relay is greeted (RFC 5321, section 4.1.1.1): a full host name, or an
/// address in brackets.
pub(super) fn hello_name(text: &str) -> Result<String, &'static str> {
    let literal = (text.strip_prefix('[')).and_then(|text| text.strip_suffix(']'));
    let is_sound = match literal {
        Some(literal) => match literal.strip_prefix("IPv6:") {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => literal.parse::<Ipv4Addr>().is_ok(),
        },
        None => is_full_host_name(text) && text.parse::<IpAddr>().is_err(),
    };
    is_sound.then(|| text.to_owned()).ok_or(
        "must be the full name of this server, as auth.example.com, or an address in brackets, \
         as [192.0.2.1]",
    )
}

/// Whether a name has a domain behind its first label, and is one that may stand in DNS (RFC 1123,
/// section 2.1).
#[must_use]
pub fn is_full_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.contains('.') && name.split('.').all(is_label)
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Ipv4(address)) => address.is_loopback(),
        Ok(Host::Ipv6(address)) => address.is_loopback(),
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Err(_) => host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
    }
}

/// 32 bytes as 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    // `from_str_radix` would take a sign for a digit.
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for (text, sent) in [
            ("https://Office.Example.com", "https://office.example.com"),
            (
                "HTTPS://office.example.com:443",
                "https://office.example.com",
            ),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("capacitor://LocalHost", "capacitor://localhost"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(sent));
        }
    }

    #[test]
    fn an_origin_is_exact_and_nothing_more() {
        for text in [
            "*",
            "null",
            "",
            "office.example.com",
            "https://",
            "https://*.example.com",
            "https://a.example/",
            "https://a.example/x",
            "https://a.example?x",
            "https://a.example#x",
            "https://u@a.example",
            "https://a.example b",
            "https://a.example\n",
            "https://a.example:x",
            "file:///x",
        ] {
            assert!(origin(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_header_is_named_exactly() {
        assert_eq!(header_name("Sentry-Trace").as_deref(), Ok("sentry-trace"));
        for text in ["", "*", "x-*", "a b", "a:b", "a,b", "a\r\n", "\u{e4}"] {
            assert!(header_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_issuer_is_a_plain_url() {
        for text in [
            "https://auth.example.com",
            "https://auth.example.com:8443/tenant",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
        ] {
            assert_eq!(issuer(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "auth.example.com",
            "ftp://auth.example.com",
            "https://auth.example.com/",
            "https://auth.example.com/x/",
            "https://auth.example.com?x",
            "https://auth.example.com#x",
            "https://u:p@auth.example.com",
            "https://Auth.example.com",
            "HTTPS://auth.example.com",
            "https://auth.example.com:443",
            "https://auth.example.com/a/../b",
            " https://auth.example.com",
            "https://",
        ] {
            assert!(issuer(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_proxy_is_a_network_or_an_address() {
        for (text, read) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), read);
        }
        for text in ["", "10.0.0.0/33", "proxy", "10.0.0", "10.0.0.1:80"] {
            assert!(network(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_database_url_is_postgres_and_can_be_taken_apart() {
        assert!(check_database_url("postgres://a:b@c:5432/d").is_ok());
        assert!(check_database_url("postgresql:///d?host=/run").is_ok());
        assert!(check_database_url("postgres://a%40b:c%2F%3F%23@d/e?user=x%40y").is_ok());
        for text in [
            "mysql://a/b",
            "a",
            "postgres:/a",
            "postgres://a:b/c@d/e",
            "postgres://u:/7MSECRETONE+r?SECRETTWO:x@db/auth",
            "postgres://u:1/SECRET@db/auth",
            "postgres://u:1?SECRET@db/auth",
            "postgres://u:1#SECRET@db/auth",
            "postgres://u:p@db/auth#x",
            "postgres://a b:99999/",
        ] {
            assert!(check_database_url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn several_hosts_are_told_as_such_and_a_comma_in_a_password_is_none() {
        for text in [
            "postgres://u:p@a,b/db?target_session_attrs=read-write",
            "postgres://u:p@a:5432,b:5432/db",
            "postgres://a,b/db",
            "postgres://u:p,q@a,b",
            "postgres:///db?host=a,b",
            "postgres:///db?host=a%2Cb&port=1,2",
        ] {
            let told = check_database_url(text).unwrap_err();
            assert!(told.contains("several hosts"), "{text}: {told}");
        }
        for text in [
            "postgres://u:p,q@a/db",
            "postgres://u,v@a/d,b?application_name=a,b",
        ] {
            assert_eq!(check_database_url(text), Ok(()), "{text}");
        }
        let told = check_database_url("postgres://u:p,/q@a/db").unwrap_err();
        assert!(told.contains("percent-encoded"), "{told}");
    }

    #[test]
    fn a_filter_is_one_and_its_levels_are_spelt_right() {
        for text in [
            "info",
            "INFO,sqlx=warn",
            "off",
            "sqlx",
            "warn,h2,tower=debug",
            "[request]=trace",
        ] {
            assert_eq!(log_filter(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            " ",
            "inof",
            "info,debgu",
            "warning",
            "info=loud",
            "a=b=c",
            "=,=",
        ] {
            assert!(log_filter(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_collector_is_a_url_without_a_secret_in_it() {
        for text in [
            "http://127.0.0.1:4318/v1/traces",
            "https://otel.example/x?y",
        ] {
            assert_eq!(collector(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "127.0.0.1:4318",
            "grpc://otel:4317",
            "http://u:p@otel/",
            "http://otel/#x",
        ] {
            assert!(collector(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_sender_has_an_address_on_one_line() {
        for text in ["a@b.c", "Back Office <no-reply@localhost>", "<a@b.c>"] {
            assert_eq!(sender(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "a",
            "A <a@b.c",
            "A <a>",
            "A\r\nBcc: x <a@b.c>",
            "a@b.c, d@e.f",
        ] {
            assert!(sender(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_relay_is_a_host_without_a_port() {
        for text in ["smtp.example.com", "localhost", "10.0.0.1", "::1"] {
            assert_eq!(host(text).as_deref(), Ok(text));
        }
        for text in ["smtp.example.com:587", "smtp://x", "a b", "u@h"] {
            assert!(host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn loopback_is_told_by_name_and_by_address() {
        for host in [
            "localhost",
            "LOCALHOST",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "10.0.0.1", "::2", "example.com", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert_eq!(sha256(&"0F".repeat(32)), Some([15; 32]));
        for text in [
            "",
            "0f",
            &"+f".repeat(32),
            &"0g".repeat(32),
            &"ä".repeat(32),
        ] {
            assert_eq!(sha256(text), None, "{text}");
        }
    }
}
