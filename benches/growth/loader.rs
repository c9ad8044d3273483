//! Fills a database, and picks from it.

use anyhow::Context as _;
use backoffice_auth::domain::{
    AuthenticationMethods, Generation, KeyId, Session, SessionId, Timestamp, UserId,
};
use backoffice_auth::token::Tokens;
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use uuid::Uuid;

use super::server::{Machine, Setting};

/// Sessions of each user.
const SESSIONS_EACH: i64 = 10;

/// Rows in one statement.
const CHUNK: i64 = 250_000;

/// Users, numbered from 1 in a new database. `$1` to `$2` of `$3` are made, as in all of these.
const USERS: &str = "
    INSERT INTO users (email, password_hash, two_factor)
    SELECT 'grown' || n || '@example.com', $4, 'off'
      FROM generate_series($1, $2) AS n WHERE n < $3";

/// Sessions that were opened over the last 29 days, with ids in that order, as they would be. A tenth
/// has ended, all within the last 20 hours: more in a day than there would be.
const SESSIONS: &str = "
    WITH aged AS (
        SELECT n, INTERVAL '29 days' * (1 - n::FLOAT8 / $3) AS age
          FROM generate_series($1, $2) AS n),
    numbered AS (
        SELECT n, now() - age AS created_at,
               now() - LEAST(age, INTERVAL '20 hours') * random() AS recently
          FROM aged)
    INSERT INTO sessions (session_id, user_id, generation, key_id, refresh_key_id, amr, created_at,
                          rotated_at, access_expires_at, idle_expires_at, expires_at, access_horizon_at,
                          ended_at, end_reason, ended_xid, refresh_hits, client_network, user_agent)
    SELECT (lpad(to_hex((extract(epoch FROM created_at) * 1000)::BIGINT), 12, '0')
            || '7' || substr(md5(n::TEXT), 1, 3) || '8' || substr(md5(n::TEXT), 4, 15))::UUID,
           1 + n % ($3 / 10), 7, $4,
           (SELECT key_id FROM signing_keys WHERE purpose = 'refresh' ORDER BY activates_at DESC LIMIT 1),
           '{pwd}', created_at, recently, recently + INTERVAL '15 minutes', recently + INTERVAL '1 day',
           created_at + INTERVAL '30 days', recently + INTERVAL '15 minutes',
           CASE WHEN n % 10 = 0 THEN recently END,
           CASE WHEN n % 10 = 0 THEN 'signed_out' END, CASE WHEN n % 10 = 0 THEN 3 END, ARRAY[recently], '203.0.113.7/32',
           'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
      FROM numbered";

/// The event of each session's sign-in.
const EVENTS: &str = "
    INSERT INTO audit_events (happened_at, kind, outcome, reason, user_id, email, session_id,
                              network, request_id)
    SELECT now() - INTERVAL '29 days' * (1 - n::FLOAT8 / $3), 'signin', 'granted', 'session_opened',
           1 + n % ($3 / 10), 'grown' || n % ($3 / 10) || '@example.com', md5(n::TEXT)::UUID,
           '203.0.113.7/32', gen_random_uuid()::TEXT
      FROM generate_series($1, $2) AS n";

/// A network of each user.
const NETWORKS: &str = "
    INSERT INTO known_networks (user_id, network, last_signin_at)
    SELECT n + 1, ('10.' || n % 200 || '.' || n / 200 % 200 || '.7/32')::CIDR,
           now() - INTERVAL '29 days' * random()
      FROM generate_series($1, $2) AS n WHERE n < $3";

/// Attempts of the last hour, which are not purged soon.
const ATTEMPTS: &str = "
    INSERT INTO attempts (attempt_key, scope, account_key, hits, stale_at)
    SELECT sha256(n::TEXT::BYTEA), 'signin', sha256(('account' || n)::BYTEA),
           ARRAY[now() - INTERVAL '1 hour' * random()],
           date_bin('10 minutes', now() + INTERVAL '3 hours' * (1 + random()), 'epoch')
      FROM generate_series($1, $2) AS n WHERE n < $3";

