//! The answer to a request that hyper cannot read.
//!
//! hyper answers such a request by itself, before any layer sees it: a status line and no body. It has
//! no hook for that. But its answer is one fixed text in one write, and no answer of the layers looks
//! like it, because each of those has an id. So the answer is recognised by its text, and replaced by
//! a problem as every other refusal is. If the text is written together with the end of the answer
//! before it, it stays as it is: that answer is right, and the connection ends anyway.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse as _;

use super::harden::harden_headers;
use crate::domain::{ClientNetwork, RequestId};
use crate::http::extract::client::X_REQUEST_ID;
use crate::http::problem::{Code, Problem};

/// The answer to send instead of these bytes, if they are hyper's own answer. For
/// [`serve`](crate::serve::serve).
#[must_use]
pub fn instead_of(bytes: &[u8], peer: IpAddr) -> Option<Bytes> {
    let code = hypers_own(bytes)?;
    let id = RequestId::random();
    let network = ClientNetwork::of(peer);
    tracing::info!(
        request_id = %id,
        %network,
        status = code.status().as_u16(),
        code = code.as_str(),
        "answered what cannot be read"
    );
    Some(write(code, date_of(bytes), &id).into())
}

/// The code for an answer that hyper gave by itself.
fn hypers_own(bytes: &[u8]) -> Option<Code> {
    let head = bytes.strip_prefix(b"HTTP/1.1 ")?;
    let code = match head.get(..3)? {
        b"400" => Code::MalformedRequest,
        b"431" => Code::HeadTooLarge,
        _ => return None,
    };
    let head = str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
    let mut headers = head.split("\r\n").skip(1);
    let is_bare = headers.all(|line| {
        ["content-length: 0", "connection: close"].contains(&line) || line.starts_with("date: ")
    });
    is_bare.then_some(code)
}

/// The date that hyper put on its answer.
fn date_of(head: &[u8]) -> Option<HeaderValue> {
    let mut lines = str::from_utf8(head).ok()?.split("\r\n");
    let date = lines.find_map(|line| line.strip_prefix("date: "))?;
    HeaderValue::from_str(date).ok()
}

/// A refusal as it stands on the wire in HTTP/1.
fn write(code: Code, date: Option<HeaderValue>, id: &RequestId) -> Vec<u8> {
    let problem = Problem::new(code);
    let body = serde_json::to_vec(&problem.body(id)).unwrap_or_default();
    let (parts, _) = problem.into_response().into_parts();
    let mut headers = parts.headers;
    harden_headers(&mut headers);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_LENGTH, body.len().into());
    headers.extend(date.map(|date| (DATE, date)));
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        headers.insert(X_REQUEST_ID, id);
    }
    [write_head(parts.status, &headers), body].concat()
}

fn write_head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in headers {
        head.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    head.extend(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::serve::{ServerLimits, Shutdown, serve};

    #[test]
    fn only_the_bare_answers_are_hypers_own() {
        let own = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                   content-length: 0\r\ndate: Sat, 28 Nov 2026 14:00:00 GMT\r\n\r\n";
        assert_eq!(hypers_own(own.as_bytes()), Some(Code::HeadTooLarge));
        let own = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(hypers_own(own.as_bytes()), Some(Code::MalformedRequest));
        for other in [
            "",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nx",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(hypers_own(other.as_bytes()), None, "{other}");
        }
    }

    #[tokio::test]
    async fn a_head_over_16_kib_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let limits = ServerLimits::new(1);
        let served = serve(
            listener,
            Router::new(),
            instead_of,
            limits,
            Shutdown::default(),
        );
        tokio::spawn(served);
        let filler = "a".repeat(17_000);
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {filler}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 431 "), "{text}");
        assert!(text.contains(r#""code":"head_too_large""#), "{text}");
    }
}
