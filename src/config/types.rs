//! The settings as checked types. A [`Config`] that exists is valid.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::domain::{Language, Limit, MasterKey};

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The two listeners.
    pub http: HttpConfig,
    /// The database.
    pub database: DatabaseConfig,
    /// What must not be known.
    pub secrets: SecretsConfig,
    /// Tokens and sessions.
    pub tokens: TokensConfig,
    /// The second factor.
    pub two_factor: TwoFactorConfig,
    /// Password hashing.
    pub passwords: PasswordsConfig,
    /// How much is too much.
    pub limits: LimitsConfig,
    /// How codes leave.
    pub mail: MailConfig,
    /// Who may introspect.
    pub introspection: IntrospectionConfig,
    /// The signing keys.
    pub keys: KeysConfig,
    /// The audit log.
    pub audit: AuditConfig,
    /// What is written to standard error.
    pub log: LogConfig,
    /// What is sent to others about requests.
    pub telemetry: TelemetryConfig,
}

/// `http`: the two listeners.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// For browsers and services.
    pub listen: SocketAddr,
    /// For probes and scrapers.
    pub management_listen: SocketAddr,
    /// Whose forwarding headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// Which of their headers counts.
    pub forwarded_header: ForwardedHeader,
    /// Browser origins that may call, each `scheme://host[:port]` in lower case.
    pub allowed_origins: Vec<String>,
    /// Whether pages on this machine may call, too, on any port. No setting: `dev` alone does this.
    pub allows_loopback_pages: bool,
    /// Headers of their own that their pages may send, in lower case.
    pub allowed_headers: Vec<String>,
    /// Connections at a time; further ones wait in the system's backlog.
    pub max_connections: usize,
    /// How long a stopping server says "not ready" before it stops accepting.
    pub drain_delay: Duration,
    /// Whether `/docs` is served.
    pub docs: bool,
}

/// Which header of a trusted proxy tells where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// Whichever there is; where both are, they must agree.
    Either,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `database`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://…`; holds a password, hence secret.
    pub url: SecretString,
    /// The size of the pool.
    pub max_connections: u32,
    /// How long `serve` waits for a database that is not there yet.
    pub wait: Duration,
    /// Whether `serve` applies migrations.
    pub migrate: bool,
    /// Whether a pooler in front gives each transaction another connection.
    pub transaction_pooling: bool,
}

/// `secrets`.
#[derive(Debug, Clone)]
pub struct SecretsConfig {
    /// What all server-side keys follow from.
    pub master_key: MasterKey,
}

/// `tokens`.
#[derive(Debug, Clone)]
pub struct TokensConfig {
    /// `iss`, and the `aud` of refresh tokens: an `http` or `https` URL without query or fragment,
    /// without a slash at its end.
    pub issuer: String,
    /// `aud` and `client_id` of access tokens.
    pub audience: String,
    /// Life of an access token.
    pub access_ttl: Duration,
    /// Life of a refresh token, and of a session that is not refreshed.
    pub refresh_idle_ttl: Duration,
    /// Life of a session.
    pub session_ttl: Duration,
    /// For how long after a rotation the token before it gets the same answer.
    pub refresh_grace: Duration,
    /// Live sessions that a user may have.
    pub max_sessions_per_user: u32,
    /// The longest life of an access token of the older service. Zero: none is taken.
    pub legacy_ttl: Duration,
}

/// `two_factor`.
#[derive(Debug, Clone)]
pub struct TwoFactorConfig {
    /// Life of a challenge and its code.
    pub ttl: Duration,
}

/// `passwords`: Argon2id parameters and the hashing pool.
#[derive(Debug, Clone, Copy)]
pub struct PasswordsConfig {
    /// Memory per hash, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
    /// Hashes at a time.
    pub workers: usize,
    /// How many may wait for a worker, over all.
    pub queue: usize,
}

