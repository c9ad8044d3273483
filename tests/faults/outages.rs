//! PostgreSQL stops, is restarted, and stands still.

use tokio::time::sleep;

use crate::form::{of, play, seconds};
use crate::world::World;

/// Red where a connection that is refused counts as a defect of ours (`sqlx::Error::Io`): it is a 500.
#[test]
fn while_postgresql_is_stopped_everything_is_503_and_nothing_is_lost() {
    play(async {
        let mut world = World::start("stopped", &[]).await;
        world.trouble_begins();
        world.postgres.stop_fast();
        sleep(seconds(3, 30)).await;
        world.postgres.resume();
        world.recovers().await;
        world.finish().await;
    });
}

/// Red where a sign-out is answered half a second before it is committed: its session lives on.
#[test]
fn acknowledged_changes_outlive_restarts_of_postgresql() {
    play(async {
        let mut world = World::start("restarted", &[]).await;
        for round in 0..of(2, 20) {
            world.trouble_begins();
            if round % 2 == 0 {
                world.postgres.stop_immediately();
            } else {
                world.postgres.stop_fast();
            }
            world.postgres.resume();
            world.recovers().await;
            world.goes_on(2).await;
        }
        world.finish().await;
    });
}

/// Red without the deadline in `budget::spend`: a request to a frozen server waits with it.
#[test]
fn a_frozen_postgresql_is_503_in_time_and_thaws_without_a_restart() {
    play(async {
        let mut world = World::start("frozen", &[]).await;
        for _ in 0..of(1, 3) {
            world.trouble_begins();
            let frozen = world.postgres.freeze();
            sleep(seconds(4, 10)).await;
            drop(frozen);
            world.recovers().await;
            world.goes_on(2).await;
        }
        world.finish().await;
    });
}
