//! The table `sessions`.

use std::time::Duration;

use ipnet::IpNet;
use uuid::Uuid;

use super::attempts::Settlement;
use super::run::{Rows, Run as _};
use super::{Store, StoreError, Tx, columns, seconds};
use crate::domain::policy::MAX_OTHER_NETWORKS;
use crate::domain::{
    AttemptInFlight, AuditKind, AuthenticationMethods, Client, ClientNetwork, EmailAddress,
    EndReason, Generation, KeyId, Outcome, PairKeys, RotationFacts, RotationRule, Session,
    SessionId, SigninGrant, Timestamp, UserAgent, UserId,
};

/// Sessions beyond a user's bound that are ended at once.
const SURPLUS_AT_ONCE: i64 = 20;

/// How long things live.
#[derive(Debug, Clone, Copy)]
pub struct SessionLifetimes {
    /// An access token.
    pub access: Duration,
    /// A refresh token, and a session that is not refreshed.
    pub idle: Duration,
    /// A session, however often it is refreshed.
    pub session: Duration,
}

/// The session and generation that a refresh token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionGeneration {
    /// The session that it refreshes.
    pub session_id: SessionId,
    /// The session's owner.
    pub user_id: UserId,
    /// The generation of the session for which it was issued.
    pub generation: Generation,
}

/// A session to be opened.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The user who signs in.
    pub user_id: UserId,
    /// The user's address.
    pub email: &'a EmailAddress,
    /// Their credentials' version when the password was checked.
    pub credential_version: i32,
    /// How the user signed in.
    pub methods: AuthenticationMethods,
    /// Whether the wrong codes that were counted against the user are forgotten, since the right one came.
    pub forgets_wrong_codes: bool,
    /// Where the request comes from.
    pub client: &'a Client,
}

/// The state that decides a refresh which was not simply granted.
#[derive(Debug)]
pub struct SessionState {
    /// The session that its current tokens follow from; absent if its user is gone.
    pub session: Option<Session>,
    /// The number of its owner, who may be gone.
    pub user_id: UserId,
    /// The facts that the rotation rule decides by.
    pub facts: RotationFacts,
    /// The networks that it is known to be used from: the one that opened it first.
    networks: Vec<ClientNetwork>,
    /// The database's clock.
    pub now: Timestamp,
}

impl SessionState {
    /// Whether a use from this network is to be put on record: it is the first one from there, and
    /// there is room for it.
    #[must_use]
    pub fn is_new(&self, network: ClientNetwork) -> bool {
        let others = i32::try_from(self.networks.len()).unwrap_or(i32::MAX) - 1;
        !self.networks.contains(&network) && others < MAX_OTHER_NETWORKS
    }
}

struct StateRow {
    session_id: Uuid,
    user_id: i64,
    email: Option<String>,
    generation: i64,
    key_id: String,
    refresh_key_id: Option<String>,
    amr: Vec<String>,
    factor: Option<String>,
    created_at: Timestamp,
    rotated_at: Timestamp,
    grace_from: Timestamp,
    access_expires_at: Timestamp,
    idle_expires_at: Timestamp,
    is_ended: bool,
    user_is_enabled: bool,
    refresh_hits: Vec<Timestamp>,
    refresh_blocked_until: Option<Timestamp>,
    networks: Vec<IpNet>,
    now: Timestamp,
}

impl TryFrom<StateRow> for SessionState {
    type Error = StoreError;

    fn try_from(row: StateRow) -> Result<Self, StoreError> {
        let session = row.email.map(|email| SessionRow {
            session_id: row.session_id,
            user_id: row.user_id,
            email,
            generation: row.generation,
            key_id: row.key_id,
            refresh_key_id: row.refresh_key_id,
            amr: row.amr,
            factor: row.factor,
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            access_expires_at: row.access_expires_at,
            idle_expires_at: row.idle_expires_at,
        });
        Ok(Self {
            session: session.map(Session::try_from).transpose()?,
            user_id: UserId(row.user_id),
            facts: RotationFacts {
                generation: Generation(row.generation),
                grace_from: row.grace_from,
                stalled: Duration::ZERO,
                idle_expires_at: row.idle_expires_at,
                is_ended: row.is_ended,
                user_is_enabled: row.user_is_enabled,
                hits: row.refresh_hits,
                blocked_until: row.refresh_blocked_until,
            },
            networks: (row.networks.into_iter())
                .map(ClientNetwork::from_stored)
                .collect(),
            now: row.now,
        })
    }
}

