//! `healthcheck`: asks this machine's server whether it is ready.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

use super::output::say;
use crate::config::Config;

/// Longer than readiness itself takes.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn run(config: &Config) -> anyhow::Result<()> {
    let address = reachable(config.http.management_listen);
    let status = ask(address).with_context(|| format!("no answer from {address}"))?;
    anyhow::ensure!(
        status == "200",
        "the server is not ready: its answer was {status}"
    );
    say!("ready");
    Ok(())
}

/// A server that listens on every address is asked on loopback.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

/// The status of `GET /health/ready`. One request to one known server: an HTTP client would be
/// more code than this.
fn ask(address: SocketAddr) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /health/ready HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).context("the answer is not HTTP")?;
    Ok(status.to_owned())
}
