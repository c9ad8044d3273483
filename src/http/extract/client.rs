//! The client of a request: the peer, or the address that a trusted proxy names.
//!
//! A client can send any header. Forwarding headers count only if the peer is a proxy that the
//! configuration trusts, and only as far back as trusted hops reach. The list is read from its right
//! end, where the operator's proxy wrote, to the first address that is not trusted. Everything further
//! left is the client's own claim. If an entry on the way cannot be understood, the peer's address
//! counts: a limit may then apply to too many clients, but never to none.
//!
//! A proxy sets `X-Forwarded-For` or `Forwarded` and passes the other on as the client sent it. So
//! the configuration can name the one that counts. If it names none, and both are present and
//! disagree, neither counts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request};
use axum::http::header::{FORWARDED, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::ForwardedHeader;
use crate::domain::{Client, ClientNetwork, RequestId, UserAgent};
use crate::http::problem::Problem;
use crate::telemetry::trace::TraceParent;

/// The header that carries a request's id, in and out.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The header with a request's position in a trace (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The proxies whose headers count, and the header that does.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// The networks in which they are.
    pub networks: Vec<IpNet>,
    /// The header that names the client.
    pub header: ForwardedHeader,
}

impl Proxies {
    fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// Which of the two headers are read.
    fn reads(&self, headers: &HeaderMap) -> (bool, bool) {
        let names_hops = |name, other| headers.contains_key(name) && self.header != other;
        (
            names_hops(X_FORWARDED_FOR, ForwardedHeader::Forwarded),
            names_hops(FORWARDED, ForwardedHeader::XForwardedFor),
        )
    }
}

/// The client of a request. The peer's address is where the server put it ([`ConnectInfo`]); a
/// request without one, as in a test of a bare router, comes from nowhere and is not trusted.
#[must_use]
pub fn recognise(request: &Request, proxies: &Proxies) -> Client {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.0.ip());
    let headers = request.headers();
    let agent = headers.get(USER_AGENT);
    Client {
        network: ClientNetwork::of(client_address(peer, headers, proxies)),
        user_agent: agent.and_then(|value| UserAgent::clean(value.as_bytes())),
        request_id: request_id(peer, headers, proxies),
    }
}

/// The address that a request comes from.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> IpAddr {
    let peer = peer.to_canonical();
    if !proxies.trust(peer) {
        return peer;
    }
    let origin = |hops: Hops| first_untrusted(&hops, proxies).unwrap_or(peer);
    match proxies.reads(headers) {
        (false, false) => peer,
        (true, false) => origin(x_forwarded_for(headers)),
        (false, true) => origin(forwarded(headers)),
        (true, true) => {
            let (one, other) = (origin(x_forwarded_for(headers)), origin(forwarded(headers)));
            if one == other { one } else { peer }
        }
    }
}

/// The hops that a header names, from left to right; `None` where one cannot be understood.
type Hops = Vec<Option<IpAddr>>;

/// The first hop from the right that is not trusted, or the leftmost where all are. `None` where
/// the way there is not clear.
fn first_untrusted(hops: &Hops, proxies: &Proxies) -> Option<IpAddr> {
    let mut farthest = None;
    for hop in hops.iter().rev() {
        farthest = Some((*hop)?);
        if !proxies.trust((*hop)?) {
            break;
        }
    }
    farthest
}

fn x_forwarded_for(headers: &HeaderMap) -> Hops {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|b| *b == b','))
        .map(|hop| parse_node(std::str::from_utf8(hop).ok()?))
        .collect()
}

fn forwarded(headers: &HeaderMap) -> Hops {
    let lines = headers.get_all(FORWARDED).iter();
    lines
        .flat_map(|line| {
            line.to_str()
                .ok()
                .and_then(forwarded_line)
                .unwrap_or(vec![None])
        })
        .collect()
}

