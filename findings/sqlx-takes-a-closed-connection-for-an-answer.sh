#!/usr/bin/env bash
# sqlx-postgres 0.9.0: where a connection is closed before PostgreSQL has answered its `SSLRequest`, sqlx reports an
# answer that nobody gave: `Error::Protocol`, "unexpected response from SSLRequest: 0x00". It reads into one byte that
# is zero before, and does not look at how many bytes came. libpq (psycopg 3.3.9) says that the server closed the
# connection.
#
# A proxy without a server does so: HAProxy during every failover. With `sslmode=disable`, where no SSLRequest is
# sent, the same is `Error::Io`.
#
# Seen: with the default `sslmode=prefer` the error is Protocol, with `disable` it is Io(UnexpectedEof).
#
# So a program that tells an outage from a defect by the kind of the error must count Protocol among the outages while
# a connection is made.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "closed"
version = "0.0.0"
edition = "2021"

[dependencies]
sqlx = { version = "=0.9.0", default-features = false, features = ["postgres", "runtime-tokio", "tls-rustls-ring"] }
tokio = { version = "1", features = ["io-util", "net", "rt", "macros"] }
TOML
cat > src/main.rs <<'RUST'
use sqlx::{Connection as _, Error, PgConnection};
use tokio::io::AsyncReadExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // It reads what the client says first, and closes.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let mut kinds = Vec::new();
    for mode in ["prefer", "disable"] {
        let url = format!("postgres://nobody@127.0.0.1:{port}/nothing?sslmode={mode}");
        let error = PgConnection::connect(&url).await.unwrap_err();
        println!("{mode}: {error}");
        kinds.push(match error {
            Error::Protocol(text) if text.contains("SSLRequest: 0x00") => "Protocol",
            Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "Io",
            _ => "another",
        });
    }
    assert_eq!(kinds, ["Protocol", "Io"]);
}
RUST
cargo run --quiet
