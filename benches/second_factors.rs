//! The time of a second factor compared with the mailed code: `cargo bench --bench second_factors`.
//!
//! People with a mailed code, with an authenticator app, and with a passkey sign in and confirm, one after the
//! other in an order of chance, each once. It prints how long each step takes, and as a ratio to the same step with
//! a mailed code. Password hashes cost almost nothing here, so that the rest is seen.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[path = "../tests/authenticator/mod.rs"]
#[expect(dead_code, reason = "a bench needs no bad authenticators")]
#[expect(clippy::unwrap_used, reason = "a step that fails ends the bench")]
mod authenticator;
#[path = "measure/mod.rs"]
mod measure;
#[path = "settings/mod.rs"]
mod settings;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use authenticator::{Authenticator, Key};
use aws_lc_rs::hmac;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::Request;
use backoffice_auth::admin::Administration;
use backoffice_auth::auth::{Auth, SigningKeys};
use backoffice_auth::config::{Config, PasskeyParty};
use backoffice_auth::dev::{Cluster, Durability};
use backoffice_auth::domain::{ChallengeId, Clock, CodeNonce, OneTimeCode, PlainPassword, Purpose};
use backoffice_auth::http::{UseCases, public_router};
use backoffice_auth::limits::{Flood, FloodLimit};
use backoffice_auth::password::HashingPool;
use backoffice_auth::store::Store;
use backoffice_auth::token::Tokens;
use data_encoding::BASE32_NOPAD;
use measure::quantile;
use serde_json::{Value, json};
use settings::config;
use sqlx::PgPool;
use tokio::sync::Notify;
use tokio::time::Instant;
use tower::ServiceExt as _;

/// People of each kind; those before them warm up.
const PEOPLE: usize = 200;
const WARM_UP: usize = 20;

/// A step with a strong factor takes at most this much of the same step with a mailed code.
const TARGET: f64 = 1.1;

const RP_ID: &str = "example.com";
const ORIGIN: &str = "https://office.example.com";
const PASSWORD: &str = "violet-anvil-67";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Mailed,
    App,
    Passkey,
}

const KINDS: [Kind; 3] = [Kind::Mailed, Kind::App, Kind::Passkey];

/// The factor that a user confirms with.
enum Factor {
    Mailed,
    App(Vec<u8>),
    Passkey(Box<Authenticator>),
}

struct Bench {
    router: Router,
    config: Config,
    sql: PgPool,
    networks: u32,
    _cluster: Cluster,
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let mut bench = Bench::set_up().await?;
    let mut people = Vec::new();
    for number in 0..WARM_UP + PEOPLE {
        for kind in KINDS {
            let email = format!("{kind:?}{number}@example.com").to_lowercase();
            let factor = bench.enrol(kind, &email).await?;
            people.push((number, kind, email, factor));
        }
    }
    // As if the codes that confirmed the enrolments were long ago.
    bench
        .execute("UPDATE totp_factors SET last_step = 0")
        .await?;
    bench.execute("VACUUM ANALYZE").await?;
    let chance = RandomState::new();
    people
        .sort_by_key(|(number, kind, ..)| (*number >= WARM_UP, chance.hash_one((*number, *kind))));
    let mut millis: BTreeMap<(&str, Kind), Vec<f64>> = BTreeMap::new();
    for (number, kind, email, mut factor) in people {
        let (signin, confirm) = bench.sign_in(&email, &mut factor).await?;
        if number >= WARM_UP {
            millis.entry(("sign in", kind)).or_default().push(signin);
            millis.entry(("confirm", kind)).or_default().push(confirm);
        }
    }
    println!("{PEOPLE} of each kind; at most {TARGET} of the mailed code is wanted\n");
    println!(
        "{:<8} {:<8} {:>10} {:>8} {:>6}",
        "step", "with", "median ms", "p95 ms", "ratio"
    );
    for ((step, kind), taken) in &millis {
        let base = quantile(&millis[&(*step, Kind::Mailed)], 0.5);
        let median = quantile(taken, 0.5);
        println!(
            "{step:<8} {:<8} {median:>10.2} {:>8.2} {:>6.2}{}",
            format!("{kind:?}").to_lowercase(),
            quantile(taken, 0.95),
            median / base,
            if median / base > TARGET {
                "  above the target"
            } else {
                ""
            },
        );
    }
    Ok(())
}