/// The `for` of each element of a `Forwarded` line (RFC 7239, section 4); `None` for a line with
/// broken quoting, in which no element can be told from the next.
fn forwarded_line(line: &str) -> Option<Hops> {
    let elements = split_unquoted(line, b',')?;
    Some(elements.into_iter().map(forwarded_for).collect())
}

/// The address of an element's one `for`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let pairs = split_unquoted(element, b';')?;
    let mut nodes = pairs.iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value)
    });
    match (nodes.next(), nodes.next()) {
        (Some(node), None) => parse_node(&unquote(node.trim())?),
        _ => None,
    }
}

/// Splits where `separator` stands outside quotes; `None` where a quote does not close.
fn split_unquoted(text: &str, separator: u8) -> Option<Vec<&str>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if byte == separator && !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!quoted).then_some(parts)
}

/// The content of a quoted string, or a token as it stands.
fn unquote(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let inner = rest.strip_suffix('"')?;
    // An address needs no escapes, so no honest proxy sends them.
    (!inner.contains(['"', '\\'])).then(|| inner.to_owned())
}

/// An address in any of its usual spellings: bare, with a port, in brackets, with a zone. Neither
/// `unknown` nor an obfuscated name (RFC 7239, section 6) is one.
fn parse_node(node: &str) -> Option<IpAddr> {
    // The white space of HTTP (RFC 9110, section 5.6.3); Unicode knows more, other parsers do not.
    let node = node.trim_matches([' ', '\t']);
    if let Some(rest) = node.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port_number);
        return is_port.then(|| parse_ipv6(address))?;
    }
    match node.split_once(':') {
        None => node.parse().ok(),
        Some((_, port)) if port.contains(':') => parse_ipv6(node),
        Some((address, port)) if is_port_number(port) => {
            address.parse().ok().map(|v4: Ipv4Addr| v4.into())
        }
        Some(_) => None,
    }
}

/// An IPv6 address without its zone, which means something on the proxy's machine only.
fn parse_ipv6(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    let address: std::net::Ipv6Addr = address.parse().ok()?;
    Some(IpAddr::V6(address).to_canonical())
}

fn is_port_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// The one id that a trusted proxy chose, if it is fit to be written to a log; else a new one.
fn request_id(peer: IpAddr, headers: &HeaderMap, proxies: &Proxies) -> RequestId {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if proxies.trust(peer.to_canonical()) => {
            value.to_str().ok().and_then(RequestId::parse)
        }
        _ => None,
    }
    .unwrap_or_else(RequestId::random)
}

/// The position in a trace that a trusted proxy gives. From other peers the header is ignored, as the
/// request's id is: a stranger could put requests into other people's traces, and choose which are
/// recorded. (A proxy that passes on the header of browsers lets them do so.)
#[must_use]
pub fn trace_parent(request: &Request, proxies: &Proxies) -> Option<TraceParent> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
    let mut values = request.headers().get_all(TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if proxies.trust(peer.0.ip().to_canonical()) => {
            TraceParent::parse(value.to_str().ok()?)
        }
        _ => None,
    }
}

