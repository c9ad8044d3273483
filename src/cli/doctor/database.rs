//! The checks of the database.

use chrono::TimeDelta;

use super::finding::{Finding, Verdict};
use super::master_key;
use crate::admin::Admin;
use crate::config::{Config, PasswordsConfig};
use crate::domain::policy::MAX_HASH_KINDS;
use crate::domain::{Clock, HashKind};
use crate::password::{outgrows_budget, outgrows_worker};
use crate::store::{CLOCK_TOLERANCE, EXTRA_CONNECTIONS, ServerState, Store, StoreError};
use crate::telemetry::causes;

/// The oldest PostgreSQL that the statements are for, as it numbers itself.
const OLDEST: i32 = 150_000;

/// Checks all that the server needs of its database. One problem hides no other that could be seen beside
/// it.
pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let store = match Store::connect(&config.database).await {
        Ok(store) => store,
        Err(error) => return vec![unreachable(&error)],
    };
    let state = match store.server_state().await {
        Ok(state) => state,
        Err(error) => return vec![Finding::problem("database", causes(&error))],
    };
    let mut found = vec![
        Finding::good(
            "database",
            format!("\"{}\" answers the role \"{}\"", state.database, state.role),
        ),
        version(&state),
        encoding(&state),
        writing(&state),
        isolation(&state),
        connections(&state, config.database.max_connections),
    ];
    found.push(clock(store.clock_skew(&Clock::system()).await));
    let missing = store.missing_migrations().await;
    let is_migrated = matches!(&missing, Ok(missing) if missing.is_empty());
    found.push(migrations(&state, missing, config.database.migrate));
    let rights = rights(&state, store.missing_rights().await);
    let may_read = rights.verdict != Verdict::Problem;
    found.push(rights);
    if is_migrated && may_read {
        let kinds = store.list_hash_kinds(MAX_HASH_KINDS).await;
        found.push(hashes(kinds, config.passwords));
        let rp_id = config.passkeys.party.as_ref();
        let rp_id = rp_id.map(|party| party.rp_id.as_str());
        let stranded = store.count_stranded_passkeys(rp_id).await;
        found.push(passkeys(rp_id, stranded));
    }
    if is_migrated {
        found.push(master_key::check(&Admin::new(store, config)).await);
    }
    found
}

fn unreachable(error: &StoreError) -> Finding {
    let text = format!("{}: {}", error.advice_on_connecting(), causes(error));
    Finding::problem("database", text)
}

fn version(state: &ServerState) -> Finding {
    let version = &state.version;
    if state.version_number < OLDEST {
        let text = format!("PostgreSQL {version} is too old; 15 or newer is needed");
        return Finding::problem("version", text);
    }
    Finding::good("version", format!("PostgreSQL {version}"))
}

fn encoding(state: &ServerState) -> Finding {
    let encoding = &state.encoding;
    if encoding == "UTF8" {
        return Finding::good("encoding", "UTF8");
    }
    Finding::problem(
        "encoding",
        format!(
            "{encoding} cannot hold every text: create the database again, CREATE DATABASE … ENCODING \
             'UTF8' TEMPLATE template0, and restore a dump into it"
        ),
    )
}

fn writing(state: &ServerState) -> Finding {
    match state.obstacle_to_writing() {
        Some(obstacle) => Finding::problem("writing", obstacle),
        None => Finding::good("writing", "it can be written to"),
    }
}

fn isolation(state: &ServerState) -> Finding {
    let isolation = &state.isolation;
    if isolation == "read committed" {
        return Finding::good("isolation", "read committed");
    }
    Finding::problem(
        "isolation",
        format!(
            "transactions are {isolation}, and races are decided by read committed: a pooler in \
             between must not change that (or set database.transaction_pooling)"
        ),
    )
}

/// Whether PostgreSQL has as many connections as one instance may want.
fn connections(state: &ServerState, max: u32) -> Finding {
    let (bound, to_have) = (max + EXTRA_CONNECTIONS, state.connections_to_have());
    let to_have = u32::try_from(to_have).unwrap_or_default();
    let now = state.connections;
    if to_have < bound {
        let limit = match (state.role_limit, state.database_limit) {
            (None, None) => "max_connections of PostgreSQL",
            _ => "the CONNECTION LIMIT of the role or the database",
        };
        return Finding::problem(
            "connections",
            format!(
                "an instance takes up to {bound}, and can have {to_have}: raise {limit}, or lower \
                 database.max_connections"
            ),
        );
    }
    Finding::good(
        "connections",
        format!(
            "an instance takes up to {bound}; {to_have} can be had, enough for instances: {}; open now, by \
             anybody: {now}",
            to_have / bound
        ),
    )
}

