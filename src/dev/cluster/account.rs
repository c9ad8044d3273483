//! The user that PostgreSQL runs as: the user of this process or, because PostgreSQL refuses root, another
//! one.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::ClusterError;

/// Users that root runs PostgreSQL as, best first. `nobody` exists everywhere.
const NAMES: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// The user that PostgreSQL runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Account {
    /// The user of this process.
    Ours,
    /// Another user, because this process runs as root.
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// The account for root to use. It is read from `/etc/passwd`, because the system's own functions
    /// would need `unsafe`.
    pub(super) fn for_root() -> Result<Self, ClusterError> {
        let passwd = Path::new("/etc/passwd");
        let text = fs::read_to_string(passwd).map_err(ClusterError::at(passwd))?;
        find(&text).ok_or(ClusterError::NoAccount)
    }

    /// A command that runs as this user, in `/`, without input, with messages in English.
    ///
    /// The standard library also drops root's supplementary groups when it changes the user.
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir("/")
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes this user the owner of a file or folder.
    pub(super) fn own(self, path: &Path) -> io::Result<()> {
        match self {
            Self::Ours => Ok(()),
            Self::Other { uid, gid } => chown(path, Some(uid), Some(gid)),
        }
    }

    /// Whether this user can enter a folder. It is tried and not computed from modes, so that access lists
    /// and the rules of other systems count, too.
    pub(super) fn can_enter(self, folder: &Path) -> bool {
        let entered = self
            .command(Path::new("/bin/sh"))
            .args(["-c", ":"])
            .current_dir(folder)
            .status();
        entered.is_ok_and(|status| status.success())
    }
}

/// Finds the best account in the text of `/etc/passwd`.
fn find(passwd: &str) -> Option<Account> {
    NAMES
        .iter()
        .find_map(|name| passwd.lines().find_map(|line| read_line(line, name)))
}

/// Reads a line `name:password:uid:gid:…`, if it is about `name`.
fn read_line(line: &str, name: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [found, _, uid, gid, ..] = fields[..] else {
        return None;
    };
    let (uid, gid) = (read_id(uid)?, read_id(gid)?);
    (found == name && uid != 0).then_some(Account::Other { uid, gid })
}

/// Reads an id; macOS writes the id of `nobody` as -2.
fn read_id(text: &str) -> Option<u32> {
    let signed = || text.parse::<i32>().ok().map(i32::cast_unsigned);
    text.parse().ok().or_else(signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_hands_postgresql_to_postgres_or_else_to_nobody() {
        let debian = "root:x:0:0:root:/root:/bin/bash\n\
                      nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
                      postgres:x:101:104:PostgreSQL:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(find(debian), Some(Account::Other { uid: 101, gid: 104 }));
        let macos =
            "##\n# User Database\n##\nnobody:*:-2:-2:Unprivileged:/var/empty:/usr/bin/false\n";
        let nobody = Account::Other {
            uid: u32::MAX - 1,
            gid: u32::MAX - 1,
        };
        assert_eq!(find(macos), Some(nobody));
    }

    #[test]
    fn no_account_is_made_up() {
        assert_eq!(
            find("postgres:x:0:0::/:\npostgres\nnobody:x:y:z::/:\n"),
            None
        );
    }
}