/// `limits`.
#[derive(Debug, Clone, Copy)]
pub struct LimitsConfig {
    /// Sign-ins per address and network.
    pub signin: Limit,
    /// Confirmations per user.
    pub confirm: Limit,
    /// Refreshes per session.
    pub refresh: Limit,
    /// Sign-ins per network, over all addresses.
    pub signin_network_per_minute: u32,
    /// Failed sign-ins per address, over all networks.
    pub signin_account_failures_per_hour: u32,
    /// Consecutive wrong codes after which an account's second factor is locked.
    pub confirm_failures_per_account: u32,
    /// Code mails per account in ten minutes.
    pub mails_per_account: u32,
    /// Requests that a network may make at once, per method.
    pub flood_burst: u32,
    /// Tokens that are not ours and challenges that do not exist that may be counted at once, over all
    /// networks.
    pub strangers_burst: u32,
    /// The same, a second after that.
    pub strangers_per_second: u32,
    /// Requests a second that a network may go on making, per method.
    pub flood_per_second: u32,
}

/// `mail`.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// How mail leaves.
    pub transport: MailTransportConfig,
    /// The sender, as `Name <address>` or an address alone; checked when the mailer is built.
    pub from: String,
    /// What mails are written in.
    pub language: Language,
    /// A folder with the operator's own templates; read when the mailer is built.
    pub templates_dir: Option<PathBuf>,
}

/// `mail.transport`.
#[derive(Debug, Clone)]
pub enum MailTransportConfig {
    /// Over SMTP.
    Smtp {
        /// `mail.smtp`: the relay that is tried first.
        first: SmtpConfig,
        /// `mail.fallback`: the relay that is tried when that one fails.
        fallback: Option<Box<SmtpConfig>>,
    },
    /// Into the log: for development alone.
    Log,
}

/// A relay: `mail.smtp` or `mail.fallback`.
#[derive(Debug, Clone)]
pub struct SmtpConfig {
    /// The relay.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Who signs in to the relay, if anybody.
    pub credentials: Option<SmtpCredentials>,
    /// The name by which we greet it, if it is not to follow from the machine and `mail.from`.
    pub hello_name: Option<String>,
    /// A file with the certificates to trust in place of the public ones; read when the mailer is
    /// built.
    pub ca_file: Option<PathBuf>,
}

/// How a relay is spoken to: `tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte (port 465).
    Required,
    /// Upgraded by STARTTLS before anything is said, or given up (port 587).
    StartTls,
    /// In the clear: for a relay on the same machine.
    None,
}

/// Who signs in to a relay: `username` and `password`.
#[derive(Debug, Clone)]
pub struct SmtpCredentials {
    /// The name.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

/// `introspection`.
#[derive(Debug, Clone)]
pub struct IntrospectionConfig {
    /// Who may ask.
    pub clients: Vec<IntrospectionClient>,
    /// Requests that may wait at a time for a session to end.
    pub max_waiting: usize,
}

/// A service that may introspect tokens and read the feed of ended sessions.
#[derive(Debug, Clone)]
pub struct IntrospectionClient {
    /// The name it signs in with.
    pub id: String,
    /// SHA-256 of its secret.
    pub secret_sha256: [u8; 32],
}

/// `keys`.
#[derive(Debug, Clone)]
pub struct KeysConfig {
    /// RSA modulus of a new key: 2048, 3072 or 4096.
    pub bits: u32,
    /// Age at which a key is replaced; zero: never by itself.
    pub rotate_after: Duration,
    /// How long a new key is published before it signs.
    pub publish_before: Duration,
}

/// `audit`.
#[derive(Debug, Clone, Copy)]
pub struct AuditConfig {
    /// How long an event is kept; zero: for ever.
    pub retention: Duration,
}

/// `log`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, in the syntax of `RUST_LOG`.
    pub filter: String,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object a line.
    Json,
    /// For eyes.
    Text,
}

/// `telemetry`.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// Where traces go: an `http` or `https` URL. `None`: nowhere. Without the feature `otlp` it is
    /// always `None`.
    pub otlp_endpoint: Option<String>,
    /// Of a hundred requests that belong to no trace of a caller's, how many are traced.
    pub sample_percent: u32,
}
