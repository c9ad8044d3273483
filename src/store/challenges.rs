//! The table `challenges`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use uuid::Uuid;

use super::factors::SealedTotp;
use super::late::insist;
use super::passkeys::PasskeyDescriptor;
use super::run::Run as _;
use super::{Store, StoreError, Tx, columns, seconds};
use crate::domain::policy::MAX_GUESSES;
use crate::domain::{
    Challenge, ChallengeId, ChallengeProvider, ClientNetwork, CodeNonce, EmailAddress,
    STEP_SECONDS, TotpId, TotpStep, UserId,
};

/// A challenge to be made.
#[derive(Debug)]
pub struct NewChallenge<'a> {
    /// Its id, which is the 2FA token.
    pub challenge_id: ChallengeId,
    /// The user who is signing in.
    pub user_id: UserId,
    /// The random bytes that its code follows from.
    pub nonce: CodeNonce,
    /// The version of the user's credentials when the password was checked.
    pub credential_version: i32,
    /// Whether the user has an authenticator app, so that no code is mailed.
    pub has_totp: bool,
    /// Whether the user has a passkey, so that no code is mailed.
    pub has_passkey: bool,
    /// The domain that passkeys are asked for; `None`: for none.
    pub rp_id: Option<&'a str>,
    /// Its lifetime.
    pub ttl: Duration,
    /// The network of the sign-in.
    pub network: ClientNetwork,
}

impl NewChallenge<'_> {
    /// The proofs that confirm it, best first. Where the user's only passkeys are for another domain, that is a
    /// recovery code.
    fn providers(&self, offers_passkey: bool, has_recovery_codes: bool) -> Vec<ChallengeProvider> {
        if !self.has_totp && !self.has_passkey {
            return vec![ChallengeProvider::Email];
        }
        let is_stranded = !offers_passkey && !self.has_totp;
        [
            (ChallengeProvider::Passkey, offers_passkey),
            (ChallengeProvider::Totp, self.has_totp),
            (
                ChallengeProvider::RecoveryCode,
                has_recovery_codes || is_stranded,
            ),
        ]
        .into_iter()
        .filter_map(|(provider, is_offered)| is_offered.then_some(provider))
        .collect()
    }
}

/// An attempt at a code, counted before the code is looked at.
#[derive(Debug)]
pub struct SpentAttempt {
    /// The random bytes that the right mailed code follows from.
    pub nonce: CodeNonce,
    /// The user's authenticator app. With one, no mailed code is taken.
    pub totp: Option<SealedTotp>,
    /// Whether the user has a passkey. With one, no mailed code is taken.
    pub has_passkey: bool,
    /// The current time step of the database's clock.
    pub step: TotpStep,
    /// Whether the challenge had attempts left.
    pub is_within_challenge: bool,
    /// Whether the account had wrong codes left.
    pub is_within_account: bool,
}

/// A spent attempt as it is read.
struct SpentRow {
    nonce: Vec<u8>,
    user_id: i64,
    totp_id: Option<Uuid>,
    sealed_secret: Option<Vec<u8>>,
    has_passkey: bool,
    step: i64,
    is_within_challenge: bool,
    is_within_account: bool,
}

impl TryFrom<SpentRow> for SpentAttempt {
    type Error = StoreError;

    fn try_from(row: SpentRow) -> Result<Self, StoreError> {
        Ok(Self {
            nonce: columns::nonce(&row.nonce)?,
            totp: (row.totp_id.zip(row.sealed_secret)).map(|(totp_id, secret)| SealedTotp {
                totp_id: TotpId(totp_id),
                user_id: UserId(row.user_id),
                secret,
            }),
            has_passkey: row.has_passkey,
            step: TotpStep(row.step),
            is_within_challenge: row.is_within_challenge,
            is_within_account: row.is_within_account,
        })
    }
}

/// A challenge that this caller, and no other one, has used up.
#[derive(Debug)]
pub struct ConsumedChallenge {
    /// The user who is signed in.
    pub user_id: UserId,
    /// The address of that user.
    pub email: EmailAddress,
    /// The user's credentials, unchanged since the password was checked.
    pub credential_version: i32,
}

