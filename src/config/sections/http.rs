//! `[http]`: the two listeners.

use std::net::SocketAddr;

use super::super::reader::{Reader, Reading};
use super::super::shape;
use super::super::types::{ForwardedHeader, HttpConfig};

pub(super) fn http(reader: &mut Reader) -> Reading<HttpConfig> {
    let listen = reader.parsed("http.listen", shape::socket_address);
    let management_listen = reader.parsed("http.management_listen", shape::socket_address);
    let trusted_proxies = reader.list("http.trusted_proxies", shape::network);
    let forwarded_header = forwarded_header(reader);
    let allowed_origins = reader.list("http.allowed_origins", shape::origin);
    let allowed_headers = reader.list("http.allowed_headers", shape::header_name);
    let max_connections = reader.count("http.max_connections", 1..=1_000_000);
    let drain_delay = reader.seconds("http.drain_seconds", 0..=8);
    let docs = reader.flag("http.docs");
    if let (Ok(listen), Ok(management_listen)) = (listen, management_listen)
        && collide(listen, management_listen)
    {
        let message = format!("must not take the place of http.listen ({listen})");
        reader.problem("http.management_listen", message);
    }
    Ok(HttpConfig {
        listen: listen?,
        management_listen: management_listen?,
        trusted_proxies: trusted_proxies?,
        forwarded_header: forwarded_header?,
        allowed_origins: allowed_origins?,
        allows_loopback_pages: false,
        allowed_headers: allowed_headers?,
        max_connections: max_connections?,
        drain_delay: drain_delay?,
        docs: docs?,
    })
}

fn forwarded_header(reader: &mut Reader) -> Reading<ForwardedHeader> {
    reader.parsed("http.forwarded_header", |text| match text {
        "either" => Ok(ForwardedHeader::Either),
        "x-forwarded-for" => Ok(ForwardedHeader::XForwardedFor),
        "forwarded" => Ok(ForwardedHeader::Forwarded),
        _ => Err("must be either, x-forwarded-for or forwarded"),
    })
}

/// Whether the system would refuse the second of two listeners.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let overlap = one.ip() == other.ip() || is_any && one.is_ipv4() == other.is_ipv4();
    one.port() != 0 && one.port() == other.port() && overlap
}
