//! The rows that a refused request leaves in the database: five floods, each after the room for a person's
//! refusals is used up.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::PgPool;
use tokio::task::JoinSet;

use super::loader;
use super::server::{Machine, Server, Setting, network};
use super::wire::{Caller, post};

/// Requests of each flood that are not measured, then those that are.
const WARM_UP: usize = 3_000;
const MEASURED: usize = 5_000;

/// Callers at a time.
const CALLERS: usize = 16;

const SIGNIN: &str = "/api/v2/signin";

/// A kind of flood, and its n-th request.
type Flood = (&'static str, fn(usize) -> String);

const FLOODS: [Flood; 5] = [
    ("one account past its ceiling", |n| {
        post(SIGNIN, network(n), None, &credentials("grown0@example.com"))
    }),
    ("new addresses", |n| {
        let email = format!("new{n}@example.com");
        post(SIGNIN, network(n), None, &credentials(&email))
    }),
    ("addresses of 250 bytes", |n| {
        let domain = "long-domain-of-a-flood.".repeat(8);
        let email = format!("{n:0>50}@{domain}example.com");
        post(SIGNIN, network(n), None, &credentials(&email))
    }),
    ("garbage refresh tokens", |n| {
        let body = format!(r#"{{"refreshToken":"garbage{n}"}}"#);
        post("/api/v2/refresh", network(n), None, &body)
    }),
    ("one blocked network", |_| {
        post(SIGNIN, network(0), None, &credentials("grown0@example.com"))
    }),
];

fn credentials(email: &str) -> String {
    format!(r#"{{"email":"{email}","password":"wrong"}}"#)
}

/// Makes the floods on a server of its own, and prints the bytes for each refused request.
pub async fn print(machine: &Machine) -> anyhow::Result<()> {
    let setting = Setting::new(
        machine,
        &[
            ("PASSWORDS__MEMORY_KIB", "8"),
            ("PASSWORDS__ITERATIONS", "1"),
            ("LIMITS__FLOOD_BURST", "1000000"),
            ("LIMITS__FLOOD_PER_SECOND", "1000000"),
        ],
    )?;
    setting.migrate()?;
    setting.import(1, "grown", &setting.hash(8, 1).await?, "off")?;
    let pool = loader::connect(&machine.cluster.url("postgres")).await?;
    println!(
        "{:<34}{:>12}{:>12}  answers",
        "bytes a refused request", "attempts", "audit log"
    );
    for (name, request) in FLOODS {
        // Each has a server of its own, and so all the room that one has, and tables without free room.
        loader::execute(&pool, "TRUNCATE attempts, audit_events".to_owned()).await?;
        let server = setting.start()?;
        flood(&server, request, 0..WARM_UP).await?;
        let before = sizes(&pool).await?;
        let answers = flood(&server, request, WARM_UP..WARM_UP + MEASURED).await?;
        let after = sizes(&pool).await?;
        let requests = i64::try_from(MEASURED)?;
        let each = |table: usize| (after[table] - before[table]) / requests;
        println!("{name:<34}{:>12}{:>12}  {answers:?}", each(0), each(1));
    }
    Ok(())
}

async fn flood(
    server: &Server,
    request: fn(usize) -> String,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<BTreeMap<u16, usize>> {
    let numbers = Arc::new(numbers);
    let mut callers = JoinSet::new();
    for first in 0..CALLERS {
        let (mut caller, numbers) = (Caller::connect(server.public).await?, Arc::clone(&numbers));
        callers.spawn(async move {
            let mut statuses = Vec::new();
            for number in (numbers.start + first..numbers.end).step_by(CALLERS) {
                statuses.push(caller.ask(&request(number)).await?.status);
            }
            anyhow::Ok(statuses)
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(statuses) = callers.join_next().await {
        for status in statuses?? {
            anyhow::ensure!(status != 200, "it was not refused");
            *answers.entry(status).or_default() += 1;
        }
    }
    Ok(answers)
}

/// The sizes of the two tables on disk with their indexes.
async fn sizes(pool: &PgPool) -> anyhow::Result<[i64; 2]> {
    let size = "SELECT pg_total_relation_size('attempts'), pg_total_relation_size('audit_events')";
    let (attempts, events) = sqlx::query_as(size).fetch_one(pool).await?;
    Ok([attempts, events])
}
