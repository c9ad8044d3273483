//! Whether the time of a refused sign-in, or of a wish for a link, tells whose address it was.
//!
//! `cargo bench --bench enumeration` signs in with a wrong password, in turns, to addresses of every
//! kind: nobody's, of a user with today's hash, disabled, without a password, with a bcrypt hash, and
//! with an Argon2 hash of other parameters. Each address and each network is used once, so that no
//! limit interferes. For each kind it prints the area under the ROC curve against unknown addresses:
//! the chance that a refusal of this kind takes longer than one of an unknown address. 0.5 tells
//! nothing. It measures with the hashing pool idle, and with other sign-ins waiting in its queue.
//!
//! Then it asks for links to set a password, in the same way, for the same kinds of addresses; alone, and
//! while others ask, too. `-- signin busy` limits it to the parts that these words name.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[path = "measure/mod.rs"]
mod measure;
#[path = "settings/mod.rs"]
mod settings;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use backoffice_auth::admin::Administration;
use backoffice_auth::auth::{Auth, SigningKeys};
use backoffice_auth::config::Config;
use backoffice_auth::dev::{Cluster, Durability};
use backoffice_auth::domain::{Clock, PasswordHash, PlainPassword};
use backoffice_auth::http::{UseCases, public_router};
use backoffice_auth::limits::{Flood, FloodLimit};
use backoffice_auth::password::HashingPool;
use backoffice_auth::store::Store;
use backoffice_auth::token::Tokens;
use measure::quantile;
use settings::config;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::ServiceExt as _;

/// Samples of each kind, and twice as many of unknown addresses; those before them warm up.
const ROUNDS: usize = 300;
const WARM_UP: usize = 10;

/// The sign-ins that keep the queue filled, and the number of samples among them.
const OTHERS: usize = 24;
const AT_ONCE: usize = 4;

/// The AUC is to be between these. With this many samples, chance alone moves it by 0.02,
/// and one in twenty by twice that.
const TARGET: [f64; 2] = [0.45, 0.55];

const UNKNOWN: &str = "unknown";
const KINDS: [&str; 5] = ["wrong", "disabled", "bare", "bcrypt", "argon2"];

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// `/signin` with a wrong password.
    Signin,
    /// `/password/forgot`.
    Forgot,
}

struct Bench {
    router: Router,
    auth: Auth,
    pool: HashingPool,
    next: AtomicU32,
    _cluster: Cluster,
}

/// The results of a phase: milliseconds by kind, and the number of those that waited for a worker.
#[derive(Default)]
struct Samples {
    millis: HashMap<&'static str, Vec<f64>>,
    waiting: Vec<f64>,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let bench = Arc::new(Bench::set_up().await?);
    println!(
        "load before: {}",
        std::fs::read_to_string("/proc/loadavg")?.trim()
    );
    bench.auth.learn_hash_kinds().await?;
    for question in [Question::Signin, Question::Forgot] {
        let name = format!("{question:?}").to_lowercase();
        if is_wanted(&[&name, "idle"]) {
            println!("\n{question:?}");
            report("idle", &bench.sample(question, 0, 1).await?);
        }
        if !is_wanted(&[&name, "busy"]) {
            continue;
        }
        println!("\n{question:?}");
        let others: Vec<_> = (0..OTHERS)
            .map(|_| tokio::spawn(Arc::clone(&bench).keep_busy(question)))
            .collect();
        let first = ROUNDS + WARM_UP;
        report("busy", &bench.sample(question, first, AT_ONCE).await?);
        for other in others {
            other.abort();
        }
    }
    Ok(())
}

