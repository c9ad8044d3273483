//! A private PostgreSQL: for a first run that needs no set-up, and for tests on the real thing.
//!
//! A [`Cluster`] finds PostgreSQL's programs, or fetches them where none are installed, makes a data folder
//! on first use, runs the server on a free port of 127.0.0.1 behind a random password, and stops it when
//! it is dropped. If its owner is killed, the server stops as well. PostgreSQL refuses to run as root, so
//! for root it runs as another user. A folder runs one server at a time.
//!
//! All calls block, for seconds at worst: async callers use `spawn_blocking`.

mod account;
mod error;
mod home;
mod package;
mod postmaster;
mod programs;
mod version;

use std::path::Path;
use std::thread;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use home::Home;
use package::Supply;
use postmaster::Postmaster;

pub use error::ClusterError;
pub use programs::Programs;
pub use version::Version;

/// The only role of the cluster, a superuser.
const ROLE: &str = "backoffice";

/// Whether data survives when the machine, and not only the server, stops without warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Data survives, as in production.
    Kept,
    /// Data may be lost, and nothing waits for a disk: for tests.
    Throwaway,
}

/// A private PostgreSQL server. Dropping it stops the server and waits for its end.
#[derive(Debug)]
pub struct Cluster {
    // In this order: the server stops before the folder is given up.
    postmaster: Option<Postmaster>,
    port: u16,
    password: SecretString,
    programs: Programs,
    settings: Vec<String>,
    home: Home,
}

impl Cluster {
    /// Starts the cluster that lives in `folder`; makes both where they are missing. The folder
    /// is for the cluster alone.
    ///
    /// For root, the data lies elsewhere if PostgreSQL's user cannot reach the folder: see
    /// [`Cluster::folder`].
    pub fn start(folder: &Path, durability: Durability) -> Result<Self, ClusterError> {
        Self::start_with(folder, durability, &[])
    }

    /// Starts the cluster as [`Cluster::start`] does, and asks no package registry for programs.
    pub fn start_offline(folder: &Path, durability: Durability) -> Result<Self, ClusterError> {
        Self::start_from(folder, durability, &[], Supply::Offline)
    }

    /// Starts the cluster with settings (`name=value`) that override its own.
    pub fn start_with(
        folder: &Path,
        durability: Durability,
        settings: &[&str],
    ) -> Result<Self, ClusterError> {
        Self::start_from(folder, durability, settings, Supply::from_environment())
    }

    fn start_from(
        folder: &Path,
        durability: Durability,
        settings: &[&str],
        supply: Supply,
    ) -> Result<Self, ClusterError> {
        let home = Home::claim(folder, durability)?;
        let programs = package::find(&home, supply)?;
        let password = home.password()?;
        if home.written_by().is_none() {
            postmaster::init(&home, &programs, durability, &password)?;
        }
        let settings = postmaster::settings(durability, settings);
        let postmaster = Postmaster::start(&home, &programs, &settings, None)?;
        Ok(Self {
            port: postmaster.port(),
            postmaster: Some(postmaster),
            password,
            programs,
            settings,
            home,
        })
    }

    /// The connection URL of one of its databases, with the password. A new cluster has `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let (password, port) = (self.password.expose_secret(), self.port);
        format!("postgres://{ROLE}:{password}@127.0.0.1:{port}/{database}")
    }

    /// The port, which stays the same over [`Cluster::halt`] and [`Cluster::resume`].
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with its data, log and password.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.home.folder()
    }

    /// The id of the server's first process, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.postmaster.as_ref()?;
        postmaster::process_id(&self.home.data())
    }

    /// Stops the server, as an outage would, for [`Cluster::resume`] to start again.
    pub fn halt(&mut self) -> Result<(), ClusterError> {
        if self.postmaster.take().is_none_or(|mut p| p.stop()) {
            return Ok(());
        }
        Err(ClusterError::DoesNotStop {
            log: self.home.log_path(),
        })
    }

    /// Starts the server again, on the port that it had.
    pub fn resume(&mut self) -> Result<(), ClusterError> {
        self.halt()?;
        let (home, port) = (&self.home, Some(self.port));
        let postmaster = Postmaster::start(home, &self.programs, &self.settings, port)?;
        self.postmaster = Some(postmaster);
        Ok(())
    }

    /// Stops the server for good; an error if it does not stop.
    pub fn stop(mut self) -> Result<(), ClusterError> {
        self.halt()
    }
}

