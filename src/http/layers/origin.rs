//! The pages that may send requests which change or count something.
//!
//! A browser sends a simple `POST` of any page to any server without a preflight, and only hides the
//! answer from the page. Such a page has no use for the answer, but it has one for the attempt: the
//! attempt counts for the visitor's network, so a page could lock its visitors out. Browsers name the
//! origin of a request in headers that no page can set. Foreign origins are refused before anything is
//! counted.
//!
//! The order is the one of Go's `http.CrossOriginProtection`. A known origin is let in. Then
//! `Sec-Fetch-Site` decides, in which the browser itself compares the page's origin with the server's.
//! That also works behind a proxy that changes `Host`. Browsers send it over https and to loopback
//! addresses. Otherwise, and from older browsers, there is only `Origin`, which is then compared with
//! `Host`. Services and curl send neither, and are let in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::http::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origins that are let in, regardless of `Host`.
#[derive(Debug, Clone)]
pub struct KnownOrigins {
    named: Arc<[String]>,
    with_loopback: bool,
}

impl KnownOrigins {
    /// The server's own origin, taken from its public URL, and the allowed ones. `with_loopback` adds
    /// the pages of this machine.
    #[must_use]
    pub fn new(issuer: &str, allowed: &[String], with_loopback: bool) -> Self {
        // An issuer is a canonical URL: scheme, nothing, authority, then the path if any.
        let own = issuer.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        Self {
            named: allowed.iter().cloned().chain([own]).collect(),
            with_loopback,
        }
    }

    /// Whether a request comes from a page that may not ask for it.
    fn refuses(&self, request: &Request) -> bool {
        if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
            return false;
        }
        let headers = request.headers();
        let mut origins = headers.get_all(ORIGIN).iter();
        let (origin, another) = (origins.next(), origins.next());
        if another.is_some() {
            return true;
        }
        if origin.is_some_and(|origin| self.knows(origin)) {
            return false;
        }
        match headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes) {
            Some(b"same-origin" | b"none") => false,
            Some(_) => true,
            None => origin.is_some_and(|origin| !is_of_host(origin, request)),
        }
    }

    fn knows(&self, origin: &HeaderValue) -> bool {
        self.named.iter().any(|known| known.as_bytes() == origin)
            || self.with_loopback && is_loopback_page(origin)
    }
}

/// Whether a page comes from this machine, on any port. The names are compared as a whole:
/// `localhost.example` is another machine.
pub(in crate::http) fn is_loopback_page(origin: &HeaderValue) -> bool {
    let Some((_, authority)) = (origin.to_str().ok())
        .and_then(|origin| origin.split_once("://"))
        .filter(|(scheme, _)| ["http", "https"].contains(scheme))
    else {
        return false;
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if is_port(port) => host,
        _ => authority,
    };
    ["localhost", "127.0.0.1", "[::1]"].contains(&host)
}

/// Whether an origin is the host of the request. The scheme is not compared: behind a proxy that ends
/// TLS it is not known.
fn is_of_host(origin: &HeaderValue, request: &Request) -> bool {
    let host = request.headers().get(HOST).map(HeaderValue::to_str);
    // HTTP/2 has it in the target.
    let authority = request.uri().authority().map(Authority::as_str);
    let (Some(host), Ok(origin)) = (host.map_or(authority, Result::ok), origin.to_str()) else {
        return false;
    };
    let (usual_port, authority) = match origin.split_once("://") {
        Some(("https", authority)) => (":443", authority),
        Some(("http", authority)) => (":80", authority),
        _ => return false,
    };
    let host = host.strip_suffix(usual_port).unwrap_or(host);
    host.eq_ignore_ascii_case(authority)
}

