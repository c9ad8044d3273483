//! The cost of a thousand services that follow the feed of ended sessions, and the time until they
//! know of an end.
//!
//! `cargo bench --bench followers` has the same followers wait for news, and then ask each second, on one
//! instance and while a session ends every three seconds. It prints for both how long an end took to reach
//! them, from the answer to the sign-out on, and the CPU time of the server and of PostgreSQL.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[expect(dead_code, reason = "other benches ask for more")]
#[path = "end_to_end/accounts.rs"]
mod accounts;
#[path = "measure/mod.rs"]
mod measure;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "end_to_end/server.rs"]
mod server;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "end_to_end/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use measure::quantile;
use serde_json::json;
use server::{Machine, PASSWORD, Server, Setting, address, network};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::{Caller, post};

const FOLLOWERS: u32 = 1000;

/// Sessions that end in each turn.
const ENDS: usize = 10;

/// How often one ends.
const PACE: Duration = Duration::from_secs(3);

/// SHA-256 of `s3cret`, and `orders:s3cret` as HTTP Basic has it.
const CLIENT: &str = "orders:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";
const BASIC: &str = "b3JkZXJzOnMzY3JldA==";

/// How a follower gets its news.
#[derive(Debug, Clone, Copy)]
enum Way {
    Waiting,
    Asking,
}

/// When a follower learned of which session.
type Learned = Vec<(String, Instant)>;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let machine = Machine::set_up()?;
    let settings = [
        ("INTROSPECTION__CLIENTS", CLIENT),
        ("PASSWORDS__MEMORY_KIB", "64"),
        ("PASSWORDS__ITERATIONS", "1"),
    ];
    let setting = Setting::new(&machine, &settings)?;
    setting.migrate()?;
    let hash = setting.hash(64, 1).await?;
    setting.import(2 * ENDS, "leaver", &hash, "off")?;
    let server = setting.start()?;
    let mut used = Vec::new();
    for (turn, way) in [Way::Waiting, Way::Asking].into_iter().enumerate() {
        used.push(measure(&machine, &server, way, turn * ENDS).await?);
    }
    let ratio = used[0].as_secs_f64() / used[1].as_secs_f64();
    println!("waiting costs {ratio:.2} of asking (target: at most 0.50)");
    Ok(())
}

/// Has everybody follow while sessions end, and tells the CPU time that it took.
async fn measure(
    machine: &Machine,
    server: &Server,
    way: Way,
    first: usize,
) -> anyhow::Result<Duration> {
    let mut tokens = Vec::with_capacity(ENDS);
    for number in first..first + ENDS {
        tokens.push(sign_in(server.public, number).await?);
    }
    let stop = CancellationToken::new();
    let mut followers = JoinSet::new();
    for number in 0..FOLLOWERS {
        followers.spawn(follow(server.public, way, number, stop.clone()));
    }
    // Until all have begun.
    sleep(PACE).await;
    let (began, server_before, database_before) =
        (Instant::now(), server.cpu()?, machine.database_cpu()?);
    let mut ended = HashMap::new();
    let mut leaver = Caller::connect(server.public).await?;
    for (number, (session, token)) in (1..).zip(tokens) {
        let request = post(
            "/api/v2/signout",
            network(number as usize),
            Some(&token),
            "",
        );
        leaver.ask(&request).await?.ok()?;
        ended.insert(session, Instant::now());
        sleep_until(began + PACE * number).await;
    }
    let (server_used, database_used) = (
        server.cpu()?.saturating_sub(server_before),
        machine.database_cpu()?.saturating_sub(database_before),
    );
    let took = began.elapsed();
    stop.cancel();
    let mut latencies = Vec::new();
    while let Some(learned) = followers.join_next().await {
        for (session, at) in learned?? {
            // Of a turn before, for one who begins.
            let Some(ended) = ended.get(&session) else {
                continue;
            };
            latencies.push(at.saturating_duration_since(*ended).as_secs_f64() * 1e3);
        }
    }
    let expected = ENDS * FOLLOWERS as usize;
    let [median, late] = [0.5, 0.99].map(|part| quantile(&latencies, part));
    println!(
        "{way:<8?} {} of {expected} news: {median:.1} ms, 99 of 100 within {late:.1} ms; CPU of \
         the server {:.3} of a core, of PostgreSQL {:.3}",
        latencies.len(),
        server_used.as_secs_f64() / took.as_secs_f64(),
        database_used.as_secs_f64() / took.as_secs_f64(),
    );
    Ok(server_used + database_used)
}

async fn sign_in(server: SocketAddr, number: usize) -> anyhow::Result<(String, String)> {
    let mut caller = Caller::connect(server).await?;
    let body = json!({"email": address("leaver", number), "password": PASSWORD}).to_string();
    let request = post("/api/v2/signin", network(number), None, &body);
    let pair = caller.ask(&request).await?.ok()?;
    let token = pair["accessToken"]["token"]
        .as_str()
        .context("a token")?
        .to_owned();
    let head = format!(
        "GET /api/v2/session HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let shown = caller.ask(&head).await?.ok()?;
    let session = shown["session"]["id"].as_str().context("an id")?.to_owned();
    Ok((session, token))
}

async fn follow(
    server: SocketAddr,
    way: Way,
    number: u32,
    stop: CancellationToken,
) -> anyhow::Result<Learned> {
    let mut caller = Caller::connect(server).await?;
    let mut cursor = String::new();
    let mut learned = Learned::new();
    // All begin at another moment of the second.
    let phase = Duration::from_secs(1) * number / FOLLOWERS;
    let mut ticks = interval_at(Instant::now() + phase, Duration::from_secs(1));
    loop {
        if matches!(way, Way::Asking) || cursor.is_empty() {
            ticks.tick().await;
        }
        let query = match way {
            _ if cursor.is_empty() => String::new(),
            Way::Waiting => format!("?since={cursor}&wait=5"),
            Way::Asking => format!("?since={cursor}"),
        };
        let request = format!(
            "GET /api/v2/revocations{query} HTTP/1.1\r\nhost: localhost\r\n\
             authorization: Basic {BASIC}\r\n\r\n"
        );
        let Some(answer) = stop.run_until_cancelled(caller.ask(&request)).await else {
            return Ok(learned);
        };
        let page = answer?.ok()?;
        let at = Instant::now();
        let entries = page["revocations"].as_array().context("entries")?.iter();
        let sessions = entries.filter_map(|entry| entry["sessionId"].as_str());
        learned.extend(sessions.map(|session| (session.to_owned(), at)));
        page["cursor"]
            .as_str()
            .context("a cursor")?
            .clone_into(&mut cursor);
    }
}
