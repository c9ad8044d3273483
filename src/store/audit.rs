//! The table `audit_events`.

use ipnet::IpNet;
use uuid::Uuid;

use super::run::{Command, Run as _};
use super::{Store, StoreError, Tx};
use crate::domain::{
    AttemptKey, AuditEvent, ChallengeId, ClientNetwork, EmailAddress, EventId, RequestId,
    SessionId, Timestamp, UserId,
};

/// A line of the audit log as stored. Its words stay texts, since a later release may have written others.
#[derive(Debug, Clone)]
pub struct AuditRecord {
    /// The number of the event.
    pub event_id: EventId,
    /// When it happened.
    pub happened_at: Timestamp,
    /// The word for the event.
    pub kind: String,
    /// The word for its outcome.
    pub outcome: String,
    /// The word for its reason.
    pub reason: String,
    /// The user it concerned.
    pub user_id: Option<UserId>,
    /// The address that was given.
    pub email: Option<String>,
    /// The session it concerned.
    pub session_id: Option<SessionId>,
    /// The challenge it concerned.
    pub challenge_id: Option<ChallengeId>,
    /// The network it came from.
    pub network: Option<ClientNetwork>,
    /// The request that it belongs to.
    pub request_id: Option<RequestId>,
    /// The operator or administrator who did it.
    pub actor: Option<String>,
    /// Details that help to understand it.
    pub detail: Option<String>,
}

struct AuditRow {
    event_id: i64,
    happened_at: Timestamp,
    kind: String,
    outcome: String,
    reason: String,
    user_id: Option<i64>,
    email: Option<String>,
    session_id: Option<Uuid>,
    challenge_id: Option<Uuid>,
    network: Option<IpNet>,
    request_id: Option<String>,
    actor: Option<String>,
    detail: Option<String>,
}

impl From<AuditRow> for AuditRecord {
    fn from(row: AuditRow) -> Self {
        Self {
            event_id: EventId(row.event_id),
            happened_at: row.happened_at,
            kind: row.kind,
            outcome: row.outcome,
            reason: row.reason,
            user_id: row.user_id.map(UserId),
            email: row.email,
            session_id: row.session_id.map(SessionId),
            challenge_id: row.challenge_id.map(ChallengeId),
            network: row.network.map(ClientNetwork::from_stored),
            request_id: row.request_id.map(RequestId::from_stored),
            actor: row.actor,
            detail: row.detail,
        }
    }
}

/// Writes an event down: in a transaction, with what it records.
pub(super) fn insert_event(event: &AuditEvent) -> Command {
    sqlx::query!(
        r#"
        INSERT INTO audit_events (kind, outcome, reason, user_id, email, session_id,
                                  challenge_id, network, request_id, actor, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        "#,
        event.kind.as_str(),
        event.outcome.as_str(),
        event.reason.as_str(),
        event.user_id.map(|id| id.0),
        event.email.as_ref().map(EmailAddress::as_str),
        event.session_id.map(|id| id.0),
        event.challenge_id.map(|id| id.0),
        event.network.map(|network| network.as_net()) as Option<IpNet>,
        event.request_id.as_ref().map(RequestId::as_str),
        event.actor,
        event.detail,
    )
}

impl Store {
    /// The last `count` events of a request, newest first.
    pub async fn list_events_of_request(
        &self,
        request_id: &RequestId,
        count: i64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let query = sqlx::query_as!(
            AuditRow,
            r#"
            SELECT event_id, happened_at, kind, outcome, reason, user_id, email, session_id, challenge_id,
                   network AS "network: IpNet", request_id, actor, detail
              FROM audit_events
             WHERE request_id = $1
             ORDER BY event_id DESC
             LIMIT $2
            "#,
            request_id.as_str(),
            count,
        );
        let rows = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(AuditRecord::from).collect())
    }

    /// The last `count` events of an address and of the user who has it, newest first; with `before`, of
    /// those with lower numbers.
    ///
    /// It reads as many entries of an index as it looks for. Each pair is compared as a whole: for `email = $1`,
    /// PostgreSQL may walk through the events of all others where it takes those of this one for frequent.
    pub async fn list_events_of_user(
        &self,
        email: &EmailAddress,
        user_id: Option<UserId>,
        before: Option<EventId>,
        count: i64,
    ) -> Result<Vec<AuditRecord>, StoreError> {
        let query = sqlx::query_as!(
            AuditRow,
            r#"
            SELECT event_id, happened_at, kind, outcome, reason, user_id, email, session_id, challenge_id,
                   network AS "network: IpNet", request_id, actor, detail
              FROM audit_events
             WHERE event_id = ANY (ARRAY(
                   (SELECT event_id FROM audit_events
                     WHERE email >= $1 AND (email, event_id) < ($1, $4)
                     ORDER BY email DESC, event_id DESC
                     LIMIT $3)
                   UNION ALL
                   (SELECT event_id FROM audit_events
                     WHERE user_id >= $2 AND (user_id, event_id) < ($2, $4)
                     ORDER BY user_id DESC, event_id DESC
                     LIMIT $3)))
             ORDER BY event_id DESC
             LIMIT $3
            "#,
            email.as_str(),
            user_id.map(|id| id.0),
            count,
            before.map_or(i64::MAX, |id| id.0),
        );
        let rows = self.fetch_all(query).await?;
        Ok(rows.into_iter().map(AuditRecord::from).collect())
    }

    /// Writes down an event that changed nothing else: a refusal.
    pub async fn record(&self, event: &AuditEvent) -> Result<(), StoreError> {
        self.execute(insert_event(event)).await?;
        Ok(())
    }

    /// Changes nothing that is counted under a key. It costs a statement and a commit, as
    /// [`record`](Self::record) does, where the time must not tell that nothing is written down.
    pub async fn touch_attempts(&self, key: &AttemptKey) -> Result<(), StoreError> {
        let query = sqlx::query!(
            "UPDATE attempts SET scope = scope WHERE attempt_key = $1",
            &key.hash
        );
        self.execute(query).await?;
        Ok(())
    }
}

impl Tx {
    /// Writes down what this transaction does to each of `users`.
    pub async fn record_for_users(
        &mut self,
        event: &AuditEvent,
        users: &[(UserId, EmailAddress)],
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = users.iter().map(|(id, _)| id.0).collect();
        let emails: Vec<_> = (users.iter())
            .map(|(_, email)| email.as_str().to_owned())
            .collect();
        let query = sqlx::query!(
            r#"
            INSERT INTO audit_events (kind, outcome, reason, actor, user_id, email)
            SELECT $1, $2, $3, $4, u.user_id, u.email
              FROM UNNEST($5::BIGINT[], $6::TEXT[]) AS u (user_id, email)
            "#,
            event.kind.as_str(),
            event.outcome.as_str(),
            event.reason.as_str(),
            event.actor,
            &ids,
            &emails,
        );
        self.execute(query).await?;
        Ok(())
    }

    /// Writes down what this transaction does.
    pub async fn record(&mut self, event: &AuditEvent) -> Result<(), StoreError> {
        self.execute(insert_event(event)).await?;
        Ok(())
    }
}
