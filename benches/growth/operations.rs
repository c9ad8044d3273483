//! The measured operations, on a filled database and on a server of its own.

use std::time::Duration;

use anyhow::Context as _;
use backoffice_auth::admin::Admin;
use backoffice_auth::domain::{FeedCursor, MailKind, UserId};
use backoffice_auth::store::{Due, PurgedTable, Store};
use serde_json::json;
use tokio::time::Instant;

use super::backends::Accounts;
use super::loader::Database;
use super::measure::quantile;
use super::server::{Machine, PASSWORD, Server, Setting, network};
use super::wire::{Caller, post};
use super::{TURNS, loader};

/// Rows that are purged at a time, as the server does.
const BATCH: i64 = 1000;

/// Ended sessions that are looked through at a time, as the server does.
const LOOKED_THROUGH: i64 = 10_000;

/// Users who are picked: all that there are in the smaller database.
const USERS: i64 = 1000;

/// Something that a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Refresh,
    Signin,
    PurgeSessions,
    PurgeNothing,
    PollEnded,
    ReadEnded,
    LeaseMails,
    ListSessions,
    ListUsers,
    Explain,
}

impl Operation {
    pub const ALL: [Self; 10] = [
        Self::Refresh,
        Self::Signin,
        Self::PurgeSessions,
        Self::PurgeNothing,
        Self::PollEnded,
        Self::ReadEnded,
        Self::LeaseMails,
        Self::ListSessions,
        Self::ListUsers,
        Self::Explain,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Signin => "sign-in",
            Self::PurgeSessions => "purge of 1000 sessions",
            Self::PurgeNothing => "purge, nothing to do",
            Self::PollEnded => "ended sessions: a poll",
            Self::ReadEnded => "ended sessions: a step of the first",
            Self::LeaseMails => "outbox: a poll, nothing due",
            Self::ListSessions => "a user's sessions",
            Self::ListUsers => "a page of 100 users",
            Self::Explain => "explain an address",
        }
    }

    /// How often in a turn.
    fn times(self) -> usize {
        match self {
            Self::Refresh => 800,
            Self::Signin => 300,
            Self::PollEnded | Self::LeaseMails | Self::ListSessions => 200,
            Self::Explain => 50,
            Self::ListUsers | Self::PurgeNothing => 20,
            Self::ReadEnded => 3,
            Self::PurgeSessions => 2,
        }
    }

    /// How often in all: in the turns, in one before them, and for the plans.
    fn times_in_all(self) -> usize {
        self.times() * (TURNS + 1) + REPEATS
    }
}

/// How often each is done for its plan: PostgreSQL settles on one after the fifth time.
const REPEATS: usize = 12;

/// The cost of one operation.
#[derive(Debug)]
pub struct Cost {
    /// CPU time of PostgreSQL, in microseconds.
    pub database: f64,
    /// From the request to its answer, in microseconds.
    pub latency: f64,
    /// The bytes that it writes to the write-ahead log.
    pub wal: f64,
}

/// A filled database and a server on it.
pub struct Side {
    pub sessions: i64,
    pub database: Database,
    setting: Setting,
    server: Option<Server>,
    store: Store,
    admin: Admin,
    refreshes: Vec<String>,
    signins: Vec<String>,
    users: Vec<UserId>,
    addresses: Vec<String>,
    done: usize,
    /// Where the ends were read to when the operations at hand were begun.
    head: Option<FeedCursor>,
}

impl Side {
    /// Makes a database with so many sessions, and starts a server on it.
    pub async fn fill(machine: &Machine, name: &str, sessions: i64) -> anyhow::Result<Self> {
        loader::create(machine, name).await?;
        let url = machine.cluster.url(name);
        let cheap = [
            ("DATABASE__URL", url.as_str()),
            ("PASSWORDS__MEMORY_KIB", "8"),
            ("PASSWORDS__ITERATIONS", "1"),
        ];
        let setting = Setting::new(machine, &cheap)?;
        // The first start makes the schema and the signing key.
        drop(setting.start()?);
        let database = Database::open(&url, &setting).await?;
        database.fill(sessions).await?;
        let tokens = database
            .refresh_tokens(Operation::Refresh.times_in_all())
            .await?;
        let users = database.users(USERS).await?;
        let (users, addresses): (Vec<_>, Vec<_>) = users.into_iter().unzip();
        // With few users, each signs in several times, from different networks.
        let signers = addresses
            .iter()
            .cycle()
            .take(Operation::Signin.times_in_all());
        let config = setting.config()?;
        let store = Store::connect(&config.database).await?;
        Ok(Self {
            sessions,
            database,
            server: Some(setting.start()?),
            admin: Admin::new(store.clone(), &config),
            store,
            refreshes: (tokens.iter().enumerate())
                .map(|(number, token)| refresh(token, number))
                .collect(),
            signins: (signers.enumerate())
                .map(|(number, email)| signin(email, number))
                .collect(),
            users,
            addresses,
            setting,
            done: 0,
            head: None,
        })
    }

