//! The growth of costs with the tables: the same operations on few sessions and on many, in turns.
//!
//! `cargo bench --bench growth` fills two databases of one PostgreSQL, with ten thousand sessions and
//! with a million, and as many users, audit events, attempts and challenges as go with them; with
//! `-- --full`, the larger one has ten million sessions of a million users (15 minutes, 15 GB).
//! Sessions to refresh and users to sign in are picked at random from all. All tables but the audit
//! log are in PostgreSQL's memory, which takes 6 GB for that. CPU time is that of the connections to
//! the database and of PostgreSQL's own processes beside them. Neither vacuum nor a checkpoint falls
//! into a measurement: each begins right after one.
//!
//! `-- --plans` also prints how PostgreSQL carries out each statement with the larger number, and how
//! many pages that touches with either. `-- --durable` waits for the disk and writes whole pages ahead,
//! as in production: the write-ahead log of each operation is then the most that it can be. `-- --floods`
//! measures nothing of that, but what each refused request of a flood leaves in the database.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

#[expect(dead_code, reason = "other benches ask for more")]
#[path = "../end_to_end/accounts.rs"]
mod accounts;
mod backends;
mod floods;
mod loader;
#[path = "../measure/mod.rs"]
mod measure;
mod operations;
mod plans;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "../end_to_end/server.rs"]
mod server;
mod sizes;
#[expect(dead_code, reason = "other benches ask for more")]
#[path = "../end_to_end/wire.rs"]
mod wire;

use backoffice_auth::dev::Durability;
use measure::quantile;
use operations::{Cost, Operation, Side};
use server::Machine;
use tokio::time::Instant;

/// Sessions in the smaller database.
const FEW: i64 = 10_000;

/// Room for the tables of refreshes and sign-ins, as a server has it; the audit log is larger.
const MEMORY: &str = "shared_buffers=6GB";

/// How often both are measured.
const TURNS: usize = 9;

fn main() -> anyhow::Result<()> {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let many = if has("--full") { 10_000_000 } else { 1_000_000 };
    let durability = if has("--durable") {
        Durability::Kept
    } else {
        Durability::Throwaway
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    if has("--floods") {
        return runtime.block_on(async { floods::print(&Machine::set_up()?).await });
    }
    runtime.block_on(run(many, durability, has("--plans")))
}

async fn run(many: i64, durability: Durability, plans: bool) -> anyhow::Result<()> {
    let machine = Machine::with(durability, &[MEMORY])?;
    loader::prepare(&machine).await?;
    let mut few = Side::fill(&machine, "few", FEW).await?;
    let started = Instant::now();
    let mut many = Side::fill(&machine, "many", many).await?;
    let took = started.elapsed().as_secs_f64();
    println!("filled with {} sessions in {took:.0} s", many.sessions);
    for side in [&few, &many] {
        side.database.warm().await?;
    }
    print_head(&few, &many);
    for operation in Operation::ALL {
        let turns = take_turns(&mut few, &mut many, operation).await?;
        print_costs(operation, &turns);
    }
    sizes::print(&many.database).await?;
    if plans {
        plans::note(&machine).await?;
        for side in [&mut few, &mut many] {
            side.restart().await?;
            side.repeat_all().await?;
        }
        plans::print(&machine)?;
    }
    Ok(())
}

/// The cost of an operation with few rows and with many, turn by turn. The first turn, which fills
/// the caches and lets PostgreSQL settle on its plans, is not among them.
async fn take_turns(
    few: &mut Side,
    many: &mut Side,
    operation: Operation,
) -> anyhow::Result<Vec<[Cost; 2]>> {
    let mut turns = Vec::new();
    for turn in 0..=TURNS {
        // The second of a turn may find the machine in another state.
        let costs = if turn % 2 == 0 {
            let few = few.measure(operation).await?;
            [few, many.measure(operation).await?]
        } else {
            let many = many.measure(operation).await?;
            [few.measure(operation).await?, many]
        };
        turns.push(costs);
    }
    turns.remove(0);
    Ok(turns)
}

fn print_head(few: &Side, many: &Side) {
    println!(
        "{:<34}{:^38}{:^38}{:^18}",
        "", "PostgreSQL CPU, µs", "latency (median), µs", "log ahead, bytes"
    );
    let (few, many) = (few.sessions, many.sessions);
    println!(
        "{:<34}{few:>9}{many:>10}{:>19}{few:>9}{many:>10}{:>19}{few:>9}{many:>10}",
        "sessions", "ratio", "ratio"
    );
}

fn print_costs(operation: Operation, turns: &[[Cost; 2]]) {
    println!(
        "{:<34}{}{}{}",
        operation.name(),
        with_ratio(turns, |cost| cost.database),
        with_ratio(turns, |cost| cost.latency),
        pair(turns, |cost| cost.wal)
    );
}

/// The medians of both, and the median and range of the ratios of the turns.
fn with_ratio(turns: &[[Cost; 2]], of: impl Fn(&Cost) -> f64) -> String {
    let ratios: Vec<f64> = (turns.iter())
        .map(|[few, many]| of(many) / of(few))
        .collect();
    format!(
        "{} {:>5.2} ({:>4.2} to {:>4.2})",
        pair(turns, of),
        quantile(&ratios, 0.5),
        quantile(&ratios, 0.0),
        quantile(&ratios, 1.0)
    )
}

fn pair(turns: &[[Cost; 2]], of: impl Fn(&Cost) -> f64) -> String {
    let median = |side: usize| {
        let values: Vec<f64> = turns.iter().map(|sides| of(&sides[side])).collect();
        quantile(&values, 0.5)
    };
    format!("{:>9.0}{:>10.0}", median(0), median(1))
}
