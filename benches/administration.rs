//! The time of an administrator's page while the users grow in number.
//!
//! `cargo bench --bench administration` fills two databases of one PostgreSQL, with ten thousand users and with a
//! million (3 minutes, 2 GB of disk); with `-- --full`, also one with ten million (10 minutes, 13 GB). Half of them
//! are active and half are invited, and one half comes before the other in the order of the addresses. A few
//! have other states, and their number is the same in each database, so that pages are equally long: the
//! hundred disabled users, who come last of all, are 1 in 100 000 of ten million. An administrator signs in
//! to a server on each database and asks for pages of fifty, one after the other, each somewhere else. The
//! servers take turns. All tables are in PostgreSQL's memory, which takes up to 6 GB for that.
//!
//! It prints the median and the 99th percentile of the time to the answer, and both as a ratio to those with ten
//! thousand. It fails if a 99th percentile with a million is over 20 ms, or if the ratio of the medians is over 3
//! with any number: that of the percentiles is the machine's mood as much as the server's.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[expect(dead_code, reason = "other benches ask for more")]
#[path = "end_to_end/accounts.rs"]
mod accounts;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "growth/loader.rs"]
mod loader;
#[path = "measure/mod.rs"]
mod measure;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "end_to_end/server.rs"]
mod server;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "end_to_end/wire.rs"]
mod wire;

use anyhow::Context as _;
use backoffice_auth::dev::Durability;
use data_encoding::BASE64URL_NOPAD;
use measure::quantile;
use serde_json::{Value, json};
use server::{Machine, PASSWORD, Server, Setting, network};
use sqlx::PgPool;
use tokio::time::Instant;
use wire::{Caller, post};

/// Users in each database: powers of ten, the fewest first.
const SIZES: [i64; 3] = [10_000, MILLION, 10_000_000];
const MILLION: i64 = 1_000_000;

/// The most that a 99th percentile with a million may be, in milliseconds, and the most that a median may grow.
const LONGEST: f64 = 20.0;
const MOST_GROWTH: f64 = 3.0;

/// Turns of each question, and requests in each. The first turn is not counted: in it, PostgreSQL settles on its
/// plans.
const TURNS: usize = 11;
const REQUESTS: usize = 100;

/// Room for all tables, and nothing at work of its own accord.
const MEMORY: &str = "shared_buffers=6GB";

const ADMINISTRATOR: &str = "zoe@example.com";

/// Rows in one statement.
const CHUNK: i64 = 250_000;

/// The user with many events, who is the first of all, and their number. They are older than all others.
const BUSY: i64 = 1;
const BUSY_EVENTS: i64 = 100_000;

/// Users, numbered from 1 in a new database, in an order that is not that of their addresses. `$1` to `$2` of `$3`
/// are made, as in all of these.
///
/// Of the half with `ua`, a thousand are invited, a thousand are locked, and a thousand are on the way there; of the
/// half with `ub`, a thousand are active. The last hundred are disabled.
const USERS: &str = r"
    INSERT INTO users (email, password_hash, password_hash_kind, two_factor, second_factor_failures,
                       has_many_wrong_codes, disabled_at)
    SELECT (CASE WHEN k < $3 / 2 THEN 'ua' ELSE 'ub' END) || lpad(k::TEXT, 8, '0') || '@example.com',
           CASE WHEN NOT is_invited THEN $4 END,
           CASE WHEN NOT is_invited THEN substring($4 FROM '^\$argon2[a-z]*\$(?:v=[0-9]+\$)?[^$]*') END,
           'email', failures, failures >= 3,
           CASE WHEN k >= $3 - 100 THEN now() END
      FROM (SELECT k, (k % ($3 / 2000) = 0) <> (k >= $3 / 2) AS is_invited,
                   CASE k % ($3 / 2000) WHEN 1 THEN 100 WHEN 2 THEN 50 ELSE 0 END AS failures
              FROM (SELECT n::BIGINT * 48271 % $3 AS k
                      FROM generate_series($1, $2) AS n WHERE n < $3) AS numbered) AS users";

/// One in twenty has an app. With a million users, they are as many as PostgreSQL would hash at once.
const APPS: &str = "
    INSERT INTO totp_factors (totp_id, user_id, sealed_secret, created_at, expires_at, confirmed_at)
    SELECT gen_random_uuid(), n, sha256('secret'), now(), now(), now()
      FROM generate_series($1, $2) AS n WHERE n > 0 AND n <= $3 AND n % 20 = 0 AND $4 <> ''";