impl Store {
    /// The owner of a challenge in any state.
    pub async fn find_challenge_owner(
        &self,
        challenge_id: ChallengeId,
    ) -> Result<Option<(UserId, EmailAddress)>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT user_id, email FROM challenges JOIN users USING (user_id)
             WHERE challenge_id = $1
            "#,
            challenge_id.0,
        );
        let row = self.fetch_optional(query).await?;
        row.map(|row| Ok((UserId(row.user_id), columns::email(&row.email)?)))
            .transpose()
    }

    /// Counts an attempt at a live challenge, against the challenge and against the account, in one
    /// committed statement; `None` if the challenge is unknown, used or expired.
    ///
    /// Both counts go up before the code is compared: if anything fails after this, the guess is counted. A
    /// right code then sets the account's count back to zero. A guess whose commit comes after its caller
    /// has left is taken back.
    pub async fn spend_confirm_attempt(
        &self,
        challenge_id: ChallengeId,
        max_account_failures: u32,
    ) -> Result<Option<SpentAttempt>, StoreError> {
        let query = sqlx::query_as!(
            SpentRow,
            r#"
            WITH spent AS (
                UPDATE challenges
                   SET attempts = LEAST(attempts, $3) + 1
                 WHERE challenge_id = $1 AND consumed_at IS NULL
                   AND expires_at > clock_timestamp()
                RETURNING user_id, nonce, attempts
            ), counted AS (
                UPDATE users
                   SET second_factor_failures = second_factor_failures + 1
                  FROM spent
                 WHERE users.user_id = spent.user_id AND second_factor_failures < $2
                RETURNING users.user_id
            )
            SELECT nonce, user_id, totp_id AS "totp_id?", sealed_secret AS "sealed_secret?",
                   EXISTS (SELECT FROM passkeys AS p WHERE p.user_id = spent.user_id)
                       AS "has_passkey!",
                   floor(EXTRACT(EPOCH FROM clock_timestamp()) / $4::INTEGER)::BIGINT AS "step!",
                   attempts <= $3 AS "is_within_challenge!",
                   EXISTS (SELECT FROM counted) AS "is_within_account!"
              FROM spent
              LEFT JOIN (SELECT user_id, totp_id, sealed_secret FROM totp_factors
                          WHERE confirmed_at IS NOT NULL) AS totp USING (user_id)
            "#,
            challenge_id.0,
            i32::try_from(max_account_failures).unwrap_or(i32::MAX),
            MAX_GUESSES,
            STEP_SECONDS,
        );
        let store = self.clone();
        let spent = self.run_late(
            move |c| Box::pin(query.fetch_optional(c)),
            move |spent: Option<SpentRow>| {
                Box::pin(async move {
                    let Some(spent) = spent else { return Ok(()) };
                    store
                        .release_confirm_attempt(challenge_id, spent.is_within_account)
                        .await
                })
            },
        );
        spent.await?.map(SpentAttempt::try_from).transpose()
    }

    /// Takes back an attempt whose answer is 503: from the challenge, and from the account if it counted
    /// there. It is tried until it can be done. A statement that has begun goes on by itself, and is not
    /// begun again.
    pub async fn release_confirm_attempt(
        &self,
        challenge_id: ChallengeId,
        counted_for_account: bool,
    ) -> Result<(), StoreError> {
        insist(|| async {
            let begun = Arc::new(AtomicBool::new(false));
            let released =
                self.try_release_confirm_attempt(challenge_id, counted_for_account, &begun);
            match released.await {
                Err(StoreError::TimedOut) if begun.load(Ordering::Relaxed) => Ok(()),
                done => done,
            }
        })
        .await
    }

    async fn try_release_confirm_attempt(
        &self,
        challenge_id: ChallengeId,
        counted_for_account: bool,
        begun: &Arc<AtomicBool>,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            WITH challenge AS (
                UPDATE challenges
                   SET attempts = GREATEST(attempts - 1, 0)
                 WHERE challenge_id = $1
                RETURNING user_id
            )
            UPDATE users
               SET second_factor_failures = GREATEST(second_factor_failures - 1, 0)
              FROM challenge
             WHERE users.user_id = challenge.user_id AND $2
            "#,
            challenge_id.0,
            counted_for_account,
        );
        let begun = Arc::clone(begun);
        self.run_late(
            move |c| {
                begun.store(true, Ordering::Relaxed);
                Box::pin(query.execute(c))
            },
            |_| Box::pin(async { Ok(()) }),
        )
        .await?;
        Ok(())
    }
}