/// The client that the outermost layer recognised.
impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let client = parts.extensions.get::<Self>().cloned();
        client.ok_or_else(|| Problem::internal("the route is outside the middleware stack"))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";
    const STRANGER: &str = "198.51.100.9";

    fn proxies(header: ForwardedHeader) -> Proxies {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|net| net.parse().unwrap());
        Proxies {
            networks: networks.into(),
            header,
        }
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn address(peer: &str, lines: &[(&'static str, &str)]) -> String {
        address_by(ForwardedHeader::Either, peer, lines)
    }

    fn address_by(header: ForwardedHeader, peer: &str, lines: &[(&'static str, &str)]) -> String {
        let peer = peer.parse().unwrap();
        client_address(peer, &headers(lines), &proxies(header)).to_string()
    }

    #[test]
    fn x_forwarded_for_is_walked_from_the_right_past_trusted_hops() {
        for (value, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            (" 203.0.113.7 ", "203.0.113.7"),
            ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
            ("garbage, 203.0.113.7", "203.0.113.7"),
            ("1.1.1.1, 203.0.113.7, 10.2.3.4", "203.0.113.7"),
            ("10.9.9.9, 10.2.3.4", "10.9.9.9"),
            ("203.0.113.7:5678", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%eth0]:80", "fe80::1"),
            ("203.0.113.7, fd00::5", "203.0.113.7"),
        ] {
            assert_eq!(
                address(PROXY, &[("x-forwarded-for", value)]),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn a_header_that_cannot_be_understood_means_the_peers_own_address() {
        for value in [
            "",
            ",",
            "unknown",
            "_hidden",
            "203.0.113.7,",
            "203.0.113.7, unknown",
            "1.2.3",
            "203.0.113.7:99999",
            "203.0.113.7:",
            "203.0.113.7:+1",
            "[203.0.113.7]",
            "[::1",
            "[2001:db8::1]x",
            "[2001:db8::1]:",
            "2001:db8::1::2",
            "203.0.113.7, garbage, 10.2.3.4",
            "203.0.113.7;10.0.0.2",
            "0x7f.1",
            "203.0.113.007",
            "203.0.113.7\u{a0}",
            "é",
        ] {
            assert_eq!(
                address(PROXY, &[("x-forwarded-for", value)]),
                PROXY,
                "{value}"
            );
        }
        for value in [
            "",
            ",",
            "for=unknown",
            "for=_hidden",
            "by=203.0.113.7",
            "for=",
            "for",
            "for=203.0.113.7;for=203.0.113.8",
            "for=203.0.113.7,",
            "for=\"203.0.113.7",
            "for=203.0.113.7;x=\", for=203.0.113.8",
            "for=\"203.0.113.7\"x",
            "for=\"203.0.113\\.7\"",
            "for=203.0.113.7, for=unknown, for=10.2.3.4",
            "for=\u{e9}",
        ] {
            assert_eq!(address(PROXY, &[("forwarded", value)]), PROXY, "{value}");
        }
    }

    #[test]
    fn forwarded_is_read_in_all_its_spellings() {
        for (value, expected) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=203.0.113.7;proto=https;by=10.0.0.1", "203.0.113.7"),
            ("proto=https; FOR = \"203.0.113.7:5678\"", "203.0.113.7"),
            ("for=\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\";host=\"a,b;c\"", "2001:db8::1"),
            ("for=garbage, for=203.0.113.7", "203.0.113.7"),
            ("for=1.1.1.1, for=203.0.113.7, for=10.2.3.4", "203.0.113.7"),
            ("for=10.9.9.9,for=10.2.3.4", "10.9.9.9"),
            ("by=\"a\\\", for=1.1.1.1\";for=203.0.113.7", "203.0.113.7"),
        ] {
            assert_eq!(address(PROXY, &[("forwarded", value)]), expected, "{value}");
        }
    }

    #[test]
    fn several_lines_are_one_list() {
        for name in ["x-forwarded-for", "forwarded"] {
            let node = |address: &str| match name {
                "forwarded" => format!("for={address}"),
                _ => address.to_owned(),
            };
            let (first, second) = (node("203.0.113.7"), node("10.2.3.4"));
            assert_eq!(
                address(PROXY, &[(name, &first), (name, &second)]),
                "203.0.113.7"
            );
            assert_eq!(
                address(PROXY, &[(name, &second), (name, &first)]),
                "203.0.113.7"
            );
        }
    }

    #[test]
    fn two_kinds_of_header_count_only_if_they_agree() {
        let both = |one, other| address(PROXY, &[("x-forwarded-for", one), ("forwarded", other)]);
        assert_eq!(both("203.0.113.7", "for=203.0.113.7"), "203.0.113.7");
        assert_eq!(both("203.0.113.7", "for=203.0.113.8"), PROXY);
        assert_eq!(both("203.0.113.7", "for=unknown"), PROXY);
        assert_eq!(both("203.0.113.7", ""), PROXY);
    }

    /// Red where `reads` does not look at the setting.
    #[test]
    fn where_one_kind_of_header_is_named_the_other_means_nothing() {
        use ForwardedHeader::{Forwarded, XForwardedFor};
        let (xff, fwd) = ("x-forwarded-for", "forwarded");
        for other in ["for=203.0.113.8", "for=10.0.0.2", "for=unknown", "x", ""] {
            let lines = [(xff, "203.0.113.7"), (fwd, other)];
            assert_eq!(address_by(XForwardedFor, PROXY, &lines), "203.0.113.7");
            assert_eq!(address_by(XForwardedFor, PROXY, &lines[1..]), PROXY);
        }
        for other in ["203.0.113.8", "10.0.0.2", "unknown", ""] {
            let lines = [(fwd, "for=203.0.113.7"), (xff, other)];
            assert_eq!(address_by(Forwarded, PROXY, &lines), "203.0.113.7");
            assert_eq!(address_by(Forwarded, PROXY, &lines[1..]), PROXY);
        }
    }

    #[test]
    fn a_proxy_is_known_by_its_ipv4_address_on_a_dual_stack_socket_too() {
        let line = [("x-forwarded-for", "203.0.113.7")];
        assert_eq!(address("::ffff:10.0.0.1", &line), "203.0.113.7");
        assert_eq!(address("::ffff:198.51.100.9", &line), STRANGER);
    }

    #[test]
    fn a_request_id_is_kept_only_from_a_trusted_proxy_and_only_if_it_is_one_and_fit() {
        let id = |peer: &str, lines: &[_]| {
            let proxies = proxies(ForwardedHeader::Either);
            let id = request_id(peer.parse().unwrap(), &headers(lines), &proxies);
            id.as_str().to_owned()
        };
        let line = ("x-request-id", "edge-1");
        assert_eq!(id(PROXY, &[line]), "edge-1");
        assert_ne!(id(STRANGER, &[line]), "edge-1");
        assert_ne!(id(PROXY, &[line, line]), "edge-1");
        assert_ne!(id(PROXY, &[("x-request-id", "a b")]), "a b");
    }

    proptest! {
        #[test]
        fn no_header_from_an_untrusted_peer_changes_anything(
            xff in proptest::option::of("[0-9a-f.:, \\[\\]_%]{0,40}"),
            fwd in proptest::option::of("(for=|\")?[0-9a-f.:, \\[\\]_\"]{0,40}"),
        ) {
            let mut lines = Vec::new();
            lines.extend(xff.as_deref().map(|v| ("x-forwarded-for", v)));
            lines.extend(fwd.as_deref().map(|v| ("forwarded", v)));
            prop_assert_eq!(address(STRANGER, &lines), STRANGER);
        }

        #[test]
        fn a_clients_prefix_never_changes_what_a_trusted_proxy_appends(
            prefix in "[0-9a-z.:, \\[\\]_%]{0,40}",
        ) {
            let value = format!("{prefix}, 203.0.113.7");
            prop_assert_eq!(address(PROXY, &[("x-forwarded-for", &value)]), "203.0.113.7");
        }

        #[test]
        fn a_clients_prefix_to_forwarded_can_at_most_hide_it_behind_the_proxy(
            prefix in "[0-9a-z.:,;= \\[\\]_\"\\\\]{0,40}",
        ) {
            let value = format!("{prefix}, for=203.0.113.7;by=\"[fd00::1]\"");
            let address = address(PROXY, &[("forwarded", &value)]);
            prop_assert!([PROXY, "203.0.113.7"].contains(&address.as_str()), "{}", address);
        }
    }
}
