//! Which processes run on which cores.

use std::fs;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::accounts;

/// The machine in two: as if the server had one of its own, of half the size.
pub struct Halves {
    /// Both together.
    pub all: CpuSet,
    pub server: CpuSet,
    pub everybody_else: CpuSet,
    /// Cores of the server's half.
    pub count: usize,
}

impl Halves {
    /// `None` on a machine that cannot be divided.
    pub fn of_this_machine() -> anyhow::Result<Option<Self>> {
        let all = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|cpu| all.is_set(*cpu))
            .collect();
        let (first, second) = cores.split_at(cores.len() / 2);
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            for cpu in cores {
                set.set(*cpu);
            }
            set
        };
        Ok((!first.is_empty()).then(|| Self {
            all,
            server: set(first),
            everybody_else: set(second),
            count: first.len(),
        }))
    }
}

/// Keeps the thread that asks, and those that it starts, on these cores.
pub fn confine_this_thread(cores: &CpuSet) -> anyhow::Result<()> {
    Ok(sched_setaffinity(None, cores)?)
}

/// Keeps all threads of a process on these cores, with what they start.
pub fn confine(process: u32, cores: &CpuSet) -> anyhow::Result<()> {
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = task?.file_name();
        let task = name.to_string_lossy().parse()?;
        // One that has just ended needs no place.
        let _ = sched_setaffinity(Pid::from_raw(task), cores);
    }
    Ok(())
}

/// The same for a process and its children.
pub fn confine_family(parent: u32, cores: &CpuSet) -> anyhow::Result<()> {
    confine(parent, cores)?;
    for child in accounts::children(parent)? {
        confine(child, cores)?;
    }
    Ok(())
}
