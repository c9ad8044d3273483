//! The demo: a private PostgreSQL, a mailbox, keys, three users, the server and a page to sign in on. It
//! needs nothing set up.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use tokio::sync::broadcast;
use tokio_util::sync::DropGuard;

use super::signin_page::SigninPage;
use super::{Cluster, Durability, Mailbox, ReceivedMail};
use crate::admin::{Admin, UserError};
use crate::app::{App, StartError};
use crate::config::{Config, HttpConfig};
use crate::domain::{
    Clock, Operator, PlainPassword, TotpId, TotpSealer, TotpSecret, TotpStep, TwoFactor, UserId,
};
use crate::password::HashingPool;
use crate::store::{SealedTotp, Store};

/// The password of all users, as in the page's example. The rules would refuse it for any other user.
const PASSWORD: &str = "Secret123";

const USERS: [(&str, TwoFactor); 3] = [
    ("foo@bar.com", TwoFactor::Email),
    ("ops@bar.com", TwoFactor::Off),
    (ADMINISTRATOR, TwoFactor::Email),
];

/// The user who manages the others.
const ADMINISTRATOR: &str = "admin@bar.com";

/// The secret of that user's authenticator app: no secret, like the password.
const TOTP_SECRET: &[u8; 20] = b"12345678901234567890";

/// The port of the mailbox page, unless another program has it.
const MAILBOX_PAGE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8025);

const LISTEN_VARIABLE: &str = "BACKOFFICE_AUTH__HTTP__LISTEN";
const MANAGEMENT_VARIABLE: &str = "BACKOFFICE_AUTH__HTTP__MANAGEMENT_LISTEN";

/// Ignored: users with a password that everybody knows belong into no other database than the demo's own.
const DATABASE_VARIABLES: [&str; 3] = [
    "DATABASE_URL",
    "BACKOFFICE_AUTH__DATABASE__URL",
    "BACKOFFICE_AUTH__DATABASE__URL_FILE",
];

/// Everything that a first run needs besides the server: a database, a mailbox, and a configuration for them.
#[derive(Debug)]
pub struct Workshop {
    cluster: Cluster,
    mailbox: Mailbox,
    page: SigninPage,
    /// The settings in `config.toml`, overridden by the environment; the sign-in page may call.
    pub config: Config,
    folder: PathBuf,
}

/// The server, the mailbox, the database and the page, all running.
#[derive(Debug)]
pub struct Demo {
    app: App,
    mailbox: Mailbox,
    cluster: Cluster,
    folder: PathBuf,
    page_origin: String,
    _page: DropGuard,
}

impl Workshop {
    /// Starts PostgreSQL and the mailbox, and writes `config.toml` into `folder`, where all state
    /// lives. The environment overrides that file, except for the address of a database: the demo has its own.
    /// With `offline`, programs of PostgreSQL that are missing are not fetched.
    pub async fn open(
        folder: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        offline: bool,
    ) -> anyhow::Result<Self> {
        make_private_folder(folder)?;
        let folder = fs::canonicalize(folder).context("the folder cannot be found")?;
        let environment = without_a_database(environment);
        let set = |variable, default: &'static str| {
            let set = environment.iter().find(|(name, _)| name == variable);
            set.map_or(default, |(_, value)| value)
        };
        let listen = set(LISTEN_VARIABLE, "127.0.0.1:8080");
        let management = set(MANAGEMENT_VARIABLE, "127.0.0.1:9090");

        let cluster = start_cluster(folder.join("postgres"), offline).await?;
        let mailbox = start_mailbox()
            .await
            .context("the mailbox cannot be started")?;
        let page = SigninPage::bind()
            .await
            .context("the sign-in page has no port")?;
        let text = config_text(
            &folder,
            [listen, management],
            &cluster.url("postgres"),
            mailbox.smtp_addr(),
            &page,
        )?;
        let file = folder.join("config.toml");
        write_private(&file, &text).context("the configuration cannot be written")?;
        let mut config = Config::load(Some(&file), environment)?.config;
        // The page to sign in on is one of them, and so is one that somebody is writing.
        config.http.allows_loopback_pages = true;
        ensure_loopback(&config.http)?;
        Ok(Self {
            cluster,
            mailbox,
            page,
            config,
            folder,
        })
    }
}

