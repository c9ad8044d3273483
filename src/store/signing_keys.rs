//! The table `signing_keys`.

use std::time::Duration;

use super::run::{Rows, Run as _};
use super::{Store, StoreError, Tx, seconds};
use crate::domain::{KeyId, KeyPurpose, SigningKeyRecord, Timestamp};

/// A signing key to be stored.
#[derive(Debug)]
pub struct NewSigningKey<'a> {
    /// Its id, `kid` in a token's header.
    pub key_id: &'a KeyId,
    /// The kind of tokens that it signs.
    pub purpose: KeyPurpose,
    /// `SubjectPublicKeyInfo`, DER.
    pub public_key: &'a [u8],
    /// PKCS#8, sealed.
    pub sealed_private_key: Option<&'a [u8]>,
    /// How long it is published before it signs.
    pub publish_before: Duration,
    /// When it ends, if it is the key of an older service.
    pub legacy_until: Option<Timestamp>,
}

/// A row of [`list_signing_keys`]: no key at all is one row with nothing but the clock.
struct ClockedRow {
    key_id: Option<String>,
    purpose: Option<String>,
    public_key: Option<Vec<u8>>,
    sealed_private_key: Option<Vec<u8>>,
    created_at: Option<Timestamp>,
    activates_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    is_legacy: Option<bool>,
    refresh_expires_at: Option<Timestamp>,
    now: Timestamp,
}

impl ClockedRow {
    fn into_record(self) -> Option<SigningKeyRecord> {
        Some(SigningKeyRecord {
            key_id: KeyId(self.key_id?),
            // A later release may know of more. Such a key is none of ours.
            purpose: KeyPurpose::from_stored(&self.purpose?)?,
            public_key: self.public_key?,
            sealed_private_key: self.sealed_private_key,
            created_at: self.created_at?,
            activates_at: self.activates_at?,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            is_legacy: self.is_legacy?,
            refresh_expires_at: self.refresh_expires_at,
        })
    }
}

/// The keys, oldest first, and the clock by which their stages are told, in one reading.
fn keys_and_clock() -> impl Rows<ClockedRow> {
    sqlx::query_as!(
        ClockedRow,
        r#"
        SELECT key_id AS "key_id?", purpose AS "purpose?", public_key AS "public_key?",
               COALESCE(sealed_private_key, sealed_refresh_key) AS sealed_private_key,
               created_at AS "created_at?", activates_at AS "activates_at?", expires_at,
               revoked_at, is_legacy AS "is_legacy?", refresh_expires_at, now AS "now!"
          FROM (SELECT clock_timestamp() AS now) AS clock
          LEFT JOIN signing_keys ON TRUE
         ORDER BY activates_at, key_id
        "#
    )
}

fn read_keys_and_clock(
    rows: Vec<ClockedRow>,
) -> Result<(Vec<SigningKeyRecord>, Timestamp), StoreError> {
    let now = rows.first().map(|row| row.now);
    let now = now.ok_or(StoreError::Unreadable("signing_keys"))?;
    let keys = rows.into_iter().filter_map(ClockedRow::into_record);
    Ok((keys.collect(), now))
}

impl Store {
    /// All keys, oldest first, and the database's clock. Not from the pool of the requests: one that
    /// holds a connection may wait for this.
    pub async fn list_signing_keys(
        &self,
    ) -> Result<(Vec<SigningKeyRecord>, Timestamp), StoreError> {
        let rows = self.on_readers().fetch_all(keys_and_clock());
        read_keys_and_clock(rows.await?)
    }

    /// Whether an instance of the release before is at work on this database. Its connections have a name
    /// without a version. One that said nothing for ten seconds is left over in a pooler: an instance
    /// reads its keys twice a second.
    pub async fn is_older_release_connected(&self) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (SELECT FROM pg_stat_activity
                            WHERE datname = current_database()
                              AND application_name = 'backoffice-auth'
                              AND (state IS DISTINCT FROM 'idle'
                                   OR state_change > clock_timestamp() - INTERVAL '10 seconds'))
                   AS "is_connected!"
            "#
        );
        self.on_probes().fetch_one(query).await
    }

    /// The transactions that have read the keys and are not over. PostgreSQL locks a table for a
    /// statement before it decides what that statement sees; so a transaction that does not see a change of
    /// the keys is among those that are found once the change is committed.
    pub async fn list_readers_of_signing_keys(&self) -> Result<Vec<String>, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            SELECT DISTINCT virtualtransaction AS "transaction!"
              FROM pg_locks
             WHERE locktype = 'relation'
               AND relation = 'signing_keys'::REGCLASS
               AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND granted
               AND pid <> pg_backend_pid()
            "#
        );
        self.fetch_all(query).await
    }
}

impl Tx {
    /// Keeps every other instance from changing the keys until this transaction ends.
    pub async fn lock_signing_keys(&mut self) -> Result<(), StoreError> {
        let query = sqlx::query!("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE");
        self.execute(query).await?;
        Ok(())
    }

