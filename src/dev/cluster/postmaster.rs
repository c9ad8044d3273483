//! PostgreSQL's first process and the shell that stops it when its owner dies.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use aws_lc_rs::{digest, hmac, rand};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use secrecy::{ExposeSecret, SecretString};

use super::account::Account;
use super::error::ClusterError;
use super::home::Home;
use super::{Durability, Programs, ROLE, poll};

/// How long a start may take, the repair of data after a crash included.
const STARTING: Duration = Duration::from_secs(30);

/// How long a stop may take: longer than the watchdog's patience before it insists.
const STOPPING: Duration = Duration::from_secs(20);

/// How many ports are tried: another program may take a port before PostgreSQL does.
const PORTS: usize = 5;

/// Runs PostgreSQL (`"$@"`) for as long as this process holds the other end of standard input. However this
/// process dies, the system closes that end, and PostgreSQL is told to stop, first fast and then at once.
///
/// Standard output is the cluster's lock, which PostgreSQL's processes hold on to. Signals for the
/// whole group must not end the shell before PostgreSQL.
const WATCHDOG: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
postmaster=$!
{
    read -r _ <&3
    kill -INT "$postmaster"
    for second in 1 2 3 4 5 6 7 8 9 10; do sleep 1 >&2 3<&-; done
    kill -QUIT "$postmaster"
} &
watcher=$!
trap '' HUP INT TERM
wait "$postmaster"
status=$?
kill -KILL "$watcher"
exit "$status"
"#;

/// Feeds `initdb` the password's verifier, so that it is in no other file, and keeps the lock (standard output) open
/// for as long as `initdb` runs.
const INITDB: &str = r#"exec 3>&1 >/dev/null; cat | "$@" --pwfile=/dev/stdin"#;

/// A running PostgreSQL. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Postmaster {
    watchdog: Child,
    pipe: Option<ChildStdin>,
    port: u16,
}

impl Postmaster {
    /// Starts PostgreSQL with `settings` on `port`, or on any that is free, and waits until it is ready.
    pub(super) fn start(
        home: &Home,
        programs: &Programs,
        settings: &[String],
        port: Option<u16>,
    ) -> Result<Self, ClusterError> {
        let mut tries = if port.is_some() { 1 } else { PORTS };
        loop {
            tries -= 1;
            let port = port.map_or_else(free_port, Ok);
            let port = port.map_err(ClusterError::at(Path::new("127.0.0.1")))?;
            match Self::try_start(home, programs, settings, port) {
                Err(ClusterError::Ended { .. }) if tries > 0 && lost_its_port(home) => {}
                outcome => return outcome,
            }
        }
    }

