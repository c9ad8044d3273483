//! The network between the instances and PostgreSQL.

use std::time::Duration;

use tokio::time::sleep;

use crate::form::{of, play, seconds};
use crate::proxy::Weather;
use crate::world::World;

/// Makes weather for a while.
async fn weather(world: &mut World, weather: Weather, length: Duration) {
    world.trouble_begins();
    world.wire.set(weather);
    sleep(length).await;
    world.wire.set(Weather::Fair);
    world.recovers().await;
    world.goes_on(2).await;
}

/// Red without `store::on_a_budget`: a caller waits for the sum of many statements. The full form is
/// also red where a transaction counts as begun from the answer on: a refresh on a connection whose
/// `BEGIN` was given up is answered, and undone.
#[test]
fn a_slow_database_is_served_or_refused_in_time() {
    play(async {
        let mut world = World::start("slowed", &[]).await;
        let length = seconds(3, 10);
        world.readiness_may_err();
        for ms in [of(40, 20), 100, 400] {
            let slow = Weather::Slow(Duration::from_millis(ms));
            weather(&mut world, slow, length).await;
        }
        weather(&mut world, Weather::Narrow(20_000), length).await;
        world.finish().await;
    });
}

/// Red where `Rotation::Repeat` is taken out of `decide_rotation`: whose answer was lost is signed out.
#[test]
fn connections_cut_in_the_middle_of_statements_lose_no_acknowledged_word() {
    play(async {
        let mut world = World::start("cut", &[]).await;
        // One statement gets through between two cuts, a sign-in's eight may not.
        world.readiness_may_err();
        for _ in 0..of(20, 200) {
            world.wire.cut();
            sleep(Duration::from_millis(100)).await;
        }
        // The statement is done, and its answer, even that of COMMIT, is lost.
        let lost = Weather::LostAnswers(20);
        weather(&mut world, lost, seconds(3, 20)).await;
        world.finish().await;
    });
}

/// Red without `idle_in_transaction_session_timeout`: transactions that the hole swallowed keep their
/// locks, and requests that wait for them keep the pool. The full form is red without
/// `tcp_keepalives_idle`, when PostgreSQL has no connections left, and where nobody limits how long a
/// connection is put in order: the pool has none left.
#[test]
fn a_black_hole_is_503_in_time_and_dead_connections_are_let_go() {
    play(async {
        let mut world = World::start("black_hole", &[]).await;
        for _ in 0..of(1, 10) {
            for hole in [Weather::BlackHole, Weather::HalfOpen] {
                weather(&mut world, hole, seconds(3, 4)).await;
            }
        }
        weather(&mut world, Weather::Closed, seconds(3, 30)).await;
        world.finish().await;
    });
}
