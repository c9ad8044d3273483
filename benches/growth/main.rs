//! What refreshes, sign-ins and purging cost with many sessions, against few.
//!
//! `cargo bench --bench growth` fills a PostgreSQL of its own with ten thousand sessions, measures,
//! fills it up to a million, and measures again; with `-- --full`, up to ten million sessions of a
//! million users, which takes some minutes and 10 GB. The sessions that are refreshed are picked
//! at random from all, so that what the caches do not hold is paid for. `-- --plans` prints how
//! PostgreSQL carries out each statement with the larger number.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[expect(dead_code, reason = "other benches ask for more")]
#[path = "../end_to_end/accounts.rs"]
mod accounts;
mod loader;
#[path = "../measure/mod.rs"]
mod measure;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "../end_to_end/server.rs"]
mod server;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "../end_to_end/wire.rs"]
mod wire;

use std::time::Duration;

use backoffice_auth::store::Purged;
use loader::Database;
use measure::quantile;
use serde_json::json;
use server::{Machine, PASSWORD, Server, Setting, network};
use tokio::time::Instant;
use wire::{Caller, post};

/// Operations of a kind that are measured.
const OPERATIONS: usize = 3000;

/// Rows that are purged at a time, as the server does.
const BATCH: i64 = 1000;

/// What one operation takes.
struct Cost {
    what: &'static str,
    /// CPU time of PostgreSQL, in microseconds.
    database: f64,
    /// From the request to its answer, in microseconds; for purging, the whole batch.
    latency: f64,
    /// What it writes ahead, in bytes.
    wal: f64,
}

fn main() -> anyhow::Result<()> {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let many = if has("--full") { 10_000_000 } else { 1_000_000 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(many, has("--plans")))
}

async fn run(many: i64, plans: bool) -> anyhow::Result<()> {
    let machine = Machine::set_up()?;
    let cheap = [
        ("PASSWORDS__MEMORY_KIB", "8"),
        ("PASSWORDS__ITERATIONS", "1"),
    ];
    let setting = Setting::new(&machine, &cheap)?;
    // The first start makes the schema and the signing key.
    drop(setting.start()?);
    let database = Database::open(&machine, &setting).await?;
    let few = 10_000;
    database.fill(few).await?;
    let before = Bench::new(&machine, &setting, &database)?.run().await?;
    let started = Instant::now();
    database.fill(many).await?;
    let took = started.elapsed().as_secs_f64();
    println!("filled up to {many} sessions in {took:.0} s");
    let after = Bench::new(&machine, &setting, &database)?.run().await?;
    print_costs(few, many, &before, &after);
    database.print_sizes().await?;
    if plans {
        database.note_plans().await?;
        Bench::new(&machine, &setting, &database)?
            .run_once()
            .await?;
        loader::print_plans(&machine)?;
    }
    Ok(())
}

fn print_costs(few: i64, many: i64, before: &[Cost], after: &[Cost]) {
    println!("{:<32} {few:>10} {many:>10}   ratio", "sessions");
    for (before, after) in before.iter().zip(after) {
        let row = |what: &str, before: f64, after: f64| {
            println!(
                "  {what:<30} {before:>10.0} {after:>10.0} {:>7.2}",
                after / before
            );
        };
        println!("{}", before.what);
        row("PostgreSQL CPU, µs", before.database, after.database);
        row("latency (median), µs", before.latency, after.latency);
        row("write-ahead log, bytes", before.wal, after.wal);
    }
}

/// A server on the filled database.
struct Bench<'a> {
    machine: &'a Machine,
    database: &'a Database,
    server: Server,
}

impl<'a> Bench<'a> {
    fn new(
        machine: &'a Machine,
        setting: &Setting,
        database: &'a Database,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            machine,
            database,
            server: setting.start()?,
        })
    }

    async fn run(&self) -> anyhow::Result<Vec<Cost>> {
        let refreshes = self.refreshes(OPERATIONS).await?;
        // Until the caches hold what a server that has run for a while would have in them.
        self.ask_all("warm", &refreshes[..OPERATIONS / 3]).await?;
        let signins = self.signins(OPERATIONS / 3).await?;
        Ok(vec![
            self.ask_all("refresh", &refreshes[OPERATIONS / 3..])
                .await?,
            self.ask_all("sign-in", &signins).await?,
            self.purge().await?,
        ])
    }

    /// Each operation once.
    async fn run_once(&self) -> anyhow::Result<()> {
        self.ask_all("refresh", &self.refreshes(1).await?).await?;
        self.ask_all("sign-in", &self.signins(1).await?).await?;
        self.purge().await?;
        Ok(())
    }

    async fn refreshes(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let tokens = self.database.refresh_tokens(count).await?;
        let requests = tokens.iter().enumerate().map(|(number, token)| {
            let body = json!({"refreshToken": token}).to_string();
            post("/api/v2/refresh", network(number), None, &body)
        });
        Ok(requests.collect())
    }

    async fn signins(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let addresses = self.database.addresses(count).await?;
        let requests = addresses.iter().enumerate().map(|(number, email)| {
            let body = json!({"email": email, "password": PASSWORD}).to_string();
            post("/api/v2/signin", network(number), None, &body)
        });
        Ok(requests.collect())
    }

    async fn ask_all(&self, what: &'static str, requests: &[String]) -> anyhow::Result<Cost> {
        let mut caller = Caller::connect(self.server.public).await?;
        let mut times = Vec::with_capacity(requests.len());
        let meter = self.meter().await?;
        for request in requests {
            let asked = Instant::now();
            caller.ask(request).await?.ok()?;
            times.push(micros(asked.elapsed()));
        }
        self.read_off(what, &meter, &times).await
    }

    /// Removes sessions that are over, batch by batch.
    async fn purge(&self) -> anyhow::Result<Cost> {
        const BATCHES: usize = 5;
        let store = &self.database.store;
        self.database
            .outlive(BATCH * i64::try_from(BATCHES)?)
            .await?;
        let (meter, mut times) = (self.meter().await?, Vec::new());
        for _ in 0..BATCHES {
            let started = Instant::now();
            let removed = store.purge(Purged::Sessions, BATCH).await?;
            times.push(micros(started.elapsed()));
            // The server purges too, a little now and then.
            anyhow::ensure!(removed > 0, "there is something to purge");
        }
        self.read_off("purge of 1000 sessions", &meter, &times)
            .await
    }

    async fn meter(&self) -> anyhow::Result<(Duration, i64)> {
        Ok((self.machine.database_cpu()?, self.database.written().await?))
    }

    async fn read_off(
        &self,
        what: &'static str,
        (cpu, written): &(Duration, i64),
        times: &[f64],
    ) -> anyhow::Result<Cost> {
        let count = f64::from(u32::try_from(times.len())?);
        let written = u32::try_from(self.database.written().await? - written)?;
        Ok(Cost {
            what,
            database: micros(self.machine.database_cpu()?.saturating_sub(*cpu)) / count,
            latency: quantile(times, 0.5),
            wal: f64::from(written) / count,
        })
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
