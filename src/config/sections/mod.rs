//! The rules for each key, and between keys: one file per section.

mod clients;
mod database;
mod http;
mod keys;
mod limits;
mod links;
mod log;
mod mail;
mod passkeys;
mod passwords;
mod tokens;

use std::time::Duration;

use super::reader::{Reader, Reading};
use super::types::{
    AdministrationConfig, AuditConfig, Config, IntrospectionConfig, TwoFactorConfig,
};

const DAY: u32 = 86_400;

/// Reads every key. A problem in one section does not keep the others from being read.
pub(super) fn config(reader: &mut Reader) -> Reading<Config> {
    let http = http::http(reader);
    let database = database::database(reader);
    let secrets = database::secrets(reader);
    let tokens = tokens::tokens(reader);
    let two_factor = two_factor(reader);
    let passkeys = passkeys::passkeys(reader);
    let passwords = passwords::passwords(reader);
    let links = links::links(reader);
    let blocklist = passwords::blocklist(reader);
    let administration = administration(reader);
    let limits = limits::limits(reader);
    let mail = mail::mail(reader);
    let introspection = introspection(reader);
    let keys = keys::keys(reader);
    let audit = audit(reader);
    let log = log::log(reader);
    let telemetry = log::telemetry(reader);
    Ok(Config {
        http: http?,
        database: database?,
        secrets: secrets?,
        tokens: tokens?,
        two_factor: two_factor?,
        passkeys: passkeys?,
        passwords: passwords?,
        links: links?,
        blocklist: blocklist?,
        administration: administration?,
        limits: limits?,
        mail: mail?,
        introspection: introspection?,
        keys: keys?,
        audit: audit?,
        log: log?,
        telemetry: telemetry?,
    })
}

fn two_factor(reader: &mut Reader) -> Reading<TwoFactorConfig> {
    let ttl = reader.seconds("two_factor.ttl_seconds", 1..=600);
    let totp = reader.flag("two_factor.totp");
    let totp_issuer = totp_issuer(reader);
    Ok(TwoFactorConfig {
        ttl: ttl?,
        totp: totp?,
        totp_issuer: totp_issuer?,
    })
}

fn administration(reader: &mut Reader) -> Reading<AdministrationConfig> {
    Ok(AdministrationConfig {
        requires_mfa: reader.flag("administration.requires_mfa")?,
    })
}

/// In the label of the URI that an app reads, a colon ends the issuer.
fn totp_issuer(reader: &mut Reader) -> Reading<String> {
    const KEY: &str = "two_factor.totp_issuer";
    let issuer = reader.required(KEY)?;
    let is_plain = !issuer.contains(|c: char| c == ':' || c.is_control());
    if is_plain && issuer.trim() == issuer && issuer.chars().count() <= 64 {
        return Ok(issuer);
    }
    Err(reader.refuse(
        KEY,
        "must be at most 64 characters, without a colon, control characters and spaces around it",
    ))
}

fn introspection(reader: &mut Reader) -> Reading<IntrospectionConfig> {
    let clients = clients::clients(reader);
    let max_waiting = reader.count("introspection.max_waiting", 0..=1_000_000);
    Ok(IntrospectionConfig {
        clients: clients?,
        max_waiting: max_waiting?,
    })
}

fn audit(reader: &mut Reader) -> Reading<AuditConfig> {
    let retention = days(reader.number("audit.retention_days", 0..=3650)?);
    Ok(AuditConfig { retention })
}

fn days(days: u32) -> Duration {
    Duration::from_secs(u64::from(days) * u64::from(DAY))
}

#[cfg(test)]
mod tests;
