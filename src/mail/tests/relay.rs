//! A relay that answers by a script, in the clear or over TLS.

use std::io;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use crate::config::{SmtpConfig, SmtpCredentials, SmtpTls};

/// The answers of a relay to lines that start with the first word; an empty answer is silence, and one
/// that starts with "wait, then" is kept back until [`TestRelay::say_now`]. `220` stands for the
/// connection itself.
pub(super) type Script = &'static [(&'static str, &'static str)];

/// A relay on a free port of this machine, and the lines that it heard.
#[derive(Clone)]
pub(super) struct TestRelay {
    pub(super) port: u16,
    script: Arc<Mutex<Script>>,
    /// One transcript a connection.
    heard: Arc<Mutex<Vec<String>>>,
    /// Answers that were kept back are given from now on.
    is_said: Arc<watch::Sender<bool>>,
    tls: Option<TlsAcceptor>,
}

impl TestRelay {
    pub(super) async fn start(script: Script) -> Self {
        Self::listen(script, None).await
    }

    /// One that speaks TLS, with a certificate for 127.0.0.1, and the certificate of the authority
    /// that signed it.
    pub(super) async fn start_tls(script: Script) -> (Self, String) {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = names.signed_by(&key, &authority).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::listen(script, Some(acceptor)).await, authority.pem())
    }

    async fn listen(script: Script, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            script: Arc::new(Mutex::new(script)),
            heard: Arc::default(),
            is_said: Arc::default(),
            tls,
        };
        let shared = relay.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut heard = shared.heard.lock().unwrap();
                heard.push(String::new());
                let number = heard.len() - 1;
                tokio::spawn(shared.clone().serve(stream, number));
            }
        });
        relay
    }

    async fn serve(self, stream: TcpStream, number: usize) -> io::Result<()> {
        match self.tls.clone() {
            Some(tls) => self.talk(tls.accept(stream).await?, number).await,
            None => self.talk(stream, number).await,
        }
    }

    /// Holds one conversation; ends with the connection.
    async fn talk(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        number: usize,
    ) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut in_message = false;
        let mut answer = self.answer("220");
        loop {
            if answer == "hang up" {
                return Ok(());
            }
            if let Some(later) = answer.strip_prefix("wait, then ") {
                let mut is_said = self.is_said.subscribe();
                is_said.wait_for(|is_said| *is_said).await.unwrap();
                answer = later;
            }
            if !answer.is_empty() {
                stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
                stream.flush().await?;
            }
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            self.heard.lock().unwrap()[number].push_str(&line);
            if in_message && line != ".\r\n" {
                answer = "";
                continue;
            }
            in_message = line == "DATA\r\n";
            answer = self.answer(&line);
        }
    }

    fn answer(&self, line: &str) -> &'static str {
        const POLITE: Script = &[
            ("220", "220 relay"),
            ("EHLO", "250-relay\r\n250 AUTH PLAIN"),
            ("DATA", "354 go on"),
            (".", "250 2.0.0 queued as 1"),
            ("QUIT", "221 bye"),
            ("", "250 ok"),
        ];
        let script = *self.script.lock().unwrap();
        let (_, answer) = (script.iter().chain(POLITE))
            .find(|(start, _)| line.starts_with(start))
            .unwrap();
        answer
    }

    /// Says what was kept back, and keeps nothing back any more.
    pub(super) fn say_now(&self) {
        self.is_said.send_replace(true);
    }

    pub(super) fn answer_from_now_on(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// How many lines it heard that start with a word; for the empty word, how many connections.
    pub(super) fn count(&self, word: &str) -> usize {
        let heard = self.heard();
        if word.is_empty() {
            return heard.len();
        }
        let lines = heard.iter().flat_map(|heard| heard.lines());
        lines.filter(|line| line.starts_with(word)).count()
    }

    /// As it stands in a reply.
    pub(super) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn config(&self, tls: SmtpTls) -> SmtpConfig {
        config(self.port, tls)
    }
}

pub(super) fn config(port: u16, tls: SmtpTls) -> SmtpConfig {
    SmtpConfig {
        host: "127.0.0.1".to_owned(),
        port,
        tls,
        credentials: Some(SmtpCredentials {
            username: "relay-user".to_owned(),
            password: "relay-password".into(),
        }),
        hello_name: None,
        ca_file: None,
    }
}
