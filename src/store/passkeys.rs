//! The tables `passkeys` and `used_passkey_requests`.

use super::run::Run as _;
use super::{Store, StoreError, Tx, columns};
use crate::domain::{
    ChallengeId, CodeNonce, EmailAddress, MAX_PASSKEYS, PasskeyId, PasskeyName, PasskeyRequest,
    Timestamp, UserId,
};

/// A passkey as its owner sees it.
#[derive(Debug, Clone)]
pub struct PasskeyRecord {
    /// Its id, by which its owner can remove it.
    pub passkey_id: PasskeyId,
    /// The name that its owner gave it.
    pub name: String,
    /// The domain that it was made for.
    pub rp_id: String,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
    /// Whether it can be copied to other devices.
    pub is_synced: bool,
    /// Whether it has verified its owner, so that it may replace the password.
    pub verifies_user: bool,
}

/// The data by which a browser finds a passkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasskeyDescriptor {
    /// The id that the authenticator knows it by.
    pub credential_id: Vec<u8>,
    /// How the authenticator can be reached.
    pub transports: Vec<String>,
}

/// A passkey to be added.
#[derive(Debug)]
pub struct PasskeyToAdd<'a> {
    /// The user who adds it.
    pub user_id: UserId,
    /// The id that the authenticator knows it by.
    pub credential_id: &'a [u8],
    /// Its public key, in the form of COSE.
    pub public_key: &'a [u8],
    /// The domain that it was made for.
    pub rp_id: &'a str,
    /// The name that its owner gives it.
    pub name: &'a PasskeyName,
    /// How the authenticator can be reached.
    pub transports: &'a [String],
    /// Whether it can be copied to other devices.
    pub is_synced: bool,
    /// Whether it verified its owner.
    pub verifies_user: bool,
    /// The signatures that its authenticator has counted.
    pub sign_count: u32,
}

/// The use of a passkey.
#[derive(Debug, Clone, Copy)]
pub struct PasskeyUse {
    /// The passkey that was used.
    pub passkey_id: PasskeyId,
    /// The signatures that its authenticator has counted.
    pub sign_count: u32,
    /// Whether it can be copied to other devices now.
    pub is_synced: bool,
    /// Whether it verified its owner now.
    pub verified_user: bool,
}

/// A passkey as it is needed to verify one.
#[derive(Debug)]
pub struct StoredKey {
    /// Its id here; the authenticator knows it by another.
    pub passkey_id: PasskeyId,
    /// Its public key, in the form of COSE.
    pub public_key: Vec<u8>,
    /// The handle of its owner.
    pub user_handle: Vec<u8>,
    /// Whether it has verified its owner before.
    pub verifies_user: bool,
}

/// A passkey and its owner.
#[derive(Debug)]
pub struct OwnedPasskey {
    /// The passkey, as it is needed to verify it.
    pub key: StoredKey,
    /// The owner's number.
    pub user_id: UserId,
    /// The owner's address.
    pub email: EmailAddress,
    /// The version of the owner's credentials now.
    pub credential_version: i32,
    /// Whether an operator shut the owner out.
    pub is_disabled: bool,
}

/// A live challenge, and the passkey that is to confirm it.
#[derive(Debug)]
pub struct ChallengedPasskey {
    /// The user who is signing in.
    pub user_id: UserId,
    /// The user's address.
    pub email: EmailAddress,
    /// The random bytes that the passkey's challenge follows from.
    pub nonce: CodeNonce,
    /// The passkey, if it is the user's.
    pub key: Option<StoredKey>,
}

/// The outcome of adding a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddedPasskey {
    /// It was added.
    Added(PasskeyId, Timestamp),
    /// Somebody has it already.
    Known,
    /// Its owner has as many as one may have.
    TooMany,
}

