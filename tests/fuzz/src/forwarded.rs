//! The client is the peer, or the address that a trusted proxy names; no client chooses its own.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use backoffice_auth::config::ForwardedHeader;
use backoffice_auth::domain::ClientNetwork;
use backoffice_auth::http::extract::client::{Proxies, client_address, recognise};

const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: &str = "203.0.113.7";

static TRUSTED: LazyLock<Proxies> = LazyLock::new(|| Proxies {
    networks: ["10.0.0.0/8", "fd00::/8"]
        .map(|net| net.parse().expect("a network"))
        .into(),
    header: ForwardedHeader::Either,
});

/// Takes lines: the peer's address (else it is a trusted proxy), then headers by their first
/// letter: `x` for `X-Forwarded-For`, `f` for `Forwarded`, `i` for `X-Request-Id`.
pub fn holds(data: &[u8]) {
    let mut lines = data.split(|b| *b == b'\n');
    let peer = lines
        .next()
        .and_then(|line| str::from_utf8(line).ok()?.parse().ok());
    let peer: IpAddr = peer.unwrap_or(PROXY);
    let mut headers = HeaderMap::new();
    for line in lines {
        let name = match line.first() {
            Some(b'x') => "x-forwarded-for",
            Some(b'f') => "forwarded",
            Some(b'i') => "x-request-id",
            _ => return,
        };
        let Ok(value) = HeaderValue::from_bytes(&line[1..]) else {
            return;
        };
        headers.append(HeaderName::from_static(name), value);
    }
    somebody_is_asking(peer, &headers);
    if is_trusted(peer) {
        a_list_is_walked_from_the_right(peer, &headers);
        both_headers_say_the_same_in_their_own_ways(peer, &headers);
        nobody_hides_behind_what_they_prepend(peer, &headers);
    }
}

fn is_trusted(address: IpAddr) -> bool {
    let address = address.to_canonical();
    let mut networks = TRUSTED.networks.iter();
    networks.any(|net| net.contains(&address))
}

fn address_of(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    client_address(peer, headers, &TRUSTED)
}

/// A stranger's headers change neither the network nor the id of a request.
fn somebody_is_asking(peer: IpAddr, headers: &HeaderMap) {
    let address = address_of(peer, headers);
    assert_eq!(address, address.to_canonical());
    let mut request = Request::new(axum::body::Body::empty());
    *request.headers_mut() = headers.clone();
    request
        .extensions_mut()
        .insert(ConnectInfo(SocketAddr::new(peer, 443)));
    let client = recognise(&request, &TRUSTED);
    assert_eq!(client.network, ClientNetwork::of(address));
    let expected_length = if address.is_ipv4() { 32 } else { 64 };
    assert_eq!(client.network.as_net().prefix_len(), expected_length);

    let mut given = headers
        .get_all("x-request-id")
        .iter()
        .map(HeaderValue::as_bytes);
    let given = given.next().filter(|_| given.next().is_none());
    let is_fit = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
    let is_kept = is_trusted(peer)
        && given.is_some_and(|id| (1..=128).contains(&id.len()) && id.iter().all(is_fit));
    assert_eq!(
        given == Some(client.request_id.as_str().as_bytes()),
        is_kept
    );
    if !is_trusted(peer) {
        assert_eq!(address, peer.to_canonical());
    }
}

/// The hops of `X-Forwarded-For`, as far as they are texts.
fn hops(headers: &HeaderMap) -> Vec<Option<&str>> {
    let lines = headers.get_all("x-forwarded-for").iter();
    let hops = lines.flat_map(|line| line.as_bytes().split(|b| *b == b','));
    hops.map(|hop| str::from_utf8(hop).ok()).collect()
}

