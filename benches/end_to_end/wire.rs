//! Callers: as little HTTP as it takes, so that the machine is left to the server.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that is kept.
pub struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of a 200; null if there is none.
    pub fn ok(&self) -> anyhow::Result<Value> {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        anyhow::ensure!(self.status == 200, "{}: {}", self.status, text());
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// A request's text. `network` is told the way a trusted proxy tells it.
pub fn post(path: &str, network: Ipv4Addr, bearer: Option<&str>, body: &str) -> String {
    let bearer = bearer.map_or_else(String::new, |token| {
        format!("authorization: Bearer {token}\r\n")
    });
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {network}\r\n{bearer}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Caller {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::new(),
        })
    }

    pub async fn ask(&mut self, request: &str) -> anyhow::Result<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    /// Sends requests in one go, and reads as many answers.
    pub async fn ask_all(&mut self, requests: &[String]) -> anyhow::Result<Vec<Answer>> {
        self.stream.write_all(requests.concat().as_bytes()).await?;
        let mut answers = Vec::with_capacity(requests.len());
        for _ in requests {
            answers.push(self.answer().await?);
        }
        Ok(answers)
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(answer);
            }
            let read = self.stream.read_buf(&mut self.buffer).await?;
            anyhow::ensure!(read > 0, "the server closed the connection");
        }
    }
}

fn parse(buffer: &[u8]) -> anyhow::Result<Option<(Answer, usize)>> {
    let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    let status = text.get(9..12).context("a status line")?.parse()?;
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let (start, length) = (head + 4, length.map_or(Ok(0), str::parse)?);
    let body = buffer.get(start..start + length);
    Ok(body.map(|body| {
        let body = body.to_vec();
        (Answer { status, body }, start + length)
    }))
}