impl Store {
    /// A user's passkeys, oldest first.
    pub async fn list_passkeys(&self, user_id: UserId) -> Result<Vec<PasskeyRecord>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT passkey_id, name, rp_id, created_at, last_used_at, is_synced, verifies_user
              FROM passkeys
             WHERE user_id = $1
             ORDER BY created_at, passkey_id
            "#,
            user_id.0,
        );
        let rows = self.fetch_all(query).await?.into_iter();
        let records = rows.map(|row| PasskeyRecord {
            passkey_id: PasskeyId(row.passkey_id),
            name: row.name,
            rp_id: row.rp_id,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            is_synced: row.is_synced,
            verifies_user: row.verifies_user,
        });
        Ok(records.collect())
    }

    /// How many passkeys were made for another domain than this one, or for any where there is none.
    pub async fn count_stranded_passkeys(&self, rp_id: Option<&str>) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM passkeys WHERE rp_id IS DISTINCT FROM $1"#,
            rp_id,
        );
        self.fetch_one(query).await
    }

    /// The passkey with this id, if it was made for this domain.
    pub async fn find_passkey(
        &self,
        credential_id: &[u8],
        rp_id: &str,
    ) -> Result<Option<OwnedPasskey>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT p.passkey_id, p.public_key, p.verifies_user, u.passkey_handle AS "handle!",
                   u.user_id, u.email, u.credential_version,
                   u.disabled_at IS NOT NULL AS "is_disabled!"
              FROM passkeys AS p JOIN users AS u USING (user_id)
             WHERE p.credential_id = $1 AND p.rp_id = $2
            "#,
            credential_id,
            rp_id,
        );
        let row = self.fetch_optional(query).await?;
        row.map(|row| {
            Ok(OwnedPasskey {
                key: StoredKey {
                    passkey_id: PasskeyId(row.passkey_id),
                    public_key: row.public_key,
                    user_handle: row.handle,
                    verifies_user: row.verifies_user,
                },
                user_id: UserId(row.user_id),
                email: columns::email(&row.email)?,
                credential_version: row.credential_version,
                is_disabled: row.is_disabled,
            })
        })
        .transpose()
    }

    /// A live challenge with the passkey of this id, if the user has it and it was made for this domain.
    pub async fn find_challenged_passkey(
        &self,
        challenge_id: ChallengeId,
        credential_id: &[u8],
        rp_id: &str,
    ) -> Result<Option<ChallengedPasskey>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT c.nonce, u.user_id, u.email, u.passkey_handle, p.passkey_id AS "passkey_id?",
                   p.public_key AS "public_key?", p.verifies_user AS "verifies_user?"
              FROM challenges AS c
              JOIN users AS u USING (user_id)
              LEFT JOIN passkeys AS p
                ON p.user_id = c.user_id AND p.credential_id = $2 AND p.rp_id = $3
             WHERE c.challenge_id = $1 AND c.consumed_at IS NULL
               AND c.expires_at > clock_timestamp()
            "#,
            challenge_id.0,
            credential_id,
            rp_id,
        );
        let row = self.fetch_optional(query).await?;
        row.map(|row| {
            let key =
                (row.passkey_id.zip(row.public_key)).zip(row.passkey_handle.zip(row.verifies_user));
            Ok(ChallengedPasskey {
                user_id: UserId(row.user_id),
                email: columns::email(&row.email)?,
                nonce: columns::nonce(&row.nonce)?,
                key: key.map(
                    |((id, public_key), (user_handle, verifies_user))| StoredKey {
                        passkey_id: PasskeyId(id),
                        public_key,
                        user_handle,
                        verifies_user,
                    },
                ),
            })
        })
        .transpose()
    }
}

