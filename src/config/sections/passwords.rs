//! `[passwords]`: Argon2id parameters and the hashing pool.

use super::super::reader::{Reader, Reading};
use super::super::types::PasswordsConfig;

/// How many requests may wait for each hashing worker.
const QUEUE_PER_WORKER: usize = 64;

pub(super) fn passwords(reader: &mut Reader) -> Reading<PasswordsConfig> {
    let memory_kib = reader.number("passwords.memory_kib", 8..=4_194_304);
    let iterations = reader.number("passwords.iterations", 1..=100);
    let parallelism = reader.number("passwords.parallelism", 1..=64);
    let workers = workers(reader);
    if let (Ok(memory_kib), Ok(parallelism)) = (memory_kib, parallelism) {
        check_memory(reader, memory_kib, parallelism);
    }
    let queue = queue(reader, workers);
    Ok(PasswordsConfig {
        memory_kib: memory_kib?,
        iterations: iterations?,
        parallelism: parallelism?,
        workers: workers?,
        queue: queue?,
    })
}

/// Argon2 needs eight blocks for each lane.
fn check_memory(reader: &mut Reader, memory_kib: u32, parallelism: u32) {
    let least = 8 * parallelism;
    if memory_kib < least {
        let message = format!(
            "must be at least 8 times passwords.parallelism ({least}), but is {memory_kib}"
        );
        reader.problem("passwords.memory_kib", message);
    }
}

fn workers(reader: &mut Reader) -> Reading<usize> {
    let workers = match reader.count("passwords.workers", 0..=1024)? {
        0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(1024)),
        workers => workers,
    };
    settle(reader, "passwords.workers", workers);
    Ok(workers)
}

fn queue(reader: &mut Reader, workers: Reading<usize>) -> Reading<usize> {
    let queue = match reader.count("passwords.queue", 0..=1_000_000)? {
        0 => workers? * QUEUE_PER_WORKER,
        queue => queue,
    };
    settle(reader, "passwords.queue", queue);
    Ok(queue)
}

fn settle(reader: &mut Reader, key: &str, value: usize) {
    reader.settle(key, i64::try_from(value).unwrap_or(i64::MAX));
}