/// Refuses the requests that pages of foreign origins make a browser send.
pub async fn refuse_foreign_pages(
    State(known): State<KnownOrigins>,
    request: Request,
    next: Next,
) -> Response {
    if known.refuses(&request) {
        return Problem::new(Code::ForbiddenOrigin)
            .because("a page of an origin that is not allowed")
            .into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let request = Request::builder().method(method).uri("/");
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.body(Body::empty()).unwrap()
    }

    fn refuses(headers: &[(&str, &str)]) -> bool {
        let allowed = ["https://office.example".to_owned()];
        let known = KnownOrigins::new("https://auth.example:8443/tenant", &allowed, false);
        let is_refused = known.refuses(&request("POST", headers));
        assert_eq!(known.refuses(&request("DELETE", headers)), is_refused);
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!known.refuses(&request(method, headers)), "{method}");
        }
        is_refused
    }

    #[test]
    fn a_client_that_says_nothing_of_an_origin_is_no_page() {
        assert!(!refuses(&[]));
        assert!(!refuses(&[("host", "auth.example")]));
    }

    #[test]
    fn the_servers_own_origin_and_those_allowed_are_let_in_whatever_the_host() {
        for origin in ["https://auth.example:8443", "https://office.example"] {
            for host in ["10.0.0.1:8080", "auth.example:8443", "elsewhere.example"] {
                let headers = [("origin", origin), ("host", host)];
                assert!(!refuses(&headers), "{origin} {host}");
                for site in ["same-origin", "same-site", "cross-site"] {
                    let headers = [("origin", origin), ("sec-fetch-site", site)];
                    assert!(!refuses(&headers), "{origin} {site}");
                }
            }
        }
    }

    #[test]
    fn the_origin_of_the_host_that_was_asked_for_is_let_in() {
        for (origin, host) in [
            ("https://a.example", "a.example"),
            ("http://a.example", "a.example"),
            ("https://a.example", "A.Example:443"),
            ("http://a.example", "a.example:80"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(!refuses(&[("origin", origin), ("host", host)]), "{origin}");
        }
    }

    #[test]
    fn every_other_origin_is_refused() {
        for origin in [
            "https://evil.example",
            "https://a.example:8443",
            "http://a.example:443",
            "https://b.a.example",
            "https://a.example.evil.example",
            "https://evil-a.example",
            "a.example",
            "//a.example",
            "ftp://a.example",
            "https://a.example/",
            "https://",
            "null",
            "",
            "\u{e4}",
        ] {
            let headers = [("origin", origin), ("host", "a.example")];
            assert!(refuses(&headers), "{origin:?}");
        }
        assert!(refuses(&[("origin", "https://a.example")]), "no host");
        let twice = ("origin", "https://office.example");
        assert!(refuses(&[twice, twice]));
    }

    #[test]
    fn pages_of_this_machine_are_let_in_on_any_port_where_that_is_asked_for() {
        let refuses = |origin: &str, with_loopback| {
            let known = KnownOrigins::new("http://127.0.0.1:8080", &[], with_loopback);
            known.refuses(&request(
                "POST",
                &[("origin", origin), ("host", "a.example")],
            ))
        };
        for origin in [
            "http://localhost:3000",
            "http://localhost",
            "https://localhost:5173",
            "http://127.0.0.1:5173",
            "http://[::1]:5173",
            "http://[::1]",
        ] {
            assert!(refuses(origin, false), "{origin}");
            assert!(!refuses(origin, true), "{origin}");
        }
        for origin in [
            "http://localhost.example:3000",
            "http://localhost:3000.example",
            "http://localhost@evil.example",
            "http://evil.example:3000",
            "http://127.0.0.1.evil.example",
            "http://127.0.0.2:3000",
            "http://[::1].evil.example",
            "http://localhost:",
            "http://localhost:99999",
            "ftp://localhost",
            "file://localhost",
            "localhost",
            "null",
            "",
        ] {
            assert!(refuses(origin, true), "{origin}");
        }
    }

    #[test]
    fn the_browsers_own_word_counts_where_it_gives_one() {
        // Behind a proxy that changes the host.
        let own = [("origin", "https://a.example"), ("host", "10.0.0.1:8080")];
        assert!(refuses(&own));
        assert!(!refuses(&[
            own[0],
            own[1],
            ("sec-fetch-site", "same-origin")
        ]));
        // From one port of a host to another, and of a page that hides its origin.
        for site in ["cross-site", "same-site", "anything", ""] {
            assert!(refuses(&[("sec-fetch-site", site)]), "{site}");
            let headers = [("origin", "null"), ("sec-fetch-site", site)];
            assert!(refuses(&headers), "{site}");
            let headers = [
                ("origin", "https://a.example"),
                ("host", "a.example"),
                ("sec-fetch-site", site),
            ];
            assert!(refuses(&headers), "{site}");
        }
        assert!(!refuses(&[("sec-fetch-site", "none")]));
    }

    #[test]
    fn in_http2_the_host_is_in_the_target() {
        let known = KnownOrigins::new("https://auth.example", &[], false);
        let ask = |target: &str| {
            let request = Request::post(target).header("origin", "https://a.example");
            known.refuses(&request.body(Body::empty()).unwrap())
        };
        assert!(!ask("http://a.example/"));
        assert!(ask("http://b.example/"));
    }
}