/// Challenges of the day, all mailed.
const CHALLENGES: &str = "
    WITH made AS (
        INSERT INTO challenges (challenge_id, user_id, nonce, credential_version, created_at,
                                expires_at, client_network)
        SELECT gen_random_uuid(), n + 1, '\\x00000000000000000000000000000000', 1, created_at,
               created_at + INTERVAL '10 minutes', '203.0.113.7/32'
          FROM (SELECT n, now() - INTERVAL '20 hours' * random() AS created_at
                  FROM generate_series($1, $2) AS n WHERE n < $3) AS numbered
        RETURNING challenge_id, created_at)
    INSERT INTO outbox (challenge_id, request_id, next_attempt_at, attempts, sent_at, last_reply)
    SELECT challenge_id, challenge_id::TEXT, created_at, 1, created_at, '250 OK' FROM made";

/// Sees to it that PostgreSQL does nothing of its own accord while something is measured.
pub async fn prepare(machine: &Machine) -> anyhow::Result<()> {
    let pool = connect(&machine.cluster.url("postgres")).await?;
    for setting in [
        "autovacuum = off",
        "checkpoint_timeout = '1h'",
        "max_wal_size = '8GB'",
    ] {
        execute(&pool, format!("ALTER SYSTEM SET {setting}")).await?;
    }
    execute(&pool, "SELECT pg_reload_conf()".to_owned()).await
}

/// Makes an empty database.
pub async fn create(machine: &Machine, name: &str) -> anyhow::Result<()> {
    let pool = connect(&machine.cluster.url("postgres")).await?;
    execute(&pool, format!("CREATE DATABASE {name}")).await
}

pub async fn connect(url: &str) -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(1).connect(url).await?)
}

pub async fn execute(pool: &PgPool, statement: String) -> anyhow::Result<()> {
    sqlx::query(AssertSqlSafe(statement)).execute(pool).await?;
    Ok(())
}

/// A database, reached past the server.
pub struct Database {
    pool: PgPool,
    tokens: Tokens,
    key_id: String,
    password_hash: String,
}

impl Database {
    pub async fn open(url: &str, setting: &Setting) -> anyhow::Result<Self> {
        let tokens = setting.tokens().await?;
        Ok(Self {
            pool: connect(url).await?,
            key_id: tokens.ring().current().active().0.clone(),
            tokens,
            password_hash: setting.hash(8, 1).await?,
        })
    }

    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Makes so many sessions and audit events, a tenth as many users and networks, a twentieth as many
    /// attempts, and a hundredth as many challenges.
    pub async fn fill(&self, sessions: i64) -> anyhow::Result<()> {
        let (hash, key) = (self.password_hash.as_str(), self.key_id.as_str());
        self.insert(USERS, sessions / SESSIONS_EACH, hash).await?;
        self.insert(SESSIONS, sessions, key).await?;
        self.insert(EVENTS, sessions, "").await?;
        self.insert(NETWORKS, sessions / SESSIONS_EACH, "").await?;
        self.insert(ATTEMPTS, sessions / 20, "").await?;
        self.insert(CHALLENGES, sessions / 100, "").await?;
        execute(&self.pool, "VACUUM ANALYZE".to_owned()).await
    }

    /// Reads all but the audit log into PostgreSQL's memory.
    pub async fn warm(&self) -> anyhow::Result<()> {
        execute(&self.pool, "CREATE EXTENSION pg_prewarm".to_owned()).await?;
        let statement = "
            SELECT sum(pg_prewarm(c.oid)) FROM pg_class AS c LEFT JOIN pg_index AS i ON indexrelid = c.oid
             WHERE relnamespace = 'public'::REGNAMESPACE AND relkind IN ('r', 'i')
               AND COALESCE(indrelid, c.oid) <> 'audit_events'::REGCLASS";
        execute(&self.pool, statement.to_owned()).await
    }

