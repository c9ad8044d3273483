//! `[passwords]`: Argon2id parameters and the hashing pool.

use std::fs;

use super::super::reader::{Reader, Reading};
use super::super::types::PasswordsConfig;
use crate::domain::Blocklist;

/// The largest file of an operator's words, in bytes. They are kept in memory.
const MAX_BLOCKLIST_BYTES: u64 = 16 * 1024 * 1024;

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
    let imported_memory_mib = reader.number("passwords.imported_memory_mib", 0..=65_536);
    Ok(PasswordsConfig {
        memory_kib: memory_kib?,
        iterations: iterations?,
        parallelism: parallelism?,
        workers: workers?,
        queue: queue?,
        imported_memory_mib: imported_memory_mib?,
    })
}

/// The common passwords, with the words of an operator's file.
pub(super) fn blocklist(reader: &mut Reader) -> Reading<Blocklist> {
    let key = "passwords.blocklist_file";
    let path = reader.text(key)?;
    if path.is_empty() {
        return Ok(Blocklist::default());
    }
    match read_words(&path) {
        Ok(text) => {
            let blocklist = Blocklist::with_words(&text);
            warn_of_short_words(reader, key, blocklist.short_words());
            Ok(blocklist)
        }
        Err(error) => Err(reader.problem(key, format!("names {path:?}, which {error}"))),
    }
}

/// Somebody who lists "acme" may expect that "acme2026" is refused.
fn warn_of_short_words(reader: &mut Reader, key: &str, short: usize) {
    if short > 0 {
        let message = format!(
            "{short} of its words have fewer than 8 characters and keep out nothing; only a whole \
             password is compared"
        );
        reader.warn(key, &message);
    }
}

fn read_words(path: &str) -> Result<String, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let file = fs::metadata(path).map_err(unreadable)?;
    if file.len() > MAX_BLOCKLIST_BYTES {
        return Err("is larger than 16 MiB".to_owned());
    }
    fs::read_to_string(path).map_err(unreadable)
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
