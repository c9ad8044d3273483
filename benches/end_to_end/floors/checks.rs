//! The minimum cost of a token check: HTTP by axum alone, with a memory of verified tokens, and with one
//! signature for each check.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use axum::Router;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use backoffice_auth::domain::{AuthenticationMethods, Generation, Session, SessionId, UserId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::thread::CpuSet;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::accounts;
use crate::cores;
use crate::server::Setting;

/// Access tokens of one key.
pub struct Issued {
    pub tokens: Vec<String>,
    key: Arc<ParsedPublicKey>,
}

impl Issued {
    /// So many, of sessions that have not ended.
    pub async fn of(setting: &Setting, count: usize) -> anyhow::Result<Self> {
        let (config, tokens) = (setting.config()?, setting.tokens().await?);
        let ring = tokens.ring().current();
        let now = tokens.now();
        let issue = |_| {
            let session = Session {
                session_id: SessionId::random(),
                user_id: UserId(1),
                email: "someone@example.com".parse()?,
                generation: Generation::FIRST,
                key_id: ring.active().clone(),
                refresh_key_id: ring.signers().refresh.clone(),
                methods: AuthenticationMethods::PASSWORD,
                created_at: now,
                rotated_at: now,
                access_expires_at: now + config.tokens.access_ttl,
                idle_expires_at: now + config.tokens.refresh_idle_ttl,
            };
            anyhow::Ok(tokens.issue(&session)?.access.token)
        };
        let part = |name: &str| {
            let jwks = &ring.public_keys().keys;
            let key = jwks["keys"].as_array().into_iter().flatten();
            let key = key.into_iter().find(|key| key["kid"] == ring.active().0);
            let part = key.and_then(|key| key[name].as_str());
            anyhow::Ok(URL_SAFE_NO_PAD.decode(part.context("a key has its parts")?)?)
        };
        let (n, e) = (part("n")?, part("e")?);
        let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        Ok(Self {
            tokens: (0..count).map(issue).collect::<anyhow::Result<_>>()?,
            key: Arc::new(key.ok().context("it is a public key")?),
        })
    }
}

/// The least that a check can be.
#[derive(Debug, Clone, Copy)]
pub enum Floor {
    /// HTTP alone.
    Bare,
    /// With a memory of the tokens that were verified, by their digests.
    Remembering,
    /// With a signature each time, by a key that was parsed once.
    VerifyingOnce,
}

struct Handler {
    floor: Floor,
    key: Arc<ParsedPublicKey>,
    known: Mutex<HashSet<Vec<u8>>>,
}

impl Handler {
    fn is_good(&self, headers: &HeaderMap) -> Option<bool> {
        let token = headers
            .get(AUTHORIZATION)?
            .to_str()
            .ok()?
            .strip_prefix("Bearer ")?;
        let is_signed = || {
            let (message, signature) = token.rsplit_once('.')?;
            let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
            Some(self.key.verify_sig(message.as_bytes(), &signature).is_ok())
        };
        match self.floor {
            Floor::Bare => Some(true),
            Floor::VerifyingOnce => is_signed(),
            Floor::Remembering => {
                let name = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
                let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
                if known().contains(&name) {
                    return Some(true);
                }
                let is_signed = is_signed()?;
                if is_signed {
                    known().insert(name);
                }
                Some(is_signed)
            }
        }
    }
}

async fn check(State(handler): State<Arc<Handler>>, headers: HeaderMap) -> StatusCode {
    match handler.is_good(&headers) {
        Some(true) => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    }
}

/// A floor that is served by a thread of its own, until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    thread: u32,
    _stop: oneshot::Sender<()>,
}

impl Served {
    pub fn start(floor: Floor, issued: &Issued, its_cores: CpuSet) -> anyhow::Result<Self> {
        let handler = Arc::new(Handler {
            floor,
            key: Arc::clone(&issued.key),
            known: Mutex::default(),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = std::sync::mpsc::channel();
        cores::on(its_cores, move || {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await?;
                    let thread = accounts::this_thread()?;
                    started.send((listener.local_addr()?, thread))?;
                    let router = Router::new().fallback(any(check)).with_state(handler);
                    let server = axum::serve(listener, router);
                    tokio::select! {
                        done = server => Ok(done?),
                        _ = stopped => anyhow::Ok(()),
                    }
                })
            });
            Ok(())
        })?;
        let (address, thread) = start.recv()?;
        Ok(Self {
            address,
            thread,
            _stop: stop,
        })
    }

    /// CPU time that its thread has used.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        accounts::cpu_of_thread(self.thread)
    }
}
