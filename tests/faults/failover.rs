//! The primary dies, and its synchronous standby takes over behind the same address.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::actors::PASSWORD;
use crate::client::{Reply, ask, probe, request};
use crate::form::{of, play};
use crate::instance::Instance;
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::world::{World, loopback};

/// Red with an asynchronous standby that is a second behind (`synchronous_standby_names` left empty, its
/// processes frozen before the end): a session that was signed out is live again.
#[test]
fn a_failover_to_a_synchronous_standby_loses_nothing_that_was_acknowledged() {
    play(async {
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

/// Of a session that ended elsewhere a standby may not know for a while.
///
/// Red where nobody asks what it is that answers: the token of a session that was signed out is taken until
/// the standby has replayed the end. Red in another way where only the view asks: a session is then looked
/// for in the standby.
#[test]
fn an_instance_that_is_led_to_a_standby_lets_nobody_in_by_it() {
    play(async {
        let primary = Postgres::start("faults-primary");
        primary.forget_standbys().await;
        let mut world = World::on(primary, "misled", &[]).await;
        let standby = world.postgres.add_synchronous_standby().await;
        let wire = Proxy::start(loopback(world.postgres.port())).await;
        let [common, own] =
            [world.wire.address, wire.address].map(|address| format!(":{}/", address.port()));
        let variables = world.variables().iter();
        let variables = variables.map(|(name, value)| (name.clone(), value.replace(&common, &own)));
        let mut misled = Instance::new("misled-c", variables.collect());
        let led_well = &mut world.instances[0];
        tokio::join!(led_well.start(), misled.start());

        let [leaves, stays] = [sign_in(led_well).await, sign_in(led_well).await];
        for token in [&leaves, &stays] {
            assert_eq!(bearer(&misled, "GET", "/auth/verify", token).await, 200);
        }
        standby
            .execute("postgres", "SELECT pg_wal_replay_pause()")
            .await;
        let is_paused = "SELECT (pg_get_wal_replay_pause_state() = 'paused')::INT::BIGINT";
        while standby.number("postgres", is_paused).await == 0 {
            sleep(Duration::from_millis(20)).await;
        }
        wire.lead_to(loopback(standby.port()));
        let signed_out = bearer(led_well, "POST", "/api/v2/signout", &leaves).await;
        assert_eq!(signed_out, 200);

        // It trusts its view from the primary for two seconds.
        sleep(Duration::from_millis(2_500)).await;
        for _ in 0..of(20, 100) {
            for token in [&leaves, &stays] {
                let status = bearer(&misled, "GET", "/auth/verify", token).await;
                assert_eq!(status, 503);
            }
            let ready = probe(misled.management, "/health/ready").await;
            assert_eq!(ready, Some(503));
            sleep(Duration::from_millis(100)).await;
        }

        wire.lead_to(loopback(world.postgres.port()));
        for (token, status) in [(&leaves, 401), (&stays, 200)] {
            let deadline = Instant::now() + Duration::from_secs(30);
            while bearer(&misled, "GET", "/auth/verify", token).await != status {
                assert!(Instant::now() < deadline, "never {status}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        standby
            .execute("postgres", "SELECT pg_wal_replay_resume()")
            .await;
        world.postgres.forget_standbys().await;
    });
}

async fn sign_in(instance: &Instance) -> String {
    let body = json!({"email": "probe0@example.com", "password": PASSWORD}).to_string();
    let bytes = request("POST", "/api/v2/signin", "10.0.0.1", "", &body);
    let Reply::Answer(answer) = ask(instance.public, &bytes).await else {
        panic!("no answer");
    };
    let pair: Value = serde_json::from_str(&answer.body).unwrap();
    pair["accessToken"]["token"].as_str().unwrap().to_owned()
}

async fn bearer(instance: &Instance, method: &str, path: &str, token: &str) -> u16 {
    let header = format!("Authorization: Bearer {token}\r\n");
    let bytes = request(method, path, "10.0.0.1", &header, "");
    match ask(instance.public, &bytes).await {
        Reply::Answer(answer) => answer.status,
        reply => panic!("{reply:?}"),
    }
}
