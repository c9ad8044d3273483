//! The properties of a database that an operator checks before relying on it: its version, its missing
//! parts, and the rights of the role.

use super::run::Run as _;
use super::{MIGRATOR, PROBES, READERS, Store, StoreError, UNBOUNDED};

/// Connections that an instance holds at most besides `database.max_connections`: the pools that are no
/// request's, and the one that looks after connections which do not answer.
pub const EXTRA_CONNECTIONS: u32 = PROBES + READERS + UNBOUNDED + 1;

/// Every table that the statements of this release name.
const TABLES: [&str; 15] = [
    "attempts",
    "audit_events",
    "challenges",
    "heartbeat",
    "known_networks",
    "links",
    "outages",
    "outbox",
    "passkeys",
    "recovery_codes",
    "sessions",
    "signing_keys",
    "totp_factors",
    "used_passkey_requests",
    "users",
];

/// A database, as the statements of requests meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerState {
    /// The role that the connections have.
    pub role: String,
    /// The database's name.
    pub database: String,
    /// As PostgreSQL writes it, as `15.14`.
    pub version: String,
    /// As a number: 150014.
    pub version_number: i32,
    /// The encoding of its texts, as `UTF8`.
    pub encoding: String,
    /// The isolation of transactions, as `read committed`.
    pub isolation: String,
    /// Whether it follows a primary.
    pub is_standby: bool,
    /// Whether it cannot be written to, for that reason or because of a setting.
    pub is_read_only: bool,
    /// The schema that tables are looked for in; `None` where the role may use none.
    pub schema: Option<String>,
    /// Whether the role may make tables there.
    pub may_create: bool,
    /// Connections that everybody who is no superuser has together.
    pub max_connections: i32,
    /// Connections that the role may have; `None` without a limit.
    pub role_limit: Option<i32>,
    /// Connections that the database may have; `None` without a limit.
    pub database_limit: Option<i32>,
    /// Connections that there are now.
    pub connections: i64,
}

impl ServerState {
    /// Connections that are there for all instances of this server together.
    #[must_use]
    pub fn connections_to_have(&self) -> i32 {
        let limits = [self.role_limit, self.database_limit];
        let limits = limits.into_iter().flatten();
        limits.fold(self.max_connections, i32::min)
    }

    /// Why a database cannot be written to, if it cannot, and what to do.
    #[must_use]
    pub fn obstacle_to_writing(&self) -> Option<&'static str> {
        if self.is_standby {
            Some(
                "the database is a standby, which can only be read; point database.url at its primary, \
             or promote it",
            )
        } else if self.is_read_only {
            Some(
                "the database is read-only: default_transaction_read_only is on, for the server, the \
             database or the role; it may be on for a failover or a full disk, so see why before \
             you turn it off",
            )
        } else {
            None
        }
    }
}

impl Store {
    /// The version, encoding and settings of the database, and the rights of the role.
    pub async fn server_state(&self) -> Result<ServerState, StoreError> {
        let query = sqlx::query_as!(
            ServerState,
            r#"
            SELECT current_user::TEXT AS "role!",
                   current_database()::TEXT AS "database!",
                   current_setting('server_version') AS "version!",
                   current_setting('server_version_num')::INT AS "version_number!",
                   current_setting('server_encoding') AS "encoding!",
                   current_setting('transaction_isolation') AS "isolation!",
                   pg_is_in_recovery() AS "is_standby!",
                   current_setting('transaction_read_only') = 'on' AS "is_read_only!",
                   current_schema()::TEXT AS schema,
                   COALESCE(has_schema_privilege(current_schema(), 'CREATE'), FALSE) AS "may_create!",
                   current_setting('max_connections')::INT
                       - current_setting('superuser_reserved_connections')::INT
                       - COALESCE(current_setting('reserved_connections', TRUE)::INT, 0)
                       AS "max_connections!",
                   NULLIF(r.rolconnlimit, -1) AS role_limit,
                   NULLIF(d.datconnlimit, -1) AS database_limit,
                   (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                       AS "connections!"
              FROM pg_roles AS r, pg_database AS d
             WHERE r.rolname = session_user AND d.datname = current_database()
            "#
        );
        self.fetch_one(query).await
    }

    /// The migrations of this release that the database lacks, by their versions.
    pub async fn missing_migrations(&self) -> Result<Vec<i64>, StoreError> {
        let query = sqlx::query_scalar!("SELECT version FROM _sqlx_migrations WHERE success");
        let applied = match self.fetch_all(query).await {
            // Before the first of them there is no book of them.
            Err(error) if error.is_missing_table() => Vec::new(),
            applied => applied?,
        };
        let versions = MIGRATOR.iter().map(|migration| migration.version);
        Ok(versions.filter(|v| !applied.contains(v)).collect())
    }

    /// The rights that the role lacks of those that the server needs, as `INSERT on users`. No
    /// right is lacking on a table that is not there.
    pub async fn missing_rights(&self) -> Result<Vec<String>, StoreError> {
        let tables = TABLES.map(str::to_owned);
        let query = sqlx::query_scalar!(
            r#"
            SELECT string_agg(privilege, ', ' ORDER BY place) || ' on ' || name AS "right!"
              FROM (SELECT t.name, p.privilege, p.place, t.name AS kind
                      FROM unnest($1::TEXT[]) AS t (name)
                     CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE'])
                           WITH ORDINALITY AS p (privilege, place)
                     WHERE NOT has_table_privilege(to_regclass(t.name)::OID, p.privilege)
                     UNION ALL
                    SELECT s.name, p.privilege, p.place, 'users' AS kind
                      FROM (SELECT pg_get_serial_sequence('users', 'user_id') AS name
                             WHERE to_regclass('users') IS NOT NULL) AS s
                     CROSS JOIN unnest(ARRAY['USAGE', 'UPDATE'])
                           WITH ORDINALITY AS p (privilege, place)
                     WHERE NOT has_sequence_privilege(s.name, p.privilege)) AS lacking
             GROUP BY kind, name
             ORDER BY kind, name DESC
            "#,
            &tables,
        );
        self.fetch_all(query).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn tables_made(sql: &str) -> impl Iterator<Item = String> {
        let names = sql.split("CREATE TABLE ").skip(1);
        names.filter_map(|rest| Some(rest.split([' ', '(']).next()?.to_owned()))
    }

    #[test]
    fn the_rights_on_every_table_are_looked_at() {
        let made: BTreeSet<_> = MIGRATOR
            .iter()
            .flat_map(|m| tables_made(m.sql.as_str()))
            .collect();
        assert_eq!(made, BTreeSet::from(TABLES.map(str::to_owned)));
    }
}
