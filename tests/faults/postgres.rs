//! A real PostgreSQL that keeps its data, and the ways in which it fails.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backoffice_auth::dev::{Cluster, Durability};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::block_in_place;
use url::Url;

use crate::cluster;

/// One cluster.
pub struct Postgres(Home);

enum Home {
    /// A cluster of our own.
    Own(Cluster),
    /// One that somebody else runs, by its URL without a database.
    Elsewhere(Url),
}

/// Its processes, which do nothing until this is dropped.
pub struct Frozen(Vec<u32>);

impl Postgres {
    /// Durable: commits outlive `immediate`, as in production.
    pub fn start(name: &str) -> Self {
        Self(Home::Own(block_in_place(|| {
            cluster::start_with(name, Durability::Kept)
        })))
    }

    /// The one that lives, or is to live, in a folder.
    pub fn start_in(folder: &Path) -> Self {
        let cluster = block_in_place(|| Cluster::start(folder, Durability::Kept));
        Self(Home::Own(cluster.unwrap()))
    }

    /// One that somebody else runs, on loopback.
    pub fn elsewhere(url: &str) -> Self {
        Self(Home::Elsewhere(url.parse().unwrap()))
    }

    fn own(&self) -> &Cluster {
        match &self.0 {
            Home::Own(cluster) => cluster,
            Home::Elsewhere(_) => panic!("somebody else runs it"),
        }
    }

    fn own_mut(&mut self) -> &mut Cluster {
        match &mut self.0 {
            Home::Own(cluster) => cluster,
            Home::Elsewhere(_) => panic!("somebody else runs it"),
        }
    }

    pub fn url(&self, database: &str) -> String {
        match &self.0 {
            Home::Own(cluster) => cluster.url(database),
            Home::Elsewhere(url) => url.join(database).unwrap().into(),
        }
    }

    pub fn port(&self) -> u16 {
        match &self.0 {
            Home::Own(cluster) => cluster.port(),
            Home::Elsewhere(url) => url.port().unwrap(),
        }
    }

    pub fn folder(&self) -> &Path {
        self.own().folder()
    }

    /// Stops it the way `pg_ctl stop -m fast` does, and waits until it is gone.
    pub fn stop_fast(&mut self) {
        block_in_place(|| self.own_mut().halt()).unwrap();
    }

    /// Stops it the way `pg_ctl stop -m immediate` does: as a crash, without a last checkpoint.
    pub fn stop_immediately(&mut self) {
        let postmaster = self.own().process_id().unwrap();
        signal("QUIT", &[postmaster]);
        block_in_place(|| self.own_mut().halt()).unwrap();
    }

    pub fn resume(&mut self) {
        block_in_place(|| self.own_mut().resume()).unwrap();
    }

    /// Stops every one of its processes where it stands.
    pub fn freeze(&self) -> Frozen {
        let postmaster = self.own().process_id().unwrap();
        signal("STOP", &[postmaster]);
        // Now it forks no more.
        let mut all = children(postmaster);
        all.push(postmaster);
        signal("STOP", &all);
        Frozen(all)
    }

    /// Takes a place among its connections, as somebody who is slow to say the password; `None` if
    /// there is none left.
    pub async fn take_place(&self) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).await.ok()?;
        let words = b"user\0backoffice\0database\0postgres\0\0";
        let length = u32::try_from(8 + words.len()).unwrap().to_be_bytes();
        // Version 3.0 of the protocol.
        let hello = [&length[..], &[0, 3, 0, 0], words].concat();
        stream.write_all(&hello).await.ok()?;
        // It asks for the password, or says that there are too many.
        (stream.read_u8().await.ok()? == b'R').then_some(stream)
    }

    pub async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url(database)).await.unwrap()
    }

    /// Runs statements as the superuser, on a connection of their own.
    pub async fn execute(&self, database: &str, statements: &str) {
        let mut connection = self.connect(database).await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    /// The number that a statement selects.
    pub async fn number(&self, database: &str, statement: &str) -> i64 {
        let mut connection = self.connect(database).await;
        let statement = AssertSqlSafe(statement.to_owned());
        let number = sqlx::query_scalar(statement).fetch_one(&mut connection);
        let number = number.await.unwrap();
        connection.close().await.unwrap();
        number
    }

    /// Makes sure that it runs, after it may have given up by itself.
    pub async fn revive(&mut self) {
        for _ in 0..50 {
            if PgConnection::connect(&self.url("postgres")).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.resume();
    }

    /// Changes settings of the whole server.
    pub async fn set(&self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            let statement = format!("ALTER SYSTEM SET {name} = '{value}'");
            self.execute("postgres", &statement).await;
        }
        self.execute("postgres", "SELECT pg_reload_conf()").await;
    }

    /// Gives settings their defaults again.
    pub async fn reset(&self, names: &[&str]) {
        for name in names {
            let statement = format!("ALTER SYSTEM RESET {name}");
            self.execute("postgres", &statement).await;
        }
        self.execute("postgres", "SELECT pg_reload_conf()").await;
    }

    /// Lets every commit wait, while reads go on: for a standby that does not exist.
    pub async fn stall_commits(&self) {
        self.set(&[("synchronous_standby_names", "nobody")]).await;
    }

    /// Waits for no standby any more: that of an earlier run is gone.
    pub async fn forget_standbys(&self) {
        self.reset(&["synchronous_standby_names"]).await;
    }

    /// Makes a standby that every commit waits for, from now on. The server is away for a moment.
    pub async fn add_synchronous_standby(&mut self) -> Self {
        let folder = self.folder().with_file_name(format!(
            "{}-standby",
            self.folder().file_name().unwrap().to_str().unwrap()
        ));
        self.stop_fast();
        block_in_place(|| copy(self.own(), &folder));
        self.resume();
        let standby = Self::start_in(&folder);
        self.set(&[("synchronous_standby_names", "*")]).await;
        let is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        while self.number("postgres", is_synchronous).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        standby
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

/// Makes `folder` a cluster that follows `primary`, which is stopped, in place of the one that was there.
///
/// By copying, since `pg_basebackup` is not among the programs that pip and npm bring.
fn copy(primary: &Cluster, folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir(folder).unwrap();
    let mode = std::fs::metadata(primary.folder()).unwrap().permissions();
    std::fs::set_permissions(folder, mode).unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .args(["data", "password"].map(|name| primary.folder().join(name)))
        .arg(folder)
        .status();
    assert!(copied.unwrap().success());

    let data = folder.join("data");
    let settings = data.join("postgresql.auto.conf");
    let line = format!("primary_conninfo = '{}'\n", primary.url("postgres"));
    let before = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(settings, before + &line).unwrap();
    let signal = data.join("standby.signal");
    std::fs::write(&signal, "").unwrap();
    let owner = std::fs::metadata(&data).unwrap();
    std::os::unix::fs::chown(&signal, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// Sends a signal. Processes that are gone by now are no failure.
pub fn signal(name: &str, processes: &[u32]) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}"));
    kill.args(processes.iter().map(ToString::to_string));
    kill.stderr(Stdio::null()).status().unwrap();
}

/// The ids of a process's children.
fn children(parent: u32) -> Vec<u32> {
    let mut ps = Command::new("ps");
    let output = ps.args(["-A", "-o", "pid=", "-o", "ppid="]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let lines = text.lines().filter_map(|line| {
        let mut ids = line.split_whitespace().map(|id| id.parse::<u32>().unwrap());
        Some((ids.next()?, ids.next()?))
    });
    lines
        .filter(|(_, ppid)| *ppid == parent)
        .map(|(pid, _)| pid)
        .collect()
}
