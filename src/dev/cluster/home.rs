//! The folder of a cluster: its user, the process that owns it at the moment, and its files.
//!
//! `data` belongs to the user that PostgreSQL runs as; `password`, `log` and `owner` lie beside it
//! and belong to the user of this process, so that the other user cannot redirect what is written.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::SecretString;

use super::account::Account;
use super::error::ClusterError;
use super::{Durability, poll};

/// Other users may pass through, because PostgreSQL may run as another user, but not list the folder.
const PASSABLE: u32 = 0o711;

/// How long the PostgreSQL of a dead owner may take to stop.
const STOPPING: Duration = Duration::from_secs(30);

/// The folder of a cluster, owned by this process until it is dropped.
#[derive(Debug)]
pub(super) struct Home {
    folder: PathBuf,
    account: Account,
    owner: File,
}

impl Home {
    /// Makes the folder where it is missing and takes possession of it, or of a stand-in for it if
    /// it is out of reach for the user that PostgreSQL must run as.
    pub(super) fn claim(folder: &Path, durability: Durability) -> Result<Self, ClusterError> {
        make_folder(folder).map_err(ClusterError::at(folder))?;
        let folder = fs::canonicalize(folder).map_err(ClusterError::at(folder))?;
        let us = our_uid(&folder).map_err(ClusterError::at(&folder))?;
        let (folder, account) = place(&folder, us, durability)?;
        let owner = own(&folder)?;
        Ok(Self {
            folder,
            account,
            owner,
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn account(&self) -> Account {
        self.account
    }

    /// The folder with PostgreSQL's files.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The major version that wrote the data, if there is any.
    pub(super) fn written_by(&self) -> Option<u32> {
        let version = fs::read_to_string(self.data().join("PG_VERSION")).ok()?;
        version.trim_end().parse().ok()
    }

    /// The password of the cluster's only role: made for new data, read for existing data.
    pub(super) fn password(&self) -> Result<SecretString, ClusterError> {
        let file = self.folder.join("password");
        if self.written_by().is_none() {
            return make_password(&file).map_err(ClusterError::at(&file));
        }
        match fs::read_to_string(&file) {
            Ok(password) => Ok(password.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ClusterError::NoPassword { file })
            }
            Err(error) => Err(ClusterError::at(&file)(error)),
        }
    }

    /// A lock that lives as long as any process of the cluster holds a copy of it.
    ///
    /// It lies on the folder itself, which also keeps `systemd-tmpfiles` from cleaning it up.
    pub(super) fn lock(&self) -> Result<File, ClusterError> {
        let lock = File::open(&self.folder).map_err(ClusterError::at(&self.folder))?;
        let locked = poll(STOPPING, || match lock.try_lock() {
            Ok(()) => Some(Ok(())),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) => Some(Err(ClusterError::at(&self.folder)(error))),
        });
        locked.unwrap_or_else(|| {
            Err(ClusterError::StillStopping {
                folder: self.folder.clone(),
            })
        })?;
        Ok(lock)
    }

    /// The path of the log with the programs' messages.
    pub(super) fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// The log, emptied: otherwise it would mostly tell of earlier runs.
    pub(super) fn new_log(&self) -> Result<File, ClusterError> {
        let path = self.log_path();
        let open = || {
            let log = private().append(true).open(&path)?;
            log.set_len(0)?;
            Ok(log)
        };
        open().map_err(ClusterError::at(&path))
    }

    /// The log so far.
    pub(super) fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Closing is not enough: a process that another thread is just starting may still have a copy. An
        // error cannot be handled, and closing comes next.
        let _ = self.owner.unlock();
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

/// Makes the folder where it is missing; where PostgreSQL's user can reach it, or a stand-in for it.
pub(super) fn reachable(folder: &Path) -> Result<PathBuf, ClusterError> {
    make_folder(folder).map_err(ClusterError::at(folder))?;
    let folder = fs::canonicalize(folder).map_err(ClusterError::at(folder))?;
    let us = our_uid(&folder).map_err(ClusterError::at(&folder))?;
    place(&folder, us, Durability::Kept).map(|(folder, _)| folder)
}

/// Makes a folder that other users may pass through, unless it exists.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(PASSABLE))
}

/// The user of this process, read from a file that it has just made: this needs no `unsafe` and is not
/// limited to Linux.
fn our_uid(folder: &Path) -> io::Result<u32> {
    let probe = folder.join(format!("probe-{}", random_text()));
    let file = private().create_new(true).write(true).open(&probe)?;
    fs::remove_file(&probe)?;
    Ok(file.metadata()?.uid())
}

/// Twenty-four random bytes, in characters that a URL and a file name can hold.
fn random_text() -> String {
    let mut bytes = [0; 24];
    rand::fill(&mut bytes).expect("the operating system gives randomness");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Decides in which folder the cluster lives and as which user it runs.
fn place(
    folder: &Path,
    us: u32,
    durability: Durability,
) -> Result<(PathBuf, Account), ClusterError> {
    if us != 0 {
        return Ok((folder.to_owned(), Account::Ours));
    }
    let account = account_of(folder)?;
    if account.can_enter(folder) {
        return Ok((folder.to_owned(), account));
    }
    stand_in(folder, durability)
}

/// The user that root runs the cluster in `folder` as: the owner of its data, if there is data.
fn account_of(folder: &Path) -> Result<Account, ClusterError> {
    match fs::symlink_metadata(folder.join("data")) {
        Ok(data) if data.uid() != 0 => Ok(Account::Other {
            uid: data.uid(),
            gid: data.gid(),
        }),
        _ => Account::for_root(),
    }
}

/// A folder that PostgreSQL's user can reach, in place of one below, say, `/root`. The same folder
/// has the same stand-in, so that its data is found again.
fn stand_in(folder: &Path, durability: Durability) -> Result<(PathBuf, Account), ClusterError> {
    let hash = digest::digest(&digest::SHA256, folder.as_os_str().as_bytes());
    let name = format!(
        "backoffice-auth-{}",
        BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..12])
    );
    let mut parents = [env::temp_dir(), PathBuf::from("/var/tmp")];
    if durability == Durability::Kept {
        // Files in `/tmp` may be gone after a restart of the machine.
        parents.reverse();
    }
    let account = Account::for_root()?;
    let parent = parents.iter().find(|parent| account.can_enter(parent));
    let parent = parent.ok_or_else(|| ClusterError::Unreachable {
        folder: folder.to_owned(),
    })?;
    let stand_in = parent.join(name);
    make_ours(&stand_in)?;
    let account = account_of(&stand_in)?;
    Ok((stand_in, account))
}