/// Three recovery codes with each app.
const RECOVERY_CODES: &str = "
    INSERT INTO recovery_codes (user_id, code_hash, created_at)
    SELECT n, sha256((n || '/' || code)::BYTEA), now()
      FROM generate_series($1, $2) AS n, generate_series(1, 3) AS code
     WHERE n > 0 AND n <= $3 AND n % 20 = 0 AND $4 <> ''";

/// One in twenty has a passkey.
const PASSKEYS: &str = "
    INSERT INTO passkeys (passkey_id, user_id, credential_id, public_key, rp_id, name, transports, is_synced,
                          verifies_user, sign_count, created_at)
    SELECT gen_random_uuid(), n, sha256(n::TEXT::BYTEA), sha256('key'), 'example.com', 'laptop', '{}', TRUE,
           TRUE, 0, now()
      FROM generate_series($1, $2) AS n WHERE n > 0 AND n <= $3 AND n % 20 = 1 AND $4 <> ''";

/// Refused sign-ins of the user with many events.
const BUSY_USERS_EVENTS: &str = "
    INSERT INTO audit_events (happened_at, kind, outcome, reason, user_id, email, network, request_id)
    SELECT now() - INTERVAL '60 days' + INTERVAL '10 seconds' * n, 'signin', 'refused', 'wrong_password',
           user_id, email, '203.0.113.7/32', gen_random_uuid()::TEXT
      FROM generate_series($1, $2) AS n, users WHERE n < $3 AND user_id = $4::BIGINT";

/// A sign-in of one user in ten.
const EVENTS: &str = "
    INSERT INTO audit_events (happened_at, kind, outcome, reason, user_id, email, session_id, network,
                              request_id)
    SELECT now() - INTERVAL '29 days' * (1 - user_id::FLOAT8 / $3), 'signin', 'granted', 'session_opened',
           user_id, email, gen_random_uuid(), '203.0.113.7/32', gen_random_uuid()::TEXT
      FROM users WHERE user_id BETWEEN $1 AND $2 AND user_id % 10 = 2 AND $4 <> ''
     ORDER BY user_id";

/// A question, and how it is put for the n-th time to so many users.
type Question = (&'static str, fn(&Crowd, i64) -> String);

const QUESTIONS: [Question; 20] = [
    ("first page", |_, _| list("")),
    ("in the middle", |crowd, n| {
        list(&format!("after={}", crowd.cursor(n)))
    }),
    ("prefix of one user", |crowd, n| {
        list(&format!("email={}", crowd.address(crowd.any(n))))
    }),
    ("prefix of 1 %", |crowd, n| {
        list(&format!("email={}", crowd.hundredth(crowd.any(n))))
    }),
    ("prefix of 1 %, in the middle", |crowd, n| {
        let prefix = crowd.hundredth(crowd.any(n));
        list(&format!("email={prefix}&after={}", crowd.cursor(n)))
    }),
    ("prefix of all", |_, _| list("email=u")),
    ("prefix of all, in the middle", |crowd, n| {
        list(&format!("email=u&after={}", crowd.cursor(n)))
    }),
    ("prefix of nobody", |_, _| list("email=uz")),
    ("disabled (100, the last)", |_, _| list("state=disabled")),
    ("disabled, prefix of 1 % with them", |crowd, _| {
        let prefix = crowd.hundredth(crowd.users - 1);
        list(&format!("state=disabled&email={prefix}"))
    }),
    ("disabled, prefix without them", |_, _| {
        list("state=disabled&email=ua")
    }),
    ("locked (1000)", |_, _| list("state=locked")),
    ("invited (half)", |_, _| list("state=invited")),
    ("invited where 1000 are", |crowd, n| {
        let after = crowd.cursor_in_half(n, 0);
        list(&format!("state=invited&email=ua&after={after}"))
    }),
    ("active (half)", |_, _| list("state=active")),
    ("active where 1000 are", |crowd, n| {
        let after = crowd.cursor_in_half(n, 1);
        list(&format!("state=active&email=ub&after={after}"))
    }),
    ("a user", |crowd, n| format!("/{}", 1 + crowd.any(n))),
    ("the user with 100 000 events", |_, _| format!("/{BUSY}")),
    ("that user's events", |_, _| {
        format!("/{BUSY}/events?limit=50")
    }),
    ("that user's events, in the middle", |_, n| {
        let after = BUSY_EVENTS - n * 73 % (BUSY_EVENTS - 100);
        format!("/{BUSY}/events?limit=50&after={after}")
    }),
];

fn list(query: &str) -> String {
    format!("?limit=50&{query}")
}

/// The users of a database, from which the questions pick.
#[derive(Debug, Clone, Copy)]
struct Crowd {
    users: i64,
}

impl Crowd {
    /// A place in the order of the addresses: another one each time.
    fn any(self, time: i64) -> i64 {
        time * 7_368_787 % self.users
    }

    fn address(self, place: i64) -> String {
        format!("{}{place:08}@example.com", self.half(place))
    }

    fn half(self, place: i64) -> &'static str {
        if place < self.users / 2 { "ua" } else { "ub" }
    }

    /// The prefix of a hundredth of all, about a place.
    fn hundredth(self, place: i64) -> String {
        let digits = (self.users / 100).ilog10();
        let places = format!("{place:08}");
        format!("{}{}", self.half(place), &places[..8 - digits as usize])
    }

    fn cursor(self, time: i64) -> String {
        BASE64URL_NOPAD.encode(self.address(self.any(time)).as_bytes())
    }

    /// A cursor in the first half of the addresses or in the second.
    fn cursor_in_half(self, time: i64, half: i64) -> String {
        let place = self.any(time) / 2 + half * self.users / 2;
        BASE64URL_NOPAD.encode(self.address(place).as_bytes())
    }
}

