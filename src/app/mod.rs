//! The composition root: from a configuration to a running server, and back to nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Auth, Delivery, KeysError, SigningKeys};
use crate::config::Config;
use crate::domain::{Clock, Purpose};
use crate::http;
use crate::http::endpoints::health::Health;
use crate::http::endpoints::metrics::MetricsSources;
use crate::http::layers::unreadable::instead_of;
use crate::limits::{Flood, FloodLimit};
use crate::mail::{MailConfigError, Mailer};
use crate::password::HashingPool;
use crate::serve::{self, ServerLimits, Shutdown};
use crate::store::{Fitness, Store, StoreError};
use crate::telemetry::{self, causes};
use crate::token::Tokens;
use crate::workers::{
    beat, end_sessions_of_revoked_keys, follow_ended_sessions, follow_hash_kinds, follow_keys,
    measure, purge, record_left_out, send_mails, tell_unanswered, watched,
};

/// How long requests in flight get to finish, once no new ones are accepted.
const DRAIN: Duration = Duration::from_secs(5);

/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 4096;

/// Connections of probes and scrapers at a time.
const MAX_PROBES: usize = 64;

/// How often a database that is not there yet is looked for.
const LOOK: Duration = Duration::from_millis(250);

/// How long workers get to put down what they are doing.
const WORKERS_DEADLINE: Duration = Duration::from_secs(1);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database did not answer.
    #[error("{}", .0.advice_on_connecting())]
    Database(#[source] StoreError),
    /// The database cannot be written to.
    #[error("{0}")]
    ReadOnly(&'static str),
    /// The migrations failed.
    #[error("the migrations cannot be applied")]
    Migrations(#[source] StoreError),
    /// Migrations are missing and may not be applied.
    #[error("the database lacks migrations; run `backoffice-auth migrate`")]
    NotMigrated,
    /// The signing keys cannot be used.
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeysError),
    /// The mail settings do not work.
    #[error(transparent)]
    Mail(#[from] MailConfigError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

impl StartError {
    /// Whether a database that starts, or is being promoted, may be behind it.
    fn may_pass(&self) -> bool {
        match self {
            Self::Database(error) => error.may_be_starting(),
            Self::ReadOnly(_) => true,
            _ => false,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct App {
    public: SocketAddr,
    management: SocketAddr,
    drain_delay: Duration,
    auth: Auth,
    store: Store,
    /// Ends the public listener.
    shutdown: Shutdown,
    serving: TaskTracker,
    /// Ends the management listener, which says "not ready" until the end.
    probes: Shutdown,
    stop_workers: CancellationToken,
    /// Cancelled once a worker has ended that was not told to.
    misses_worker: CancellationToken,
    workers: TaskTracker,
}

impl App {
    /// Starts: connects, migrates, opens the keys, listens. When this returns, requests are served.
    /// Until then, probes are told that it lives and is not ready.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self, StartError> {
        telemetry::metrics::start();
        // First of all: what is wrong with its files is to be told, whatever the database does.
        let mailer = Mailer::new(&config.mail)?;
        let management = listen(config.http.management_listen)?;
        let starting = Starting::serve(&management, config.http.management_listen)?;
        let store = open_store(config, &clock).await?;
        let keys = SigningKeys::new(store.clone(), config);
        keys.ensure_first().await?;
        let tokens = Arc::new(Tokens::new(
            &config.tokens,
            keys.open_ring().await?,
            clock.clone(),
        ));
        let public = listen(config.http.listen)?;

        let mail_is_due = Arc::new(Notify::new());
        let auth = Auth::new(
            config,
            store.clone(),
            tokens,
            HashingPool::new(config.passwords),
            Arc::clone(&mail_is_due),
        );
        let app = Self {
            public: address(&public, config.http.listen)?,
            management: address(&management, config.http.management_listen)?,
            drain_delay: config.http.drain_delay,
            auth: auth.clone(),
            store: store.clone(),
            shutdown: Shutdown::default(),
            serving: TaskTracker::new(),
            probes: Shutdown::default(),
            stop_workers: CancellationToken::new(),
            misses_worker: CancellationToken::new(),
            workers: TaskTracker::new(),
        };
        let code_key = config.secrets.master_key.derive(Purpose::OneTimeCodes);
        let delivery = Delivery::new(store.clone(), mailer, code_key, mail_is_due);
        app.work("send_mails", |stop| send_mails(delivery, stop));
        let keys = Arc::new(keys);
        app.work("follow_keys", |stop| {
            follow_keys(Arc::clone(&keys), auth.clone(), stop)
        });
        app.work("end_sessions_of_revoked_keys", |stop| {
            end_sessions_of_revoked_keys(keys, stop)
        });
        app.work("follow_ended_sessions", |stop| {
            follow_ended_sessions(auth.clone(), stop)
        });
        app.work("follow_hash_kinds", |stop| {
            follow_hash_kinds(auth.clone(), stop)
        });
        app.work("beat", |stop| beat(store.clone(), stop));
        app.work("tell_unanswered", |stop| {
            tell_unanswered(auth.clone(), stop)
        });
        app.work("record_left_out", |stop| {
            record_left_out(auth.clone(), stop)
        });
        app.work("measure", |stop| {
            measure(store.clone(), clock.clone(), stop)
        });
        app.work("purge", |stop| purge(store, config.audit, stop));
        // From here on, nobody is told any more that it starts.
        starting.end().await;
        app.serve_public(public, auth.clone(), config);
        app.serve_management(management, auth, clock);
        Ok(app)
    }

    /// Starts a worker, which ends when its token says so and is missed if it ends before.
    fn work<W>(&self, name: &'static str, worker: impl FnOnce(CancellationToken) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (stop, misses) = (self.stop_workers.clone(), self.misses_worker.clone());
        let worker = worker(stop.clone());
        self.workers.spawn(watched(name, worker, stop, misses));
    }

    fn serve_public(&self, listener: TcpListener, auth: Auth, config: &Config) {
        let flood = Flood::new(FloodLimit {
            burst: config.limits.flood_burst,
            per_second: config.limits.flood_per_second,
        });
        let router = http::public_router(auth, &Arc::new(flood), &config.http);
        let limits = ServerLimits {
            drain: DRAIN,
            ..ServerLimits::new(config.http.max_connections)
        };
        let served = serve::serve(listener, router, instead_of, limits, self.shutdown.clone());
        self.serving.spawn(served);
    }

    /// Nothing waits for the last probe: this listener ends with the process.
    fn serve_management(&self, listener: TcpListener, auth: Auth, clock: Clock) {
        let (shutdown, misses_worker) = (self.shutdown.clone(), self.misses_worker.clone());
        let health = Health::new(self.store.clone(), clock, shutdown, misses_worker);
        let router = http::management_router(MetricsSources {
            auth,
            store: self.store.clone(),
            health: Arc::new(health),
        });
        let limits = ServerLimits {
            listener: "management",
            ..ServerLimits::new(MAX_PROBES)
        };
        tokio::spawn(serve::serve(
            listener,
            router,
            instead_of,
            limits,
            self.probes.clone(),
        ));
    }

    /// Where browsers and services are served.
    #[must_use]
    pub fn public_addr(&self) -> SocketAddr {
        self.public
    }

    /// Where probes and scrapers are served.
    #[must_use]
    pub fn management_addr(&self) -> SocketAddr {
        self.management
    }

    /// Stops: says "not ready", gives load balancers time to notice, stops accepting, lets
    /// requests in flight finish, then the workers. Takes at most the drain delay and
    /// six seconds.
    pub async fn stop(self) {
        self.shutdown.drain();
        tokio::time::sleep(self.drain_delay).await;
        self.shutdown.stop();
        self.auth.end_waiting();
        self.serving.close();
        self.serving.wait().await;
        self.stop_workers.cancel();
        self.probes.stop();
        self.workers.close();
        if tokio::time::timeout(WORKERS_DEADLINE, self.workers.wait())
            .await
            .is_err()
        {
            tracing::warn!("a worker did not stop in time; what it held will be taken up again");
        }
        self.store.close();
    }
}

/// Answers probes while the server starts. Dropped, it ends by itself.
#[derive(Debug)]
struct Starting {
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

impl Starting {
    /// Answers whoever comes to `listener` before the server takes it over.
    fn serve(listener: &TcpListener, address: SocketAddr) -> Result<Self, StartError> {
        let shared = || {
            let listener = listener.as_fd().try_clone_to_owned()?;
            TcpListener::from_std(listener.into())
        };
        let listener = shared().map_err(|source| StartError::Listen { address, source })?;
        let limits = ServerLimits {
            listener: "management",
            drain: WORKERS_DEADLINE,
            ..ServerLimits::new(MAX_PROBES)
        };
        let shutdown = Shutdown::default();
        let router = http::starting_router();
        let served = serve::serve(listener, router, instead_of, limits, shutdown.clone());
        Ok(Self {
            serving: tokio::spawn(served),
            shutdown,
        })
    }

    /// Ends, once those who came are answered.
    async fn end(mut self) {
        self.shutdown.stop();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.shutdown.stop();
    }
}

/// Opens the database. One that is not there yet is waited for: where both are started at once, it is
/// often the slower one.
async fn open_store(config: &Config, clock: &Clock) -> Result<Store, StartError> {
    let until = Instant::now() + config.database.wait;
    let mut is_waiting = false;
    loop {
        match try_to_open_store(config, clock).await {
            Err(error) if error.may_pass() && Instant::now() < until => {
                if !is_waiting {
                    is_waiting = true;
                    let (seconds, error) = (config.database.wait.as_secs(), causes(&error));
                    tracing::warn!(error, seconds, "waiting for the database");
                }
                tokio::time::sleep(LOOK).await;
            }
            opened => {
                if is_waiting && opened.is_ok() {
                    tracing::info!("the database is there");
                }
                return opened;
            }
        }
    }
}

async fn try_to_open_store(config: &Config, clock: &Clock) -> Result<Store, StartError> {
    let store = Store::connect(&config.database)
        .await
        .map_err(StartError::Database)?;
    if config.database.migrate {
        let state = store.server_state().await.map_err(StartError::Database)?;
        if let Some(obstacle) = state.obstacle_to_writing() {
            return Err(StartError::ReadOnly(obstacle));
        }
        store.migrate().await.map_err(StartError::Migrations)?;
    } else if store.fitness(clock).await.map_err(StartError::Database)? == Fitness::NotMigrated {
        return Err(StartError::NotMigrated);
    }
    Ok(store)
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address).map_err(|source| StartError::Listen { address, source })
}

/// `TcpListener::bind` asks for a backlog of 128, which a burst overflows: each connection lost so
/// costs its client a second or more.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // Without it a restart would have to wait for the connections of the run before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn address(listener: &TcpListener, asked: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen {
        address: asked,
        source,
    })
}
