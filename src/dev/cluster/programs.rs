//! Finding PostgreSQL's programs: each distribution and package manager puts them elsewhere, and most keep
//! `initdb` and `postgres` out of `PATH`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::error::ClusterError;
use super::version::Version;

/// The oldest major version that the migrations are made for.
pub(super) const OLDEST: u32 = 15;

/// The variable that names the folder of the programs, for one who has several versions.
const FOLDER_VARIABLE: &str = "BACKOFFICE_AUTH_POSTGRES";

/// The folders that packages use; `*` stands for any text within one name.
const USUAL_FOLDERS: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/libexec/postgresql*",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/opt/local/lib/postgresql*/bin",
];

/// One installation of PostgreSQL's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The folder with `initdb`, `postgres` and the other programs.
    pub bin_dir: PathBuf,
    /// The version of these programs.
    pub version: Version,
}

impl Programs {
    /// All installations that `account` may run, or the one that the environment names.
    pub(super) fn installed(account: Account) -> Result<Vec<Self>, ClusterError> {
        let Some(named) = env::var_os(FOLDER_VARIABLE) else {
            let inspect = |dir: &PathBuf| Self::inspect(dir, account);
            return Ok(candidates().iter().filter_map(inspect).collect());
        };
        let folder = PathBuf::from(named);
        match Self::inspect(&folder, account) {
            Some(programs) => Ok(vec![programs]),
            None => Err(ClusterError::NotThere { folder }),
        }
    }

    /// The path of a program.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.bin_dir.join(program)
    }

    /// The installation in a folder, if both programs are there and run.
    pub(super) fn inspect(dir: &Path, account: Account) -> Option<Self> {
        // Links lead to the installation, which has the shared files and names the version.
        let real = fs::canonicalize(dir.join("postgres")).ok()?;
        let bin_dir = [real.parent()?, dir]
            .into_iter()
            .find(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file())?;
        let output = account
            .command(&bin_dir.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let version = Version::parse(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self {
            bin_dir: bin_dir.to_owned(),
            version,
        })
    }
}

/// Chooses the newest installation, or the one for data that major version `written_by` left in `folder`;
/// of equal ones the first counts.
pub(super) fn choose(
    installed: Vec<Programs>,
    folder: &Path,
    written_by: Option<u32>,
) -> Result<Programs, ClusterError> {
    let newest = |installed: Vec<Programs>| {
        installed
            .into_iter()
            .rev()
            .max_by_key(|programs| programs.version)
    };
    if let Some(major) = written_by {
        let same = installed.into_iter().filter(|p| p.version.major == major);
        return newest(same.collect()).ok_or_else(|| ClusterError::OtherVersion {
            folder: folder.to_owned(),
            major,
        });
    }
    match newest(installed).ok_or(ClusterError::NotInstalled)? {
        programs if programs.version.major >= OLDEST => Ok(programs),
        Programs { bin_dir, version } => Err(ClusterError::TooOld { version, bin_dir }),
    }
}

/// Every folder that may hold the programs: `PATH`, what `pg_config` says, the usual ones.
fn candidates() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(bindir_of_pg_config())
        .chain(USUAL_FOLDERS.into_iter().flat_map(expand))
        .collect()
}

fn bindir_of_pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config")
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let dir = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(dir.trim_end()))
}

/// The paths that exist for a pattern; each `*` stands for any text within one name.
pub(super) fn expand(pattern: &str) -> Vec<PathBuf> {
    let names = pattern.split('/').skip(1);
    names.fold(vec![PathBuf::from("/")], |folders, name| {
        match name.split_once('*') {
            None => folders.iter().map(|folder| folder.join(name)).collect(),
            Some(ends) => folders.iter().flat_map(|f| entries(f, ends)).collect(),
        }
    })
}

/// The entries of `folder` whose name has this beginning and end.
fn entries(folder: &Path, (prefix, suffix): (&str, &str)) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let matching = found.flatten().filter(|entry| {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(prefix));
        rest.is_some_and(|rest| rest.ends_with(suffix))
    });
    matching.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(dir: &str, major: u32, minor: u32) -> Programs {
        Programs {
            bin_dir: dir.into(),
            version: Version { major, minor },
        }
    }

    #[test]
    fn a_version_is_read_from_what_every_packager_makes_postgres_print() {
        for (output, version) in [
            (
                "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n",
                Some((15, 14)),
            ),
            ("postgres (PostgreSQL) 16.4 (Homebrew)\n", Some((16, 4))),
            ("postgres (PostgreSQL) 17beta1\n", Some((17, 0))),
            ("postgres (PostgreSQL) 19devel\n", Some((19, 0))),
            ("postgres (PostgreSQL) 9.6.24\n", Some((9, 6))),
            ("postgres (EnterpriseDB) 15.3.0\n", Some((15, 3))),
            ("postgres (PostgreSQL) \n", None),
            ("postgres: command not found\n", None),
            ("", None),
        ] {
            let version = version.map(|(major, minor)| Version { major, minor });
            assert_eq!(Version::parse(output), version, "{output:?}");
        }
    }

    #[test]
    fn the_newest_installation_is_chosen_and_the_first_among_equals() {
        let installed = vec![
            programs("/a", 15, 14),
            programs("/b", 17, 1),
            programs("/c", 17, 1),
            programs("/d", 9, 6),
        ];
        let chosen = choose(installed, Path::new("/x"), None).unwrap();
        assert_eq!(chosen.bin_dir, Path::new("/b"));
    }

    #[test]
    fn data_is_served_by_the_major_version_that_wrote_it_or_by_none() {
        let installed = vec![programs("/a", 17, 1), programs("/b", 15, 2)];
        let chosen = choose(installed.clone(), Path::new("/x"), Some(15)).unwrap();
        assert_eq!(chosen.bin_dir, Path::new("/b"));
        let refused = choose(installed, Path::new("/x"), Some(16)).unwrap_err();
        assert!(matches!(
            refused,
            ClusterError::OtherVersion { major: 16, .. }
        ));
    }

    #[test]
    fn programs_that_are_missing_or_too_old_are_told_in_one_line() {
        let missing = choose(vec![], Path::new("/x"), None).unwrap_err();
        let message = missing.to_string();
        assert!(message.contains("apt install postgresql") && !message.contains('\n'));
        let old = choose(vec![programs("/old", 14, 9)], Path::new("/x"), None).unwrap_err();
        assert_eq!(
            old.to_string(),
            "PostgreSQL 15 or newer is needed, and the newest found is 14.9 in /old"
        );
    }

    #[test]
    fn a_pattern_finds_the_folders_that_exist() {
        let root = tempfile::tempdir().unwrap();
        for dir in ["pgsql-15/bin", "pgsql-16/bin", "mysql-8/bin"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let mut found = expand(&format!("{}/pgsql-*/bin", root.path().display()));
        found.sort();
        let expected = ["pgsql-15/bin", "pgsql-16/bin"].map(|dir| root.path().join(dir));
        assert_eq!(found, expected);
        assert!(expand("/no/such/*/folder").is_empty());
    }
}