/// Whether the passkeys are for the domain that is configured. Those of another one are not asked for, and their
/// owners need a recovery code.
fn passkeys(rp_id: Option<&str>, stranded: Result<i64, StoreError>) -> Finding {
    match (stranded, rp_id) {
        (Ok(0), None) => Finding::good("passkeys", "there are none, and none can be added"),
        (Ok(0), Some(rp_id)) => Finding::good("passkeys", format!("all are for {rp_id}")),
        (Ok(count), _) => Finding::weak(
            "passkeys",
            format!(
                "{count} were made for another domain than passkeys.rp_id, and are not asked for: set it back, \
                 or their owners sign in by a recovery code"
            ),
        ),
        (Err(error), _) => Finding::problem("passkeys", causes(&error)),
    }
}

fn clock(skew: Result<TimeDelta, StoreError>) -> Finding {
    let skew = match skew {
        Ok(skew) => skew,
        Err(error) => return Finding::problem("clock", causes(&error)),
    };
    let (seconds, side) = (
        skew.abs().num_seconds(),
        if skew > TimeDelta::zero() {
            "ahead of"
        } else {
            "behind"
        },
    );
    if skew.abs() > CLOCK_TOLERANCE {
        let text = format!(
            "this machine is {seconds} s {side} the database; set both by NTP; an instance that is \
             more than {} s off is not ready",
            CLOCK_TOLERANCE.num_seconds()
        );
        return Finding::problem("clock", text);
    }
    if seconds > 1 {
        let text = format!("this machine is {seconds} s {side} the database; set both by NTP");
        return Finding::weak("clock", text);
    }
    Finding::good("clock", "it agrees with the database's")
}

/// Whether there are hashes of other services that need memory beside the workers', or more than there is.
fn hashes(kinds: Result<Vec<HashKind>, StoreError>, passwords: PasswordsConfig) -> Finding {
    let kinds = match kinds {
        Ok(kinds) => kinds,
        Err(error) => return Finding::problem("hashes", causes(&error)),
    };
    let named = |is_so: fn(&HashKind, &PasswordsConfig) -> bool| {
        let named = kinds.iter().filter(|kind| is_so(kind, &passwords));
        named.map(HashKind::as_str).collect::<Vec<_>>().join(", ")
    };
    let (unchecked, foreign) = (named(outgrows_budget), named(outgrows_worker));
    if !unchecked.is_empty() {
        let text = format!(
            "some take more memory to check than passwords.imported_memory_mib ({}), so their owners are \
             answered 503: raise it, or set other passwords (`user password`, `user link`): {unchecked}",
            passwords.imported_memory_mib
        );
        return Finding::problem("hashes", text);
    }
    if foreign.is_empty() {
        return Finding::good("hashes", "a worker has the memory to check each");
    }
    let text = format!(
        "some are checked in memory beside the workers' ({foreign}): leave room for \
         passwords.imported_memory_mib ({} MiB)",
        passwords.imported_memory_mib
    );
    Finding::weak("hashes", text)
}

fn migrations(
    state: &ServerState,
    missing: Result<Vec<i64>, StoreError>,
    is_done_by_serve: bool,
) -> Finding {
    let count = match missing {
        Ok(missing) => missing.len(),
        Err(error) => return Finding::problem("migrations", causes(&error)),
    };
    match (count, is_done_by_serve && !state.is_read_only) {
        (0, _) => Finding::good("migrations", "all are in place"),
        (_, true) if state.may_create => Finding::good(
            "migrations",
            format!("{count} are missing; `serve` applies them when it starts"),
        ),
        (_, true) => Finding::problem(
            "migrations",
            format!(
                "{count} are missing, and the role may make no tables: grant it CREATE on the schema, or \
                 run `backoffice-auth migrate` with the role that owns the tables"
            ),
        ),
        (_, false) => Finding::problem(
            "migrations",
            format!("{count} are missing: run `backoffice-auth migrate`"),
        ),
    }
}

fn rights(state: &ServerState, missing: Result<Vec<String>, StoreError>) -> Finding {
    if state.schema.is_none() {
        let text = format!(
            "the role may use no schema of its search_path: GRANT USAGE ON SCHEMA public TO \"{}\"",
            state.role
        );
        return Finding::problem("rights", text);
    }
    match missing {
        Ok(missing) if missing.is_empty() => {
            Finding::good("rights", "the role has all that it needs")
        }
        Ok(missing) => Finding::problem(
            "rights",
            format!(
                "the role \"{}\" lacks {}: GRANT them as the owner of the tables",
                state.role,
                missing.join("; ")
            ),
        ),
        Err(error) => Finding::problem("rights", causes(&error)),
    }
}
