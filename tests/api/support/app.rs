//! The server under test, with all that it needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

use backoffice_auth::admin::Admin;
use backoffice_auth::app::{App, StartError};
use backoffice_auth::config::Config;
use backoffice_auth::dev::{Behaviour, Mailbox, ReceivedMail};
use backoffice_auth::domain::{self, TwoFactor};
use backoffice_auth::password::HashingPool;
use backoffice_auth::store::Store;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool, Postgres, Transaction};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::scanner::{self, Kind, Watch};
use super::{Answer, Database, OPERATOR, PASSWORD, Pair, Person, soon};

pub const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Tests at a time that have servers running: each takes its share of PostgreSQL's connections.
static PLACES: Semaphore = Semaphore::const_new(12);

/// The settings that differ from the defaults in every test: ports that are free, hashes that cost nothing, and
/// a trusted proxy, which is how a test chooses the network that it comes from.
const SETTINGS: [(&str, &str); 15] = [
    ("http.listen", "127.0.0.1:0"),
    ("http.management_listen", "127.0.0.1:0"),
    ("http.trusted_proxies", "127.0.0.1"),
    ("http.drain_seconds", "0"),
    ("database.max_connections", "8"),
    ("database.wait_seconds", "0"),
    ("secrets.master_key", MASTER_KEY),
    ("tokens.issuer", "https://auth.example.com"),
    ("passwords.memory_kib", "64"),
    ("passwords.iterations", "1"),
    ("passwords.workers", "2"),
    ("mail.from", "Back Office <no-reply@example.com>"),
    ("mail.smtp.host", "127.0.0.1"),
    ("mail.smtp.port", "1"),
    ("mail.smtp.tls", "none"),
];

/// The variables that set these keys and all that every test has in common.
pub fn variables(database: &str, extra: &[(&str, &str)]) -> Vec<(String, String)> {
    let url = [("database.url", database)];
    let all = SETTINGS.iter().chain(&url).chain(extra);
    all.map(|(key, value)| {
        let name = key.replace('.', "__").to_ascii_uppercase();
        (format!("BACKOFFICE_AUTH__{name}"), (*value).to_owned())
    })
    .collect()
}

/// The configuration of a test, through the real loader.
pub fn settings(database: &str, extra: &[(&str, &str)]) -> Config {
    // Of two values for a key the later one counts.
    let loaded = Config::load(None, variables(database, extra));
    loaded.unwrap_or_else(|error| panic!("{error}")).config
}

/// The test's own way to the database. Its statements are no business of the log's.
fn connect(url: &str) -> PgPool {
    let options: PgConnectOptions = url.parse().unwrap();
    let pool = PgPoolOptions::new().max_connections(3);
    pool.connect_lazy_with(options.disable_statement_logging())
}

/// Has the log read for the secrets of a configuration.
fn know_secrets(config: &Config) {
    if let Some(password) = password_in(config.database.url.expose_secret()) {
        scanner::know(Kind::Server, password);
    }
    let master_key = BASE64_STANDARD.decode(MASTER_KEY).unwrap();
    scanner::know_bytes(Kind::Server, &master_key);
    scanner::know(Kind::Password, PASSWORD);
}

/// The password in a database's address, if it is more than a word.
fn password_in(url: &str) -> Option<&str> {
    let (user, _) = url.rsplit_once('@')?;
    user.rsplit(':')
        .next()
        .filter(|password| password.len() >= 8)
}

/// The process clock: the machine's, moved.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).unwrap();
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }

    pub fn go_back(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).unwrap();
        self.0.fetch_sub(seconds, Ordering::Relaxed);
    }

    fn hand_out(&self) -> domain::Clock {
        let (moved, system) = (Arc::clone(&self.0), domain::Clock::system());
        domain::Clock::new(move || system.now() + TimeDelta::seconds(moved.load(Ordering::Relaxed)))
    }
}

