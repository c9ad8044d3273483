//! `[database]` and `[secrets]`.

use secrecy::SecretString;

use super::super::reader::{Reader, Reading};
use super::super::redact::{redact, redact_url};
use super::super::shape;
use super::super::types::{DatabaseConfig, SecretsConfig};
use crate::domain::MasterKey;

pub(super) fn database(reader: &mut Reader) -> Reading<DatabaseConfig> {
    let url = reader.required_secret("database.url", redact_url);
    let max_connections = reader.number("database.max_connections", 1..=1000);
    let wait = reader.seconds("database.wait_seconds", 0..=3600);
    let migrate = reader.flag("database.migrate");
    let transaction_pooling = reader.flag("database.transaction_pooling");
    let url = url?;
    shape::check_database_url(&url.text).map_err(|must| reader.problem(&url.key, must))?;
    Ok(DatabaseConfig {
        url: SecretString::from(url.text),
        max_connections: max_connections?,
        wait: wait?,
        migrate: migrate?,
        transaction_pooling: transaction_pooling?,
    })
}

pub(super) fn secrets(reader: &mut Reader) -> Reading<SecretsConfig> {
    let secret = reader.required_secret("secrets.master_key", redact)?;
    let text = if secret.is_from_file {
        secret.text.trim_ascii()
    } else {
        &secret.text
    };
    let master_key = MasterKey::from_base64(text)
        .map_err(|error| reader.problem(&secret.key, error.to_string()))?;
    Ok(SecretsConfig { master_key })
}
