//! The metrics of this process that the system keeps, under the names that every Prometheus client
//! gives them. They are read from `/proc`, so there are none on other systems than Linux.

use std::fmt::Write as _;
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

use super::description::Description;

const fn described(name: &'static str, kind: &'static str, help: &'static str) -> Description {
    Description {
        name,
        kind,
        labels: &[],
        help,
    }
}

pub(super) const METRICS: [Description; 6] = [
    described(
        "process_cpu_seconds_total",
        "counter",
        "CPU time spent, user and system.",
    ),
    described("process_resident_memory_bytes", "gauge", "Resident memory."),
    described("process_threads", "gauge", "Threads."),
    described("process_open_fds", "gauge", "Open file descriptors."),
    described(
        "process_max_fds",
        "gauge",
        "File descriptors that may be open.",
    ),
    described(
        "process_start_time_seconds",
        "gauge",
        "Start, in seconds since the epoch.",
    ),
];

/// Writes the metrics of this process onto `text`, if they can be read.
pub(super) fn render_onto(text: &mut String) {
    for (metric, value) in METRICS.iter().zip(read().into_iter().flatten()) {
        let Description {
            name, kind, help, ..
        } = metric;
        let _ = write!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n"
        );
    }
}

/// The values of [`METRICS`], in their order.
fn read() -> Option<[f64; 6]> {
    let stat = Stat::read()?;
    let descriptors = fs::read_dir("/proc/self/fd").ok()?.count();
    Some([
        stat.cpu_seconds,
        stat.resident_bytes,
        stat.threads,
        // Less the one that reads the folder.
        f64::from(u32::try_from(descriptors).ok()?) - 1.0,
        max_descriptors()?,
        booted_at()? + stat.started_after_boot,
    ])
}

/// The units in which the kernel counts. Pages have 4, 16 or 64 KiB, by architecture and kernel.
struct Units {
    ticks_per_second: f64,
    page_bytes: f64,
}

impl Units {
    fn of_this_system() -> Option<Self> {
        Some(Self {
            ticks_per_second: f64::from(u32::try_from(clock_ticks_per_second()).ok()?),
            page_bytes: f64::from(u32::try_from(page_size()).ok()?),
        })
    }
}

/// The part of `/proc/self/stat` (proc(5)) that becomes metrics.
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    started_after_boot: f64,
    resident_bytes: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        Self::parse(&stat, &Units::of_this_system()?)
    }

    fn parse(stat: &str, units: &Units) -> Option<Self> {
        // The second field is the program's name, and may hold anything, spaces and brackets too.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // Counted from 1 in the manual, and the third is the first here.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / units.ticks_per_second,
            threads: field(20)?,
            started_after_boot: field(22)? / units.ticks_per_second,
            resident_bytes: field(24)? * units.page_bytes,
        })
    }
}

fn max_descriptors() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The start of the machine, in seconds since the epoch.
fn booted_at() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units {
        ticks_per_second: 100.0,
        page_bytes: 4096.0,
    };

    #[test]
    fn a_program_whose_name_holds_brackets_and_spaces_is_read_all_the_same() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 10 0 0 0 150 50 0 0 20 0 9 0 1234 1000000 2 18446744073709551615";
        let stat = Stat::parse(stat, &UNITS).unwrap();
        assert!((stat.cpu_seconds - 2.0).abs() < 1e-9);
        assert!((stat.threads - 9.0).abs() < 1e-9);
        assert!((stat.started_after_boot - 12.34).abs() < 1e-9);
        assert!((stat.resident_bytes - 8192.0).abs() < 1e-9);
    }

    /// The kernel tells the same in kilobytes elsewhere, whatever its pages are.
    #[cfg(target_os = "linux")]
    #[test]
    fn resident_memory_is_what_the_kernel_tells_in_kilobytes() {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        let expected = kilobytes.parse::<f64>().unwrap() * 1024.0;
        let read = Stat::read().unwrap().resident_bytes;
        // Other tests allocate meanwhile. Pages of another size would be off by a factor of four.
        let factor = read / expected;
        assert!((0.5..2.0).contains(&factor), "{read} {expected}");
    }
}