/// A session as its owner or an operator sees it.
#[derive(Debug, Clone)]
pub struct SessionRecord {
    /// Its id: the `sid` of its tokens.
    pub session_id: SessionId,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was opened or last refreshed.
    pub last_used_at: Timestamp,
    /// When it expires unless it is refreshed.
    pub idle_expires_at: Timestamp,
    /// When it expires, however often it is refreshed.
    pub expires_at: Timestamp,
    /// The network that opened it.
    pub network: ClientNetwork,
    /// The `User-Agent` that opened it.
    pub user_agent: Option<UserAgent>,
    /// The network that used it last.
    pub last_network: ClientNetwork,
    /// The `User-Agent` that used it last.
    pub last_user_agent: Option<UserAgent>,
}

/// A session with how it ended.
#[derive(Debug, Clone)]
pub struct SessionHistory {
    /// Its id: the `sid` of its tokens.
    pub session_id: SessionId,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was opened or last refreshed.
    pub last_used_at: Timestamp,
    /// When it expires, or expired, unless it is refreshed.
    pub idle_expires_at: Timestamp,
    /// When it expires, or expired, however often it is refreshed.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
    /// Why it was ended.
    pub end_reason: Option<String>,
    /// The end of a block on refreshing it.
    pub refresh_blocked_until: Option<Timestamp>,
    /// The network that opened it.
    pub network: ClientNetwork,
    /// The network that used it last.
    pub last_network: ClientNetwork,
    /// The `User-Agent` that used it last.
    pub last_user_agent: Option<UserAgent>,
}

/// A session that has ended while tokens of it may still look good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSession {
    /// Its id: the `sid` of its tokens.
    pub session_id: SessionId,
    /// When it ended.
    pub ended_at: Timestamp,
    /// From when all its access tokens are expired anyway.
    pub horizon: Timestamp,
}

struct EndedRow {
    session_id: Uuid,
    ended_at: Timestamp,
    access_horizon_at: Timestamp,
}

impl From<EndedRow> for EndedSession {
    fn from(row: EndedRow) -> Self {
        Self {
            session_id: SessionId(row.session_id),
            ended_at: row.ended_at,
            horizon: row.access_horizon_at,
        }
    }
}

struct SessionRow {
    session_id: Uuid,
    user_id: i64,
    email: String,
    generation: i64,
    key_id: String,
    refresh_key_id: Option<String>,
    amr: Vec<String>,
    factor: Option<String>,
    created_at: Timestamp,
    rotated_at: Timestamp,
    access_expires_at: Timestamp,
    idle_expires_at: Timestamp,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            session_id: SessionId(row.session_id),
            user_id: UserId(row.user_id),
            email: columns::email(&row.email)?,
            generation: Generation(row.generation),
            key_id: KeyId(row.key_id),
            refresh_key_id: row.refresh_key_id.map(KeyId),
            methods: columns::methods(&row.amr, row.factor.as_deref())?,
            created_at: row.created_at,
            rotated_at: row.rotated_at,
            access_expires_at: row.access_expires_at,
            idle_expires_at: row.idle_expires_at,
        })
    }
}

/// The state that decides a refresh which was not simply granted. The clock is read after the lock is
/// granted, because the lock may be waited for.
fn session_state(session_id: SessionId, is_locked: bool) -> impl Rows<StateRow> {
    sqlx::query_as!(
        StateRow,
        r#"
        SELECT s.session_id AS "session_id!", s.user_id AS "user_id!", u.email AS "email?",
               s.generation AS "generation!", s.key_id AS "key_id!", s.refresh_key_id,
               s.amr AS "amr!", s.factor, s.created_at AS "created_at!", s.rotated_at AS "rotated_at!",
               GREATEST(s.rotated_at, s.grace_from) AS "grace_from!",
               s.access_expires_at AS "access_expires_at!",
               s.idle_expires_at AS "idle_expires_at!", s.ended_at IS NOT NULL AS "is_ended!",
               COALESCE(u.disabled_at IS NULL AND u.user_id IS NOT NULL, FALSE)
                   AS "user_is_enabled!",
               s.refresh_hits AS "refresh_hits!", s.refresh_blocked_until,
               s.client_network || s.other_networks AS "networks!: Vec<IpNet>",
               clock_timestamp() AS "now!"
          FROM (SELECT * FROM (SELECT * FROM sessions
                                WHERE session_id = $1 AND $2 FOR UPDATE) AS locked
                 UNION ALL
                SELECT * FROM sessions WHERE session_id = $1 AND NOT $2) AS s
          LEFT JOIN users AS u ON u.user_id = s.user_id
        "#,
        session_id.0,
        is_locked,
    )
}