fn without_a_database(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let environment = environment.into_iter();
    environment
        .filter(|(name, _)| !DATABASE_VARIABLES.contains(&name.as_str()))
        .collect()
}

impl Demo {
    /// Starts the server on the workshop's database, and makes the demo users.
    pub async fn start(workshop: Workshop) -> anyhow::Result<Self> {
        // The users come first, so that they can sign in as soon as the server is ready.
        make_users(&workshop.config).await?;
        let http = &workshop.config.http;
        let app = match App::start(&workshop.config, Clock::system()).await {
            Err(error @ StartError::Listen { address, .. }) => {
                let variable = match address {
                    address if address == http.management_listen => MANAGEMENT_VARIABLE,
                    _ => LISTEN_VARIABLE,
                };
                return Err(error).context(format!("to listen elsewhere, set {variable}"));
            }
            started => started?,
        };
        let Workshop {
            cluster,
            mailbox,
            page,
            folder,
            ..
        } = workshop;
        let page_origin = page.origin();
        let page = page.serve(app.public_addr(), mailbox.page_addr());
        Ok(Self {
            app,
            mailbox,
            cluster,
            folder,
            page_origin,
            _page: page,
        })
    }

    /// Every mail from now on, as it arrives.
    #[must_use]
    pub fn mails(&self) -> broadcast::Receiver<Arc<ReceivedMail>> {
        self.mailbox.subscribe()
    }

    /// The addresses of all that runs, and the calls to try.
    #[must_use]
    pub fn welcome(&self) -> String {
        let mailbox = self.mailbox.page_addr().map(|page| page.to_string());
        let config = self.folder.join("config.toml");
        include_str!("welcome.txt")
            .replace("{public}", &self.app.public_addr().to_string())
            .replace("{management}", &self.app.management_addr().to_string())
            .replace("{page}", &self.page_origin)
            .replace("{mailbox}", &mailbox.unwrap_or_default())
            .replace("{config}", &config.display().to_string())
            .replace("{secret}", totp_secret().base32().expose_secret())
            .replace("{database}", &self.database_folder())
    }

    /// A note with the folder of the database and the reason, if it is not in the folder of the demo.
    fn database_folder(&self) -> String {
        let folder = self.cluster.folder();
        let outside = if folder.starts_with(&self.folder) {
            ""
        } else {
            "\n                (not in .dev, where PostgreSQL's user cannot get to; remove both to start afresh)"
        };
        format!("{}{outside}", folder.display())
    }

    /// Stops the server, then the mailbox, then PostgreSQL.
    pub async fn stop(self) {
        self.app.stop().await;
        drop(self.mailbox);
        let cluster = self.cluster;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(|| cluster.stop()).await {
            tracing::warn!(%error, "PostgreSQL did not stop as it should");
        }
    }
}

/// Starts PostgreSQL on a folder; with `offline`, only programs that are on this machine already.
async fn start_cluster(folder: PathBuf, offline: bool) -> anyhow::Result<Cluster> {
    let start = if offline {
        Cluster::start_offline
    } else {
        Cluster::start
    };
    let started = tokio::task::spawn_blocking(move || start(&folder, Durability::Kept));
    Ok(started.await??)
}

/// Refuses addresses that other machines could reach.
fn ensure_loopback(http: &HttpConfig) -> anyhow::Result<()> {
    for listen in [http.listen, http.management_listen] {
        let is_loopback = listen.ip().to_canonical().is_loopback();
        ensure!(
            is_loopback,
            "dev listens on loopback alone, and {listen} is not: use `serve`"
        );
    }
    Ok(())
}