/// The parts that all instances of a test share.
struct World {
    database_url: String,
    sql: PgPool,
    mailbox: Mailbox,
    clock: Clock,
    networks: AtomicU32,
    settings: Vec<(String, String)>,
    admin: OnceCell<Admin>,
    _database: Option<Database>,
    _place: SemaphorePermit<'static>,
    watch: Watch,
}

/// A running server on a database of its own.
pub struct TestApp {
    app: App,
    pub config: Config,
    client: reqwest::Client,
    world: Arc<World>,
}

impl TestApp {
    /// A server with the defaults.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server with these settings.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let database = Database::migrated().await;
        let url = database.url.clone();
        Self::on(&url, Some(database), settings).await
    }

    /// A server on a database that is not the tests' own.
    pub async fn on(url: &str, database: Option<Database>, settings: &[(&str, &str)]) -> Self {
        let place = PLACES.acquire().await.unwrap();
        let clock = Clock::default();
        let mailbox = Mailbox::start(([127, 0, 0, 1], 0).into(), None, clock.hand_out());
        let world = World {
            database_url: url.to_owned(),
            sql: connect(url),
            mailbox: mailbox.await.unwrap(),
            clock,
            networks: AtomicU32::new(0),
            settings: settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            admin: OnceCell::new(),
            _database: database,
            _place: place,
            watch: Watch::start(),
        };
        Self::join(Arc::new(world), &[]).await.unwrap()
    }

    /// Another instance beside this one: the same database, mail relay and clock.
    pub async fn second_instance(&self) -> Self {
        self.try_second_instance(&[]).await.unwrap()
    }

    /// The same with other settings, with which it may not even start.
    pub async fn try_second_instance(&self, extra: &[(&str, &str)]) -> Result<Self, StartError> {
        Self::join(Arc::clone(&self.world), extra).await
    }

    async fn join(world: Arc<World>, extra: &[(&str, &str)]) -> Result<Self, StartError> {
        let port = world.mailbox.smtp_addr().port().to_string();
        let mut all = vec![("mail.smtp.port", port.as_str())];
        all.extend(world.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        all.extend(extra);
        let config = settings(&world.database_url, &all);
        know_secrets(&config);
        let app = App::start(&config, world.clock.hand_out()).await?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Ok(Self {
            app,
            config,
            client,
            world,
        })
    }

    /// Stops it the way SIGTERM does.
    pub async fn stop(self) {
        self.app.stop().await;
    }

    pub fn public_addr(&self) -> SocketAddr {
        self.app.public_addr()
    }

    pub fn management_addr(&self) -> SocketAddr {
        self.app.management_addr()
    }

    pub fn clock(&self) -> &Clock {
        &self.world.clock
    }

    // People

    /// A network that nobody else in this test comes from; each is at another provider.
    pub fn new_network(&self) -> String {
        let n = self.world.networks.fetch_add(1, Ordering::Relaxed);
        format!("10.{}.{}.1", n % 250, n / 250)
    }

    /// Somebody whom the server does not know, in a network of their own.
    pub fn stranger(&self, email: &str) -> Person<'_> {
        Person::new(self, email, self.new_network())
    }

    /// A user for whom the password is enough.
    pub async fn user(&self, email: &str) -> Person<'_> {
        self.create(email, PASSWORD, TwoFactor::Off).await;
        self.stranger(email)
    }

    /// A user who also needs a code.
    pub async fn user_with_code(&self, email: &str) -> Person<'_> {
        self.create(email, PASSWORD, TwoFactor::Email).await;
        self.stranger(email)
    }

    /// A user for whom the password is enough, with the tokens of a sign-in.
    pub async fn signed_in(&self, email: &str) -> (Person<'_>, Pair) {
        let user = self.user(email).await;
        let pair = user.signin().await.pair();
        (user, pair)
    }

    /// Makes a user with any password.
    pub async fn create(&self, email: &str, password: &str, two_factor: TwoFactor) {
        let password = domain::PlainPassword::parse(password).unwrap();
        let hash = self.pool().hash(password).await.unwrap();
        // By its hash: the rules for new passwords would refuse some that the tests need.
        self.admin()
            .await
            .insert_user(&OPERATOR, &email.parse().unwrap(), hash, two_factor)
            .await
            .unwrap();
    }

    /// Sets a user's password, with all that follows.
    pub async fn change_password(&self, email: &str, password: &str) {
        let password = domain::PlainPassword::parse(password).unwrap();
        let admin = self.admin().await;
        admin
            .change_password(&OPERATOR, &self.pool(), &email.parse().unwrap(), password)
            .await
            .unwrap();
    }

    pub fn pool(&self) -> HashingPool {
        HashingPool::new(self.config.passwords)
    }

    /// The use cases of operators.
    pub async fn admin(&self) -> &Admin {
        let admin =
            (self.world.admin).get_or_init(async || Admin::new(self.store().await, &self.config));
        admin.await
    }

    /// A way to the database that is not the server's.
    pub async fn store(&self) -> Store {
        let mut config = self.config.database.clone();
        config.max_connections = 2;
        Store::connect(&config).await.unwrap()
    }

    // Mail

    pub fn mailbox(&self) -> &Mailbox {
        &self.world.mailbox
    }

    pub fn mailbox_does(&self, behaviour: Behaviour) {
        self.world.mailbox.set_behaviour(behaviour);
    }

    /// The next mail to somebody, which must hold no secret but its code.
    pub async fn mail_for(&self, email: &str) -> Arc<ReceivedMail> {
        let mail = soon("a mail", self.world.mailbox.next_for(email)).await;
        scanner::assert_clean("a mail", &mail.raw);
        if let Some(code) = &mail.code {
            scanner::know(Kind::Code(self.world.watch.id), code);
        }
        mail
    }

    /// The log since the test began, at every level.
    pub fn logged(&self) -> String {
        String::from_utf8(self.world.watch.text()).unwrap()
    }

    /// The code in the next mail to somebody that has one.
    pub async fn code_for(&self, email: &str) -> String {
        loop {
            if let Some(code) = &self.mail_for(email).await.code {
                return code.clone();
            }
        }
    }

    // HTTP

    /// Sends a request to the public listener.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = soon("an answer", request.send()).await.unwrap();
        Answer::of(response).await
    }

    /// The start of a request to the public listener from some network.
    pub fn request(&self, method: &str, path: &str, network: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.public_addr());
        self.client
            .request(method.parse().unwrap(), url)
            .header("x-forwarded-for", network)
    }

    /// `POST` with JSON from some network.
    pub async fn post(&self, path: &str, network: &str, body: &Value) -> Answer {
        self.send(self.request("POST", path, network).json(body))
            .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        let network = self.new_network();
        self.send(self.request("GET", path, &network)).await
    }

    /// The status that a probe gets.
    pub async fn probe(&self, path: &str) -> u16 {
        let url = format!("http://{}{path}", self.management_addr());
        let response = soon("an answer", self.client.get(url).send()).await;
        response.unwrap().status().as_u16()
    }

    /// The text that a scraper gets.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.management_addr());
        let response = soon("the metrics", self.client.get(url).send()).await;
        response.unwrap().text().await.unwrap()
    }

    pub async fn jwks(&self) -> Value {
        serde_json::from_slice(&self.get("/.well-known/jwks.json").await.body).unwrap()
    }

    // The database

    pub fn database_url(&self) -> &str {
        &self.world.database_url
    }

    pub fn database_password(&self) -> String {
        password_in(&self.world.database_url).unwrap().to_owned()
    }

    pub fn sql(&self) -> &PgPool {
        &self.world.sql
    }

    /// A transaction that has run a statement, and holds the locks of it until it ends.
    pub async fn hold(&self, statement: &'static str) -> Transaction<'static, Postgres> {
        let mut transaction = self.sql().begin().await.unwrap();
        let done = sqlx::query(statement).execute(&mut *transaction).await;
        done.unwrap();
        transaction
    }

    /// Runs a statement and tells how many rows it touched.
    pub async fn execute(&self, statement: &'static str) -> u64 {
        let done = sqlx::query(statement).execute(self.sql()).await;
        done.unwrap().rows_affected()
    }

    /// The number that a statement selects.
    pub async fn count(&self, statement: &'static str) -> i64 {
        let counted = sqlx::query_scalar(statement).fetch_one(self.sql()).await;
        counted.unwrap()
    }

    /// The reasons in the audit log, oldest first.
    pub async fn audit(&self) -> Vec<String> {
        let reasons = "SELECT kind || ' ' || outcome || ' ' || reason
                         FROM audit_events ORDER BY event_id";
        let reasons = sqlx::query_scalar(reasons).fetch_all(self.sql()).await;
        reasons.unwrap()
    }

    /// How often this line is in the audit log.
    pub async fn recorded(&self, line: &str) -> usize {
        let lines = self.audit().await;
        lines.iter().filter(|entry| *entry == line).count()
    }

    /// How many of the server's statements wait for a lock.
    pub async fn waits_for_locks(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await
    }

    /// Lets this much time pass for everything in the database but the signing keys.
    pub async fn age(&self, by: Duration) {
        self.age_sessions(by).await;
        self.age_attempts(by).await;
        self.age_challenges(by).await;
        self.age_links(by).await;
        self.age_known_networks(by).await;
    }

    pub async fn age_sessions(&self, by: Duration) {
        self.shift(
            "UPDATE sessions
                SET created_at = created_at - $1, rotated_at = rotated_at - $1,
                    grace_from = grace_from - $1, last_used_at = last_used_at - $1,
                    access_expires_at = access_expires_at - $1,
                    idle_expires_at = idle_expires_at - $1, expires_at = expires_at - $1,
                    access_horizon_at = access_horizon_at - $1, ended_at = ended_at - $1,
                    refresh_blocked_until = refresh_blocked_until - $1,
                    refresh_hits = ARRAY(SELECT hit - $1 FROM unnest(refresh_hits) AS hit)",
            by,
        )
        .await;
    }

    pub async fn age_attempts(&self, by: Duration) {
        self.shift(
            "UPDATE attempts
                SET hits = ARRAY(SELECT hit - $1 FROM unnest(hits) AS hit),
                    in_flight = ARRAY(SELECT hit - $1 FROM unnest(in_flight) AS hit),
                    blocked_until = blocked_until - $1, stale_at = stale_at - $1",
            by,
        )
        .await;
    }

    pub async fn age_challenges(&self, by: Duration) {
        self.shift(
            "UPDATE challenges
                SET created_at = created_at - $1, expires_at = expires_at - $1,
                    consumed_at = consumed_at - $1",
            by,
        )
        .await;
    }

    pub async fn age_links(&self, by: Duration) {
        self.shift(
            "UPDATE links
                SET created_at = created_at - $1, expires_at = expires_at - $1,
                    consumed_at = consumed_at - $1",
            by,
        )
        .await;
    }

    pub async fn age_known_networks(&self, by: Duration) {
        self.shift(
            "UPDATE known_networks SET last_signin_at = last_signin_at - $1",
            by,
        )
        .await;
    }

    pub async fn age_keys(&self, by: Duration) {
        self.shift(
            "UPDATE signing_keys
                SET created_at = created_at - $1, activates_at = activates_at - $1,
                    expires_at = expires_at - $1, revoked_at = revoked_at - $1,
                    refresh_expires_at = refresh_expires_at - $1",
            by,
        )
        .await;
    }

    async fn shift(&self, statement: &'static str, by: Duration) {
        let shifted = sqlx::query(statement).bind(by).execute(self.sql()).await;
        shifted.unwrap();
    }
}