    /// Opens all connections again.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        let config = self.setting.config()?;
        self.store = Store::connect(&config.database).await?;
        self.admin = Admin::new(self.store.clone(), &config);
        // Both listen on the same address.
        self.server = None;
        self.server = Some(self.setting.start()?);
        Ok(())
    }

    /// The present cost of an operation.
    pub async fn measure(&mut self, operation: Operation) -> anyhow::Result<Cost> {
        let times = operation.times();
        self.get_ready(operation, times).await?;
        self.database.checkpoint().await?;
        let (pool, mut caller) = (self.database.pool().clone(), self.connect().await?);
        let (written, used) = (self.database.written().await?, Accounts::read(&pool).await?);
        let mut latencies = Vec::with_capacity(times);
        for _ in 0..times {
            let asked = Instant::now();
            self.perform(operation, &mut caller).await?;
            latencies.push(micros(asked.elapsed()));
        }
        let used = Accounts::read(&pool).await?.since(&used);
        let written = u32::try_from(self.database.written().await? - written)?;
        let count = f64::from(u32::try_from(times)?);
        Ok(Cost {
            database: micros(used) / count,
            latency: quantile(&latencies, 0.5),
            wal: f64::from(written) / count,
        })
    }

    /// Each operation some times.
    pub async fn repeat_all(&mut self) -> anyhow::Result<()> {
        for operation in Operation::ALL {
            self.get_ready(operation, REPEATS).await?;
            let mut caller = self.connect().await?;
            for _ in 0..REPEATS {
                self.perform(operation, &mut caller).await?;
            }
        }
        Ok(())
    }

    async fn get_ready(&mut self, operation: Operation, times: usize) -> anyhow::Result<()> {
        if operation == Operation::PurgeSessions {
            let count = BATCH * i64::try_from(times)?;
            self.database.insert_outlived(count).await?;
        }
        self.head = Some(self.store.find_feed_head().await?);
        Ok(())
    }

    async fn connect(&self) -> anyhow::Result<Caller> {
        let server = self.server.as_ref().context("the server runs")?;
        Caller::connect(server.public).await
    }

    async fn perform(&mut self, operation: Operation, caller: &mut Caller) -> anyhow::Result<()> {
        self.done += 1;
        let number = self.done % self.users.len();
        match operation {
            Operation::Refresh => ask(caller, self.refreshes.pop()).await?,
            Operation::Signin => ask(caller, self.signins.pop()).await?,
            Operation::PurgeSessions => {
                let removed = self.store.purge(PurgedTable::Sessions, BATCH).await?;
                anyhow::ensure!(removed > 0, "there is something to purge");
            }
            Operation::PurgeNothing => self.purge_nothing().await?,
            Operation::PollEnded => self.poll_ended().await?,
            Operation::ReadEnded => {
                self.store.list_ends_by_date(None, LOOKED_THROUGH).await?;
            }
            Operation::LeaseMails => {
                let lease = Duration::from_mins(1);
                self.store
                    .lease_due_mails(MailKind::ALL, Due::New, 8, lease)
                    .await?;
            }
            Operation::ListSessions => {
                self.store.list_sessions(self.users[number]).await?;
            }
            Operation::ListUsers => {
                self.store.list_users(self.users[number], 100).await?;
            }
            Operation::Explain => {
                self.admin
                    .explain_address(&self.addresses[number].parse()?)
                    .await?;
            }
        }
        Ok(())
    }

    /// The statements of the worker in each round, when there is nothing to purge.
    async fn purge_nothing(&self) -> anyhow::Result<()> {
        for table in PurgedTable::ALL {
            self.store.purge(table, BATCH).await?;
        }
        let retention = Duration::from_hours(90 * 24);
        self.store.purge_audit_events(retention, BATCH).await?;
        self.store.give_up_overdue_mails(BATCH).await?;
        Ok(())
    }

    /// Reads the ends since the operations at hand were begun, of which there are none.
    async fn poll_ended(&self) -> anyhow::Result<()> {
        let head = self.head.as_ref().context("it was read to somewhere")?;
        let step = self.store.list_unseen_ends(head, LOOKED_THROUGH).await?;
        anyhow::ensure!(step.is_some(), "the history is the same");
        Ok(())
    }
}

async fn ask(caller: &mut Caller, request: Option<String>) -> anyhow::Result<()> {
    let request = request.context("enough requests were made")?;
    caller.ask(&request).await?.ok()?;
    Ok(())
}

fn refresh(token: &str, number: usize) -> String {
    let body = json!({"refreshToken": token}).to_string();
    post("/api/v2/refresh", network(number), None, &body)
}

fn signin(email: &str, number: usize) -> String {
    let body = json!({"email": email, "password": PASSWORD}).to_string();
    post("/api/v2/signin", network(number), None, &body)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
