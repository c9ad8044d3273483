//! `key`: the signing keys.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::output::{self, say};
use super::{connect_migrated, help};
use crate::auth::{Activation, Imported, ListedKey, Revoked, SigningKeys, Successor};
use crate::config::Config;
use crate::domain::{KeyId, Revocation, Timestamp};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List the keys, oldest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key that takes over from the signing one after `keys.publish_seconds`
    ///
    /// Nobody is signed out: the key before it verifies until its last token has expired.
    #[command(after_long_help = help::KEY_ROTATE)]
    Rotate {
        /// Sign at once, with the key that is published already if there is one. Who has not read
        /// the key yet refuses its tokens: another instance for half a second, a service for as
        /// long as it caches the key set. For emergencies.
        #[arg(long)]
        now: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take over an RSA key from a PEM file
    ///
    /// A private key is published at once and signs after `keys.publish_seconds`.
    ///
    /// A public key, or a certificate, is that of an older service with the same issuer. The access
    /// tokens that it signed (RS256, without a `kid`) are then good here until they expire, for users
    /// who were imported with their number, if `tokens.legacy_ttl_seconds` is set. It is not published.
    #[command(after_long_help = help::KEY_IMPORT)]
    Import {
        /// PKCS#8 or PKCS#1 in PEM form, private or public, or a certificate
        file: PathBuf,
        /// When a public key ends, as 2026-12-31T00:00:00Z, at most 90 days away. Without it: after
        /// `tokens.legacy_ttl_seconds`, when the last token that was issued until now has expired
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a key die at once with all that it signed, and end the sessions it signed for
    ///
    /// If it is the signing key, its published successor signs at once, or a new key does.
    #[command(after_long_help = help::KEY_REVOKE)]
    Revoke {
        /// The key's id: `kid`, as `key list` shows it
        #[arg(value_name = "KID", allow_hyphen_values = true)]
        key_id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(command: KeyCommand, config: &Config, actor: &str) -> anyhow::Result<()> {
    let store = connect_migrated(config).await?;
    let keys = SigningKeys::new(store, config);
    match command {
        KeyCommand::List { json } => list(&keys.list().await?, json),
        KeyCommand::Rotate { now, json } => {
            let activation = if now {
                Activation::Now
            } else {
                Activation::AfterPublishing
            };
            tell_successor(&keys.rotate(activation, actor).await?, json);
        }
        KeyCommand::Import { file, until, json } => {
            let pem = std::fs::read(&file).map(Zeroizing::new);
            let pem = pem.with_context(|| format!("cannot read {}", file.display()))?;
            match keys.import(&pem, until, actor).await? {
                Imported::Private(successor) => tell_successor(&successor, json),
                Imported::Legacy { key_id, until } => tell_legacy(&key_id, until, json),
            }
        }
        KeyCommand::Revoke { key_id, json } => {
            let key_id = KeyId(key_id);
            tell_revoked(&key_id, &keys.revoke(&key_id, actor).await?, json);
        }
    }
    Ok(())
}

fn tell_successor(successor: &Successor, as_json: bool) {
    let (key_id, at) = (&successor.key_id, output::instant(successor.activates_at));
    if as_json {
        output::json(&json!({ "kid": key_id, "activatesAt": at }));
    } else if successor.is_active {
        say!("{key_id}: signs from now on.");
    } else {
        say!("{key_id}: published, signs from {at}.");
    }
}

fn tell_legacy(key_id: &KeyId, until: Timestamp, as_json: bool) {
    let until = output::instant(until);
    if as_json {
        output::json(&json!({ "kid": key_id, "activatesAt": null, "expiresAt": until }));
    } else {
        say!("{key_id}: verifies access tokens of the older service until {until}.");
    }
}

fn tell_revoked(key_id: &KeyId, revoked: &Revoked, as_json: bool) {
    let successor = match (&revoked.plan, &revoked.made) {
        (Revocation::PassedOn { successor }, _) => Some(successor),
        (_, made) => made.as_ref(),
    };
    if as_json {
        output::json(&json!({
            "kid": key_id,
            "signsNow": successor,
            "endedSessions": revoked.ended_sessions,
        }));
        return;
    }
    say!("{key_id}: revoked. Every instance refuses its tokens within a second.");
    match (&revoked.plan, successor) {
        (Revocation::OfSuccessor { stays }, _) => {
            say!("It was to take over; {stays} signs on. `key rotate` makes another successor.");
        }
        (_, Some(successor)) => say!("{successor} signs from now on."),
        (_, None) => {}
    }
    let ended = revoked.ended_sessions;
    say!("Sessions ended, since their tokens were signed with it: {ended}.");
    say!(
        "Services that verify tokens themselves and cached the key set may accept its tokens until \
         they read it again."
    );
}

fn list(keys: &[ListedKey], as_json: bool) {
    if as_json {
        output::json(&Value::Array(keys.iter().map(key_json).collect()));
    } else {
        let rows: Vec<[String; 4]> = keys.iter().map(key_row).collect();
        output::table(["KEY", "STAGE", "SIGNS FROM", "GOOD UNTIL"], &rows);
    }
}

fn key_row(key: &ListedKey) -> [String; 4] {
    [
        key.record.key_id.to_string(),
        key.stage.as_str().to_owned(),
        output::instant(key.record.activates_at),
        key.record
            .expires_at
            .map(output::instant)
            .unwrap_or_default(),
    ]
}

fn key_json(key: &ListedKey) -> Value {
    json!({
        "kid": key.record.key_id,
        "stage": key.stage.as_str(),
        "canSign": key.record.sealed_private_key.is_some(),
        "isLegacy": key.record.is_legacy,
        "createdAt": output::instant(key.record.created_at),
        "activatesAt": output::instant(key.record.activates_at),
        "expiresAt": key.record.expires_at.map(output::instant),
        "revokedAt": key.record.revoked_at.map(output::instant),
    })
}
