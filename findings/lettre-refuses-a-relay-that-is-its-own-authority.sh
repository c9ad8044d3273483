#!/usr/bin/env bash
# lettre 0.11.23 with rustls (rustls-webpki 0.103) refuses a relay whose certificate is its own authority, even if it
# is told to trust that very certificate: `CaUsedAsEndEntity`. OpenSSL (Python's smtplib) accepts it. `openssl req
# -x509` makes such certificates (`CA:TRUE`) unless it is told otherwise, and relays inside a company often have one.
#
# Seen, with the relay's certificate as the one that is trusted: with CA:TRUE, smtplib connects and lettre does not;
# with CA:FALSE, which is all that differs, both connect.
#
# So a relay that mails were sent to for years is refused by a program that was moved to rustls. The remedy is a
# certificate with `-addext basicConstraints=critical,CA:FALSE`, or one that an authority signed.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
relay=
cleanup() {
    [[ -z $relay ]] || { kill "$relay" && wait "$relay"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
cd "$folder"
python3 -m venv tools
tools/bin/pip install -q --disable-pip-version-check aiosmtpd==1.4.6
cargo init -q --vcs none --name client client
cargo add -q --manifest-path client/Cargo.toml lettre@=0.11.23 --no-default-features \
    --features smtp-transport,rustls,ring,webpki-roots
cat > client/src/main.rs <<'RUST'
use lettre::SmtpTransport;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let trusted = Certificate::from_pem(&std::fs::read(&arguments[1]).unwrap()).unwrap();
    let parameters = TlsParameters::builder("localhost".to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(trusted)
        .build()
        .unwrap();
    let relay = SmtpTransport::builder_dangerous("localhost")
        .port(arguments[2].parse().unwrap())
        .tls(Tls::Wrapper(parameters))
        .build();
    match relay.test_connection() {
        Ok(connected) => println!("{}", if connected { "connects" } else { "does not connect" }),
        Err(error) => println!("{error}"),
    }
}
RUST
cargo build -q --manifest-path client/Cargo.toml
cat > relay.py <<'PYTHON'
import signal
import ssl
import sys

from aiosmtpd.controller import Controller

tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(sys.argv[1], "key.pem")
Controller(None, hostname="127.0.0.1", port=int(sys.argv[2]), ssl_context=tls).start()
signal.pause()
PYTHON
cat > client.py <<'PYTHON'
import smtplib
import ssl
import sys

context = ssl.create_default_context(cafile=sys.argv[1])
with smtplib.SMTP_SSL("localhost", int(sys.argv[2]), context=context) as smtp:
    smtp.noop()
print("connects")
PYTHON

openssl genrsa -out key.pem 2048 2>/dev/null
for ca in TRUE FALSE; do
    openssl req -x509 -key key.pem -out "$ca.pem" -subj /CN=relay -days 1 \
        -addext subjectAltName=DNS:localhost -addext "basicConstraints=critical,CA:$ca"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    tools/bin/python relay.py "$ca.pem" "$port" 2>/dev/null &
    relay=$!
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
    smtplib=$(tools/bin/python client.py "$ca.pem" "$port")
    lettre=$(client/target/debug/client "$ca.pem" "$port")
    kill "$relay"
    wait "$relay" || true
    relay=
    echo "CA:$ca; smtplib: $smtplib; lettre: $lettre"
    [[ $smtplib == connects ]]
    if [[ $ca == TRUE ]]; then [[ $lettre == *CaUsedAsEndEntity* ]]; else [[ $lettre == connects ]]; fi
done