async fn start_mailbox() -> io::Result<Mailbox> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match Mailbox::start(anywhere, Some(MAILBOX_PAGE), Clock::system()).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Mailbox::start(anywhere, Some(anywhere), Clock::system()).await
        }
        started => started,
    }
}

/// Quotes a text for TOML: a JSON string is a basic TOML string.
fn config_text(
    folder: &Path,
    [listen, management]: [&str; 2],
    database_url: &str,
    smtp: SocketAddr,
    page: &SigninPage,
) -> anyhow::Result<String> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let key_file = folder.join("master_key");
    if !key_file.exists() {
        write_private(&key_file, &new_master_key()?).context("the key cannot be written")?;
    }
    Ok(include_str!("config.toml.txt")
        .replace("{listen}", &quoted(listen))
        .replace("{management_listen}", &quoted(management))
        .replace("{issuer}", &quoted(&format!("http://{listen}")))
        .replace("{page}", &quoted(&page.origin()))
        .replace("{password_url}", &quoted(&page.password_url()))
        .replace("{database_url}", &quoted(database_url))
        .replace("{master_key_file}", &quoted(&key_file.to_string_lossy()))
        .replace("{smtp_host}", &quoted(&smtp.ip().to_string()))
        .replace("{smtp_port}", &smtp.port().to_string()))
}

fn new_master_key() -> anyhow::Result<String> {
    let mut key = [0; 32];
    aws_lc_rs::rand::fill(&mut key).context("the operating system gives no randomness")?;
    Ok(STANDARD.encode(key))
}

fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Writes a file that no other user can read, all of it or nothing.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&part, path)
}

async fn make_users(config: &Config) -> anyhow::Result<()> {
    let store = Store::connect(&config.database).await?;
    store.migrate().await?;
    let (admin, actor) = (Admin::new(store.clone(), config), Operator::named("dev"));
    let pool = HashingPool::new(config.passwords);
    for (email, two_factor) in USERS {
        let email = email.parse().context("a demo address")?;
        if matches!(admin.find_user(&email).await, Err(UserError::Unknown)) {
            let hash = pool.hash(PlainPassword::parse(PASSWORD)?).await?;
            let user_id = admin.insert_user(&actor, &email, hash, two_factor).await?;
            if email.as_str() == ADMINISTRATOR {
                enrol_app(&store, config, user_id).await?;
                admin.change_administrator(&actor, &email, true).await?;
            }
        }
    }
    store.close();
    Ok(())
}

fn totp_secret() -> TotpSecret {
    TotpSecret::from_bytes(TOTP_SECRET).expect("it has the length of a secret")
}

/// Enrols the administrator's authenticator app, as if its first code had been right.
async fn enrol_app(store: &Store, config: &Config, user_id: UserId) -> anyhow::Result<()> {
    let totp_id = TotpId::random();
    let sealer = TotpSealer::new(&config.secrets.master_key);
    let totp = SealedTotp {
        totp_id,
        user_id,
        secret: sealer.seal(totp_id, user_id, &totp_secret()),
    };
    let mut tx = store.begin().await?;
    tx.begin_totp(&totp, Duration::from_mins(1)).await?;
    tx.confirm_totp(totp_id, user_id, TotpStep(0)).await?;
    Ok(tx.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_takes_settings_from_the_environment_but_no_database() {
        let names = [
            "DATABASE_URL",
            "BACKOFFICE_AUTH__DATABASE__URL",
            "BACKOFFICE_AUTH__DATABASE__URL_FILE",
            LISTEN_VARIABLE,
        ];
        let environment = names.map(|name| (name.to_owned(), "a value".to_owned()));
        let kept = without_a_database(environment);
        assert_eq!(kept, [(LISTEN_VARIABLE.to_owned(), "a value".to_owned())]);
    }
}
