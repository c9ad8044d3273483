//! HTTP/2 without a TLS handshake, as a proxy inside speaks it.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{Answer, soon};

/// A connection on which requests share the way. Clones are the same.
#[derive(Clone)]
pub struct Http2(SendRequest<Full<Bytes>>);

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        // It ends with the connection, for any reason.
        tokio::spawn(async { drop(connection.await) });
        Self(sender)
    }

    /// `POST` with these headers and this body.
    pub async fn post(&mut self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let uri = format!("http://auth.example.com{path}");
        let request = headers
            .iter()
            .fold(Request::post(uri), |request, (name, value)| {
                request.header(*name, *value)
            });
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let response = soon("an answer", self.0.send_request(request))
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let body = soon("a body", body.collect()).await.unwrap().to_bytes();
        Answer::new(head.status.as_u16(), head.headers, body.to_vec())
    }
}
