//! The configuration: all settings, as checked types. A [`Config`] that exists is valid.
//!
//! [`Config::load`] lays the given file and the environment over `config/default.toml`, the one
//! place where defaults live, and lists everything that is wrong at once. No secret is ever
//! printed, neither by a problem nor by [`Loaded::show`].
//!
//! A new key is a line in `config/default.toml`, a field in `types.rs`, and a line in `sections/` that
//! reads the one into the other; a test notices when one of them is missing.

mod file;
mod flatten;
mod layers;
mod load;
mod outside;
mod problem;
mod reader;
mod redact;
mod secret;
mod sections;
mod setting;
mod shape;
mod show;
#[cfg(test)]
mod testing;
mod types;
mod variables;
mod warn;

pub use load::Loaded;
pub use problem::{ConfigError, ConfigProblem};
pub use shape::is_full_host_name;
pub use types::{
    AuditConfig, Config, DatabaseConfig, ForwardedHeader, HttpConfig, IntrospectionClient,
    IntrospectionConfig, KeysConfig, LimitsConfig, LinksConfig, LogConfig, LogFormat, MailConfig,
    MailTransportConfig, PasskeyParty, PasskeysConfig, PasswordsConfig, SecretsConfig, SmtpConfig,
    SmtpCredentials, SmtpTls, TelemetryConfig, TokensConfig, TwoFactorConfig,
};
pub use variables::process_environment;
