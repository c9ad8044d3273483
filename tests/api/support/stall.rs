//! Stalls: commits that wait for a synchronous standby that is away.

use backoffice_auth::dev::{Cluster, Durability};
use sqlx::PgPool;
use tokio::task::block_in_place;

use super::{cluster, until};

/// A PostgreSQL whose commits can be made to wait, with an empty database.
pub struct Stallable {
    cluster: Cluster,
    pub url: String,
    /// Connections to another database of the cluster.
    pub admin: PgPool,
}

impl Stallable {
    pub async fn start() -> Self {
        let cluster = block_in_place(|| cluster::start_with("stall", Durability::Kept));
        let admin = PgPool::connect(&cluster.url("postgres")).await.unwrap();
        let name = format!("stall_{}", std::process::id());
        let stallable = Self {
            url: cluster.url(&name),
            cluster,
            admin,
        };
        stallable.flows().await;
        for statement in [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            stallable.execute(&statement).await;
        }
        stallable
    }

    async fn execute(&self, statement: &str) {
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        let done = sqlx::raw_sql(statement).execute(&self.admin).await;
        done.unwrap();
    }

    /// Lets commits wait for a standby that never comes. Reads are answered as ever.
    pub async fn stalls(&self) {
        self.waits_for("nobody").await;
    }

    /// Ends the stall.
    pub async fn flows(&self) {
        self.waits_for("").await;
    }

    async fn waits_for(&self, standby: &str) {
        let change = format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'");
        self.execute(&change).await;
        self.execute("SELECT pg_reload_conf()").await;
        until("the setting is known", async || {
            let known = sqlx::query_scalar("SHOW synchronous_standby_names");
            let known: String = known.fetch_one(&self.admin).await.unwrap();
            known == standby
        })
        .await;
    }

    /// How many commits wait.
    pub async fn waiting(&self) -> i64 {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        let waiting = sqlx::query_scalar(waiting).fetch_one(&self.admin).await;
        waiting.unwrap()
    }

    /// Stops the cluster, once those have stopped that are connected to it.
    pub fn stop(self) {
        block_in_place(|| drop(self.cluster));
    }
}
