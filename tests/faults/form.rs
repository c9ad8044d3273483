//! How much is done, and how many scenarios are played at a time.

use std::io::Write as _;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Scenarios at a time. A scenario mostly waits, and the metronome takes off what another one takes.
static STAGES: Semaphore = Semaphore::const_new(2);

/// A number for the short form and one for the full form: `of(2, 20)` is 2 or 20.
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

/// Prints something at once: a test's runner keeps the output of `println!` until the end.
pub fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.write_all(b"\n").unwrap();
}

/// Runs a scenario when there is a stage for it.
pub fn play(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let _stage = STAGES.acquire().await.unwrap();
        scenario.await;
    });
}
