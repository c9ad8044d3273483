//! Fills the database, and picks from it.

use std::time::Duration;

use anyhow::Context as _;
use backoffice_auth::auth::SigningKeys;
use backoffice_auth::domain::{
    AuthenticationMethod, Clock, Generation, KeyId, Session, SessionId, Timestamp, UserId,
};
use backoffice_auth::store::Store;
use backoffice_auth::token::Tokens;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

use crate::server::{Machine, Setting};

/// Sessions of each user.
const SESSIONS_EACH: i64 = 10;

/// Rows in one statement of the loader.
const CHUNK: i64 = 250_000;

/// The database under the server, reached past it.
pub struct Database {
    pool: PgPool,
    pub store: Store,
    tokens: Tokens,
    password_hash: String,
}

impl Database {
    pub async fn open(machine: &Machine, setting: &Setting) -> anyhow::Result<Self> {
        let config = setting.config()?;
        let store = Store::connect(&config.database).await?;
        let ring = SigningKeys::new(store.clone(), &config).open_ring().await?;
        let pool = PgPoolOptions::new().max_connections(1);
        Ok(Self {
            pool: pool.connect(&machine.cluster.url("postgres")).await?,
            store,
            tokens: Tokens::new(&config.tokens, ring, Clock::system()),
            password_hash: setting.hash(8, 1).await?,
        })
    }

    /// Adds users and sessions until there are so many sessions, a tenth of them over.
    ///
    /// Ids are version 7, in the order of their time over the last 29 days, as they would be.
    pub async fn fill(&self, sessions: i64) -> anyhow::Result<()> {
        let there: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions")
            .fetch_one(&self.pool)
            .await?;
        sqlx::query(
            "INSERT INTO users (email, password_hash, two_factor)
             SELECT 'grown' || n || '@example.com', $3, 'off' FROM generate_series($1, $2) AS n",
        )
        .bind(there / SESSIONS_EACH)
        .bind(sessions / SESSIONS_EACH - 1)
        .bind(&self.password_hash)
        .execute(&self.pool)
        .await?;
        let mut first = there;
        while first < sessions {
            let last = (first + CHUNK).min(sessions) - 1;
            self.insert_sessions(first, last, sessions).await?;
            first = last + 1;
        }
        sqlx::query("VACUUM ANALYZE").execute(&self.pool).await?;
        sqlx::query("CHECKPOINT").execute(&self.pool).await?;
        Ok(())
    }

