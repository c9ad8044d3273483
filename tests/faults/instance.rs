//! One server: the built program as a process of its own, or the library in this process where a
//! test moves its clock.

use std::collections::VecDeque;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::client::probe;
use crate::postgres::signal;

/// How long a start or an end may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that is started, killed and started again, always at the same addresses.
pub struct Instance {
    pub public: SocketAddr,
    pub management: SocketAddr,
    variables: Vec<(String, String)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Instance {
    /// One that does not run yet.
    pub fn new(name: &str, variables: Vec<(String, String)>) -> Self {
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{name}.log"));
        // Emptied: it is about this run.
        File::create(&log).unwrap();
        Self {
            public: free_address(),
            management: free_address(),
            variables,
            log,
            child: None,
        }
    }

    /// Starts the program without waiting for it.
    pub fn spawn(&mut self) {
        let program = std::env::var_os("FAULTS_PROGRAM")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_backoffice-auth").into());
        let log = File::options().append(true).open(&self.log).unwrap();
        let mut command = Command::new(program);
        command
            .arg("serve")
            .env_clear()
            .envs(self.variables.clone())
            .env("BACKOFFICE_AUTH__HTTP__LISTEN", self.public.to_string())
            .env(
                "BACKOFFICE_AUTH__HTTP__MANAGEMENT_LISTEN",
                self.management.to_string(),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        self.child = Some(command.spawn().unwrap());
    }

    /// Starts the program and waits until it is ready.
    pub async fn start(&mut self) {
        self.spawn();
        let ready = async {
            while probe(self.management, "/health/ready").await != Some(200) {
                let ended = self.child.as_mut().unwrap().try_wait().unwrap();
                assert!(ended.is_none(), "it ended: {}", self.last_words());
                sleep(Duration::from_millis(20)).await;
            }
        };
        let started = timeout(PATIENCE, ready).await;
        assert!(started.is_ok(), "it does not start: {}", self.last_words());
    }

    /// Whether it still runs, without a restart.
    pub fn runs(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    pub fn process_id(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).unwrap()
    }

    /// Ends it the way `kill -9` does.
    pub async fn kill(&mut self) {
        self.child.take().unwrap().kill().await.unwrap();
    }

    /// Tells it to stop and waits until it has; tells whether it ended well.
    pub async fn terminate(&mut self) -> bool {
        signal("TERM", &[self.process_id()]);
        let mut child = self.child.take().unwrap();
        let status = timeout(PATIENCE, child.wait()).await;
        status.expect("it does not stop").unwrap().success()
    }

    /// The log's last lines.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut last = VecDeque::new();
        for line in text.lines() {
            last.push_back(line);
            if last.len() > 5 {
                last.pop_front();
            }
        }
        Vec::from(last).join("\n")
    }
}

/// An address that is free, and that the system gives to nobody by chance meanwhile: below the ports
/// that connections get.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 11_000).unwrap();
    loop {
        let port = 20_000 + (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