/// The address that the standard library reads, with or without a port, a zone or brackets.
fn read_hop(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim_matches([' ', '\t']);
    let v6 = |text: &str| {
        let address = text.split('%').next()?;
        address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let in_brackets = |text: &str| {
        let (address, port) = text.strip_prefix('[')?.split_once(']')?;
        // The zone may be a name, which the standard library does not know.
        let address = v6(address)?;
        let whole = format!("[{address}]{port}");
        (port.is_empty() || whole.parse::<SocketAddr>().is_ok()).then_some(address)
    };
    let plain = || hop.parse::<IpAddr>().ok();
    let with_port = || {
        hop.parse::<SocketAddr>()
            .ok()
            .filter(SocketAddr::is_ipv4)
            .map(|it| it.ip())
    };
    plain()
        .or_else(with_port)
        .or_else(|| v6(hop))
        .or_else(|| in_brackets(hop))
        .map(|address| address.to_canonical())
}

/// The first hop from the right that is not trusted; the leftmost where all are; the peer where the
/// way there is not clear.
fn a_list_is_walked_from_the_right(peer: IpAddr, headers: &HeaderMap) {
    let mut headers = headers.clone();
    headers.remove("forwarded");
    let read: Vec<_> = hops(&headers)
        .into_iter()
        .map(|hop| hop.and_then(read_hop))
        .collect();
    let first = read
        .iter()
        .rposition(|hop| hop.is_none_or(|address| !is_trusted(address)));
    let expected = read.get(first.unwrap_or(0)).copied().flatten();
    let expected = expected.unwrap_or_else(|| peer.to_canonical());
    assert_eq!(address_of(peer, &headers), expected);
}

/// The same list in the words of RFC 7239.
fn both_headers_say_the_same_in_their_own_ways(peer: IpAddr, headers: &HeaderMap) {
    let is_quotable = |hop: &&str| {
        let is_text = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
        hop.bytes().all(is_text) && !hop.contains(['"', '\\'])
    };
    let hops: Option<Vec<&str>> = hops(headers)
        .into_iter()
        .map(|hop| hop.filter(is_quotable))
        .collect();
    let Some(hops) = hops.filter(|hops| !hops.is_empty()) else {
        return;
    };
    let elements: Vec<_> = hops
        .iter()
        .map(|hop| format!("by=_x;For=\"{hop}\""))
        .collect();
    let value = HeaderValue::from_str(&elements.join(", ")).expect("it is quotable");
    let mut headers = headers.clone();
    headers.remove("forwarded");
    let expected = address_of(peer, &headers);
    headers.insert("forwarded", value);
    assert_eq!(address_of(peer, &headers), expected);
    headers.remove("x-forwarded-for");
    assert_eq!(address_of(peer, &headers), expected);
}

/// However a client begins the list, the entry that our own proxy appends counts.
fn nobody_hides_behind_what_they_prepend(peer: IpAddr, headers: &HeaderMap) {
    let client: IpAddr = CLIENT.parse().expect("an address");
    for (name, other, node, is_exact) in [
        ("x-forwarded-for", "forwarded", CLIENT.to_owned(), true),
        // A quote that a client leaves open can at most hide it behind the proxy.
        (
            "forwarded",
            "x-forwarded-for",
            format!("for={CLIENT}"),
            false,
        ),
    ] {
        let mut headers = headers.clone();
        headers.remove(other);
        let mut lines = headers.clone();
        lines.append(name, HeaderValue::from_str(&node).expect("a value"));
        lines.append(
            name,
            HeaderValue::from_str(&node.replace(CLIENT, "10.2.3.4")).expect("a value"),
        );
        assert_eq!(address_of(peer, &lines), client);

        let joined: Vec<_> = headers
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect();
        let joined = [joined.join(&b", "[..]), node.into_bytes()].join(&b", "[..]);
        headers.insert(name, HeaderValue::from_bytes(&joined).expect("a value"));
        let address = address_of(peer, &headers);
        assert!(
            address == client || (!is_exact && address == peer.to_canonical()),
            "{address}"
        );
    }
}
