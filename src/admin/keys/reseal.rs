//! Sealing the keys under another master key.

use super::{KeyChangeError, changed};
use crate::admin::Admin;
use crate::domain::{KeyChange, MasterKey, Operator, TotpSealer};
use crate::store::Tx;
use crate::token::{KeyRingError, Sealer};

impl Admin {
    /// Seals every private key under another master key, all of them or none, and tells how many.
    ///
    /// An instance with the master key from before goes on with the keys that it has in memory, and
    /// makes none: it would have to open the one in force first.
    pub async fn reseal_keys(
        &self,
        actor: &Operator,
        master_key: &MasterKey,
    ) -> Result<usize, KeyChangeError> {
        let new = Sealer::new(master_key);
        let mut tx = self.store.begin().await?;
        tx.lock_signing_keys().await?;
        let keys = tx.list_sealed_keys().await?;
        for (key_id, sealed) in &keys {
            if new.unseal(key_id, sealed).is_ok() {
                return Err(KeyChangeError::SameMasterKey);
            }
            let private = self.keys.sealer().unseal(key_id, sealed);
            let private = private.map_err(KeyRingError::from)?;
            tx.reseal_signing_key(key_id, &new.seal(key_id, &private))
                .await?;
        }
        let apps = self.reseal_totp(&mut tx, master_key).await?;
        let detail = format!("{} private keys, {apps} authenticator apps", keys.len());
        tx.record(&changed(KeyChange::Resealed, detail, actor))
            .await?;
        tx.commit().await?;
        Ok(keys.len())
    }

    /// Seals the secrets of all authenticator apps under another master key. One that the present master key
    /// does not open works no more, and stays as it is.
    async fn reseal_totp(
        &self,
        tx: &mut Tx,
        master_key: &MasterKey,
    ) -> Result<usize, KeyChangeError> {
        let new = TotpSealer::new(master_key);
        let mut resealed = 0;
        for mut totp in tx.list_sealed_totp().await? {
            let (totp_id, user_id) = (totp.totp_id, totp.user_id);
            if let Some(secret) = self.totp_sealer.open(totp_id, user_id, &totp.secret) {
                totp.secret = new.seal(totp_id, user_id, &secret);
                tx.reseal_totp(&totp).await?;
                resealed += 1;
            }
        }
        Ok(resealed)
    }
}