/// The values that a session is advanced with.
#[derive(Debug, Clone, Copy)]
pub struct Advance<'a> {
    /// The generation that was presented.
    pub presented: SessionGeneration,
    /// Where the refresh comes from.
    pub client: &'a Client,
    /// The keys that sign the next pair.
    pub keys: &'a PairKeys,
    /// How long the next pair lives.
    pub lifetimes: &'a SessionLifetimes,
    /// The limit on refreshes.
    pub rule: &'a RotationRule,
}

/// Moves a session on by one generation. Of any number of callers with the same generation one gets the
/// session.
fn advance(next: Advance<'_>) -> impl Rows<SessionRow> + use<> {
    sqlx::query_file_as!(
        SessionRow,
        "src/store/sql/advance_session.sql",
        next.presented.session_id.0,
        next.presented.generation.0,
        next.keys.access.0,
        seconds(next.lifetimes.access),
        seconds(next.lifetimes.idle),
        seconds(next.rule.limit.window),
        i64::from(next.rule.limit.attempts),
        next.presented.user_id.0,
        next.client.network.as_net() as IpNet,
        agent_of(next.client),
        MAX_OTHER_NETWORKS,
        next.keys.refresh.as_ref().map(|key| key.0.as_str()),
    )
}

fn opened_by(methods: AuthenticationMethods) -> AuditKind {
    if methods.is_confirmed() {
        AuditKind::Confirm
    } else {
        AuditKind::Signin
    }
}

fn agent_of(client: &Client) -> Option<&str> {
    client.user_agent.as_ref().map(UserAgent::as_str)
}

impl Store {
    /// Trades the current generation for the next: the usual refresh, in one statement.
    pub async fn advance_session(&self, next: Advance<'_>) -> Result<Option<Session>, StoreError> {
        let row = self.fetch_optional(advance(next)).await?;
        row.map(Session::try_from).transpose()
    }

    /// The state that decides a refresh which was not simply granted.
    pub async fn find_session_state(
        &self,
        session_id: SessionId,
    ) -> Result<Option<SessionState>, StoreError> {
        let row = self
            .fetch_optional(session_state(session_id, false))
            .await?;
        row.map(SessionState::try_from).transpose()
    }

    /// Ends a live session of `owner`, who wishes it, and records that, in one statement; `None` if there is
    /// none. Of any number of callers one ends it.
    pub async fn end_and_record_session(
        &self,
        session_id: SessionId,
        owner: UserId,
        client: &Client,
        detail: Option<&str>,
    ) -> Result<Option<EndedSession>, StoreError> {
        let query = sqlx::query_as!(
            EndedRow,
            r#"
            WITH ended AS (
                UPDATE sessions
                   SET ended_at = clock_timestamp(), end_reason = $3
                 WHERE session_id = $1 AND user_id = $2
                   AND ended_at IS NULL AND expires_at > clock_timestamp()
                RETURNING session_id, user_id, ended_at, access_horizon_at
            ), recorded AS (
                INSERT INTO audit_events (kind, outcome, reason, user_id, session_id, network,
                                          request_id, detail)
                SELECT $4, $5, $3, user_id, session_id, $6, $7, $8 FROM ended
            )
            SELECT session_id, ended_at AS "ended_at!", access_horizon_at FROM ended
            "#,
            session_id.0,
            owner.0,
            EndReason::SignedOut.as_str(),
            AuditKind::SessionEnded.as_str(),
            Outcome::Granted.as_str(),
            client.network.as_net() as IpNet,
            client.request_id.as_str(),
            detail,
        );
        let row = self.fetch_optional(query).await?;
        Ok(row.map(EndedSession::from))
    }

