//! Follows the signing keys in the database, so that a rotation or a revocation reaches every
//! instance, and replaces the signing key when it has grown old.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::trouble::Trouble;
use crate::auth::{Auth, KeyRefresh, KeysError, SigningKeys};
use crate::domain::{KeyPurpose, KeyStage, KeyState};
use crate::telemetry::metrics::{SIGNING_KEY_AGE, SIGNING_KEY_ROTATION, SIGNING_KEYS};

/// The time between two readings of the keys: a revoked key is refused everywhere within a second.
const INTERVAL: Duration = Duration::from_millis(500);

/// The time between two searches for sessions of revoked keys.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Keeps the ring of `auth` as the database has it, until `stop`. While the database is away, or
/// holds a key that cannot be opened, the ring stays as it is.
pub async fn follow_keys(keys: Arc<SigningKeys>, auth: Auth, stop: CancellationToken) {
    let mut trouble = Trouble::new("following the signing keys");
    while stop
        .run_until_cancelled(tokio::time::sleep(INTERVAL))
        .await
        .is_some()
    {
        trouble.note(refresh(&keys, &auth).await);
    }
}

async fn refresh(keys: &SigningKeys, auth: &Auth) -> Result<(), KeysError> {
    let (refresh, states) = auth.renew_keys().await?;
    show(&refresh, &states, keys.rotate_after());
    if refresh.lacks_refresh_key
        && let Some(key_id) = keys.ensure_refresh_key().await?
    {
        tracing::info!(%key_id, "a key for refresh tokens was made");
    }
    if refresh.is_rotation_due {
        for key_id in keys.rotate_if_due().await? {
            tracing::info!(%key_id, "the signing key is old: another one was made to follow it");
        }
    }
    Ok(())
}

/// Shows the keys in the metrics.
fn show(refresh: &KeyRefresh, states: &[KeyState], rotate_after: Option<Duration>) {
    for &purpose in KeyPurpose::ALL {
        let of_purpose = || states.iter().filter(|state| state.purpose == purpose);
        if of_purpose().next().is_none() {
            continue;
        }
        for stage in KeyStage::ALL {
            let count = of_purpose().filter(|state| state.stage == stage).count();
            SIGNING_KEYS.count(count, [purpose.as_str().into(), stage.as_str().into()]);
        }
    }
    let Some(since) = refresh.active_since else {
        return;
    };
    let age = (refresh.now - since).as_seconds_f64();
    SIGNING_KEY_AGE.set(age, []);
    let lasts = rotate_after.map_or(f64::INFINITY, |after| after.as_secs_f64());
    SIGNING_KEY_ROTATION.set(lasts - age, []);
}

/// Ends the sessions that revoked keys still have, until `stop`: the command that revokes a key ends
/// them, but may be cut short, and an instance may refresh one before it learns of the revocation.
pub async fn end_sessions_of_revoked_keys(keys: Arc<SigningKeys>, stop: CancellationToken) {
    let mut trouble = Trouble::new("ending the sessions of revoked keys");
    while stop
        .run_until_cancelled(tokio::time::sleep(SWEEP_INTERVAL))
        .await
        .is_some()
    {
        trouble.note(keys.end_sessions_of_revoked().await);
    }
}
