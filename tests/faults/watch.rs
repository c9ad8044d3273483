//! Observers beside the load: a service that follows the feed of ended sessions, and somebody who
//! counts the servers' connections.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::actors::Setting;
use crate::client::{Reply, ask, request};

/// The follower as a setting: `introspection.clients`, with the SHA-256 of `s3cret`.
pub const FOLLOWER: (&str, &str) = (
    "introspection.clients",
    "follower:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
);

/// `follower:s3cret`, as HTTP Basic has it.
const AUTHORIZATION: &str = "Authorization: Basic Zm9sbG93ZXI6czNjcmV0\r\n";

/// Between two questions of the follower.
const PAUSE: Duration = Duration::from_millis(200);

/// How many empty pages in a row are the end of the feed.
const EMPTY_PAGES: usize = 5;

/// Both watchers, at work.
pub struct Watch {
    stop: CancellationToken,
    follower: JoinHandle<BTreeSet<Uuid>>,
    counter: JoinHandle<i64>,
}

/// Their observations.
pub struct Seen {
    /// The sessions that the follower was told of.
    pub ended: BTreeSet<Uuid>,
    /// The most connections that the servers had at a time.
    pub connections: i64,
}

impl Watch {
    /// Starts both. `connection` is one to the servers' database, past the proxy.
    pub fn start(setting: &Arc<Setting>, connection: PgConnection) -> Self {
        let stop = CancellationToken::new();
        Self {
            follower: tokio::spawn(follow(Arc::clone(setting), stop.clone())),
            counter: tokio::spawn(count(connection, stop.clone())),
            stop,
        }
    }

    /// Lets the follower come to the end of the feed.
    pub async fn stop(self) -> Seen {
        self.stop.cancel();
        Seen {
            ended: self.follower.await.unwrap(),
            connections: self.counter.await.unwrap(),
        }
    }
}

/// Follows the feed, at both instances in turns, with the one cursor that it has.
async fn follow(setting: Arc<Setting>, stop: CancellationToken) -> BTreeSet<Uuid> {
    let (mut ended, mut cursor, mut empty) = (BTreeSet::new(), None, 0);
    for round in 0_usize.. {
        let since = cursor.as_ref().map(|cursor| format!("?since={cursor}"));
        let path = format!("/api/v2/revocations{}", since.unwrap_or_default());
        let bytes = request("GET", &path, "10.255.0.4", AUTHORIZATION, "");
        let reply = ask(setting.doors[round % 2], &bytes).await;
        let page: Option<Value> = match reply {
            Reply::Answer(answer) if answer.status == 200 => {
                serde_json::from_str(&answer.body).ok()
            }
            _ => None,
        };
        if let Some(page) = page {
            let entries = page["revocations"].as_array().unwrap();
            let ids = entries.iter().map(|entry| &entry["sessionId"]);
            let before = ended.len();
            ended.extend(ids.map(|id| id.as_str().unwrap().parse::<Uuid>().unwrap()));
            cursor = Some(page["cursor"].as_str().unwrap().to_owned());
            empty = if ended.len() == before { empty + 1 } else { 0 };
        }
        if stop.is_cancelled() && empty >= EMPTY_PAGES {
            break;
        }
        sleep(PAUSE).await;
    }
    ended
}

/// Counts the connections of both servers.
async fn count(mut connection: PgConnection, stop: CancellationToken) -> i64 {
    let mut most = 0;
    while !stop.is_cancelled() {
        let count = sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND application_name LIKE 'backoffice-auth%'",
        );
        most = most.max(count.fetch_one(&mut connection).await.unwrap());
        sleep(Duration::from_millis(100)).await;
    }
    connection.close().await.unwrap();
    most
}
