//! The clock of one instance is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use backoffice_auth::app::App;
use backoffice_auth::config::Config;
use backoffice_auth::domain::Clock;
use chrono::TimeDelta;
use tokio::time::sleep;

use crate::form::{play, seconds};
use crate::postgres::Postgres;
use crate::world::World;

/// Steps that an access token (900 s) outlives forwards, and any that lead backwards. By a larger step
/// forwards an instance takes every access token for expired: its own clock decides that, and nothing else.
const STEPS: [i64; 5] = [600, -600, -3_600, -86_400, 0];

/// Red where the process's clock instead of the database's decides a rotation in `settle_refresh`: a
/// repeated token is taken for one that is used again, and its session ends.
#[test]
fn an_instance_whose_clock_is_stepped_decides_as_the_others_do() {
    play(async {
        let mut world = World::on(Postgres::start("faults"), "clock", &[]).await;
        world.instances[0].start().await;
        let step = Arc::new(AtomicI64::new(0));
        let (moved, system) = (Arc::clone(&step), Clock::system());
        let clock =
            Clock::new(move || system.now() + TimeDelta::seconds(moved.load(Ordering::Relaxed)));
        let (public, management) = (world.instances[1].public, world.instances[1].management);
        let mut variables = world.variables().to_vec();
        for (name, address) in [("LISTEN", public), ("MANAGEMENT_LISTEN", management)] {
            variables.push((
                format!("BACKOFFICE_AUTH__HTTP__{name}"),
                address.to_string(),
            ));
        }
        let config = Config::load(None, variables).unwrap().config;
        let app = App::start(&config, clock).await.unwrap();
        // It says that its clock is off, and serves every caller all the same.
        world.readiness_may_err();
        world.begin_load().await;
        for by in STEPS {
            step.store(by, Ordering::Relaxed);
            sleep(seconds(1, 5)).await;
            world.goes_on(2).await;
        }
        world.recovers().await;
        world.no_503();
        world.finish().await;
        app.stop().await;
    });
}
