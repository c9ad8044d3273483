//! The composition root: from a configuration to a running server, and back to nothing.

mod error;
mod listening;
mod opening;
mod starting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Administration;
use crate::auth::{Auth, Delivery, SigningKeys};
use crate::config::Config;
use crate::domain::Clock;
use crate::http::endpoints::health::Health;
use crate::http::endpoints::metrics::MetricsSources;
use crate::http::layers::unreadable::instead_of;
use crate::http::{self, UseCases};
use crate::limits::{Flood, FloodLimit};
use crate::mail::Mailer;
use crate::password::HashingPool;
use crate::serve::{ServerLimits, Shutdown, serve};
use crate::store::Store;
use crate::telemetry;
use crate::token::Tokens;
use crate::workers::{
    beat, end_sessions_of_revoked_keys, follow_ended_sessions, follow_hash_kinds, follow_keys,
    measure, purge, record_left_out, send_mails, tell_unanswered, watched,
};

pub use error::StartError;

use listening::Bound;
use opening::open_store;
use starting::Starting;

/// How long requests in flight get to finish, once no new ones are accepted.
const DRAIN: Duration = Duration::from_secs(5);

/// How long workers get to put down what they are doing.
const WORKERS_DEADLINE: Duration = Duration::from_secs(1);

/// Connections of probes and scrapers at a time.
const MAX_PROBES: usize = 64;

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
    /// Until then, probes are told that the server lives and is not ready.
    pub async fn start(config: &Config, clock: Clock) -> Result<Self, StartError> {
        telemetry::metrics::start();
        // Before the database, so that a fault in the mail files is told whatever the database does.
        let mailer = Mailer::new(&config.mail, &config.links)?;
        let management = Bound::to(config.http.management_listen)?;
        let starting = Starting::serve(&management)?;
        let store = open_store(config, &clock).await?;
        let keys = SigningKeys::new(store.clone(), config);
        keys.ensure_first().await?;
        let tokens = Tokens::new(&config.tokens, keys.open_ring().await?, clock.clone());
        let public = Bound::to(config.http.listen)?;

        let mail_is_due = Arc::new(Notify::new());
        let auth = Auth::new(
            config,
            store.clone(),
            Arc::new(tokens),
            HashingPool::new(config.passwords),
            Arc::clone(&mail_is_due),
        );
        let delivery = Delivery::new(config, store.clone(), mailer, mail_is_due);
        let app = Self::new(config, auth, store, [public.address, management.address]);
        app.start_workers(config, &clock, Arc::new(keys), delivery);
        // From here on, probes get the answers of the server itself.
        starting.end().await;
        app.serve_public(public.listener, config);
        app.serve_management(management.listener, clock);
        Ok(app)
    }

    fn new(
        config: &Config,
        auth: Auth,
        store: Store,
        [public, management]: [SocketAddr; 2],
    ) -> Self {
        Self {
            public,
            management,
            drain_delay: config.http.drain_delay,
            auth,
            store,
            shutdown: Shutdown::default(),
            serving: TaskTracker::new(),
            probes: Shutdown::default(),
            stop_workers: CancellationToken::new(),
            misses_worker: CancellationToken::new(),
            workers: TaskTracker::new(),
        }
    }

    fn start_workers(
        &self,
        config: &Config,
        clock: &Clock,
        keys: Arc<SigningKeys>,
        delivery: Delivery,
    ) {
        let (auth, store) = (|| self.auth.clone(), || self.store.clone());
        self.work("send_mails", |stop| send_mails(delivery, stop));
        self.work("follow_keys", |stop| {
            follow_keys(Arc::clone(&keys), auth(), stop)
        });
        self.work("end_sessions_of_revoked_keys", |stop| {
            end_sessions_of_revoked_keys(keys, stop)
        });
        self.work("follow_ended_sessions", |stop| {
            follow_ended_sessions(auth(), stop)
        });
        self.work("follow_hash_kinds", |stop| follow_hash_kinds(auth(), stop));
        self.work("beat", |stop| beat(store(), stop));
        self.work("tell_unanswered", |stop| tell_unanswered(auth(), stop));
        self.work("record_left_out", |stop| record_left_out(auth(), stop));
        self.work("measure", |stop| measure(store(), clock.clone(), stop));
        self.work("purge", |stop| purge(store(), config.audit, stop));
    }

    /// Starts a worker, which ends when its token says so and is missed if it ends before.
    fn work<W>(&self, name: &'static str, worker: impl FnOnce(CancellationToken) -> W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (stop, misses) = (self.stop_workers.clone(), self.misses_worker.clone());
        let worker = Box::pin(worker(stop.clone()));
        self.workers.spawn(watched(name, worker, stop, misses));
    }

    fn serve_public(&self, listener: TcpListener, config: &Config) {
        let flood = Flood::new(FloodLimit {
            burst: config.limits.flood_burst,
            per_second: config.limits.flood_per_second,
        });
        let auth = self.auth.clone();
        let use_cases = UseCases {
            administration: Administration::new(self.store.clone(), config, auth.clone()),
            auth,
        };
        let router = http::public_router(use_cases, &Arc::new(flood), &config.http);
        let limits = ServerLimits {
            drain: DRAIN,
            ..ServerLimits::new(config.http.max_connections)
        };
        let shutdown = self.shutdown.clone();
        let served = serve(listener, router, instead_of, limits, shutdown);
        self.serving.spawn(served);
    }

    /// Serves probes and scrapers. This listener ends with the process, and nothing waits for its last
    /// request.
    fn serve_management(&self, listener: TcpListener, clock: Clock) {
        let (shutdown, misses_worker) = (self.shutdown.clone(), self.misses_worker.clone());
        let health = Health::new(self.store.clone(), clock, shutdown, misses_worker);
        let router = http::management_router(MetricsSources {
            auth: self.auth.clone(),
            store: self.store.clone(),
            health: Arc::new(health),
        });
        let probes = self.probes.clone();
        tokio::spawn(serve(
            listener,
            router,
            instead_of,
            management_limits(),
            probes,
        ));
    }

    /// The address at which browsers and services are served.
    #[must_use]
    pub fn public_addr(&self) -> SocketAddr {
        self.public
    }

    /// The address at which probes and scrapers are served.
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
            tracing::warn!(
                "a worker did not stop in time; its unfinished work will be taken up again"
            );
        }
        self.store.close();
    }
}

fn management_limits() -> ServerLimits {
    ServerLimits {
        listener: "management",
        ..ServerLimits::new(MAX_PROBES)
    }
}
