//! `key`: the signing keys.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::output::{self, say};
use super::{Access, connect_migrated, help};
use crate::admin::{Activation, Admin, Imported, ListedKey, Revoked, Rotated};
use crate::auth::Successor;
use crate::config::Config;
use crate::domain::{KeyId, KeyPurpose, KeyStage, MasterKey, Operator, Revocation, Timestamp};
use crate::token::public_key_pem;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List the keys, oldest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Print the public keys that verify access tokens in PEM form, the one that signs first
        #[arg(long, conflicts_with = "json")]
        pem: bool,
    },
    /// Make keys that take over from those that sign
    ///
    /// The one for access tokens does after `keys.publish_seconds`, since services have to know it first,
    /// the one for refresh tokens at once. Nobody is signed out: the keys before them verify until their
    /// last tokens have expired.
    #[command(after_long_help = help::KEY_ROTATE)]
    Rotate {
        /// Sign access tokens at once, with the key that is published already if there is one. A service
        /// that has not read the key yet refuses its tokens for as long as it caches the key set. For
        /// emergencies.
        #[arg(long)]
        now: bool,
        /// Only the key for these tokens
        #[arg(long, value_parser = purposes())]
        purpose: Option<KeyPurpose>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take over an RSA key from a PEM file
    ///
    /// A private key is published at once and signs after `keys.publish_seconds`; one for refresh tokens
    /// is not published, and signs at once.
    ///
    /// A public key, or a certificate, is that of an older service with the same issuer. The access
    /// tokens that it signed (RS256, without a `kid`) are then good here until they expire, for users
    /// who were imported with their number, if `tokens.legacy_ttl_seconds` is set. It is not published.
    #[command(after_long_help = help::KEY_IMPORT)]
    Import {
        /// PKCS#8 or PKCS#1 in PEM form, private or public, or a certificate
        file: PathBuf,
        /// The tokens that it signs
        #[arg(long, value_parser = purposes(), default_value = KeyPurpose::Access.as_str())]
        purpose: KeyPurpose,
        /// When a public key ends, as 2026-12-31T00:00:00Z, at most 90 days away. Without it: after
        /// `tokens.legacy_ttl_seconds`, when the last token that was issued until now has expired
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal the private keys under another master key
    ///
    /// Nobody is signed out by it. From then on no server starts with the master key from before; those
    /// that run go on until they are restarted. docs/operations.md has the procedure.
    #[command(after_long_help = help::KEY_RESEAL)]
    Reseal {
        /// A file with the new master key, as `openssl rand -base64 32` prints it
        #[arg(long, value_name = "FILE")]
        new_master_key_file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a key die at once with all that it signed, and end the sessions it signed for
    ///
    /// If it signs now, its published successor signs at once, or a new key does.
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

pub(super) async fn run(
    command: KeyCommand,
    config: &Config,
    actor: &Operator,
) -> anyhow::Result<()> {
    let access = match command {
        KeyCommand::List { .. } => Access::Reads,
        _ => Access::Writes,
    };
    let store = connect_migrated(config, access).await?;
    let admin = Admin::new(store, config);
    match command {
        KeyCommand::List { pem: true, .. } => list_pem(&admin.list_keys().await?),
        KeyCommand::List { json, .. } => list(&admin.list_keys().await?, json),
        KeyCommand::Rotate { now, purpose, json } => {
            let activation = if now {
                Activation::Now
            } else {
                Activation::AfterPublishing
            };
            let rotated = admin.rotate_keys(actor, activation, purpose).await?;
            tell_rotated(&rotated, json);
        }
        KeyCommand::Import {
            file,
            purpose,
            until,
            json,
        } => {
            let pem = std::fs::read(&file).map(Zeroizing::new);
            let pem = pem.with_context(|| format!("cannot read {}", file.display()))?;
            if purpose == KeyPurpose::Refresh {
                let successor = admin.import_refresh_key(actor, &pem, until).await?;
                tell_successor(&successor, KeyPurpose::Refresh, json);
                return Ok(());
            }
            match admin.import_key(actor, &pem, until).await? {
                Imported::Private(successor) => {
                    tell_successor(&successor, KeyPurpose::Access, json);
                }
                Imported::Legacy { key_id, until } => tell_legacy(&key_id, until, json),
            }
        }
        KeyCommand::Reseal {
            new_master_key_file,
            json,
        } => {
            let master_key = read_master_key(&new_master_key_file)?;
            tell_resealed(admin.reseal_keys(actor, &master_key).await?, json);
        }
        KeyCommand::Revoke { key_id, json } => {
            let key_id = KeyId(key_id);
            tell_revoked(&key_id, &admin.revoke_key(actor, &key_id).await?, json);
        }
    }
    Ok(())
}

fn read_master_key(file: &Path) -> anyhow::Result<MasterKey> {
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    MasterKey::from_base64(text.trim_ascii()).with_context(|| file.display().to_string())
}

/// The words that name a purpose.
fn purposes() -> impl TypedValueParser<Value = KeyPurpose> {
    let words = KeyPurpose::ALL.iter().map(|purpose| purpose.as_str());
    PossibleValuesParser::new(words)
        .try_map(|word| KeyPurpose::from_stored(&word).ok_or("no purpose"))
}

fn tell_rotated(rotated: &Rotated, as_json: bool) {
    let (access, refresh) = (&rotated.access, &rotated.refresh);
    if as_json {
        let first = access.as_ref().or(refresh.as_ref());
        output::json(&json!({
            "kid": first.map(|key| &key.key_id),
            "activatesAt": first.map(|key| output::instant(key.activates_at)),
            "refreshKid": refresh.as_ref().map(|key| &key.key_id),
        }));
        return;
    }
    for (key, purpose) in [(access, KeyPurpose::Access), (refresh, KeyPurpose::Refresh)] {
        if let Some(key) = key {
            tell_successor(key, purpose, false);
        }
    }
    if access.is_none() && refresh.is_none() {
        say!(
            "An older release is at work: there will be a key for refresh tokens when it is gone."
        );
    }
}

fn tell_successor(successor: &Successor, purpose: KeyPurpose, as_json: bool) {
    let (key_id, at) = (&successor.key_id, output::instant(successor.activates_at));
    let tokens = match purpose {
        KeyPurpose::Access => "",
        KeyPurpose::Refresh => " refresh tokens",
    };
    if as_json {
        output::json(&json!({ "kid": key_id, "activatesAt": at }));
    } else if successor.is_active {
        say!("{key_id}: signs{tokens} from now on.");
    } else {
        say!("{key_id}: published, signs{tokens} from {at}.");
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

fn tell_resealed(resealed: usize, as_json: bool) {
    if as_json {
        output::json(&json!({ "resealed": resealed }));
        return;
    }
    say!("Private keys sealed under the new master key: {resealed}.");
    say!(
        "Set secrets.master_key to it now, and restart the instances one by one. None starts with the \
         one from before."
    );
}

fn list(keys: &[ListedKey], as_json: bool) {
    if as_json {
        output::json(&Value::Array(keys.iter().map(key_json).collect()));
    } else {
        let rows: Vec<[String; 5]> = keys.iter().map(key_row).collect();
        output::table(["KEY", "STAGE", "SIGNS", "FROM", "GOOD UNTIL"], &rows);
        tell_lost(keys);
    }
}

/// Says that keys will never sign here, below a table that says from when they would.
fn tell_lost(keys: &[ListedKey]) {
    let lost: Vec<&str> = (keys.iter().filter(|key| key.is_lost()))
        .map(|key| key.record.key_id.0.as_str())
        .collect();
    if !lost.is_empty() {
        say!("\n{}", LOST);
        for key_id in lost {
            say!("  {key_id}");
        }
    }
}

/// Said of keys that were sealed under another master key.
const LOST: &str = "\
secrets.master_key does not open these: they never sign with it, and `serve` does not start. Set it to
the one that the other instances have, or have had. If that is lost, docs/operations.md (\"Back up and
restore\") says how to go on without; another `key rotate` does not help.";

/// Prints what the JWKS lists, each key below a line that names it: parsers skip what is around a block.
fn list_pem(keys: &[ListedKey]) {
    let mut published: Vec<&ListedKey> = keys.iter().filter(|key| key.is_published()).collect();
    published.sort_by_key(|key| key.stage != KeyStage::Active);
    for key in published {
        say!("{} ({})", key.record.key_id, key.stage.as_str());
        say!("{}", public_key_pem(&key.record.public_key).trim_end());
    }
}

fn key_row(key: &ListedKey) -> [String; 5] {
    [
        key.record.key_id.to_string(),
        if key.is_lost() {
            format!("{}, cannot be opened", key.stage.as_str())
        } else {
            key.stage.as_str().to_owned()
        },
        key.record.purpose.as_str().to_owned(),
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
        "purpose": key.record.purpose.as_str(),
        "stage": key.stage.as_str(),
        "canSign": key.opens == Some(true),
        "opens": key.opens,
        "isLegacy": key.record.is_legacy,
        "createdAt": output::instant(key.record.created_at),
        "activatesAt": output::instant(key.record.activates_at),
        "expiresAt": key.record.expires_at.map(output::instant),
        "revokedAt": key.record.revoked_at.map(output::instant),
    })
}
