//! HTTP by hand: for requests that no client library sends, and for requests that are to arrive at
//! the same instant.

use std::net::SocketAddr;

use futures_util::future::join_all;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, TestApp, soon};

/// The bytes of a `POST` with these header lines. A length is added for a body.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    request("POST", path, headers, body)
}

/// The same with any method.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let own = [("Connection", "close"), ("Content-Length", &length)];
    let own = if body.is_empty() { &own[..1] } else { &own };
    let lines = [("Host", "auth.example.com")];
    let lines = lines.iter().chain(headers).chain(own);
    let lines: String = lines
        .map(|(name, value)| [name, ": ", value, "\r\n"].concat())
        .collect();
    let head = format!("{method} {path} HTTP/1.1\r\n{lines}\r\n");
    [head.as_bytes(), body].concat()
}

/// Sends bytes and reads what comes back.
pub async fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(address).await;
    stream.write_all(request).await.unwrap();
    read(stream).await
}

/// A request that has arrived but for its last byte.
pub struct Held {
    stream: TcpStream,
    last: u8,
}

impl Held {
    pub async fn open(address: SocketAddr, request: &[u8]) -> Self {
        let (last, most) = request.split_last().unwrap();
        let mut stream = connect(address).await;
        stream.write_all(most).await.unwrap();
        Self {
            stream,
            last: *last,
        }
    }

    pub async fn release(mut self) -> Answer {
        self.stream.write_all(&[self.last]).await.unwrap();
        read(self.stream).await
    }
}

/// Opens a request this often, in turn at each of the instances.
pub async fn hold(instances: &[&TestApp], request: &[u8], times: usize) -> Vec<Held> {
    let mut held = Vec::with_capacity(times);
    for instance in instances.iter().cycle().take(times) {
        held.push(Held::open(instance.public_addr(), request).await);
    }
    held
}

/// Sends the last bytes of all requests at the same instant. The answers are in their order.
pub async fn race(requests: Vec<Held>) -> Vec<Answer> {
    join_all(requests.into_iter().map(Held::release)).await
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn read(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    soon("an answer", stream.read_to_end(&mut bytes))
        .await
        .unwrap();
    parse(&bytes)
}

/// Reads an answer. One with a body says how long it is.
pub fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let body = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: HeaderMap = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value.trim()).unwrap())
        })
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |value| value.to_str().unwrap().parse::<usize>().unwrap());
    assert_eq!(body.len(), length, "{head}");
    Answer::new(status.parse().unwrap(), headers, body.to_vec())
}