    fn try_start(
        home: &Home,
        programs: &Programs,
        settings: &[String],
        port: u16,
    ) -> Result<Self, ClusterError> {
        let lock = home.lock()?;
        // A crash leaves the file behind, and then it says "ready" of a process that has ended.
        let stale = fs::read_to_string(home.data().join("postmaster.pid")).ok();
        let mut command = shell(home.account(), WATCHDOG);
        command
            .arg(programs.path("postgres"))
            .arg("-D")
            .arg(home.data())
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .args(["-c", &format!("port={port}")])
            .stdout(lock)
            .stderr(home.new_log()?);
        let mut watchdog = command.spawn().map_err(ClusterError::at(&home.data()))?;
        let pipe = watchdog.stdin.take();
        let mut started = Self {
            watchdog,
            pipe,
            port,
        };
        started.wait_until_ready(home, stale.as_deref())?;
        Ok(started)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until PostgreSQL's lock file says that it takes connections.
    fn wait_until_ready(&mut self, home: &Home, stale: Option<&str>) -> Result<(), ClusterError> {
        let file = home.data().join("postmaster.pid");
        let ready = poll(STARTING, || {
            let status = fs::read_to_string(&file).ok();
            if status.as_deref() != stale && status.is_some_and(|status| says_ready(&status)) {
                return Some(true);
            }
            self.try_wait().then_some(false)
        });
        let log = || tail(&home.log());
        match ready {
            Some(true) => Ok(()),
            Some(false) => Err(ClusterError::Ended { log: log() }),
            None => Err(ClusterError::NotReady {
                seconds: STARTING.as_secs(),
                log: log(),
            }),
        }
    }

    /// Whether PostgreSQL has ended; its process is reaped then.
    fn try_wait(&mut self) -> bool {
        // A process that cannot be waited for does not exist.
        !matches!(self.watchdog.try_wait(), Ok(None))
    }

    /// Stops PostgreSQL; whether it stopped.
    pub(super) fn stop(&mut self) -> bool {
        self.pipe = None;
        poll(STOPPING, || self.try_wait().then_some(())).is_some()
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The id of the process that the data's lock file names.
pub(super) fn process_id(data: &Path) -> Option<u32> {
    let status = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    status.lines().next()?.trim().parse().ok()
}

/// Makes the data, all of it or nothing: the remains of a killed `initdb` are removed first.
pub(super) fn init(
    home: &Home,
    programs: &Programs,
    durability: Durability,
    password: &SecretString,
) -> Result<(), ClusterError> {
    let lock = home.lock()?;
    let new = home.folder().join("data.new");
    make_empty(&new, home.account()).map_err(ClusterError::at(&new))?;
    run_initdb(home, programs, durability, password, &new, lock)?;
    fs::rename(&new, home.data()).map_err(ClusterError::at(&new))
}

fn make_empty(folder: &Path, account: Account) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    account.own(folder)
}

/// How a client proves itself: by the password as it is. For a role that somebody adds, a SCRAM exchange hashes
/// thousands of times, which takes an unoptimised client a tenth of a second for each connection, and other
/// users of the machine cannot read its loopback.
const AUTHENTICATION: &str = "--auth=password";

/// What PostgreSQL stores in place of the password: a SCRAM verifier (RFC 5803, section 2) of a single iteration.
///
/// PostgreSQL itself makes one of 4096, and repeats them for each connection: a sixth of its work in the tests.
/// Iterations protect a password that can be guessed, and this one has 192 random bits.
fn verifier(password: &SecretString) -> String {
    let mut salt = [0; 16];
    rand::fill(&mut salt).expect("the system gives random bytes");
    let mac = |key: &[u8], text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text);
    // RFC 5802, section 3. The number of the block, 1, is a part of the first iteration.
    let first = [&salt[..], &1_u32.to_be_bytes()].concat();
    let salted = mac(password.expose_secret().as_bytes(), &first);
    let client_key = mac(salted.as_ref(), b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let server_key = mac(salted.as_ref(), b"Server Key");
    let [salt, stored_key, server_key] = [&salt[..], stored_key.as_ref(), server_key.as_ref()]
        .map(|part| BASE64_STANDARD.encode(part));
    format!("SCRAM-SHA-256$1:{salt}${stored_key}:{server_key}")
}

fn run_initdb(
    home: &Home,
    programs: &Programs,
    durability: Durability,
    password: &SecretString,
    data: &Path,
    lock: File,
) -> Result<(), ClusterError> {
    let initdb = programs.path("initdb");
    let mut command = shell(home.account(), INITDB);
    command
        .arg(&initdb)
        .arg("-D")
        .arg(data)
        .args(["--username", ROLE, "--encoding=UTF8", "--locale=C"])
        .args(["--no-instructions", AUTHENTICATION])
        .args((durability == Durability::Throwaway).then_some("--no-sync"))
        .stdout(lock)
        .stderr(home.new_log()?);
    let mut child = command.spawn().map_err(ClusterError::at(&initdb))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If nothing reads this, `initdb` has failed, and its failure is reported.
        let _ = stdin.write_all(verifier(password).as_bytes());
    }
    let status = child.wait().map_err(ClusterError::at(&initdb))?;
    if status.success() {
        return Ok(());
    }
    Err(ClusterError::Initdb {
        log: tail(&home.log()),
    })
}

/// A shell that runs `script`, in a process group of its own, with its input held by this process: a signal
/// from the terminal must reach this process and not PostgreSQL.
fn shell(account: Account, script: &str) -> Command {
    let mut command = account.command(Path::new("/bin/sh"));
    command
        .args(["-c", script, "sh"])
        .stdin(Stdio::piped())
        .process_group(0);
    command
}

/// The settings of PostgreSQL. Of a setting that is given twice, the later one counts.
///
/// There is no Unix socket: its path would have to be short, and TCP with a password is as private.
pub(super) fn settings(durability: Durability, extra: &[&str]) -> Vec<String> {
    let common = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "shared_buffers=32MB",
        "logging_collector=off",
        "log_destination=stderr",
    ];
    let special: &[&str] = match durability {
        Durability::Kept => &["max_connections=100"],
        Durability::Throwaway => &[
            "max_connections=300",
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ],
    };
    let all = [&common, special, extra];
    all.concat().into_iter().map(str::to_owned).collect()
}

fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Whether the start that has just failed did so because another program has the port.
pub(super) fn lost_its_port(home: &Home) -> bool {
    home.log().contains("could not create any TCP/IP sockets")
}

/// Whether the text of `postmaster.pid` says that connections are taken; `pg_ctl` looks at the
/// same line.
fn says_ready(status: &str) -> bool {
    status.lines().nth(7).is_some_and(|l| l.trim() == "ready")
}

/// The end of a log, on one line.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().rev().take(5).map(str::trim).collect();
    let lines: Vec<&str> = lines.into_iter().rev().collect();
    match lines[..] {
        [] => "it said nothing".to_owned(),
        _ => lines.join(" | "),
    }
}
