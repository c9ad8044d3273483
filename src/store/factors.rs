//! The tables `totp_factors` and `recovery_codes`, and the statements on all second factors of a user.

use std::time::Duration;

use super::passkeys::PasskeyRecord;
use super::run::Run as _;
use super::{Store, StoreError, Tx, columns, seconds};
use crate::domain::{EmailAddress, STEP_SECONDS, SessionId, Timestamp, TotpId, TotpStep, UserId};

/// An authenticator app as it is stored.
#[derive(Debug, Clone)]
pub struct SealedTotp {
    /// Its id, for which its secret is sealed.
    pub totp_id: TotpId,
    /// The user who has it.
    pub user_id: UserId,
    /// Its secret, sealed.
    pub secret: Vec<u8>,
}

/// An enrolment that waits for its first code.
#[derive(Debug)]
pub struct BegunTotp {
    /// The app, which counts as enrolled once a code of it was right.
    pub totp: SealedTotp,
    /// The current time step of the database's clock.
    pub step: TotpStep,
}

/// The owner of a live session, locked until the transaction ends.
#[derive(Debug)]
pub struct SessionOwner {
    /// The user's number.
    pub user_id: UserId,
    /// The user's address.
    pub email: EmailAddress,
    /// Whether the session was opened recently enough.
    pub is_fresh: bool,
}

/// The factors that a user has enrolled.
#[derive(Debug, Clone)]
pub struct EnrolledFactors {
    /// The authenticator app: when it was enrolled, and last used.
    pub totp: Option<(Timestamp, Option<Timestamp>)>,
    /// The passkeys, oldest first.
    pub passkeys: Vec<PasskeyRecord>,
    /// Recovery codes that were not used.
    pub recovery_codes_left: i64,
}

impl Store {
    /// The factors that a user has enrolled.
    pub async fn find_factors(&self, user_id: UserId) -> Result<EnrolledFactors, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT t.confirmed_at AS "enrolled_at?", t.last_used_at,
                   (SELECT count(*) FROM recovery_codes AS r
                     WHERE r.user_id = $1 AND r.used_at IS NULL) AS "recovery_codes_left!"
              FROM (SELECT) AS one
              LEFT JOIN totp_factors AS t ON t.user_id = $1 AND t.confirmed_at IS NOT NULL
            "#,
            user_id.0,
        );
        let row = self.fetch_one(query).await?;
        Ok(EnrolledFactors {
            totp: row.enrolled_at.map(|at| (at, row.last_used_at)),
            passkeys: self.list_passkeys(user_id).await?,
            recovery_codes_left: row.recovery_codes_left,
        })
    }
}

