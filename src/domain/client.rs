//! The client of a request: its network and the name that it gives itself.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::RequestId;

/// The network by which attempts are counted: an IPv4 address, or the /64 of an IPv6 one.
///
/// A subscriber commands a whole /64, so counting single IPv6 addresses would count nothing. An mapped
/// IPv4 address (`::ffff:a.b.c.d`) is the IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpNet);

impl ClientNetwork {
    /// The network of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(Ipv4Net::from(v4).into()),
            IpAddr::V6(v6) => {
                let prefix = Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX));
                Self(Ipv6Net::new_assert(prefix, 64).into())
            }
        }
    }

    /// Reads a network back from where it was stored.
    #[must_use]
    pub fn from_stored(net: IpNet) -> Self {
        Self(net)
    }

    /// The provider's network around it: a /16 of IPv4 addresses or a /32 of IPv6 ones. Registries
    /// give providers networks of this size, and a client's address usually stays within one when it
    /// changes.
    #[must_use]
    pub fn provider(&self) -> IpNet {
        let (address, length) = match self.0 {
            IpNet::V4(net) => (net.addr().into(), 16),
            IpNet::V6(net) => (net.addr().into(), 32),
        };
        IpNet::new_assert(address, length).trunc()
    }

    /// The first and the last of all networks at the same provider, in the order in which PostgreSQL sorts
    /// them.
    #[must_use]
    pub fn provider_bounds(&self) -> (IpNet, IpNet) {
        let provider = self.provider();
        (provider, provider.broadcast().into())
    }

    /// The network in CIDR terms: a /32 or a /64.
    #[must_use]
    pub fn as_net(&self) -> IpNet {
        self.0
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(v4) => v4.addr().fmt(f),
            IpNet::V6(v6) => v6.fmt(f),
        }
    }
}

/// The `User-Agent` of a client, by which an owner recognises a session: printable ASCII, at most 200
/// characters. It is shown, and decides nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAgent(String);

impl UserAgent {
    const MAX_CHARS: usize = 200;

    /// Keeps what is printable of a `User-Agent` header.
    #[must_use]
    pub fn clean(header: &[u8]) -> Option<Self> {
        let printable = |b: &u8| b.is_ascii_graphic() || *b == b' ';
        let text: String = (header.iter().copied())
            .filter(printable)
            .take(Self::MAX_CHARS)
            .map(char::from)
            .collect();
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Reads a text back from where it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The cleaned text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cleaned text, to be kept.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    /// A short name to recognise it by: "Firefox on Windows", "curl". `None` where the text names no
    /// browser, system or program that is known here: a guess would be worse than the text.
    #[must_use]
    pub fn short_name(&self) -> Option<String> {
        let find = |names: &[(&str, &'static str)]| {
            let known = names.iter().find(|(mark, _)| self.0.contains(mark));
            known.map(|(_, name)| *name)
        };
        match (find(&PROGRAMS), find(&SYSTEMS)) {
            (Some(program), Some(system)) => Some(format!("{program} on {system}")),
            (Some(name), None) | (None, Some(name)) => Some(name.to_owned()),
            (None, None) => None,
        }
    }
}

/// A part of the text, and the program that it names. The first match counts: a browser also names the
/// browsers before it.
const PROGRAMS: [(&str, &str); 19] = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Electron/", "Electron"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("PostmanRuntime/", "Postman"),
    ("python-requests/", "Python"),
    ("okhttp/", "OkHttp"),
];

/// The same for systems. An iPad that asks for desktop pages says that it is a Mac.
const SYSTEMS: [(&str, &str); 7] = [
    ("Windows", "Windows"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

/// The origin of one request.
#[derive(Debug, Clone)]
pub struct Client {
    /// The network that its attempts count for.
    pub network: ClientNetwork,
    /// Its `User-Agent`; `None` where it sent no printable one.
    pub user_agent: Option<UserAgent>,
    /// The request's id: the `X-Request-Id` of the answer.
    pub request_id: RequestId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_says_what_the_text_says_and_no_more() {
        for (text, name) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
                Some("Firefox on Windows"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
                 Gecko) Version/18.1 Safari/605.1.15",
                Some("Safari on macOS"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
                Some("Edge on Windows"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Mobile Safari/537.36",
                Some("Chrome on Android"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) CriOS/131.0.0.0 Mobile/15E148 Safari/604.1",
                Some("Chrome on iPhone"),
            ),
            ("curl/8.5.0", Some("curl")),
            ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0)", Some("ChromeOS")),
            ("orders-service", None),
        ] {
            let agent = UserAgent::clean(text.as_bytes()).unwrap();
            assert_eq!(agent.short_name().as_deref(), name, "{text}");
        }
    }

    #[test]
    fn a_network_is_an_ipv4_address_or_an_ipv6_64() {
        for (address, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(ClientNetwork::of(address).to_string(), network);
        }
    }

    #[test]
    fn a_provider_has_a_16_of_ipv4_addresses_and_a_32_of_ipv6_ones() {
        for (address, first, last) in [
            ("203.0.113.7", "203.0.0.0/16", "203.0.255.255/32"),
            (
                "2001:db8:1:2:3:4:5:6",
                "2001:db8::/32",
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/128",
            ),
        ] {
            let network = ClientNetwork::of(address.parse().unwrap());
            let bounds = (first.parse().unwrap(), last.parse().unwrap());
            assert_eq!(network.provider_bounds(), bounds);
        }
    }

    #[test]
    fn a_user_agent_loses_what_could_forge_a_log_line() {
        let agent = UserAgent::clean(b" curl/8\r\n\x1b[31m\xff evil ").unwrap();
        assert_eq!(agent.as_str(), "curl/8[31m evil");
        assert!(UserAgent::clean(b" \t").is_none());
        assert_eq!(UserAgent::clean(&[b'x'; 999]).unwrap().as_str().len(), 200);
    }
}