    /// Ends up to `batch` sessions whose current tokens a key signed, and tells how many.
    pub async fn end_sessions_of_key(&self, key_id: &KeyId, batch: i64) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        // Of a key that signed for most sessions the planner thinks that a walk through the table
        // finds a batch soon; but each walk would pass all that the ones before it have ended.
        let by_index =
            sqlx::query!(r#"SELECT set_config('enable_seqscan', 'off', TRUE) AS "set!""#);
        tx.fetch_one(by_index).await?;
        let query = sqlx::query!(
            r#"
            UPDATE sessions
               SET ended_at = clock_timestamp(), end_reason = $3
             WHERE session_id = ANY (ARRAY(
                   SELECT session_id FROM sessions
                    WHERE (key_id = $1 OR refresh_key_id = $1)
                      AND ended_at IS NULL AND expires_at > clock_timestamp()
                    LIMIT $2 FOR UPDATE SKIP LOCKED))
            "#,
            key_id.0,
            batch,
            EndReason::KeyRevoked.as_str(),
        );
        let done = tx.execute(query).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// Some sessions, and those that the last thousand events of a user name, newest first, at most
    /// `count`: live ones and ended ones.
    pub async fn list_session_histories(
        &self,
        session_ids: &[SessionId],
        user_id: Option<UserId>,
        count: i64,
    ) -> Result<Vec<SessionHistory>, StoreError> {
        let session_ids: Vec<Uuid> = session_ids.iter().map(|id| id.0).collect();
        let query = sqlx::query!(
            r#"
            SELECT session_id, created_at, GREATEST(rotated_at, last_used_at) AS "last_used_at!",
                   idle_expires_at, expires_at, ended_at, end_reason, refresh_blocked_until,
                   client_network AS "network: IpNet",
                   COALESCE(last_network, client_network) AS "last_network!: IpNet",
                   CASE WHEN last_network IS NULL THEN user_agent ELSE last_user_agent END
                       AS last_user_agent
              FROM sessions
             WHERE session_id = ANY ($1 || ARRAY(
                   SELECT session_id
                     FROM (SELECT event_id, session_id FROM audit_events
                            WHERE user_id BETWEEN $2 AND $2
                            ORDER BY user_id DESC, event_id DESC
                            LIMIT 1000) AS recent
                    WHERE session_id IS NOT NULL
                    ORDER BY event_id DESC
                    LIMIT $3))
             ORDER BY created_at DESC
             LIMIT $3
            "#,
            &session_ids,
            user_id.map(|id| id.0),
            count,
        );
        let rows = self.fetch_all(query).await?;
        let histories = rows.into_iter().map(|row| SessionHistory {
            session_id: SessionId(row.session_id),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            idle_expires_at: row.idle_expires_at,
            expires_at: row.expires_at,
            ended_at: row.ended_at,
            end_reason: row.end_reason,
            refresh_blocked_until: row.refresh_blocked_until,
            network: ClientNetwork::from_stored(row.network),
            last_network: ClientNetwork::from_stored(row.last_network),
            last_user_agent: row.last_user_agent.map(UserAgent::from_stored),
        });
        Ok(histories.collect())
    }

    /// A user's live sessions, newest first.
    pub async fn list_sessions(&self, user_id: UserId) -> Result<Vec<SessionRecord>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT session_id, created_at, GREATEST(rotated_at, last_used_at) AS "last_used_at!",
                   idle_expires_at, expires_at, client_network AS "client_network: IpNet", user_agent,
                   COALESCE(last_network, client_network) AS "last_network!: IpNet",
                   CASE WHEN last_network IS NULL THEN user_agent ELSE last_user_agent END
                       AS last_user_agent
              FROM sessions
             WHERE user_id = $1 AND ended_at IS NULL AND idle_expires_at > clock_timestamp()
             ORDER BY created_at DESC, session_id DESC
            "#,
            user_id.0,
        );
        let rows = self.fetch_all(query).await?;
        let records = rows.into_iter().map(|row| SessionRecord {
            session_id: SessionId(row.session_id),
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            idle_expires_at: row.idle_expires_at,
            expires_at: row.expires_at,
            network: ClientNetwork::from_stored(row.client_network),
            user_agent: row.user_agent.map(UserAgent::from_stored),
            last_network: ClientNetwork::from_stored(row.last_network),
            last_user_agent: row.last_user_agent.map(UserAgent::from_stored),
        });
        Ok(records.collect())
    }
}