    async fn insert(&self, statement: &'static str, count: i64, extra: &str) -> anyhow::Result<()> {
        for first in (0..count).step_by(usize::try_from(CHUNK)?) {
            let mut query = sqlx::query(statement)
                .bind(first)
                .bind((first + CHUNK).min(count) - 1)
                .bind(count);
            if statement.contains("$4") {
                query = query.bind(extra);
            }
            query.execute(&self.pool).await?;
        }
        Ok(())
    }

    /// The refresh tokens of live sessions, picked at random from all.
    pub async fn refresh_tokens(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT s.*, u.email
               FROM (SELECT * FROM sessions WHERE ended_at IS NULL
                      ORDER BY random() LIMIT $1) AS s
               JOIN users AS u USING (user_id)",
        )
        .bind(i64::try_from(count)?)
        .fetch_all(&self.pool)
        .await?;
        anyhow::ensure!(rows.len() == count, "there are enough live sessions");
        rows.iter().map(|row| self.refresh_token(row)).collect()
    }

    fn refresh_token(&self, row: &PgRow) -> anyhow::Result<String> {
        let at = |name| row.try_get::<Timestamp, _>(name);
        let pair = self.tokens.issue(&Session {
            session_id: SessionId(row.try_get::<Uuid, _>("session_id")?),
            user_id: UserId(row.try_get("user_id")?),
            email: row.try_get::<String, _>("email")?.parse()?,
            generation: Generation(row.try_get("generation")?),
            key_id: KeyId(row.try_get("key_id")?),
            refresh_key_id: row
                .try_get::<Option<String>, _>("refresh_key_id")?
                .map(KeyId),
            methods: AuthenticationMethods::PASSWORD,
            created_at: at("created_at")?,
            rotated_at: at("rotated_at")?,
            access_expires_at: at("access_expires_at")?,
            idle_expires_at: at("idle_expires_at")?,
        });
        Ok(pair.ok().context("the key signs")?.refresh.token)
    }

    /// Users, picked at random from all.
    pub async fn users(&self, count: i64) -> anyhow::Result<Vec<(UserId, String)>> {
        let query = sqlx::query_as("SELECT user_id, email FROM users ORDER BY random() LIMIT $1");
        let rows: Vec<(i64, String)> = query.bind(count).fetch_all(&self.pool).await?;
        Ok((rows.into_iter())
            .map(|(user_id, email)| (UserId(user_id), email))
            .collect())
    }

    /// Makes sessions that are over for so long that they are purged: the oldest of all.
    pub async fn insert_outlived(&self, count: i64) -> anyhow::Result<()> {
        let query = sqlx::query(
            "INSERT INTO sessions (session_id, user_id, key_id, amr, created_at, rotated_at,
                                   access_expires_at, idle_expires_at, expires_at,
                                   access_horizon_at, client_network, user_agent)
             SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::BIGINT), 12, '0')
                     || '7000-8' || substr(gen_random_uuid()::TEXT, 21))::UUID,
                    n, $2, '{pwd}', at, at, at, at, now(), at, '203.0.113.7/32',
                    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
               FROM (SELECT n, now() - INTERVAL '31 days' + INTERVAL '1 second' * n AS at
                       FROM generate_series(1, $1) AS n) AS numbered",
        );
        query
            .bind(count)
            .bind(&self.key_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub async fn checkpoint(&self) -> anyhow::Result<()> {
        execute(&self.pool, "CHECKPOINT".to_owned()).await
    }

    /// Bytes of write-ahead log since PostgreSQL was made.
    pub async fn written(&self) -> anyhow::Result<i64> {
        let query = sqlx::query_scalar("SELECT (pg_current_wal_insert_lsn() - '0/0')::BIGINT");
        Ok(query.fetch_one(&self.pool).await?)
    }
}
