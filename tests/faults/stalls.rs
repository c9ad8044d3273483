//! A database that answers, but waits: for a standby that is away, for a lock, for a slow disk. And
//! signing keys that change under the load.

use std::time::Duration;

use backoffice_auth::admin::{Activation, Admin};
use backoffice_auth::config::Config;
use backoffice_auth::domain::Operator;
use backoffice_auth::store::Store;
use sqlx::Connection as _;
use tokio::time::{interval, sleep};

use crate::form::{of, play, seconds};
use crate::postgres::Postgres;
use crate::watch::FOLLOWER;
use crate::world::World;

/// Shorter than the stalls, so that they outlast it, and longer than a block, during which no token is
/// traded and the grace runs on.
const GRACE: (&str, &str) = ("tokens.refresh_grace_seconds", "7");

async fn world(name: &'static str) -> World {
    let postgres = Postgres::start("faults");
    postgres.forget_standbys().await;
    let mut world = World::on(postgres, name, &[GRACE, FOLLOWER]).await;
    world.begin().await;
    world.watch().await;
    world
}

/// Red where the grace of a refresh runs on during the stall, where an attempt that was answered 503
/// counts, where a given-up commit is replaced by a new connection, where the feed's cursor is an
/// instant, and where the view of ended sessions is read on a connection of the requests.
#[test]
fn commits_that_wait_for_a_standby_cost_seconds_and_nothing_else() {
    play(async {
        for length in of(&[9][..], &[5, 25, 60, 700]) {
            let mut world = world("stalled").await;
            world.trouble_begins();
            world.postgres.stall_commits().await;
            let from = world.setting.history.now();
            sleep(Duration::from_secs(*length)).await;
            world.checks_were_answered(from, world.setting.history.now());
            world.postgres.forget_standbys().await;
            world.recovers().await;
            world.goes_on(2).await;
            world.finish().await;
        }
    });
}

/// Red without `lock_timeout` and `statement_timeout`: a statement that was given up waits on, and holds a
/// connection of PostgreSQL's each.
#[test]
fn a_locked_table_leaves_nothing_behind_that_waits_for_it() {
    play(async {
        let mut world = world("table_lock").await;
        world.readiness_may_err();
        for table in ["users", "sessions", "attempts"] {
            let mut holder = world.postgres.connect(&world.database).await;
            let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE");
            sqlx::raw_sql(sqlx::AssertSqlSafe(lock))
                .execute(&mut holder)
                .await
                .unwrap();
            sleep(seconds(4, 25)).await;
            holder.close().await.unwrap();
            world.recovers().await;
            world.goes_on(2).await;
        }
        world.finish().await;
    });
}

/// A commit waits a tenth of a second before it is flushed: the most that PostgreSQL lets one set.
#[test]
fn a_slow_disk_is_served_or_refused_in_time() {
    play(async {
        let mut world = world("slow_disk").await;
        world.readiness_may_err();
        let slow = [("commit_delay", "100000"), ("commit_siblings", "0")];
        world.postgres.set(&slow).await;
        sleep(seconds(4, 20)).await;
        world.postgres.reset(&slow.map(|(name, _)| name)).await;
        world.recovers().await;
        world.goes_on(2).await;
        world.finish().await;
    });
}

/// Red where an unknown `kid` is refused without a look at the keys in the database.
#[test]
fn a_new_signing_key_every_second_refuses_no_good_token() {
    play(async {
        let mut world = world("rotation").await;
        let config = Config::load(None, world.variables().to_vec());
        let config = config.unwrap().config;
        let store = Store::connect(&config.database).await.unwrap();
        let (admin, operator) = (Admin::new(store.clone(), &config), Operator::named("tests"));
        let mut tick = interval(Duration::from_secs(1));
        for _ in 0..of(4, 60) {
            tick.tick().await;
            admin
                .rotate_keys(&operator, Activation::Now, None)
                .await
                .unwrap();
        }
        store.close();
        world.goes_on(2).await;
        world.recovers().await;
        world.no_503();
        world.finish().await;
    });
}