impl Tx {
    /// The owner of a live session, if they are not disabled; locked, so that of all changes to an account
    /// one is made at a time. The clock is read after the lock was had.
    pub async fn lock_session_owner(
        &mut self,
        user_id: UserId,
        session_id: SessionId,
        fresh: Duration,
    ) -> Result<Option<SessionOwner>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT u.email, s.created_at + make_interval(secs => $3) > clock_timestamp() AS "is_fresh!"
              FROM (SELECT user_id, email FROM users
                     WHERE user_id = $1 AND disabled_at IS NULL
                       FOR NO KEY UPDATE) AS u
              JOIN sessions AS s USING (user_id)
             WHERE s.session_id = $2 AND s.ended_at IS NULL AND s.expires_at > clock_timestamp()
            "#,
            user_id.0,
            session_id.0,
            seconds(fresh),
        );
        let row = self.fetch_optional(query).await?;
        row.map(|row| {
            Ok(SessionOwner {
                user_id,
                email: columns::email(&row.email)?,
                is_fresh: row.is_fresh,
            })
        })
        .transpose()
    }

    /// Begins to enrol an app, in place of one that was begun before, and tells until when a code confirms it.
    /// One that is in use stays.
    pub async fn begin_totp(
        &mut self,
        totp: &SealedTotp,
        ttl: Duration,
    ) -> Result<Timestamp, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            INSERT INTO totp_factors (totp_id, user_id, sealed_secret, created_at, expires_at)
            SELECT $1, $2, $3, now, date_trunc('second', now) + make_interval(secs => $4)
              FROM (SELECT clock_timestamp() AS now) AS clock
            ON CONFLICT (user_id) WHERE confirmed_at IS NULL DO UPDATE
               SET totp_id = EXCLUDED.totp_id, sealed_secret = EXCLUDED.sealed_secret,
                   created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at
            RETURNING expires_at
            "#,
            totp.totp_id.0,
            totp.user_id.0,
            totp.secret,
            seconds(ttl),
        );
        self.fetch_one(query).await
    }

    /// The enrolment that a user has begun under this id, if its time is not over.
    pub async fn find_begun_totp(
        &mut self,
        totp_id: TotpId,
        user_id: UserId,
    ) -> Result<Option<BegunTotp>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT sealed_secret,
                   floor(EXTRACT(EPOCH FROM clock_timestamp()) / $3::INTEGER)::BIGINT AS "step!"
              FROM totp_factors
             WHERE totp_id = $1 AND user_id = $2 AND confirmed_at IS NULL
               AND expires_at > clock_timestamp()
            "#,
            totp_id.0,
            user_id.0,
            STEP_SECONDS,
        );
        let row = self.fetch_optional(query).await?;
        Ok(row.map(|row| BegunTotp {
            totp: SealedTotp {
                totp_id,
                user_id,
                secret: row.sealed_secret,
            },
            step: TotpStep(row.step),
        }))
    }

    /// Makes an app that was begun the user's app, in place of the one before; `false` if it was confirmed or
    /// replaced meanwhile, or its time is over. The code that confirmed it is not taken again.
    pub async fn confirm_totp(
        &mut self,
        totp_id: TotpId,
        user_id: UserId,
        step: TotpStep,
    ) -> Result<bool, StoreError> {
        let former = sqlx::query!(
            "DELETE FROM totp_factors WHERE user_id = $1 AND confirmed_at IS NOT NULL",
            user_id.0,
        );
        self.execute(former).await?;
        let query = sqlx::query!(
            r#"
            UPDATE totp_factors
               SET confirmed_at = clock_timestamp(), last_step = $3
             WHERE totp_id = $1 AND user_id = $2 AND confirmed_at IS NULL
               AND expires_at > clock_timestamp()
            "#,
            totp_id.0,
            user_id.0,
            step.0,
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Takes the code of a step, unless one of it or of a later one was taken before. Of any number of callers
    /// with the same code one gets it.
    pub async fn spend_totp_step(
        &mut self,
        totp_id: TotpId,
        step: TotpStep,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE totp_factors
               SET last_step = $2, last_used_at = clock_timestamp()
             WHERE totp_id = $1 AND last_step < $2
            "#,
            totp_id.0,
            step.0,
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Removes a user's app, and one that was only begun; tells whether there was an app.
    pub async fn delete_totp(&mut self, user_id: UserId) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            WITH removed AS (
                DELETE FROM totp_factors WHERE user_id = $1 RETURNING confirmed_at
            )
            SELECT EXISTS (SELECT FROM removed WHERE confirmed_at IS NOT NULL) AS "had_app!"
            "#,
            user_id.0,
        );
        self.fetch_one(query).await
    }

    /// Removes a user's recovery codes, if there is no factor left that they stand in for.
    pub async fn delete_idle_recovery_codes(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            DELETE FROM recovery_codes
             WHERE user_id = $1
               AND NOT EXISTS (SELECT FROM totp_factors
                                WHERE user_id = $1 AND confirmed_at IS NOT NULL)
               AND NOT EXISTS (SELECT FROM passkeys WHERE user_id = $1)
            "#,
            user_id.0,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Removes all second factors of a user but the mailed code.
    pub async fn delete_factors(&mut self, user_id: UserId) -> Result<(), StoreError> {
        self.delete_totp(user_id).await?;
        let passkeys = sqlx::query!("DELETE FROM passkeys WHERE user_id = $1", user_id.0);
        self.execute(passkeys).await?;
        self.delete_idle_recovery_codes(user_id).await
    }

    /// Puts recovery codes in the place of all former ones, if the user has an app or a passkey; `false` if
    /// not.
    pub async fn replace_recovery_codes(
        &mut self,
        user_id: UserId,
        hashes: &[Vec<u8>],
    ) -> Result<bool, StoreError> {
        let former = sqlx::query!("DELETE FROM recovery_codes WHERE user_id = $1", user_id.0);
        self.execute(former).await?;
        let query = sqlx::query!(
            r#"
            INSERT INTO recovery_codes (user_id, code_hash, created_at)
            SELECT $1, hash, clock_timestamp()
              FROM unnest($2::BYTEA[]) AS hash
             WHERE EXISTS (SELECT FROM totp_factors
                            WHERE user_id = $1 AND confirmed_at IS NOT NULL)
                OR EXISTS (SELECT FROM passkeys WHERE user_id = $1)
            "#,
            user_id.0,
            hashes,
        );
        Ok(self.execute(query).await? > 0)
    }

    /// Whether a user has a recovery code that was not used.
    pub async fn has_recovery_codes(&mut self, user_id: UserId) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (SELECT FROM recovery_codes
                            WHERE user_id = $1 AND used_at IS NULL) AS "has!"
            "#,
            user_id.0,
        );
        self.fetch_one(query).await
    }

    /// Uses a recovery code up, and tells how many are left; `None` if it is none, or was used. Of any number
    /// of callers with the same code one gets it.
    pub async fn spend_recovery_code(
        &mut self,
        user_id: UserId,
        hash: &[u8; 32],
    ) -> Result<Option<i64>, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            WITH used AS (
                UPDATE recovery_codes
                   SET used_at = clock_timestamp()
                 WHERE user_id = $1 AND code_hash = $2 AND used_at IS NULL
                RETURNING code_hash
            )
            SELECT (SELECT count(*) FROM recovery_codes AS r
                     WHERE r.user_id = $1 AND r.used_at IS NULL AND r.code_hash <> used.code_hash)
                       AS "left!"
              FROM used
            "#,
            user_id.0,
            hash.as_slice(),
        );
        self.fetch_optional(query).await
    }

    /// Voids all challenges and links of a user whose second factors changed, and sees to it that an account
    /// without a strong factor asks for a mailed code.
    pub async fn note_changed_factors(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE users
               SET credential_version = credential_version + 1, two_factor = 'email'
             WHERE user_id = $1
            "#,
            user_id.0,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// The secrets of all apps, sealed.
    pub async fn list_sealed_totp(&mut self) -> Result<Vec<SealedTotp>, StoreError> {
        let query = sqlx::query!(
            "SELECT totp_id, user_id, sealed_secret FROM totp_factors ORDER BY totp_id FOR UPDATE"
        );
        let rows = self.fetch_all(query).await?.into_iter();
        Ok(rows
            .map(|row| SealedTotp {
                totp_id: TotpId(row.totp_id),
                user_id: UserId(row.user_id),
                secret: row.sealed_secret,
            })
            .collect())
    }

    /// Stores the secret of an app under another seal.
    pub async fn reseal_totp(&mut self, totp: &SealedTotp) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE totp_factors SET sealed_secret = $2 WHERE totp_id = $1",
            totp.totp_id.0,
            totp.secret,
        );
        self.execute(query).await?;
        Ok(())
    }
}
