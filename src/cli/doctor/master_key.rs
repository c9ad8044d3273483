//! The check of the master key.

use super::finding::Finding;
use crate::admin::Admin;
use crate::auth::KeysError;
use crate::telemetry::causes;

/// Whether a server with this master key would start.
pub(super) async fn check(admin: &Admin) -> Finding {
    const SUBJECT: &str = "master key";
    let listed = match admin.list_keys().await {
        Ok(listed) => listed,
        Err(error) => return Finding::problem(SUBJECT, causes(&error)),
    };
    let in_use = listed.iter().filter(|key| key.stage.verifies());
    let (lost, good): (Vec<_>, Vec<_>) = in_use.partition(|key| key.is_lost());
    if !lost.is_empty() {
        let ids: Vec<_> = lost
            .iter()
            .map(|key| key.record.key_id.0.as_str())
            .collect();
        return Finding::problem(
            SUBJECT,
            format!(
                "secrets.master_key does not open the signing keys {}: set it to the one that this \
                 database was set up with. If that is lost, see docs/operations.md, \"Back up and \
                 restore\"",
                ids.join(", ")
            ),
        );
    }
    if good.is_empty() {
        return Finding::good(
            SUBJECT,
            "there are no signing keys yet; `serve` makes the first",
        );
    }
    match admin.open_keys().await {
        Ok(()) => Finding::good(
            SUBJECT,
            format!("it opens the signing keys ({})", good.len()),
        ),
        Err(error @ KeysError::Ring(_)) => Finding::problem(
            SUBJECT,
            format!(
                "{}; see `key list`, and make keys with `key rotate --now`",
                causes(&error)
            ),
        ),
        Err(error) => Finding::problem(SUBJECT, causes(&error)),
    }
}