impl Tx {
    /// Opens a session, unless the user was disabled, the password changed or a key was revoked
    /// meanwhile; remembers the network that it comes from, and records it. One statement, since each of
    /// them costs a sign-in a round trip.
    ///
    /// The lock on the user's row makes this wait for a disabling or a change of password under way,
    /// and makes that wait for this: no session slips in between it and its ending of all sessions.
    /// Of one user's sessions that open at once each sees those before it, so that they are counted
    /// right.
    pub async fn open_and_record_session(
        &mut self,
        new: &NewSession<'_>,
        keys: &PairKeys,
        lifetimes: &SessionLifetimes,
    ) -> Result<Option<Session>, StoreError> {
        let (amr, factor) = new.methods.stored();
        let query = sqlx::query_file_as!(
            SessionRow,
            "src/store/sql/open_session.sql",
            SessionId::random().0,
            new.user_id.0,
            new.credential_version,
            keys.access.0,
            &amr,
            seconds(lifetimes.access),
            seconds(lifetimes.idle),
            seconds(lifetimes.session),
            new.client.network.as_net() as IpNet,
            agent_of(new.client),
            new.email.as_str(),
            opened_by(new.methods).as_str(),
            Outcome::Granted.as_str(),
            SigninGrant::SessionOpened.as_str(),
            new.client.request_id.as_str(),
            keys.refresh.as_ref().map(|key| key.0.as_str()),
            factor,
            new.forgets_wrong_codes,
        );
        let row = self.fetch_optional(query).await?;
        row.map(Session::try_from).transpose()
    }

    /// The same as [`Store::find_session_state`], and locks the session. The clock is read after
    /// the lock was had, since it may be waited for.
    pub async fn lock_session(
        &mut self,
        session_id: SessionId,
    ) -> Result<Option<SessionState>, StoreError> {
        let row = self.fetch_optional(session_state(session_id, true)).await?;
        row.map(SessionState::try_from).transpose()
    }

    /// The same as [`Store::advance_session`], on a session that this transaction has locked.
    pub async fn advance_session(
        &mut self,
        next: Advance<'_>,
    ) -> Result<Option<Session>, StoreError> {
        let row = self.fetch_optional(advance(next)).await?;
        row.map(Session::try_from).transpose()
    }

