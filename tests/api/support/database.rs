//! A database for each test, copied from one that has all migrations and a signing key.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};

use backoffice_auth::auth::SigningKeys;
use backoffice_auth::dev::Cluster;
use backoffice_auth::store::Store;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use super::app::settings;
use super::cluster;

const TEMPLATE: &str = "test_template";

/// A database that goes when its test is over.
#[derive(Debug)]
pub struct Database {
    name: String,
    pub url: String,
}

impl Database {
    /// One with all migrations and a signing key.
    pub async fn migrated() -> Self {
        static MADE: OnceCell<()> = OnceCell::const_new();
        MADE.get_or_init(make_template).await;
        Self::copy_of(TEMPLATE).await
    }

    /// One without any tables.
    pub async fn empty() -> Self {
        Self::copy_of("template0").await
    }

    /// One without any tables that holds nothing but LATIN1.
    pub async fn latin1() -> Self {
        Self::copy_of("template0 ENCODING 'LATIN1' LOCALE 'C'").await
    }

    /// Runs a statement as the superuser.
    pub async fn execute(&self, statement: String) {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        execute(&mut connection, statement).await;
    }

    /// The same database for another role.
    pub fn url_of(&self, role: &str, password: &str) -> String {
        let (_, place) = self.url.split_once('@').unwrap();
        format!("postgres://{role}:{password}@{place}")
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    async fn copy_of(template: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // With the process in it: the last run's janitor may have left some.
        let name = format!("test_{}_{count}", std::process::id());
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        execute(&mut admin().await, create).await;
        let url = postgres().url(&name);
        Self { name, url }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // It runs on beside the next test. The next run sweeps away the databases that it does not get to.
        let _ = janitor().send(std::mem::take(&mut self.name));
    }
}

/// The cluster of this process. It is never dropped, and stops when the process ends.
fn postgres() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| cluster::start("api"))
}

async fn admin() -> PgConnection {
    PgConnection::connect(&postgres().url("postgres"))
        .await
        .unwrap()
}

async fn execute(connection: &mut PgConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .unwrap();
}

async fn make_template() {
    let mut admin = admin().await;
    let left: Vec<String> =
        sqlx::query_scalar("SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'")
            .fetch_all(&mut admin)
            .await
            .unwrap();
    for name in left {
        execute(&mut admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
    execute(&mut admin, format!("CREATE DATABASE {TEMPLATE}")).await;

    let config = settings(&postgres().url(TEMPLATE), &[]);
    let store = Store::connect(&config.database).await.unwrap();
    store.migrate().await.unwrap();
    SigningKeys::new(store.clone(), &config)
        .ensure_first()
        .await
        .unwrap();
    store.close();
}

/// Removes databases, one after the other, on a thread that outlives every test.
fn janitor() -> &'static mpsc::Sender<String> {
    static JANITOR: OnceLock<mpsc::Sender<String>> = OnceLock::new();
    JANITOR.get_or_init(|| {
        let (sender, names) = mpsc::channel::<String>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut admin = admin().await;
                for name in names {
                    execute(&mut admin, format!("DROP DATABASE {name} WITH (FORCE)")).await;
                }
            });
        });
        sender
    })
}
