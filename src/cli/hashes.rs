//! The cost of other services' hashes: told after an import, and listed until the last one is replaced.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::output;
use crate::admin::Admin;
use crate::config::PasswordsConfig;
use crate::domain::HashKind;
use crate::password::{HashingPool, is_fast, outgrows_worker};

/// One hash at a time is made or measured, so one worker's memory is enough.
pub(super) fn single_pool(passwords: &PasswordsConfig) -> HashingPool {
    HashingPool::new(PasswordsConfig {
        workers: 1,
        queue: 0,
        ..*passwords
    })
}

/// The cost of an import's hashes.
pub(super) struct Price {
    without_password: usize,
    /// Hashes that are checked in memory beside the workers'.
    foreign: usize,
    /// Hashes that are a single digest.
    fast: usize,
    /// For how long refusals are held back from now on.
    refusal_delay: Option<Duration>,
}

impl Price {
    /// Measures as the server does, one hash at a time, the kinds that are in use and those of an import:
    /// `hashes` of each kind, and `without_password`.
    pub(super) async fn of(
        admin: &Admin,
        hashes: &HashMap<HashKind, usize>,
        without_password: usize,
        passwords: &PasswordsConfig,
    ) -> anyhow::Result<Self> {
        let count = |is_so: &dyn Fn(&HashKind) -> bool| {
            let counted = hashes.iter().filter(|(kind, _)| is_so(kind));
            counted.map(|(_, users)| users).sum()
        };
        let mut kinds = admin.list_hash_kinds().await?;
        kinds.extend(hashes.keys().cloned());
        let pool = single_pool(passwords);
        pool.learn_kinds(&kinds).await?;
        Ok(Self {
            without_password,
            foreign: count(&|kind| outgrows_worker(kind, passwords)),
            fast: count(&is_fast),
            refusal_delay: pool.refusal_delay(),
        })
    }

    /// A sentence for each thing that costs something.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut told = Vec::new();
        if self.without_password > 0 {
            told.push(format!(
                "{} of them have no password, and get in once they have set one.",
                self.without_password
            ));
        }
        if self.foreign > 0 {
            told.push(format!(
                "{} of the hashes are checked in memory beside the workers', which \
                 passwords.imported_memory_mib bounds.",
                self.foreign
            ));
        }
        if self.fast > 0 {
            told.push(format!(
                "{} of the hashes are a single digest: from a stolen database such passwords are known \
                 within hours.",
                self.fast
            ));
        }
        if let Some(delay) = self.refusal_delay {
            told.push(format!(
                "Until each user with a hash of another kind has signed in (with an Argon2id that is stronger \
                 than ours: has set a password), every refused sign-in takes {} ms on a machine like this \
                 one. `user list --hashes` counts them.",
                delay.as_millis()
            ));
        }
        told
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "withoutPassword": self.without_password,
            "checkedBesideWorkers": self.foreign,
            "singleDigest": self.fast,
            "refusalDelayMs": self.refusal_delay.map(|delay| delay.as_secs_f64() * 1e3),
        })
    }
}

/// `user list --hashes`: how many users have a hash of which kind.
pub(super) async fn list(admin: &Admin, as_json: bool) -> anyhow::Result<()> {
    let counted = admin.count_hash_kinds().await?;
    if as_json {
        let rows = counted.iter().map(
            |(kind, users)| json!({ "kind": kind.as_ref().map(HashKind::as_str), "users": users }),
        );
        output::json(&Value::Array(rows.collect()));
        return Ok(());
    }
    let rows: Vec<[String; 2]> = (counted.iter())
        .map(|(kind, users)| {
            let kind = kind.as_ref().map_or("none", HashKind::as_str);
            [users.to_string(), kind.to_owned()]
        })
        .collect();
    output::table(["USERS", "KIND OF HASH"], &rows);
    Ok(())
}
