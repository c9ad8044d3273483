//! A private PostgreSQL for a run of the tests.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use backoffice_auth::dev::{Cluster, ClusterError, Durability};

/// Runs at a time, each with a folder of its own.
const FOLDERS: usize = 32;

/// Where Linux keeps files in memory. A test makes and removes hundreds of files, in a database of its
/// own: on a disk, that is a quarter of the time of all tests.
const MEMORY: &str = "/dev/shm";

/// The memory that the tests' databases take at most, in KiB, with room.
const ROOM: u64 = 1024 * 1024;

/// Starts a cluster whose data is thrown away: in memory if there is room, else as [`start_with`] does.
pub fn start(name: &str) -> Cluster {
    match in_memory(name) {
        Some(folder) => Cluster::start(&folder, Durability::Throwaway).unwrap(),
        None => start_with(name, Durability::Throwaway),
    }
}

/// A new folder in memory, if there is room. It is removed when this process and PostgreSQL have ended,
/// however they end.
fn in_memory(name: &str) -> Option<PathBuf> {
    let free = rustix::fs::statvfs(MEMORY).ok()?;
    if free.f_bavail * free.f_frsize / 1024 < ROOM {
        return None;
    }
    let folder = Path::new(MEMORY).join(format!("backoffice-auth-{name}-{}", process::id()));
    // Nobody else has put one there: making it fails if it exists.
    fs::DirBuilder::new().mode(0o711).create(&folder).ok()?;
    // PostgreSQL's processes hold a lock on the folder.
    let remover = Command::new("sh")
        .args(["-c", "read -r _; exec flock \"$0\" rm -rf \"$0\""])
        .arg(&folder)
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn();
    match remover {
        Ok(remover) => std::mem::forget(remover),
        Err(_) => return fs::remove_dir_all(&folder).ok().and(None),
    }
    Some(folder)
}

/// Starts a cluster in a folder of this checkout. The folder is used again by the next run, so that
/// nothing piles up. If another run holds it now, the next folder is used.
pub fn start_with(name: &str, durability: Durability) -> Cluster {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for number in 0..FOLDERS {
        let folder = tmp.join(format!("{name}-{number}"));
        let mut started = Cluster::start(&folder, durability);
        if let Err(ClusterError::OtherVersion { folder: left, .. }) = &started {
            // Another PostgreSQL is installed now, and the files that the tests left behind are worthless.
            fs::remove_dir_all(left).unwrap();
            started = Cluster::start(&folder, durability);
        }
        match started {
            Ok(cluster) => return cluster,
            Err(ClusterError::Busy { .. }) => {}
            Err(error) => panic!("{error} (all in {} may be removed)", folder.display()),
        }
    }
    panic!("{FOLDERS} runs of the tests are at it already");
}