fn main() -> anyhow::Result<()> {
    let is_full = std::env::args().any(|argument| argument == "--full");
    let sizes = if is_full { &SIZES[..] } else { &SIZES[..2] };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(sizes))
}

async fn run(sizes: &[i64]) -> anyhow::Result<()> {
    let machine = Machine::with(Durability::Throwaway, &[MEMORY])?;
    loader::prepare(&machine).await?;
    let mut filled = Vec::new();
    for users in sizes {
        filled.push((*users, fill(&machine, *users).await?));
    }
    let mut opened = Vec::new();
    for (users, setting) in filled {
        opened.push(Side::open(users, setting).await?);
    }
    print_head(sizes);
    let mut misses = Vec::new();
    for question in QUESTIONS {
        let costs = ask_in_turns(&mut opened, question).await?;
        print_costs(question.0, &costs);
        misses.extend(misses_of(question.0, sizes, &costs));
    }
    anyhow::ensure!(misses.is_empty(), "missed:\n{}", misses.join("\n"));
    Ok(())
}

/// Makes a database with so many users, and prints what that takes.
async fn fill(machine: &Machine, users: i64) -> anyhow::Result<Setting> {
    let started = Instant::now();
    let name = format!("users_{users}");
    loader::create(machine, &name).await?;
    let url = machine.cluster.url(&name);
    let setting = Setting::new(
        machine,
        &[
            ("DATABASE__URL", url.as_str()),
            ("PASSWORDS__MEMORY_KIB", "8"),
            ("PASSWORDS__ITERATIONS", "1"),
            ("ADMINISTRATION__REQUIRES_MFA", "false"),
            ("LIMITS__FLOOD_BURST", "1000000"),
            ("LIMITS__FLOOD_PER_SECOND", "1000000"),
        ],
    )?;
    setting.migrate()?;
    let (hash, pool) = (setting.hash(8, 1).await?, loader::connect(&url).await?);
    for statement in [USERS, APPS, RECOVERY_CODES, PASSKEYS] {
        insert(&pool, statement, users, &hash).await?;
    }
    let busy = BUSY.to_string();
    insert(&pool, BUSY_USERS_EVENTS, BUSY_EVENTS, &busy).await?;
    insert(&pool, EVENTS, users, &hash).await?;
    sqlx::query(
        "INSERT INTO users (email, password_hash, two_factor, is_administrator) VALUES ($1, $2, 'off', TRUE)",
    )
    .bind(ADMINISTRATOR)
    .bind(&hash)
    .execute(&pool)
    .await?;
    loader::execute(&pool, "VACUUM ANALYZE".to_owned()).await?;
    warm(&pool).await?;
    let size = "SELECT pg_database_size(current_database())::FLOAT8 / (1 << 30)";
    let size: f64 = sqlx::query_scalar(size).fetch_one(&pool).await?;
    let took = started.elapsed().as_secs_f64();
    println!("filled with {users} users in {took:.0} s: {size:.1} GB");
    Ok(setting)
}

async fn insert(
    pool: &PgPool,
    statement: &'static str,
    count: i64,
    extra: &str,
) -> anyhow::Result<()> {
    for first in (0..=count).step_by(usize::try_from(CHUNK)?) {
        let query = sqlx::query(statement)
            .bind(first)
            .bind(first + CHUNK - 1)
            .bind(count)
            .bind(extra);
        query.execute(pool).await?;
    }
    Ok(())
}

