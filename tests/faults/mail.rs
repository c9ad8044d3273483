//! The mail relay refuses, is silent, is slow.

use std::time::Duration;

use backoffice_auth::dev::{Behaviour, Recipients};
use tokio::time::{Instant, sleep};

use crate::form::{of, play, seconds};
use crate::proxy::Weather;
use crate::world::World;

/// After an attempt that hangs (30 s) the next one may be half a minute away.
const PATIENCE: Duration = Duration::from_secs(90);

/// Codes that have surely not been sent, for sign-ins of before an instant, and that still could be used.
const WAITING: &str = "SELECT count(*) FROM outbox JOIN challenges USING (challenge_id)
     WHERE sent_at IS NULL AND copies = 0 AND consumed_at IS NULL
       AND challenges.expires_at > clock_timestamp() AND created_at < to_timestamp(";

/// The relay is itself again: every code that was asked for meanwhile comes.
async fn codes_arrive(world: &World) {
    let now = "SELECT extract(epoch FROM clock_timestamp())::BIGINT + 1";
    let now = world.postgres.number(&world.database, now).await;
    let waiting = format!("{WAITING}{now})");
    let deadline = Instant::now() + PATIENCE;
    while world.postgres.number(&world.database, &waiting).await > 0 {
        assert!(Instant::now() < deadline, "codes still wait");
        sleep(Duration::from_millis(200)).await;
    }
}

/// Red where a temporary refusal settles the mail in `Delivery::settle`.
#[test]
fn a_relay_in_trouble_delays_codes_and_nothing_else() {
    play(async {
        let mut world = World::start("relay", &[]).await;
        world
            .mailbox
            .set_behaviour(Behaviour::Defer(Recipients::All));
        sleep(seconds(3, 60)).await;
        world.mailbox.set_behaviour(Behaviour::Accept);
        codes_arrive(&world).await;
        let holes = [
            Weather::Closed,
            Weather::Slow(Duration::from_millis(200)),
            Weather::BlackHole,
        ];
        for weather in &holes[..of(2, 3)] {
            world.mail_wire.set(*weather);
            sleep(seconds(3, 30)).await;
            world.mail_wire.set(Weather::Fair);
            codes_arrive(&world).await;
        }
        world.recovers().await;
        world.no_503();
        world.finish().await;
    });
}

/// Red where a send may outlast the challenge: the relay answers at last, and a dead code arrives.
#[test]
fn no_code_arrives_after_it_has_stopped_working() {
    play(async {
        let mut world = World::start("expiry", &[("two_factor.ttl_seconds", "4")]).await;
        for _ in 0..of(1, 6) {
            world.mailbox.set_behaviour(Behaviour::Hang);
            sleep(Duration::from_secs(6)).await;
            world.mailbox.set_behaviour(Behaviour::Accept);
            codes_arrive(&world).await;
        }
        world.recovers().await;
        world.no_503();
        world.finish().await;
    });
}