impl Bench {
    async fn set_up() -> anyhow::Result<Self> {
        let folder = format!("backoffice-auth-second-factors-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let cluster = Cluster::start(&folder, Durability::Throwaway)?;
        let url = cluster.url("postgres");
        let mut config = config(&url)?;
        (config.passwords.memory_kib, config.passwords.iterations) = (64, 1);
        config.passkeys.party = Some(PasskeyParty {
            rp_id: RP_ID.to_owned(),
            origins: vec![ORIGIN.to_owned()],
        });
        let store = Store::connect(&config.database).await?;
        store.migrate().await?;
        let keys = SigningKeys::new(store.clone(), &config);
        keys.ensure_first().await?;
        let tokens = Tokens::new(&config.tokens, keys.open_ring().await?, Clock::system());
        let pool = HashingPool::new(config.passwords);
        let sql = PgPool::connect(&url)
            .await
            .context("the database is there")?;
        make_users(&sql, &pool).await?;
        let (tokens, mail_is_due) = (Arc::new(tokens), Arc::new(Notify::new()));
        let auth = Auth::new(&config, store.clone(), tokens, pool, mail_is_due);
        let administration = Administration::new(store, &config, auth.clone());
        let use_cases = UseCases {
            auth,
            administration,
        };
        let flood = Arc::new(Flood::new(FloodLimit {
            burst: 1_000,
            per_second: 1_000,
        }));
        Ok(Self {
            router: public_router(use_cases, &flood, &config.http),
            config,
            sql,
            networks: 0x0a00_0000,
            _cluster: cluster,
        })
    }

    async fn execute(&self, statement: &'static str) -> anyhow::Result<()> {
        sqlx::raw_sql(statement).execute(&self.sql).await?;
        Ok(())
    }

    /// Asks from a network where nobody was before; the answer, and how many milliseconds it took.
    async fn post(
        &mut self,
        path: &str,
        bearer: &str,
        body: &Value,
    ) -> anyhow::Result<(Value, f64)> {
        self.networks += 1;
        let network = Ipv4Addr::from_bits(self.networks);
        let request = Request::post(format!("/api/v2/{path}"))
            .header("host", "localhost")
            .header("authorization", format!("Bearer {bearer}"))
            .extension(ConnectInfo(SocketAddr::from((network, 50_000))))
            .body(Body::from(body.to_string()))?;
        let started = Instant::now();
        let answer = self.router.clone().oneshot(request).await?;
        let took = started.elapsed();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1 << 20).await?;
        let body: Value = serde_json::from_slice(&body)?;
        anyhow::ensure!(status.is_success(), "{path}: {body}");
        Ok((body, took.as_secs_f64() * 1e3))
    }

    async fn enrol(&mut self, kind: Kind, email: &str) -> anyhow::Result<Factor> {
        if kind == Kind::Mailed {
            return Ok(Factor::Mailed);
        }
        let (signed_in, _) = self.post("signin", "", &credentials(email)).await?;
        let bearer = text(&signed_in["accessToken"]["token"]).to_owned();
        if kind == Kind::App {
            let (begun, _) = self.post("me/totp", &bearer, &json!({})).await?;
            let secret = BASE32_NOPAD.decode(text(&begun["secret"]).as_bytes())?;
            let confirm = json!({"id": begun["id"], "code": code(&secret)});
            self.post("me/totp/confirm", &bearer, &confirm).await?;
            return Ok(Factor::App(secret));
        }
        let (options, _) = self
            .post("me/passkeys/options", &bearer, &json!({}))
            .await?;
        let mut key = Authenticator::new(Key::es256(), RP_ID, ORIGIN);
        let credential = key.create(&options["publicKey"]);
        let body = json!({"token": options["token"], "name": "x", "credential": credential});
        self.post("me/passkeys", &bearer, &body).await?;
        Ok(Factor::Passkey(Box::new(key)))
    }

    /// How many milliseconds the sign-in and its confirmation took.
    async fn sign_in(&mut self, email: &str, factor: &mut Factor) -> anyhow::Result<(f64, f64)> {
        let (answer, signin) = self.post("signin", "", &credentials(email)).await?;
        let details = &answer["2faDetails"];
        let token = text(&details["token"]);
        let body = match factor {
            Factor::Mailed => json!({"token": token, "code": self.mailed(token).await?}),
            Factor::App(secret) => json!({"token": token, "code": code(secret)}),
            Factor::Passkey(key) => {
                json!({"token": token, "credential": key.get(&details["publicKey"])})
            }
        };
        let (_, confirm) = self.post("2fa/confirm", "", &body).await?;
        Ok((signin, confirm))
    }

    /// The code that is mailed for a challenge.
    async fn mailed(&self, token: &str) -> anyhow::Result<String> {
        let id = ChallengeId::parse(token).context("it is an id")?;
        let nonce: Vec<u8> =
            sqlx::query_scalar("SELECT nonce FROM challenges WHERE challenge_id = $1")
                .bind(id.0)
                .fetch_one(&self.sql)
                .await?;
        let nonce = CodeNonce::from_stored(&nonce).context("it is a nonce")?;
        let key = self.config.secrets.master_key.derive(Purpose::OneTimeCodes);
        Ok(OneTimeCode::derive(&key, id, nonce).expose().to_owned())
    }
}

fn credentials(email: &str) -> Value {
    json!({"email": email, "password": PASSWORD})
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The code that an app shows now (RFC 6238).
fn code(secret: &[u8]) -> String {
    let step = Clock::system().now().timestamp() / 30;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let mac = hmac::sign(&key, &step.to_be_bytes());
    let mac = mac.as_ref();
    let at = usize::from(mac[19] & 15);
    let word = [mac[at], mac[at + 1], mac[at + 2], mac[at + 3]];
    format!(
        "{:06}",
        (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000
    )
}

async fn make_users(sql: &PgPool, pool: &HashingPool) -> anyhow::Result<()> {
    let hash = pool.hash(PlainPassword::parse(PASSWORD)?).await?;
    for kind in KINDS {
        let make = "INSERT INTO users (email, password_hash, password_hash_kind, two_factor)
                    SELECT $1 || n || '@example.com', $2, $3, $4 FROM generate_series(0, $5) AS n";
        sqlx::query(make)
            .bind(format!("{kind:?}").to_lowercase())
            .bind(hash.hash().expose())
            .bind(hash.kind().as_str())
            .bind(if kind == Kind::Mailed { "email" } else { "off" })
            .bind(i32::try_from(WARM_UP + PEOPLE)?)
            .execute(sql)
            .await?;
    }
    Ok(())
}
