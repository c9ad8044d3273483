#!/usr/bin/env bash
# tracing-appender 0.2.5: a program whose log goes through `non_blocking` with `lossy`, so that it never waits
# for its reader, can wait for ever when it ends.
#
# The `WorkerGuard` waits 100 ms for room in the queue when it is dropped. If there is none, because the
# reader of the log hangs, it says so with `println!`. Where standard output and standard error are one pipe
# (`2>&1 |`, containers, systemd), that is the pipe that nobody reads, and the drop does not return.
#
# Seen: with both on one full pipe the program is still there after 10 s (status 124 of `timeout`); with
# standard output elsewhere it ends at once (status 0). The remedy: `lossy` programs can drop the guard in a
# thread that they do not join, or leave with `std::process::exit` after a wait of their own.
#
# Exits with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "ends"
version = "0.0.0"
edition = "2021"

[dependencies]
tracing-appender = "=0.2.5"
TOML
cat > src/main.rs <<'RUST'
use std::io::Write as _;
use tracing_appender::non_blocking::NonBlockingBuilder;

fn main() {
    let (mut log, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(16)
        .finish(std::io::stderr());
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    // More than the pipe and the queue hold: the rest is dropped, as it should be.
    for _ in 0..1000 {
        log.write_all(&line).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    drop(guard);
}
RUST
cargo build --quiet

mkfifo pipe
# Holds the pipe open, and reads nothing.
exec 3<>pipe
apart=0 && timeout 10 target/debug/ends >/dev/null 2>pipe || apart=$?
# Empties it.
timeout 1 cat <&3 >/dev/null || true
together=0 && timeout 10 target/debug/ends >pipe 2>&1 || together=$?

echo "standard output elsewhere: status $apart; on the same pipe: status $together"
[[ $apart == 0 && $together == 124 ]]
