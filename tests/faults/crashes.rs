//! The servers themselves die, and leave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::actors::Setting;
use crate::client::{Reply, Wire, request};
use crate::form::{of, play};
use crate::world::World;

/// Red where a sign-out is answered half a second before it is committed: its session lives on.
#[test]
fn servers_killed_at_random_points_lose_and_forget_nothing() {
    play(async {
        let mut world = World::start("killed", &[]).await;
        for round in 0..of(6, 200) {
            // A sequence that visits every hundredth of a second of half a second.
            let pause = Duration::from_millis((round as u64 * 187) % 500);
            sleep(pause).await;
            let instance = &mut world.instances[round % 2];
            instance.kill().await;
            instance.start().await;
            world.recovers().await;
        }
        world.goes_on(2).await;
        world.finish().await;
    });
}

/// Red where `accept_all` drops the connections that wait to be accepted when the listener closes.
#[test]
fn a_server_that_is_told_to_stop_drops_no_request() {
    play(async {
        let mut world = World::start("stopping", &[]).await;
        // One that drains says "not ready" and serves on.
        world.readiness_may_err();
        let (stop, mut loyal) = (CancellationToken::new(), JoinSet::new());
        for door in [0, 1, 0, 1] {
            loyal.spawn(stay(Arc::clone(&world.setting), door, stop.clone()));
        }
        for round in 0..of(2, 20) {
            let instance = &mut world.instances[round % 2];
            assert!(instance.terminate().await, "it did not end well");
            instance.start().await;
            world.recovers().await;
            world.goes_on(1).await;
        }
        stop.cancel();
        for answers in loyal.join_all().await {
            assert!(answers > 0);
        }
        world.nothing_was_dropped();
        world.no_503();
        world.finish().await;
    });
}

/// Asks one thing after the other on one connection, for as long as the server does not close it; how
/// many answers there were.
async fn stay(setting: Arc<Setting>, mut door: usize, stop: CancellationToken) -> usize {
    let bytes = request("GET", "/.well-known/jwks.json", "10.254.0.1", "", "");
    let mut answers = 0;
    while !stop.is_cancelled() {
        let address: SocketAddr = setting.doors[door];
        let Some(mut wire) = Wire::open(address).await else {
            door = 1 - door;
            continue;
        };
        loop {
            match wire.ask(&bytes).await {
                Reply::Answer(answer) => {
                    assert_eq!(answer.status, 200);
                    answers += 1;
                    if answer.closes || stop.is_cancelled() {
                        break;
                    }
                }
                Reply::Refused | Reply::Lost => {
                    panic!("a request on an open connection was dropped")
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
    answers
}
