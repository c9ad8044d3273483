//! The operating system's figures of a process: CPU time and memory (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// Linux counts CPU time in hundredths of a second for every architecture that there is.
const TICK: Duration = Duration::from_millis(10);

/// CPU time that a process has used, with that of the children it has waited for.
pub fn cpu(process: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may hold spaces; the fields after its parenthesis do not.
    let (_, fields) = stat.rsplit_once(')').context("stat names the process")?;
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks: u32 = ticks.map(str::parse::<u32>).sum::<Result<_, _>>()?;
    Ok(TICK * ticks)
}

/// CPU time of a process and of its children that live.
pub fn cpu_of_family(parent: u32) -> anyhow::Result<Duration> {
    let mut total = cpu(parent)?;
    for child in children(parent)? {
        // One that has just ended is in its parent's account.
        total += cpu(child).unwrap_or_default();
    }
    Ok(total)
}

/// The children of a process that live.
pub fn children(parent: u32) -> anyhow::Result<Vec<u32>> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let children = children.split_whitespace().map(str::parse);
    Ok(children.collect::<Result<_, _>>()?)
}

/// The number of the thread that asks.
pub fn this_thread() -> anyhow::Result<u32> {
    let link = fs::read_link("/proc/thread-self")?;
    let number = link.file_name().context("it names the thread")?;
    Ok(number.to_string_lossy().parse()?)
}

/// CPU time of the thread that asks.
pub fn cpu_of_this_thread() -> anyhow::Result<Duration> {
    cpu_of_thread(this_thread()?)
}

/// CPU time of a thread of this process.
pub fn cpu_of_thread(number: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/self/task/{number}/schedstat"))?;
    let nanos = stat.split(' ').next().context("schedstat has fields")?;
    Ok(Duration::from_nanos(nanos.parse()?))
}

/// Resident memory of a process, in MiB.
pub fn resident_mib(process: u32) -> anyhow::Result<f64> {
    status_mib(process, "VmRSS:")
}

/// The most resident memory that a process has had, in MiB.
pub fn peak_mib(process: u32) -> anyhow::Result<f64> {
    status_mib(process, "VmHWM:")
}

fn status_mib(process: u32, field: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.context("status has the field")?.trim();
    Ok(kib.trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
