//! The primary dies, and its synchronous standby takes over behind the same address.

use std::time::Duration;

use tokio::time::sleep;

use crate::form::{alone, of};
use crate::postgres::Postgres;
use crate::world::{World, loopback};

/// Red with an asynchronous standby that is a second behind (`synchronous_standby_names` left empty, its
/// processes frozen before the end): a session that was signed out is live again.
#[test]
fn a_failover_to_a_synchronous_standby_loses_nothing_that_was_acknowledged() {
    alone(async {
        for _ in 0..of(1, 3) {
            let primary = Postgres::start("faults-primary");
            primary.forget_standbys().await;
            let mut world = World::on(primary, "failover", &[]).await;
            let standby = world.postgres.add_synchronous_standby().await;
            world.begin().await;

            world.trouble_begins();
            world.postgres.stop_immediately();
            // The address moves before the standby is promoted: for a while it is read-only.
            world.wire.lead_to(loopback(standby.port()));
            sleep(Duration::from_secs(1)).await;
            standby.execute("postgres", "SELECT pg_promote()").await;
            let _gone = std::mem::replace(&mut world.postgres, standby);
            world.recovers().await;
            world.goes_on(2).await;
            world.finish().await;
        }
    });
}