impl Tx {
    /// Makes a challenge, unless the user was disabled or the password changed meanwhile; and tells which
    /// passkeys can confirm it.
    pub async fn insert_challenge(
        &mut self,
        new: &NewChallenge<'_>,
    ) -> Result<Option<(Challenge, Vec<PasskeyDescriptor>)>, StoreError> {
        let query = sqlx::query!(
            r#"
            INSERT INTO challenges (challenge_id, user_id, nonce, credential_version, created_at,
                                    expires_at, client_network)
            SELECT $1, user_id, $3, $4, now, date_trunc('second', now) + make_interval(secs => $5),
                   $6
              FROM (SELECT user_id FROM users
                     WHERE user_id = $2 AND credential_version = $4 AND disabled_at IS NULL
                       FOR SHARE) AS u,
                   (SELECT clock_timestamp() AS now) AS clock
            RETURNING expires_at, $7 AND EXISTS (
                SELECT FROM recovery_codes AS r
                 WHERE r.user_id = challenges.user_id AND r.used_at IS NULL) AS "has_recovery_codes!",
                ARRAY(SELECT p.credential_id FROM passkeys AS p
                       WHERE $8::TEXT IS NOT NULL AND p.user_id = challenges.user_id AND p.rp_id = $8
                       ORDER BY p.created_at, p.passkey_id) AS "credential_ids!",
                ARRAY(SELECT array_to_string(p.transports, ' ') FROM passkeys AS p
                       WHERE $8::TEXT IS NOT NULL AND p.user_id = challenges.user_id AND p.rp_id = $8
                       ORDER BY p.created_at, p.passkey_id) AS "transports!"
            "#,
            new.challenge_id.0,
            new.user_id.0,
            new.nonce.as_bytes(),
            new.credential_version,
            seconds(new.ttl),
            new.network.as_net() as IpNet,
            new.has_totp || new.has_passkey,
            new.rp_id.filter(|_| new.has_passkey),
        );
        let row = self.fetch_optional(query).await?;
        Ok(row.map(|row| {
            let passkeys: Vec<_> = (row.credential_ids.into_iter().zip(&row.transports))
                .map(|(credential_id, transports)| PasskeyDescriptor {
                    credential_id,
                    transports: transports.split_whitespace().map(str::to_owned).collect(),
                })
                .collect();
            let challenge = Challenge {
                challenge_id: new.challenge_id,
                user_id: new.user_id,
                nonce: new.nonce,
                providers: new.providers(!passkeys.is_empty(), row.has_recovery_codes),
                expires_at: row.expires_at,
            };
            (challenge, passkeys)
        }))
    }

    /// Removes a user's challenges with their mails.
    pub async fn delete_challenges_of(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!("DELETE FROM challenges WHERE user_id = $1", user_id.0);
        self.execute(query).await?;
        Ok(())
    }

    /// Uses up a live challenge whose user is enabled and has the same password as when it was
    /// made; `None` otherwise. Of any number of callers one gets it.
    pub async fn consume_challenge(
        &mut self,
        challenge_id: ChallengeId,
    ) -> Result<Option<ConsumedChallenge>, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE challenges AS c
               SET consumed_at = clock_timestamp()
              FROM users AS u
             WHERE c.challenge_id = $1
               AND c.consumed_at IS NULL
               AND c.expires_at > clock_timestamp()
               AND u.user_id = c.user_id
               AND u.credential_version = c.credential_version
               AND u.disabled_at IS NULL
            RETURNING u.user_id, u.email, u.credential_version
            "#,
            challenge_id.0,
        );
        let row = self.fetch_optional(query).await?;
        row.map(|row| {
            Ok(ConsumedChallenge {
                user_id: UserId(row.user_id),
                email: columns::email(&row.email)?,
                credential_version: row.credential_version,
            })
        })
        .transpose()
    }
}
