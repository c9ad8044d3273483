//! HTTP by hand, so that "not connected", "no answer" and "answered" can be told apart.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For how long a client waits: longer than any answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The answer to a request.
#[derive(Debug)]
pub enum Reply {
    Answer(Answer),
    /// No connection.
    Refused,
    /// A connection, and no whole answer.
    Lost,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    /// Whether the server will not take another request on this connection.
    pub closes: bool,
}

/// The bytes of a request from some network.
pub fn request(method: &str, path: &str, network: &str, extra: &str, body: &str) -> Vec<u8> {
    let length = match (method, body.len()) {
        ("GET", _) => String::new(),
        (_, length) => format!("Content-Length: {length}\r\n"),
    };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: auth.example.com\r\nX-Forwarded-For: {network}\r\n\
         {extra}{length}\r\n{body}"
    )
    .into_bytes()
}

/// Sends a request on a connection of its own.
pub async fn ask(address: SocketAddr, request: &[u8]) -> Reply {
    match Wire::open(address).await {
        Some(mut wire) => wire.ask(request).await,
        None => Reply::Refused,
    }
}

/// The status that a path of the management listener answers with.
pub async fn probe(address: SocketAddr, path: &str) -> Option<u16> {
    let request = request("GET", path, "127.0.0.1", "Connection: close\r\n", "");
    match ask(address, &request).await {
        Reply::Answer(answer) => Some(answer.status),
        Reply::Refused | Reply::Lost => None,
    }
}

/// A connection, for one request after the other.
pub struct Wire(TcpStream);

impl Wire {
    pub async fn open(address: SocketAddr) -> Option<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = stream.ok()?.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Self(stream))
    }

    pub async fn ask(&mut self, request: &[u8]) -> Reply {
        let asked = timeout(PATIENCE, self.exchange(request)).await;
        match asked {
            Ok(Some(answer)) => Reply::Answer(answer),
            Ok(None) | Err(_) => Reply::Lost,
        }
    }

    async fn exchange(&mut self, request: &[u8]) -> Option<Answer> {
        self.0.write_all(request).await.ok()?;
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = parse(&bytes) {
                return Some(answer);
            }
            if self.0.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }
}

/// Reads an answer; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let (mut length, mut closes) = (0, false);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().unwrap();
        }
        closes |= name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close");
    }
    let body = bytes.get(end + 4..end + 4 + length)?;
    Some(Answer {
        status,
        body: String::from_utf8(body.to_vec()).unwrap(),
        closes,
    })
}