impl Tx {
    /// The handle of a user towards authenticators: `new`, if there is none yet.
    pub async fn passkey_handle(
        &mut self,
        user_id: UserId,
        new: &[u8; 32],
    ) -> Result<Vec<u8>, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            UPDATE users
               SET passkey_handle = COALESCE(passkey_handle, $2)
             WHERE user_id = $1
            RETURNING passkey_handle AS "handle!"
            "#,
            user_id.0,
            new.as_slice(),
        );
        self.fetch_one(query).await
    }

    /// The data by which a browser finds each of a user's passkeys, whatever domain they were made for.
    pub async fn list_passkey_descriptors(
        &mut self,
        user_id: UserId,
    ) -> Result<Vec<PasskeyDescriptor>, StoreError> {
        let query = sqlx::query_as!(
            PasskeyDescriptor,
            r#"
            SELECT credential_id, transports FROM passkeys
             WHERE user_id = $1
             ORDER BY created_at, passkey_id
            "#,
            user_id.0,
        );
        self.fetch_all(query).await
    }

    /// Adds a passkey. Its owner is locked, so that no two make one too many.
    pub async fn insert_passkey(
        &mut self,
        new: &PasskeyToAdd<'_>,
    ) -> Result<AddedPasskey, StoreError> {
        let passkey_id = PasskeyId::random();
        let query = sqlx::query!(
            r#"
            WITH counted AS (
                SELECT count(*) < $11 AS has_room FROM passkeys WHERE user_id = $2
            ), added AS (
                INSERT INTO passkeys (passkey_id, user_id, credential_id, public_key, rp_id, name,
                                      transports, is_synced, verifies_user, sign_count, created_at)
                SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, clock_timestamp()
                  FROM counted WHERE has_room
                ON CONFLICT ON CONSTRAINT passkeys_credential_id_key DO NOTHING
                RETURNING created_at
            )
            SELECT has_room AS "has_room!", (SELECT created_at FROM added) FROM counted
            "#,
            passkey_id.0,
            new.user_id.0,
            new.credential_id,
            new.public_key,
            new.rp_id,
            new.name.as_str(),
            new.transports,
            new.is_synced,
            new.verifies_user,
            i64::from(new.sign_count),
            i64::try_from(MAX_PASSKEYS).unwrap_or(i64::MAX),
        );
        let row = self.fetch_one(query).await?;
        Ok(match row.created_at {
            Some(created_at) => AddedPasskey::Added(passkey_id, created_at),
            None if row.has_room => AddedPasskey::Known,
            None => AddedPasskey::TooMany,
        })
    }

    /// Takes note that a passkey was used, and tells whether its counter went up, where it counts. It verifies
    /// its owner from now on if it did now, after the password.
    pub async fn note_passkey_use(&mut self, used: &PasskeyUse) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            UPDATE passkeys AS p
               SET sign_count = GREATEST(p.sign_count, $2), last_used_at = clock_timestamp(),
                   is_synced = $3, verifies_user = p.verifies_user OR $4
              FROM (SELECT passkey_id, sign_count FROM passkeys
                     WHERE passkey_id = $1 FOR UPDATE) AS before
             WHERE p.passkey_id = before.passkey_id
            RETURNING $2 > before.sign_count OR $2 = 0 AND before.sign_count = 0 AS "went_up!"
            "#,
            used.passkey_id.0,
            i64::from(used.sign_count),
            used.is_synced,
            used.verified_user,
        );
        // It cannot have been removed: that would have changed the credentials of its locked owner.
        self.fetch_one(query).await
    }

    /// Uses a request for a passkey up, if its time is not over. Of any number of callers one does.
    pub async fn use_passkey_request(
        &mut self,
        request: &PasskeyRequest,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            INSERT INTO used_passkey_requests (request_id, expires_at)
            SELECT $1, expires_at FROM (SELECT $2::TIMESTAMPTZ AS expires_at) AS request
             WHERE expires_at > clock_timestamp()
            ON CONFLICT ON CONSTRAINT used_passkey_requests_pkey DO NOTHING
            "#,
            request.id,
            request.expires_at,
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Removes a passkey of a user; `false` if they have no such one.
    pub async fn delete_passkey(
        &mut self,
        user_id: UserId,
        passkey_id: PasskeyId,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            "DELETE FROM passkeys WHERE user_id = $1 AND passkey_id = $2",
            user_id.0,
            passkey_id.0,
        );
        Ok(self.execute(query).await? > 0)
    }
}