    async fn insert_sessions(&self, first: i64, last: i64, of: i64) -> anyhow::Result<()> {
        sqlx::query(
            "WITH numbered AS (
                 SELECT n, now() - INTERVAL '29 days' * (1 - n::FLOAT8 / $3) AS created_at,
                        now() - INTERVAL '20 hours' * random() AS recently
                   FROM generate_series($1, $2) AS n)
             INSERT INTO sessions (session_id, user_id, generation, key_id, amr, created_at,
                                   rotated_at, access_expires_at, idle_expires_at, expires_at,
                                   access_horizon_at, ended_at, end_reason, client_network, user_agent)
             SELECT (lpad(to_hex((extract(epoch FROM created_at) * 1000)::BIGINT), 12, '0')
                     || '7' || substr(md5(n::TEXT), 1, 3) || '8' || substr(md5(n::TEXT), 4, 15))::UUID,
                    (SELECT min(user_id) FROM users) + n % ($3 / $4), 7,
                    (SELECT key_id FROM signing_keys LIMIT 1), '{pwd}', created_at,
                    recently, recently + INTERVAL '15 minutes', recently + INTERVAL '1 day',
                    created_at + INTERVAL '30 days', recently + INTERVAL '15 minutes',
                    CASE WHEN n % 10 = 0 THEN recently END,
                    CASE WHEN n % 10 = 0 THEN 'signout' END, '203.0.113.7/32', 'Mozilla/5.0'
               FROM numbered",
        )
        .bind(first)
        .bind(last)
        .bind(of)
        .bind(SESSIONS_EACH)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The refresh tokens of live sessions, picked at random from all.
    pub async fn refresh_tokens(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT s.*, u.email
               FROM (SELECT * FROM sessions WHERE ended_at IS NULL AND generation = 7
                      ORDER BY random() LIMIT $1) AS s
               JOIN users AS u USING (user_id)",
        )
        .bind(i64::try_from(count)?)
        .fetch_all(&self.pool)
        .await?;
        let tokens = rows.iter().map(|row| {
            let at = |name| row.try_get::<Timestamp, _>(name);
            let pair = self.tokens.issue(&Session {
                session_id: SessionId(row.try_get::<Uuid, _>("session_id")?),
                user_id: UserId(row.try_get("user_id")?),
                email: row.try_get::<String, _>("email")?.parse()?,
                generation: Generation(row.try_get("generation")?),
                key_id: KeyId(row.try_get("key_id")?),
                method: AuthenticationMethod::Password,
                created_at: at("created_at")?,
                rotated_at: at("rotated_at")?,
                access_expires_at: at("access_expires_at")?,
                idle_expires_at: at("idle_expires_at")?,
            });
            Ok(pair.ok().context("the key signs")?.refresh.token)
        });
        tokens.collect()
    }

    /// The addresses of users, picked at random from all.
    pub async fn addresses(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let query = sqlx::query_scalar("SELECT email FROM users ORDER BY random() LIMIT $1");
        Ok(query
            .bind(i64::try_from(count)?)
            .fetch_all(&self.pool)
            .await?)
    }

    /// Lets the oldest sessions be over for so long that they are purged.
    pub async fn outlive(&self, count: i64) -> anyhow::Result<()> {
        let query = sqlx::query(
            "UPDATE sessions SET expires_at = now() - INTERVAL '1 day',
                                 access_horizon_at = now() - INTERVAL '1 day'
              WHERE session_id IN (SELECT session_id FROM sessions ORDER BY session_id LIMIT $1)",
        );
        query.bind(count).execute(&self.pool).await?;
        Ok(())
    }

    /// Bytes of write-ahead log since the database was made.
    pub async fn written(&self) -> anyhow::Result<i64> {
        let query = sqlx::query_scalar("SELECT (pg_current_wal_lsn() - '0/0')::BIGINT");
        Ok(query.fetch_one(&self.pool).await?)
    }

    pub async fn print_sizes(&self) -> anyhow::Result<()> {
        let rows = sqlx::query(
            "SELECT relname::TEXT, relkind = 'i' AS is_index, pg_relation_size(oid) AS bytes,
                    GREATEST(reltuples, 0)::FLOAT8 AS rows
               FROM pg_class
              WHERE relnamespace = 'public'::REGNAMESPACE AND relkind IN ('r', 'i')
                AND pg_relation_size(oid) > 1000000
              ORDER BY bytes DESC",
        )
        .fetch_all(&self.pool)
        .await?;
        println!("{:<32} {:>10} {:>12}", "sizes", "MiB", "bytes a row");
        for row in rows {
            let (bytes, rows): (i64, f64) = (row.try_get("bytes")?, row.try_get("rows")?);
            #[expect(clippy::cast_precision_loss, reason = "gigabytes at most")]
            let bytes = bytes as f64;
            let name: String = row.try_get("relname")?;
            println!(
                "  {name:<30} {:>10.0} {:>12.0}",
                bytes / 1_048_576.0,
                bytes / rows
            );
        }
        Ok(())
    }

    /// Lets PostgreSQL write down how it carries out what servers ask from now on.
    pub async fn note_plans(&self) -> anyhow::Result<()> {
        for setting in [
            "session_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_buffers = on",
            "auto_explain.log_timing = off",
        ] {
            let statement = format!("ALTER DATABASE postgres SET {setting}");
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}

/// Prints the plans that were written down.
pub fn print_plans(machine: &Machine) -> anyhow::Result<()> {
    // The log is written a moment after the statement.
    std::thread::sleep(Duration::from_millis(500));
    let log = std::fs::read_to_string(machine.cluster.folder().join("log"))?;
    let (_, plans) = log.split_once("Query Text:").context("plans in the log")?;
    println!("{plans}");
    Ok(())
}
