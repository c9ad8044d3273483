//! How much is done, and one test at a time.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One fault scenario at a time.
static TURN: Mutex<()> = Mutex::new(());

/// What the short form and the full form do: `of(2, 20)` is 2 or 20.
pub fn of<T>(short: T, full: T) -> T {
    match std::env::var("FAULTS").as_deref() {
        Ok("full") => full,
        Ok("short") | Err(_) => short,
        Ok(other) => panic!("FAULTS is `short` or `full`, not `{other}`"),
    }
}

/// The same in seconds.
pub fn seconds(short: u64, full: u64) -> Duration {
    Duration::from_secs(of(short, full))
}

/// Tells something at once: what `println!` says, a test's runner keeps to itself until the end.
pub fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.write_all(b"\n").unwrap();
}

/// Runs a scenario when it is its turn.
pub fn alone(scenario: impl Future<Output = ()>) {
    // A scenario that failed leaves nothing behind that the next one would trip over.
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(scenario);
}
