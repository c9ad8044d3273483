//! Which processes run on which cores.

use std::fs;

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use super::accounts;

/// The machine in two: as if the server had one of its own, of half the size. It is whole again when
/// this is dropped.
pub struct Halves {
    pub whole: CpuSet,
    /// For servers that are started [on](on) it.
    pub servers: CpuSet,
    postmaster: u32,
}

impl Halves {
    /// Keeps callers and PostgreSQL to one half. A machine with one core has but one half.
    pub fn divide(postmaster: u32) -> anyhow::Result<Self> {
        let whole = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|cpu| whole.is_set(*cpu))
            .collect();
        let (first, second) = match cores.len() {
            1 => (&cores[..], &cores[..]),
            count => cores.split_at(count / 2),
        };
        let halves = Self {
            whole,
            servers: set(first),
            postmaster,
        };
        halves.confine_others(&set(second))?;
        Ok(halves)
    }

    fn confine_others(&self, cores: &CpuSet) -> anyhow::Result<()> {
        confine(std::process::id(), cores)?;
        confine(self.postmaster, cores)?;
        for backend in accounts::children(self.postmaster)? {
            // One that has just ended needs no place.
            let _ = confine(backend, cores);
        }
        Ok(())
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        let _ = self.confine_others(&self.whole);
    }
}

fn set(cores: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    for cpu in cores {
        set.set(*cpu);
    }
    set
}

/// Does something on these cores alone; its threads stay there.
pub fn on<T: Send>(
    cores: CpuSet,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let confined = || {
        sched_setaffinity(None, &cores)?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(confined).join())
        .map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

/// Keeps all threads of a process on these cores, with the threads that they start.
fn confine(process: u32, cores: &CpuSet) -> anyhow::Result<()> {
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = task?.file_name();
        let task = name.to_string_lossy().parse()?;
        // One that has just ended needs no place.
        let _ = sched_setaffinity(Pid::from_raw(task), cores);
    }
    Ok(())
}
