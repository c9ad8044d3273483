//! The server under test: the program itself, on a PostgreSQL of its own.

use std::fs::File;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use backoffice_auth::auth::SigningKeys;
use backoffice_auth::config::{Config, PasswordsConfig};
use backoffice_auth::dev::{Cluster, Durability};
use backoffice_auth::domain::{Clock, PlainPassword};
use backoffice_auth::password::HashingPool;
use backoffice_auth::store::Store;
use backoffice_auth::token::Tokens;
use tokio::time::Instant;

use super::accounts;

const PROGRAM: &str = env!("CARGO_BIN_EXE_backoffice-auth");

pub const PASSWORD: &str = "violet-anvil-67";

/// A PostgreSQL that is thrown away at the end.
pub struct Machine {
    folder: PathBuf,
    pub cluster: Cluster,
}

impl Machine {
    pub fn set_up() -> anyhow::Result<Self> {
        Self::with(Durability::Throwaway, &[])
    }

    pub fn with(durability: Durability, settings: &[&str]) -> anyhow::Result<Self> {
        let name = format!("backoffice-auth-bench-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let cluster = Cluster::start_with(&folder.join("postgres"), durability, settings)?;
        Ok(Self { folder, cluster })
    }

    /// CPU time of all of PostgreSQL.
    pub fn database_cpu(&self) -> anyhow::Result<Duration> {
        let postmaster = self.cluster.process_id().context("PostgreSQL runs")?;
        accounts::cpu_of_family(postmaster)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.cluster.halt();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A running server. It ends when it is dropped.
pub struct Server {
    child: Child,
    pub public: SocketAddr,
    /// From the start of the process to the first "ready".
    pub start: Duration,
}

/// The program's surroundings, with which every command of it runs.
pub struct Setting {
    program: PathBuf,
    variables: Vec<(String, String)>,
    log: PathBuf,
    public: SocketAddr,
    management: SocketAddr,
}

impl Setting {
    pub fn new(machine: &Machine, extra: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (public, management) = (free_address()?, free_address()?);
        let mut variables: Vec<(String, String)> = [
            ("DATABASE__URL", machine.cluster.url("postgres")),
            ("DATABASE__MAX_CONNECTIONS", "16".to_owned()),
            (
                "SECRETS__MASTER_KEY",
                "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
            ),
            ("TOKENS__ISSUER", "https://auth.example.com".to_owned()),
            ("MAIL__TRANSPORT", "log".to_owned()),
            ("HTTP__LISTEN", public.to_string()),
            ("HTTP__MANAGEMENT_LISTEN", management.to_string()),
            ("HTTP__TRUSTED_PROXIES", "127.0.0.1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        variables.extend(
            extra
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        Ok(Self {
            program: PROGRAM.into(),
            variables,
            log: machine.folder.join("log"),
            public,
            management,
        })
    }

    /// The same for another build of the program.
    pub fn of(self, program: &Path) -> Self {
        Self {
            program: program.to_owned(),
            ..self
        }
    }

    fn environment(&self) -> impl Iterator<Item = (String, String)> {
        let variables = self.variables.iter();
        variables.map(|(name, value)| (format!("BACKOFFICE_AUTH__{name}"), value.clone()))
    }

    /// The configuration that the program has, for those who work beside it.
    pub fn config(&self) -> anyhow::Result<Config> {
        Ok(Config::load(None, self.environment())?.config)
    }

    /// Tokens under the keys of the program.
    pub async fn tokens(&self) -> anyhow::Result<Tokens> {
        let config = self.config()?;
        let store = Store::connect(&config.database).await?;
        let ring = SigningKeys::new(store, &config).open_ring().await?;
        Ok(Tokens::new(&config.tokens, ring, Clock::system()))
    }

    /// The hash of everybody's password under these parameters.
    pub async fn hash(&self, memory_kib: u32, iterations: u32) -> anyhow::Result<String> {
        let pool = HashingPool::new(PasswordsConfig {
            memory_kib,
            iterations,
            ..self.config()?.passwords
        });
        let hash = pool.hash(PlainPassword::parse(PASSWORD)?).await?;
        Ok(hash.hash().expose().to_owned())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().envs(self.environment());
        command
    }

    /// Makes users numbered from zero, all with the same password.
    pub fn import(
        &self,
        users: usize,
        prefix: &str,
        hash: &str,
        two_factor: &str,
    ) -> anyhow::Result<()> {
        let lines = (0..users).map(|number| {
            format!(
                r#"{{"email":"{}","passwordHash":"{hash}","twoFactor":"{two_factor}"}}"#,
                address(prefix, number)
            )
        });
        let lines: Vec<String> = lines.collect();
        let mut importer = self
            .command(&["user", "import", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut input = importer.stdin.take().context("its input is a pipe")?;
        input.write_all(lines.join("\n").as_bytes())?;
        drop(input);
        anyhow::ensure!(importer.wait()?.success(), "the users are imported");
        Ok(())
    }

    pub fn migrate(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.command(&["migrate"]).status()?.success(), "migrated");
        Ok(())
    }

    pub fn start(&self) -> anyhow::Result<Server> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let started = Instant::now();
        let child = self.command(&["serve"]).stderr(log).spawn()?;
        let mut server = Server {
            child,
            public: self.public,
            start: Duration::ZERO,
        };
        while !is_ready(self.management) {
            anyhow::ensure!(
                server.child.try_wait()?.is_none(),
                "{}",
                last_lines(&self.log)?
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        server.start = started.elapsed();
        Ok(server)
    }
}

/// The address of a user of [`Setting::import`].
pub fn address(prefix: &str, number: usize) -> String {
    format!("{prefix}{number}@example.com")
}

/// A network of its own for each number.
pub fn network(number: usize) -> Ipv4Addr {
    let number = u32::try_from(number % 0x00ff_ffff).unwrap_or_default();
    Ipv4Addr::from(0x0a00_0000 | number)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn is_ready(management: SocketAddr) -> bool {
    use std::io::Read as _;
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(management)?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| answer == "HTTP/1.1 200")
}

fn last_lines(log: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(log)?;
    Ok(text.lines().rev().take(5).collect::<Vec<_>>().join("\n"))
}

impl Server {
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        accounts::cpu(self.child.id())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