    /// The same as [`Store::list_signing_keys`], for a transaction that has locked them.
    pub async fn list_signing_keys(
        &mut self,
    ) -> Result<(Vec<SigningKeyRecord>, Timestamp), StoreError> {
        let rows = self.fetch_all(keys_and_clock());
        read_keys_and_clock(rows.await?)
    }

    /// Every private key as it lies there, whatever its purpose: a later release may know of more.
    pub async fn list_sealed_keys(&mut self) -> Result<Vec<(KeyId, Vec<u8>)>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT key_id, COALESCE(sealed_private_key, sealed_refresh_key) AS "sealed!"
              FROM signing_keys
             WHERE COALESCE(sealed_private_key, sealed_refresh_key) IS NOT NULL
             ORDER BY activates_at, key_id
            "#
        );
        let rows = self.fetch_all(query);
        let rows = rows.await?.into_iter();
        Ok(rows.map(|row| (KeyId(row.key_id), row.sealed)).collect())
    }

    /// Stores a private key under another seal.
    pub async fn reseal_signing_key(
        &mut self,
        key_id: &KeyId,
        sealed: &[u8],
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE signing_keys
               SET sealed_private_key =
                       CASE WHEN sealed_private_key IS NOT NULL THEN $2::BYTEA END,
                   sealed_refresh_key =
                       CASE WHEN sealed_refresh_key IS NOT NULL THEN $2::BYTEA END
             WHERE key_id = $1
            "#,
            key_id.0,
            sealed,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Stores a key, and tells from when it signs. A key that is already there violates
    /// `signing_keys_pkey`.
    pub async fn insert_signing_key(
        &mut self,
        key: &NewSigningKey<'_>,
    ) -> Result<Timestamp, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            INSERT INTO signing_keys (key_id, public_key, sealed_private_key, activates_at,
                                      expires_at, is_legacy, purpose, sealed_refresh_key,
                                      refresh_expires_at)
            SELECT $1, $2, CASE WHEN NOT c.for_refresh THEN $3::BYTEA END,
                   c.now + make_interval(secs => $4), $5, $5::TIMESTAMPTZ IS NOT NULL, $6,
                   CASE WHEN c.for_refresh THEN $3 END,
                   -- Once there are keys for refresh tokens, a new one of the other kind signs none.
                   CASE WHEN NOT c.for_refresh
                         AND EXISTS (SELECT FROM signing_keys WHERE purpose = $7) THEN c.now END
              FROM (SELECT clock_timestamp() AS now, $6::TEXT = $7::TEXT AS for_refresh) AS c
            RETURNING activates_at
            "#,
            key.key_id.0,
            key.public_key,
            key.sealed_private_key,
            seconds(key.publish_before),
            key.legacy_until,
            key.purpose.as_str(),
            KeyPurpose::Refresh.as_str(),
        );
        self.fetch_one(query).await
    }

    /// Sets the end of the keys that `successor` takes over from: its first second, and the longest
    /// life that a token signed just before it can have.
    pub async fn retire_signing_keys_before(
        &mut self,
        successor: &KeyId,
        token_life: Duration,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE signing_keys AS k
               SET expires_at = successor.activates_at + make_interval(secs => $2)
              FROM signing_keys AS successor
             WHERE successor.key_id = $1
               AND k.key_id <> successor.key_id
               AND k.purpose = successor.purpose
               AND k.activates_at <= successor.activates_at
               AND COALESCE(k.sealed_private_key, k.sealed_refresh_key) IS NOT NULL
               AND k.revoked_at IS NULL
               AND k.expires_at IS NULL
            "#,
            successor.0,
            seconds(token_life),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Sets the end of the refresh tokens that were signed by keys for access tokens before there was
    /// this one for them.
    pub async fn retire_access_keys_from_refresh_tokens(
        &mut self,
        successor: &KeyId,
        token_life: Duration,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE signing_keys AS k
               SET refresh_expires_at = successor.activates_at + make_interval(secs => $2)
              FROM signing_keys AS successor
             WHERE successor.key_id = $1
               AND k.purpose <> successor.purpose
               AND k.refresh_expires_at IS NULL
            "#,
            successor.0,
            seconds(token_life),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Leaves a key in office whose successor will not come.
    pub async fn keep_signing_key(&mut self, key_id: &KeyId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE signing_keys SET expires_at = NULL WHERE key_id = $1",
            key_id.0,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Lets a published key sign at once. The keys before it keep the later end that they have.
    pub async fn activate_signing_key(&mut self, key_id: &KeyId) -> Result<Timestamp, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            UPDATE signing_keys
               SET activates_at = LEAST(activates_at, clock_timestamp())
             WHERE key_id = $1
            RETURNING activates_at
            "#,
            key_id.0,
        );
        self.fetch_one(query).await
    }

    /// Lets a key neither sign nor verify any more.
    pub async fn revoke_signing_key(&mut self, key_id: &KeyId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE signing_keys
               SET revoked_at = clock_timestamp()
             WHERE key_id = $1 AND revoked_at IS NULL
            "#,
            key_id.0,
        );
        self.execute(query).await?;
        Ok(())
    }
}
