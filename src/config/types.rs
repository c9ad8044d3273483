//! The settings as checked types. A [`Config`] that exists is valid.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::domain::{Blocklist, Language, Limit, MasterKey};

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The two listeners.
    pub http: HttpConfig,
    /// The PostgreSQL database.
    pub database: DatabaseConfig,
    /// The secrets of this server.
    pub secrets: SecretsConfig,
    /// Tokens and the lifetimes of sessions.
    pub tokens: TokensConfig,
    /// The challenge of the second factor.
    pub two_factor: TwoFactorConfig,
    /// The party that passkeys are made for.
    pub passkeys: PasskeysConfig,
    /// The hashing of passwords.
    pub passwords: PasswordsConfig,
    /// The links by which people set passwords.
    pub links: LinksConfig,
    /// The passwords that nobody may set.
    pub blocklist: Blocklist,
    /// The requirements for administrators.
    pub administration: AdministrationConfig,
    /// Limits on requests, failures and mails.
    pub limits: LimitsConfig,
    /// How mails leave.
    pub mail: MailConfig,
    /// The services that may introspect.
    pub introspection: IntrospectionConfig,
    /// The rotation of signing keys.
    pub keys: KeysConfig,
    /// The retention of the audit log.
    pub audit: AuditConfig,
    /// The log on standard error.
    pub log: LogConfig,
    /// The traces of requests.
    pub telemetry: TelemetryConfig,
}

/// `http`: the two listeners.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// The listener for browsers and services.
    pub listen: SocketAddr,
    /// The listener for probes and scrapers.
    pub management_listen: SocketAddr,
    /// The proxies whose forwarding headers count.
    pub trusted_proxies: Vec<IpNet>,
    /// The header of theirs that counts.
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
    /// The one that there is; if there are both, they must agree.
    Either,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// `database`: PostgreSQL, and whether the server migrates it.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://…`; secret, since it holds a password.
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

/// `secrets`: the master key.
#[derive(Debug, Clone)]
pub struct SecretsConfig {
    /// The key from which all server-side keys are derived.
    pub master_key: MasterKey,
}

/// `tokens`: names in tokens, and lifetimes.
#[derive(Debug, Clone)]
pub struct TokensConfig {
    /// `iss`, and the `aud` of refresh tokens: an `http` or `https` URL without query or fragment,
    /// without a slash at its end.
    pub issuer: String,
    /// `aud` and `client_id` of access tokens.
    pub audience: String,
    /// The lifetime of an access token.
    pub access_ttl: Duration,
    /// The lifetime of a refresh token, and of a session that is not refreshed.
    pub refresh_idle_ttl: Duration,
    /// The lifetime of a session.
    pub session_ttl: Duration,
    /// How long after a rotation the token before it gets the same answer.
    pub refresh_grace: Duration,
    /// How long a session counts as fresh after its sign-in.
    pub fresh: Duration,
    /// Live sessions that a user may have.
    pub max_sessions_per_user: u32,
    /// Verified access tokens that are remembered. Zero: none.
    pub remembered: u32,
    /// The longest life of an access token of the older service. Zero: none is taken.
    pub legacy_ttl: Duration,
}

/// `two_factor`: the challenge.
#[derive(Debug, Clone)]
pub struct TwoFactorConfig {
    /// The lifetime of a challenge and its code.
    pub ttl: Duration,
    /// Whether authenticator apps can be enrolled. Those that are go on.
    pub totp: bool,
    /// The name that an authenticator app shows beside the address.
    pub totp_issuer: String,
}

/// `passkeys`: the party that they are made for.
#[derive(Debug, Clone)]
pub struct PasskeysConfig {
    /// The domain of the pages, and the pages' origins; `None`: there are no passkeys.
    pub party: Option<PasskeyParty>,
    /// The name that an authenticator may show.
    pub rp_name: String,
}

/// The party that passkeys are made for.
#[derive(Debug, Clone)]
pub struct PasskeyParty {
    /// The domain: the RP ID of WebAuthn.
    pub rp_id: String,
    /// The origins of the pages that may ask.
    pub origins: Vec<String>,
}

/// `passwords`: Argon2id parameters and the hashing pool.
#[derive(Debug, Clone, Copy)]
pub struct PasswordsConfig {
    /// Memory per hash, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub iterations: u32,
    /// Lanes of a hash.
    pub parallelism: u32,
    /// Hashes at a time.
    pub workers: usize,
    /// Requests that may wait for a worker, in total.
    pub queue: usize,
    /// Memory for all hashes of other services that do not compute in a worker's, in MiB.
    pub imported_memory_mib: u32,
}

impl PasswordsConfig {
    /// Memory for hashes of other services, in KiB.
    #[must_use]
    pub fn imported_memory_kib(&self) -> u32 {
        self.imported_memory_mib.saturating_mul(1024)
    }
}

/// `links`: mailed links to set a password.
#[derive(Debug, Clone)]
pub struct LinksConfig {
    /// The page on which a person sets a password, without query and fragment. `None`: there are no
    /// links.
    pub password_url: Option<String>,
    /// The lifetime of a link for a person who forgot their password.
    pub reset_ttl: Duration,
    /// The lifetime of a link for a person who has no password yet.
    pub invitation_ttl: Duration,
}

