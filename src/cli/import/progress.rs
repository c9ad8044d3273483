//! How far an import is: a line that is written over again and again on a terminal, and otherwise a line now
//! and then.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines on a terminal, and elsewhere.
const INTERVALS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(10)];

const BAR_WIDTH: u64 = 20;

/// Tells on standard error how far one way through a file is.
pub(super) struct Progress {
    doing: &'static str,
    unit: &'static str,
    began: Instant,
    told: Instant,
    is_on_terminal: bool,
}

/// How far it is.
#[derive(Clone, Copy)]
pub(super) struct Distance {
    /// Records read.
    pub(super) records: u64,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Bytes of the file.
    pub(super) size: u64,
}

impl Progress {
    /// Begins to do something with records, which are called `unit`. With `is_plain` there is no bar.
    pub(super) fn new(doing: &'static str, unit: &'static str, is_plain: bool) -> Self {
        let now = Instant::now();
        Self {
            doing,
            unit,
            began: now,
            told: now,
            is_on_terminal: !is_plain && stderr().is_terminal(),
        }
    }

    /// Tells it, if it is time to.
    pub(super) fn tell(&mut self, distance: Distance) {
        let now = Instant::now();
        let [often, seldom] = INTERVALS;
        let interval = if self.is_on_terminal { often } else { seldom };
        if now.duration_since(self.told) < interval {
            return;
        }
        self.told = now;
        let text = line(
            self.doing,
            self.unit,
            distance,
            now.duration_since(self.began),
        );
        if self.is_on_terminal {
            // Back to the beginning of the line, and away with the rest of it.
            eprint!("\r{}{text}\x1b[K", bar(distance));
            let _ = stderr().flush();
        } else {
            eprintln!("{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_on_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn bar(distance: Distance) -> String {
    let done = (distance.bytes * BAR_WIDTH).checked_div(distance.size);
    let done = usize::try_from(done.unwrap_or(0).min(BAR_WIDTH)).unwrap_or(0);
    let left = usize::try_from(BAR_WIDTH).unwrap_or(0) - done;
    format!("[{}{}] ", "#".repeat(done), " ".repeat(left))
}

/// The line of progress: the work, its amount, its speed, and the time that is left.
fn line(doing: &str, unit: &str, distance: Distance, elapsed: Duration) -> String {
    let Distance {
        records,
        bytes,
        size,
    } = distance;
    let millis = u64::try_from(elapsed.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let percent = (bytes * 100).checked_div(size).unwrap_or(100);
    let rate = records.saturating_mul(1000) / millis;
    let rest = size.saturating_sub(bytes).saturating_mul(millis);
    let seconds = rest.checked_div(bytes).unwrap_or(0).div_ceil(1000);
    format!("{doing} {percent} %: {records} {unit}s, {rate}/s, {seconds} s left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_part_rate_and_time_left() {
        let at = |records, bytes, size| Distance {
            records,
            bytes,
            size,
        };
        for (distance, seconds, text) in [
            (at(0, 0, 0), 0, "checking 100 %: 0 lines, 0/s, 0 s left"),
            (at(0, 0, 500), 1, "checking 0 %: 0 lines, 0/s, 0 s left"),
            (
                at(1000, 100, 400),
                2,
                "checking 25 %: 1000 lines, 500/s, 6 s left",
            ),
            (
                at(4000, 400, 400),
                8,
                "checking 100 %: 4000 lines, 500/s, 0 s left",
            ),
        ] {
            let elapsed = Duration::from_secs(seconds);
            assert_eq!(line("checking", "line", distance, elapsed), text);
        }
        assert_eq!(bar(at(1, 100, 400)), "[#####               ] ");
        assert_eq!(bar(at(1, 400, 400)), "[####################] ");
    }
}
