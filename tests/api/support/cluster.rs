//! A private PostgreSQL for a run of the tests.

use std::fs;
use std::path::Path;

use backoffice_auth::dev::{Cluster, ClusterError, Durability};

/// Runs at a time, each with a folder of its own.
const FOLDERS: usize = 32;

/// Starts a cluster in a folder of this checkout. The folder is used again by the next run, so that
/// nothing piles up; what holds it now is another run, and then it is the next folder's turn.
pub fn start(name: &str) -> Cluster {
    start_with(name, Durability::Throwaway)
}

/// The same, with a say in what becomes of its data.
pub fn start_with(name: &str, durability: Durability) -> Cluster {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for number in 0..FOLDERS {
        let folder = tmp.join(format!("{name}-{number}"));
        let mut started = Cluster::start(&folder, durability);
        if let Err(ClusterError::OtherVersion { folder: left, .. }) = &started {
            // Another PostgreSQL is installed now, and what the tests left behind is worth nothing.
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