/// Calls `ask` every 10 ms, at most for `bound`, until it returns an answer.
fn poll<T>(bound: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..bound.as_millis() / PAUSE.as_millis() {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        thread::sleep(PAUSE);
    }
    ask()
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs::{self, Permissions};
    use std::io::{self, BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use sqlx::{Connection, PgConnection};
    use tempfile::TempDir;

    use super::*;

    /// A folder that PostgreSQL's user can enter if we are root.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        folder
    }

    fn run(cluster: &Cluster, statement: &'static str) -> Result<i64, sqlx::Error> {
        let url = cluster.url("postgres");
        let asked = async {
            let mut connection = PgConnection::connect(&url).await?;
            sqlx::query_scalar(statement)
                .fetch_one(&mut connection)
                .await
        };
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(asked)
    }

    fn is_running(process: u32) -> bool {
        let mut kill = Command::new("kill");
        let status = kill
            .args(["-0", &process.to_string()])
            .stderr(Stdio::null());
        status.status().unwrap().success()
    }

    #[test]
    fn a_cluster_keeps_its_data_and_leaves_nothing_running() {
        let folder = folder();
        let mut cluster = Cluster::start(folder.path(), Durability::Throwaway).unwrap();
        let made = "WITH made AS (SELECT lo_create(4711)) SELECT count(*) FROM made";
        assert_eq!(run(&cluster, made).unwrap(), 1);

        let (port, process) = (cluster.port(), cluster.process_id().unwrap());
        cluster.halt().unwrap();
        assert!(run(&cluster, "SELECT 1::bigint").is_err());
        assert!(!is_running(process) && cluster.process_id().is_none());
        cluster.resume().unwrap();
        assert_eq!(cluster.port(), port);

        let process = cluster.process_id().unwrap();
        assert!(is_running(process));
        drop(cluster);
        assert!(!is_running(process));

        let again = Cluster::start(folder.path(), Durability::Kept).unwrap();
        let kept = "SELECT count(*) FROM pg_largeobject_metadata WHERE oid = 4711";
        assert_eq!(run(&again, kept).unwrap(), 1);
        again.stop().unwrap();
    }

    #[test]
    fn a_cluster_takes_no_connection_without_its_password() {
        let folder = folder();
        let cluster = Cluster::start(folder.path(), Durability::Throwaway).unwrap();
        let url = cluster.url("postgres");
        let guessed = url.replace(cluster.password.expose_secret(), "guess");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let refused = runtime
            .block_on(PgConnection::connect(&guessed))
            .unwrap_err();
        let code = refused
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("28P01"));
    }

    #[test]
    fn a_port_that_somebody_took_is_told_from_other_failures() {
        let folder = folder();
        let mut cluster = Cluster::start(folder.path(), Durability::Throwaway).unwrap();
        cluster.halt().unwrap();
        let taken = TcpListener::bind(("127.0.0.1", cluster.port())).unwrap();
        let refused = cluster.resume().unwrap_err();
        assert!(matches!(refused, ClusterError::Ended { .. }), "{refused}");
        assert!(postmaster::lost_its_port(&cluster.home), "{refused}");
        drop(taken);
        cluster.resume().unwrap();
    }

    /// The owner that the next test kills. It tests nothing by itself.
    #[test]
    #[ignore = "started by the test below"]
    fn an_owner() {
        let folder = env::var_os("OWNED_FOLDER").unwrap();
        let cluster = Cluster::start(folder.as_ref(), Durability::Throwaway).unwrap();
        writeln!(io::stdout(), "\nrunning {}", cluster.process_id().unwrap()).unwrap();
        io::stdin().read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn a_cluster_has_one_owner_and_stops_with_it_even_if_that_is_killed() {
        let folder = folder();
        let mut owner = Command::new(env::current_exe().unwrap())
            .args(["dev::cluster::tests::an_owner", "--exact", "--ignored"])
            .arg("--nocapture")
            .env("OWNED_FOLDER", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        let process = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("running ")?.parse().ok());
        let process: u32 = process.filter(|process| is_running(*process)).unwrap();

        let refused = Cluster::start(folder.path(), Durability::Throwaway).unwrap_err();
        let expected = format!("another `dev` is running here: process {} ", owner.id());
        assert!(refused.to_string().starts_with(&expected), "{refused}");

        owner.kill().unwrap();
        owner.wait().unwrap();
        // The next owner starts at once, which means that it waits until the former server has ended.
        let heir = Cluster::start(folder.path(), Durability::Throwaway).unwrap();
        assert!(!is_running(process));
        assert_eq!(run(&heir, "SELECT 1::bigint").unwrap(), 1);
    }
}