impl Bench {
    async fn set_up() -> anyhow::Result<Self> {
        let folder = format!("backoffice-auth-enumeration-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let cluster = Cluster::start(&folder, Durability::Throwaway)?;
        let url = cluster.url("postgres");
        let mut config = config(&url)?;
        config.links.password_url = Some("https://office.example.com/password".to_owned());
        // One client with so many networks would reach the bound on wishes.
        (
            config.limits.strangers_burst,
            config.limits.strangers_per_second,
        ) = (1_000_000, 1_000_000);
        let store = Store::connect(&config.database).await?;
        store.migrate().await?;
        let keys = SigningKeys::new(store.clone(), &config);
        keys.ensure_first().await?;
        let tokens = Tokens::new(&config.tokens, keys.open_ring().await?, Clock::system());
        let pool = HashingPool::new(config.passwords);
        make_users(&url, &config, &pool).await?;
        let auth = Auth::new(
            &config,
            store.clone(),
            Arc::new(tokens),
            pool.clone(),
            Arc::new(Notify::new()),
        );
        let flood = Arc::new(Flood::new(FloodLimit {
            burst: 1_000,
            per_second: 1_000,
        }));
        let use_cases = UseCases {
            auth: auth.clone(),
            administration: Administration::new(store, &config, auth.clone()),
        };
        Ok(Self {
            router: public_router(use_cases, &flood, &config.http),
            auth,
            pool,
            next: AtomicU32::new(0),
            _cluster: cluster,
        })
    }

    /// Takes all samples in a random order, so many at a time.
    async fn sample(
        self: &Arc<Self>,
        question: Question,
        first: usize,
        at_once: usize,
    ) -> anyhow::Result<Samples> {
        let queue = Arc::new(Mutex::new(shuffled(first)));
        let tasks = (0..at_once).map(|_| {
            let (bench, queue) = (Arc::clone(self), Arc::clone(&queue));
            tokio::spawn(async move { bench.work_off(question, &queue, first).await })
        });
        let tasks: Vec<_> = tasks.collect();
        let mut all = Samples::default();
        for task in tasks {
            let samples = task.await??;
            for (kind, millis) in samples.millis {
                all.millis.entry(kind).or_default().extend(millis);
            }
            all.waiting.extend(samples.waiting);
        }
        Ok(all)
    }

    async fn work_off(
        &self,
        question: Question,
        queue: &Mutex<Vec<(usize, &'static str)>>,
        first: usize,
    ) -> anyhow::Result<Samples> {
        let mut samples = Samples::default();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((round, kind)) = next else {
                return Ok(samples);
            };
            let waiting = self.pool.waiting();
            let millis = self.ask(question, kind, round).await?;
            if round >= first + WARM_UP {
                samples.millis.entry(kind).or_default().push(millis);
                samples.waiting.push(f64::from(u32::try_from(waiting)?));
            }
        }
    }

    /// Asks, again and again, for addresses that nobody has.
    async fn keep_busy(self: Arc<Self>, question: Question) {
        loop {
            // Refused for lack of room, it comes again.
            let _ = self.ask(question, UNKNOWN, 0).await;
        }
    }

    /// How many milliseconds an answer took.
    async fn ask(&self, question: Question, kind: &str, round: usize) -> anyhow::Result<f64> {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let address = if kind == UNKNOWN {
            format!("nobody{n}@example.com")
        } else {
            format!("{kind}{round}@example.com")
        };
        let network = Ipv4Addr::from_bits(0x0a00_0000 + n);
        let (path, expected) = match question {
            Question::Signin => ("/api/v2/signin", StatusCode::UNAUTHORIZED),
            Question::Forgot => ("/api/v2/password/forgot", StatusCode::ACCEPTED),
        };
        let request = Request::post(path)
            .header("host", "localhost")
            .extension(ConnectInfo(SocketAddr::from((network, 50_000))))
            .body(Body::from(format!(
                r#"{{"email":"{address}","password":"violet-anvil-68"}}"#
            )))?;
        let started = Instant::now();
        let status = self.router.clone().oneshot(request).await?.status();
        let took = started.elapsed();
        anyhow::ensure!(status == expected, "{kind}: {status}");
        Ok(took.as_secs_f64() * 1e3)
    }
}

/// Whether the words that were given are all among these.
fn is_wanted(names: &[&str]) -> bool {
    let words = std::env::args().skip(1);
    let mut words = words.filter(|word| !word.starts_with('-'));
    words.all(|word| names.contains(&&*word))
}

/// All samples of a phase in an order of chance, the warm-up last, since they are taken from the end.
///
/// The samples before one must not depend on its kind: an expensive hash keeps a worker for longer, and
/// the next one finds a longer queue. In turns in which each kind comes once, that would be any kind but its own.
fn shuffled(first: usize) -> Vec<(usize, &'static str)> {
    let chance = RandomState::new();
    let kinds = || KINDS.into_iter().chain([UNKNOWN; 2]).enumerate();
    let mut samples: Vec<_> = (first..first + WARM_UP + ROUNDS)
        .flat_map(|round| kinds().map(move |(turn, kind)| (round, turn, kind)))
        .collect();
    samples.sort_by_key(|sample| (sample.0 < first + WARM_UP, chance.hash_one(sample)));
    (samples.into_iter())
        .map(|(round, _, kind)| (round, kind))
        .collect()
}

fn report(phase: &str, samples: &Samples) {
    let waiting = samples.waiting.iter().sum::<f64>() / count(&samples.waiting);
    println!("\n{phase}: {waiting:.1} waited for a worker on average");
    println!(
        "{:<10} {:>5} {:>10} {:>10} {:>7}",
        "kind", "n", "median ms", "p95 ms", "AUC"
    );
    let unknown = &samples.millis[UNKNOWN];
    for kind in [UNKNOWN].into_iter().chain(KINDS) {
        let millis = &samples.millis[kind];
        let auc = auc(millis, unknown);
        let is_hit = (TARGET[0]..=TARGET[1]).contains(&auc);
        println!(
            "{kind:<10} {:>5} {:>10.1} {:>10.1} {auc:>7.3}{}",
            millis.len(),
            quantile(millis, 0.5),
            quantile(millis, 0.95),
            if is_hit {
                ""
            } else {
                "  outside of the target"
            },
        );
    }
}

/// The chance that one of `ours` is greater than one of `base`.
fn auc(ours: &[f64], base: &[f64]) -> f64 {
    let wins = ours.iter().flat_map(|one| {
        base.iter().map(move |other| match one.total_cmp(other) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
    });
    wins.sum::<f64>() / (count(ours) * count(base))
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
fn count(samples: &[f64]) -> f64 {
    samples.len() as f64
}

/// As many users of each kind as there are samples.
async fn make_users(url: &str, config: &Config, pool: &HashingPool) -> anyhow::Result<()> {
    let password = PlainPassword::parse("violet-anvil-67")?;
    let todays = pool.hash(password.clone()).await?;
    let mut others = config.passwords;
    (others.memory_kib, others.iterations) = (9_728, 1);
    let argon2 = HashingPool::new(others).hash(password).await?;
    let bcrypt = PasswordHash::new(bcrypt::hash("violet-anvil-67", 10)?);
    let sql = PgPool::connect(url)
        .await
        .context("the database is there")?;
    for (kind, hash) in KINDS.into_iter().zip([
        Some(todays.hash()),
        Some(todays.hash()),
        None,
        Some(&bcrypt),
        Some(argon2.hash()),
    ]) {
        let make = "INSERT INTO users (email, password_hash, two_factor, disabled_at)
                    SELECT $1 || n || '@example.com', $2, 'off', CASE WHEN $3 THEN now() END
                      FROM generate_series(0, $4) AS n";
        sqlx::query(make)
            .bind(kind)
            .bind(hash.map(PasswordHash::expose))
            .bind(kind == "disabled")
            .bind(i32::try_from(2 * (ROUNDS + WARM_UP))?)
            .execute(&sql)
            .await?;
    }
    sqlx::query("VACUUM ANALYZE users").execute(&sql).await?;
    sql.close().await;
    Ok(())
}