/// Reads all into PostgreSQL's memory.
async fn warm(pool: &PgPool) -> anyhow::Result<()> {
    loader::execute(pool, "CREATE EXTENSION pg_prewarm".to_owned()).await?;
    let statement = "
        SELECT sum(pg_prewarm(oid)) FROM pg_class
         WHERE relnamespace = 'public'::REGNAMESPACE AND relkind IN ('r', 'i')";
    loader::execute(pool, statement.to_owned()).await
}

/// An administrator who is signed in to a server with so many users.
struct Side {
    crowd: Crowd,
    caller: Caller,
    token: String,
    _server: Server,
}

/// The times to the answers, in milliseconds, and how many users or events there were in them.
#[derive(Debug, Default)]
struct Cost {
    times: Vec<f64>,
    found: Vec<f64>,
}

impl Cost {
    fn at(&self, part: f64) -> f64 {
        quantile(&self.times, part)
    }
}

impl Side {
    async fn open(users: i64, setting: Setting) -> anyhow::Result<Self> {
        let server = setting.start()?;
        let mut caller = Caller::connect(server.public).await?;
        let body = json!({"email": ADMINISTRATOR, "password": PASSWORD}).to_string();
        let request = post("/api/v2/signin", network(0), None, &body);
        let pair = caller.ask(&request).await?.ok()?;
        let token = pair["accessToken"]["token"].as_str().context("a token")?;
        Ok(Self {
            crowd: Crowd { users },
            caller,
            token: token.to_owned(),
            _server: server,
        })
    }

    async fn ask(&mut self, path: &str) -> anyhow::Result<(f64, Value)> {
        let request = format!(
            "GET /api/v2/admin/users{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
            self.token
        );
        let asked = Instant::now();
        let answer = self.caller.ask(&request).await?;
        let took = asked.elapsed().as_secs_f64() * 1e3;
        Ok((took, answer.ok().with_context(|| path.to_owned())?))
    }
}

/// The times of a question on each side.
async fn ask_in_turns(sides: &mut [Side], (_, question): Question) -> anyhow::Result<Vec<Cost>> {
    let mut costs: Vec<Cost> = sides.iter().map(|_| Cost::default()).collect();
    let mut time = 0;
    for turn in 0..TURNS {
        for (side, cost) in sides.iter_mut().zip(&mut costs) {
            for _ in 0..REQUESTS {
                time += 1;
                let (took, answer) = side.ask(&question(&side.crowd, time)).await?;
                if turn > 0 {
                    cost.times.push(took);
                    cost.found.push(found(&answer)?);
                }
            }
        }
    }
    Ok(costs)
}

fn found(answer: &Value) -> anyhow::Result<f64> {
    let found = answer["users"]
        .as_array()
        .or_else(|| answer["events"].as_array());
    Ok(f64::from(u32::try_from(found.map_or(1, Vec::len))?))
}

/// The rules that the costs of a question break.
fn misses_of(name: &str, sizes: &[i64], costs: &[Cost]) -> Vec<String> {
    let mut misses = Vec::new();
    for (users, cost) in sizes.iter().zip(costs) {
        let (longest, growth) = (cost.at(0.99), cost.at(0.5) / costs[0].at(0.5));
        if *users == MILLION && longest > LONGEST {
            misses.push(format!("{name}: p99 {longest:.1} ms with {users} users"));
        }
        if growth > MOST_GROWTH {
            misses.push(format!(
                "{name}: {growth:.1} times as long with {users} users"
            ));
        }
    }
    misses
}

fn print_head(sizes: &[i64]) {
    print!("{:<36}", "milliseconds, of pages with so many");
    for (number, users) in sizes.iter().enumerate() {
        print!("{users:>12} users");
        if number > 0 {
            print!("{:>16}", "ratios");
        }
    }
    print!("\n{:<36}", "");
    for number in 0..sizes.len() {
        print!("{:>4}{:>7}{:>7}", "", "p50", "p99");
        if number > 0 {
            print!("{:>8}{:>8}", "p50", "p99");
        }
    }
    println!();
}

fn print_costs(name: &str, costs: &[Cost]) {
    print!("{name:<36}");
    for (number, cost) in costs.iter().enumerate() {
        let (half, most) = (cost.at(0.5), cost.at(0.99));
        print!("{:>4.0}{half:>7.2}{most:>7.2}", quantile(&cost.found, 0.5));
        if number > 0 {
            let (half, most) = (half / costs[0].at(0.5), most / costs[0].at(0.99));
            print!("{half:>8.2}{most:>8.2}");
        }
    }
    println!();
}