/// Makes a folder in a place where any user can write, or accepts it if this user made it: another user may
/// have put a folder or a link of that name there to read what is written.
fn make_ours(folder: &Path) -> Result<(), ClusterError> {
    match DirBuilder::new().mode(PASSABLE).create(folder) {
        // The file mode mask may have taken bits away.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(PASSABLE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return check_ours(folder),
        Err(error) => Err(error),
    }
    .map_err(ClusterError::at(folder))
}

fn check_ours(folder: &Path) -> Result<(), ClusterError> {
    let found = fs::symlink_metadata(folder).map_err(ClusterError::at(folder))?;
    if found.is_dir() && found.uid() == 0 && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(ClusterError::Foreign {
        folder: folder.to_owned(),
    })
}

/// Takes possession of a folder: by a lock that ends with this process, and the process id for messages.
fn own(folder: &Path) -> Result<File, ClusterError> {
    let path = folder.join("owner");
    let at_path = || ClusterError::at(&path);
    let mut owner = private()
        .read(true)
        .append(true)
        .open(&path)
        .map_err(at_path())?;
    match owner.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(busy(folder, &mut owner)),
        Err(TryLockError::Error(error)) => return Err(at_path()(error)),
    }
    owner.set_len(0).map_err(at_path())?;
    write!(owner, "{}", process::id()).map_err(at_path())?;
    Ok(owner)
}

fn busy(folder: &Path, owner: &mut File) -> ClusterError {
    let mut process = String::new();
    // The owner may not have written its id yet; the error is right without it.
    if owner.read_to_string(&mut process).is_err() || process.is_empty() {
        process.push_str("of unknown id");
    }
    ClusterError::Busy {
        folder: folder.to_owned(),
        process,
    }
}

/// Writes a new password to a file that only this user can read.
fn make_password(file: &Path) -> io::Result<SecretString> {
    let password = random_text();
    // Written beside and renamed: never half a password, never one with an older file's mode.
    let new = file.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = private().create_new(true).write(true).open(&new)?;
    written.write_all(password.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    Ok(password.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = own(folder.path()).unwrap();
        let refused = own(folder.path()).unwrap_err().to_string();
        let expected = format!("another `dev` is running here: process {}", process::id());
        assert!(refused.starts_with(&expected), "{refused}");
        first.unlock().unwrap();
        own(folder.path()).unwrap();
    }

    #[test]
    fn a_stand_in_that_another_user_could_have_made_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let us = our_uid(folder.path()).unwrap();
        let [fine, open, link] = ["fine", "open", "link"].map(|name| folder.path().join(name));
        make_ours(&fine).unwrap();
        // Only root needs a stand-in, so it must belong to root.
        assert_eq!(make_ours(&fine).is_ok(), us == 0);
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        symlink(&fine, &link).unwrap();
        for foreign in [open, link] {
            let refused = make_ours(&foreign).unwrap_err();
            assert!(matches!(refused, ClusterError::Foreign { .. }), "{refused}");
        }
    }

    #[test]
    fn the_password_is_ours_alone_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        fs::write(&file, "left over").unwrap();
        make_password(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap().len(), 32);
    }
}
