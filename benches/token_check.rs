//! The cost of checking an access token, compared with its minimum.
//!
//! `cargo bench --bench token_check` prints the time of `GET /api/v2/session` and of `/auth/verify`
//! through the whole middleware stack, as a ratio to its floor: one RS256 verification plus a bare
//! axum handler. All are measured in turns within one run, so that variations of the machine cancel
//! out. At the end the database is stopped, and a check must still be answered: it asks none.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[path = "measure/mod.rs"]
mod measure;
#[path = "settings/mod.rs"]
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use backoffice_auth::admin::{Admin, Administration};
use backoffice_auth::auth::{Auth, SignedIn, SigningKeys};
use backoffice_auth::config::Config;
use backoffice_auth::dev::{Cluster, Durability};
use backoffice_auth::domain::{
    Client, ClientNetwork, Clock, Operator, PlainPassword, RequestId, TwoFactor,
};
use backoffice_auth::http::{UseCases, public_router};
use backoffice_auth::limits::{Flood, FloodLimit};
use backoffice_auth::password::HashingPool;
use backoffice_auth::store::Store;
use backoffice_auth::token::Tokens;
use jsonwebtoken::{Algorithm, DecodingKey};
use measure::quantile;
use settings::config;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::ServiceExt as _;

/// Turns, and checks in each: few enough for the view of ended sessions, renewed before each turn,
/// to stay fresh.
const TURNS: usize = 60;
const CHECKS: u32 = 200;

/// At most so many times the floor.
const TARGET: f64 = 2.0;

struct Bench {
    cluster: Cluster,
    auth: Auth,
    router: Router,
    bare: Router,
    token: String,
    rs256: Rs256,
}

/// One RS256 verification: the floor.
struct Rs256 {
    key: DecodingKey,
    message: String,
    signature: String,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { run(Bench::set_up().await?).await })
}

async fn run(mut bench: Bench) -> anyhow::Result<()> {
    let mut samples: [Vec<f64>; 4] = Default::default();
    for _ in 0..TURNS {
        bench.auth.renew_ended_sessions().await?;
        let turn = [
            bench.time_rs256(),
            bench.time(&bench.bare, "/bare").await?,
            bench.time(&bench.router, "/api/v2/session").await?,
            bench.time(&bench.router, "/auth/verify").await?,
        ];
        for (samples, sample) in samples.iter_mut().zip(turn) {
            samples.push(sample);
        }
    }
    report(&samples);
    bench.cluster.halt()?;
    let status = bench.check(&bench.router, "/api/v2/session").await?;
    println!("with the database stopped, while the view is fresh: {status}");
    Ok(())
}

fn report(samples: &[Vec<f64>; 4]) {
    let names = [
        "one RS256 verification",
        "a bare axum handler",
        "/api/v2/session",
        "/auth/verify",
    ];
    for (name, samples) in names.iter().zip(samples) {
        println!("{name:<24} {:>8.1} µs", quantile(samples, 0.5));
    }
    for index in [2, 3] {
        let floor = samples[0].iter().zip(&samples[1]).map(|(a, b)| a + b);
        let ratios: Vec<f64> = samples[index]
            .iter()
            .zip(floor)
            .map(|(a, b)| a / b)
            .collect();
        let [low, middle, high] = [0.1, 0.5, 0.9].map(|part| quantile(&ratios, part));
        println!(
            "{:<24} {middle:>8.2} × the floor ({low:.2} to {high:.2}; target: at most {TARGET})",
            names[index]
        );
    }
}

fn micros_each(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(CHECKS)
}

impl Bench {
    async fn set_up() -> anyhow::Result<Self> {
        let folder = format!("backoffice-auth-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let cluster = Cluster::start(&folder, Durability::Throwaway)?;
        let config = config(&cluster.url("postgres"))?;
        let store = Store::connect(&config.database).await?;
        store.migrate().await?;
        let keys = SigningKeys::new(store.clone(), &config);
        keys.ensure_first().await?;
        let tokens = Tokens::new(&config.tokens, keys.open_ring().await?, Clock::system());
        let jwks = tokens.ring().current().public_keys().keys.clone();
        let pool = HashingPool::new(config.passwords);
        let auth = Auth::new(
            &config,
            store.clone(),
            Arc::new(tokens),
            pool.clone(),
            Arc::new(Notify::new()),
        );
        let token = sign_in(&config, store.clone(), &pool, &auth).await?;
        let use_cases = UseCases {
            auth: auth.clone(),
            administration: Administration::new(store, &config, auth.clone()),
        };
        let flood = Arc::new(Flood::new(FloodLimit {
            burst: 1,
            per_second: 1,
        }));
        Ok(Self {
            cluster,
            router: public_router(use_cases, &flood, &config.http),
            auth,
            bare: Router::new().route("/bare", get(async || StatusCode::OK)),
            rs256: Rs256::new(&jwks, &token)?,
            token,
        })
    }

    fn time_rs256(&self) -> f64 {
        let started = Instant::now();
        for _ in 0..CHECKS {
            assert!(self.rs256.verify());
        }
        micros_each(started.elapsed())
    }

    async fn time(&self, router: &Router, path: &str) -> anyhow::Result<f64> {
        let started = Instant::now();
        for _ in 0..CHECKS {
            anyhow::ensure!(self.check(router, path).await? == StatusCode::OK);
        }
        Ok(micros_each(started.elapsed()))
    }

    async fn check(&self, router: &Router, path: &str) -> anyhow::Result<StatusCode> {
        let request = Request::get(path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.token))
            .extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 50_000))))
            .body(Body::empty())?;
        Ok(router.clone().oneshot(request).await?.status())
    }
}

impl Rs256 {
    fn new(jwks: &serde_json::Value, token: &str) -> anyhow::Result<Self> {
        let part = |name| {
            jwks["keys"][0][name]
                .as_str()
                .context("the key has its parts")
        };
        let (message, signature) = token.rsplit_once('.').context("a token has three parts")?;
        Ok(Self {
            key: DecodingKey::from_rsa_components(part("n")?, part("e")?)?,
            message: message.to_owned(),
            signature: signature.to_owned(),
        })
    }

    fn verify(&self) -> bool {
        let message = self.message.as_bytes();
        jsonwebtoken::crypto::verify(&self.signature, message, &self.key, Algorithm::RS256)
            .is_ok_and(|holds| holds)
    }
}

async fn sign_in(
    config: &Config,
    store: Store,
    pool: &HashingPool,
    auth: &Auth,
) -> anyhow::Result<String> {
    let (admin, operator) = (Admin::new(store, config), Operator::named("bench"));
    let email = "bench@example.com".parse()?;
    let password = PlainPassword::parse("violet-anvil-67")?;
    admin
        .create_user(&operator, pool, &email, password.clone(), TwoFactor::Off)
        .await?;
    let client = Client {
        network: ClientNetwork::of([127, 0, 0, 1].into()),
        user_agent: None,
        request_id: RequestId::random(),
    };
    match auth.signin(&client, &email, &password).await {
        Ok(SignedIn::Session(pair)) => Ok(pair.access.token),
        other => anyhow::bail!("the sign-in did not open a session: {other:?}"),
    }
}