    /// Writes down a refresh that counts but got nothing; with `blocked_until`, starts a block.
    pub async fn count_refresh(
        &mut self,
        session_id: SessionId,
        hits: &[Timestamp],
        blocked_until: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE sessions
               SET refresh_hits = $2, refresh_blocked_until = $3
             WHERE session_id = $1
            "#,
            session_id.0,
            hits,
            blocked_until,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Writes down that a session that this transaction has locked is used from a network that is new to
    /// it. Its tokens stay as they are.
    pub async fn note_network(
        &mut self,
        session_id: SessionId,
        client: &Client,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE sessions
               SET last_network = $2::CIDR, last_user_agent = $3, last_used_at = clock_timestamp(),
                   other_networks = other_networks || $2::CIDR
             WHERE session_id = $1
            "#,
            session_id.0,
            client.network.as_net() as IpNet,
            agent_of(client),
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Lets the grace of a session that this transaction has locked count from a later instant. The
    /// columns that the session's tokens follow from stay as they are.
    pub async fn extend_grace(
        &mut self,
        session_id: SessionId,
        grace_from: Timestamp,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE sessions SET grace_from = $2 WHERE session_id = $1",
            session_id.0,
            grace_from,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Lets all live sessions of a user refresh again.
    pub async fn lift_refresh_limits(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE sessions
               SET refresh_hits = '{}', refresh_blocked_until = NULL
             WHERE user_id = $1 AND ended_at IS NULL
            "#,
            user_id.0,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Ends a live session, of `owner` if one is named; `None` if there is none. Of any number of
    /// callers one ends it.
    pub async fn end_session(
        &mut self,
        session_id: SessionId,
        owner: Option<UserId>,
        reason: EndReason,
    ) -> Result<Option<EndedSession>, StoreError> {
        let query = sqlx::query_as!(
            EndedRow,
            r#"
            UPDATE sessions
               SET ended_at = clock_timestamp(), end_reason = $3
             WHERE session_id = $1 AND ended_at IS NULL AND expires_at > clock_timestamp()
               AND ($2::BIGINT IS NULL OR user_id = $2)
            RETURNING session_id, ended_at AS "ended_at!", access_horizon_at
            "#,
            session_id.0,
            owner.map(|id| id.0),
            reason.as_str(),
        );
        let row = self.fetch_optional(query).await?;
        Ok(row.map(EndedSession::from))
    }

    /// Ends the sessions of `opened`'s user beyond `count`, those not used for longest, and writes that
    /// down. Tells how many. `opened` is spared. Few at a time: after `count` was lowered, each sign-in
    /// ends some.
    ///
    /// Sessions that idled out count too, as long as they are not ended: so there are never more to
    /// look through than `count` and some.
    ///
    /// Settles the attempts that led to `opened` as well. Last of all, since every sign-in to the account
    /// or from its network waits for their rows until this transaction ends.
    pub async fn settle_and_end_surplus_sessions(
        &mut self,
        opened: &Session,
        client: &Client,
        count: u32,
        attempts: &[AttemptInFlight],
    ) -> Result<u64, StoreError> {
        let settlement = Settlement::of(attempts, false);
        let query = sqlx::query_file!(
            "src/store/sql/settle_and_end_surplus_sessions.sql",
            &settlement.hashes,
            &settlement.reserved_at,
            &settlement.counts,
            opened.user_id.0,
            opened.session_id.0,
            i64::from(count) - 1,
            EndReason::TooManySessions.as_str(),
            SURPLUS_AT_ONCE,
            AuditKind::SessionEnded.as_str(),
            Outcome::Granted.as_str(),
            client.network.as_net() as IpNet,
            client.request_id.as_str(),
        );
        let row = self.fetch_one(query).await?;
        Settlement::settled(row.is_settled)?;
        Ok(row.ended.unsigned_abs())
    }

    /// Ends all live sessions of a user, and tells which they were. The tokens that an older service
    /// issued to the user end too.
    pub async fn end_sessions_of(
        &mut self,
        user_id: UserId,
        reason: EndReason,
    ) -> Result<Vec<EndedSession>, StoreError> {
        self.refuse_legacy_tokens_of(user_id).await?;
        let query = sqlx::query_as!(
            EndedRow,
            r#"
            UPDATE sessions
               SET ended_at = clock_timestamp(), end_reason = $2
             WHERE user_id = $1 AND ended_at IS NULL AND expires_at > clock_timestamp()
            RETURNING session_id, ended_at AS "ended_at!", access_horizon_at
            "#,
            user_id.0,
            reason.as_str(),
        );
        let rows = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(EndedSession::from).collect())
    }

    /// Ends all live sessions of a user but one, and tells which they were; `None` if that one is not live
    /// itself, and then the transaction is not to be committed. The tokens that an older service issued to them
    /// end too.
    ///
    /// The session that goes on is locked with the others, so that nothing ends it meanwhile, and in the
    /// order in which [`end_sessions_of`](Self::end_sessions_of) locks them.
    pub async fn end_other_sessions_of(
        &mut self,
        user_id: UserId,
        own: SessionId,
        reason: EndReason,
    ) -> Result<Option<Vec<EndedSession>>, StoreError> {
        self.refuse_legacy_tokens_of(user_id).await?;
        let query = sqlx::query!(
            r#"
            WITH live AS MATERIALIZED (
                SELECT session_id FROM sessions
                 WHERE user_id = $1 AND ended_at IS NULL AND expires_at > clock_timestamp()
                   FOR UPDATE
            ), ended AS (
                UPDATE sessions AS s
                   SET ended_at = clock_timestamp(), end_reason = $3
                  FROM live
                 WHERE s.session_id = live.session_id AND live.session_id <> $2
                RETURNING s.session_id, s.ended_at, s.access_horizon_at
            )
            SELECT live.session_id, ended.ended_at AS "ended_at?",
                   ended.access_horizon_at AS "access_horizon_at?"
              FROM live LEFT JOIN ended ON ended.session_id = live.session_id
            "#,
            user_id.0,
            own.0,
            reason.as_str(),
        );
        let rows = self.fetch_all(query).await?;
        let is_live = rows.iter().any(|row| row.session_id == own.0);
        let ended = rows.into_iter().filter_map(|row| {
            Some(EndedSession {
                session_id: SessionId(row.session_id),
                ended_at: row.ended_at?,
                horizon: row.access_horizon_at?,
            })
        });
        Ok(is_live.then(|| ended.collect()))
    }
}
