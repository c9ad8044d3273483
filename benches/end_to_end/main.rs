//! The throughput and the costs of a running server, compared with their minimum.
//!
//! `cargo bench --bench end_to_end` starts the program on a PostgreSQL of its own, calls it over
//! loopback, and prints a row for each promise in `docs/performance.md`. Each floor is measured in
//! the same run, in turns with the figure that it bounds. CPU time is that which the operating system
//! has counted. Callers, server and PostgreSQL share the machine, or the server has half of it to
//! itself, as each row says. One argument limits the run to the rows whose name contains it.
//!
//! `cargo bench --bench end_to_end -- --with COMMIT` builds the program of that commit too, and measures both in
//! turns, on one database that the present build has migrated.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]
#![expect(unreachable_pub, reason = "a bench has no outside to hide from")]

mod accounts;
mod commit;
mod cores;
mod floors;
#[path = "../measure/mod.rs"]
mod measure;
mod rows;
mod server;
mod wire;

use std::thread::available_parallelism;

use rows::Bench;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut only, mut other) = (None, None);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--with" => other = arguments.next(),
            "--bench" => {}
            _ => only = Some(argument),
        }
    }
    let other = other.as_deref().map(commit::build).transpose()?;
    let wanted = |row: &str| only.as_deref().is_none_or(|part| row.contains(part));
    let cores = available_parallelism()?.get();
    // Ten thousand connections have two ends.
    rlimit::increase_nofile_limit(30_000)?;
    println!("{cores} cores; callers and PostgreSQL are on them too");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let bench = Bench::set_up(cores).await?;
        if let Some(other) = other {
            return bench.versus(&other, wanted).await;
        }
        if wanted("start") {
            bench.start()?;
        }
        if wanted("signin") {
            bench.signin().await?;
        }
        if wanted("overload") {
            bench.overload().await?;
        }
        if wanted("memory") {
            bench.memory().await?;
        }
        if wanted("session") {
            bench.life_of_sessions().await?;
        }
        if wanted("flood") {
            bench.flood().await?;
        }
        Ok(())
    })
}
