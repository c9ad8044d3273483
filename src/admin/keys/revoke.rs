//! Revoking a key.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{KeyChangeError, changed};
use crate::admin::Admin;
use crate::auth::{LockedKeys, NewKey, about};
use crate::domain::{
    KeyChange, KeyId, KeyPurpose, Operator, Revocation, SigningKeyRecord, plan_revocation,
};
use crate::store::{StoreError, Tx};

/// A revocation waits for this long for the statements that began before it: longer than a statement
/// of ours may take.
const READERS_END: Duration = Duration::from_secs(3);

/// The time between two readings of whether they have ended.
const READERS_POLL: Duration = Duration::from_millis(5);

/// The result of a revocation.
#[derive(Debug, Clone)]
pub struct Revoked {
    /// The consequence for the other keys.
    pub plan: Revocation,
    /// The new key, if one was made.
    pub made: Option<KeyId>,
    /// Sessions that ended because the key had signed their tokens.
    pub ended_sessions: u64,
}

impl Admin {
    /// Revokes a key and all that it signed. Another one signs from the same instant.
    ///
    /// The sessions whose tokens it signed are ended, so that services that follow the ended sessions
    /// learn of it.
    pub async fn revoke_key(
        &self,
        actor: &Operator,
        key_id: &KeyId,
    ) -> Result<Revoked, KeyChangeError> {
        let (keys, now) = self.store.list_signing_keys().await?;
        let spare = match plan_revocation(&keys, key_id, now)? {
            Revocation::WithNewKey => Some(self.keys.generate(purpose_of(&keys, key_id)).await?),
            _ => None,
        };
        let LockedKeys { mut tx, keys, now } = self.keys.lock().await?;
        let plan = plan_revocation(&keys, key_id, now)?;
        tx.revoke_signing_key(key_id).await?;
        let made = self.replace(actor, &mut tx, &plan, spare).await?;
        let detail = about(key_id, purpose_of(&keys, key_id));
        tx.record(&changed(KeyChange::Revoked, detail, actor))
            .await?;
        tx.commit().await?;
        self.wait_for_readers().await?;
        Ok(Revoked {
            plan,
            made,
            ended_sessions: self.keys.end_sessions_of(key_id).await?,
        })
    }

    /// Waits for the statements that began before a revocation was committed, and so may yet open or
    /// refresh a session under the key. All later ones see it. A backup may read for hours, so the wait
    /// has an end; sessions that come to light later are ended by the server.
    async fn wait_for_readers(&self) -> Result<(), StoreError> {
        let deadline = Instant::now() + READERS_END;
        let mut before = self.store.list_readers_of_signing_keys().await?;
        while !before.is_empty() && Instant::now() < deadline {
            sleep(READERS_POLL).await;
            let now = self.store.list_readers_of_signing_keys().await?;
            before.retain(|reader| now.contains(reader));
        }
        Ok(())
    }

    /// Does to the other keys what the plan says, and tells which one was made.
    async fn replace(
        &self,
        actor: &Operator,
        tx: &mut Tx,
        plan: &Revocation,
        spare: Option<NewKey>,
    ) -> Result<Option<KeyId>, KeyChangeError> {
        match plan {
            Revocation::Alone => {}
            Revocation::OfSuccessor { stays } => tx.keep_signing_key(stays).await?,
            Revocation::PassedOn { successor } => {
                self.activate(actor, tx, (successor, KeyPurpose::Access))
                    .await?;
            }
            Revocation::WithNewKey => {
                let key = spare.ok_or(KeyChangeError::ChangedMeanwhile)?;
                self.succeed(actor, tx, &key, Duration::ZERO).await?;
                return Ok(Some(key.sealed.key_id));
            }
        }
        Ok(None)
    }
}

/// The purpose of the key `key_id`, one of `keys`.
fn purpose_of(keys: &[SigningKeyRecord], key_id: &KeyId) -> KeyPurpose {
    let key = keys.iter().find(|key| key.key_id == *key_id);
    key.map_or(KeyPurpose::Access, |key| key.purpose)
}