/// `administration`: the requirements for administrators.
#[derive(Debug, Clone, Copy)]
pub struct AdministrationConfig {
    /// Whether an administrator must have signed in with an authenticator app or a passkey.
    pub requires_mfa: bool,
}

/// `limits`: attempts, ceilings and bursts.
#[derive(Debug, Clone, Copy)]
pub struct LimitsConfig {
    /// Sign-ins per address and network.
    pub signin: Limit,
    /// Confirmations per user.
    pub confirm: Limit,
    /// Refreshes per session.
    pub refresh: Limit,
    /// Changes that people make to their own accounts, per user.
    pub account: Limit,
    /// Acts on others, per administrator.
    pub administration: Limit,
    /// Requests for a link, per address and network.
    pub forgot: Limit,
    /// Requests for links per network, over all addresses.
    pub forgot_network_per_minute: u32,
    /// Sign-ins per network, over all addresses.
    pub signin_network_per_minute: u32,
    /// Failed sign-ins per address, over all networks.
    pub signin_account_failures_per_hour: u32,
    /// Consecutive wrong codes after which an account's second factor is locked.
    pub confirm_failures_per_account: u32,
    /// Mails with codes per account in ten minutes.
    pub mails_per_account: u32,
    /// Mails with links per account in an hour.
    pub link_mails_per_account: u32,
    /// Requests that a network may make at once, per method.
    pub flood_burst: u32,
    /// Tokens that are not ours and challenges that do not exist that may be counted at once, over all
    /// networks.
    pub strangers_burst: u32,
    /// Those that may be counted per second after that.
    pub strangers_per_second: u32,
    /// Requests a second that a network may go on making, per method.
    pub flood_per_second: u32,
}

/// `mail`: sender, language and transport.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// How mail leaves.
    pub transport: MailTransportConfig,
    /// The sender, as `Name <address>` or an address alone; checked when the mailer is built.
    pub from: String,
    /// The language of mails.
    pub language: Language,
    /// The contact for questions, in a line of the operator's words, for mails that raise some. Empty: nobody
    /// is named.
    pub contact: String,
    /// A folder with the operator's own templates; read when the mailer is built.
    pub templates_dir: Option<PathBuf>,
}

/// `mail.transport`: the way that mails leave.
#[derive(Debug, Clone)]
pub enum MailTransportConfig {
    /// Over SMTP, to one relay or two.
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
    /// The host of the relay.
    pub host: String,
    /// The port of the relay.
    pub port: u16,
    /// How the connection is protected.
    pub tls: SmtpTls,
    /// Name and password for the relay, if it wants them.
    pub credentials: Option<SmtpCredentials>,
    /// The name for the greeting; without it, the name follows from the machine and `mail.from`.
    pub hello_name: Option<String>,
    /// A file with the certificates to trust in place of the public ones; read when the mailer is
    /// built.
    pub ca_file: Option<PathBuf>,
}

/// How the connection to a relay is protected: `tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// TLS from the first byte (port 465).
    Required,
    /// Upgraded by STARTTLS before anything else is sent, or closed (port 587).
    StartTls,
    /// In the clear: for a relay on the same machine.
    None,
}

/// How this server signs in to a relay: `username` and `password`.
#[derive(Debug, Clone)]
pub struct SmtpCredentials {
    /// The user name that the relay knows it by.
    pub username: String,
    /// The password of that user.
    pub password: SecretString,
}

/// `introspection`: the services that may ask about tokens.
#[derive(Debug, Clone)]
pub struct IntrospectionConfig {
    /// The services that may ask.
    pub clients: Vec<IntrospectionClient>,
    /// Requests that may wait at a time for a session to end.
    pub max_waiting: usize,
}

/// A service that may introspect tokens and read the feed of ended sessions.
#[derive(Debug, Clone)]
pub struct IntrospectionClient {
    /// The name in HTTP Basic.
    pub id: String,
    /// The SHA-256 of its secret.
    pub secret_sha256: [u8; 32],
}

/// `keys`: the signing keys.
#[derive(Debug, Clone)]
pub struct KeysConfig {
    /// RSA modulus of a new key: 2048, 3072 or 4096.
    pub bits: u32,
    /// The age at which a key is replaced; zero: never automatically.
    pub rotate_after: Duration,
    /// How long a new key is published before it signs.
    pub publish_before: Duration,
}

/// `audit`: the audit log.
#[derive(Debug, Clone, Copy)]
pub struct AuditConfig {
    /// How long an event is kept; zero: for ever.
    pub retention: Duration,
}

/// `log`: the log on standard error.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// The form of a line.
    pub format: LogFormat,
    /// The filter, in the syntax of `RUST_LOG`.
    pub filter: String,
}

/// `log.format`: the form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Text,
}

/// `telemetry`: traces for a collector.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// The `http` or `https` URL that traces go to. `None`: nowhere. Without the feature `otlp` it is always
    /// `None`.
    pub otlp_endpoint: Option<String>,
    /// How many of a hundred requests are traced, if they belong to no trace of the caller.
    pub sample_percent: u32,
}
