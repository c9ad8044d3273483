//! The signing keys of a server that runs: how one follows another, and how one dies.

use std::io::Write as _;

use backoffice_auth::admin::{Activation, Admin, Imported, KeyChangeError};
use backoffice_auth::app::StartError;
use backoffice_auth::auth::SigningKeys;
use backoffice_auth::domain::{Clock, KeyId, KeyPurpose};
use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tempfile::NamedTempFile;
use tokio::time::Instant;

use crate::support::{
    Answer, Jwt, OPERATOR, Pair, Person, Program, Run, Signer, TestApp, but, secs, until,
};

const ALICE: &str = "alice@example.com";

/// SHA-256 of `s3cret`.
const CLIENT: &str = "orders:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// How long a new key is published before it signs.
const PUBLISHED: u64 = 600;

const DAY: u64 = 86_400;

/// The keys as an operator has them.
async fn admin_of(app: &TestApp) -> Admin {
    Admin::new(app.store().await, &app.config)
}

async fn rotate(app: &TestApp, activation: Activation) -> KeyId {
    let rotated = admin_of(app)
        .await
        .rotate_keys(&OPERATOR, activation, None)
        .await;
    rotated.unwrap().access.unwrap().key_id
}

/// The key that signed a token.
fn kid(token: &str) -> KeyId {
    KeyId(Jwt::read(token).header["kid"].as_str().unwrap().to_owned())
}

/// The key that signed the access token of a pair.
fn signer(pair: &Pair) -> KeyId {
    kid(&pair.access)
}

/// The key that signed the refresh token of a pair.
fn refresh_signer(pair: &Pair) -> KeyId {
    kid(&pair.refresh)
}

/// The keys that an instance publishes.
async fn published(app: &TestApp) -> Vec<KeyId> {
    let jwks = app.jwks().await;
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| KeyId(key["kid"].as_str().unwrap().to_owned()))
        .collect()
}

/// Waits until an instance signs with this key.
async fn until_signs(person: &Person<'_>, app: &TestApp, key_id: &KeyId) {
    until("the key signs", async || {
        let pair = person.elsewhere().at(app).signin().await.pair();
        signer(&pair) == *key_id
    })
    .await;
}

/// Waits until an instance publishes these keys and no others.
async fn until_published(app: &TestApp, key_ids: &[&KeyId]) {
    until("the keys are published", async || {
        let found = published(app).await;
        found.len() == key_ids.len() && key_ids.iter().all(|id| found.contains(id))
    })
    .await;
}

async fn session(person: &Person<'_>, app: &TestApp, token: &str) -> Answer {
    let request = app.request("GET", "/api/v2/session", &person.network);
    app.send(request.bearer_auth(token)).await
}

/// The number of keys for access tokens, in any state.
async fn count(app: &TestApp) -> i64 {
    app.count("SELECT count(*) FROM signing_keys WHERE purpose = 'access'")
        .await
}

/// The same for refresh tokens.
async fn count_refresh_keys(app: &TestApp) -> i64 {
    app.count("SELECT count(*) FROM signing_keys WHERE purpose = 'refresh'")
        .await
}

#[tokio::test]
async fn a_new_key_is_published_at_once_and_signs_when_its_time_has_come() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, before) = app.signed_in(ALICE).await;
    let old = signer(&before);
    let new = rotate(&app, Activation::AfterPublishing).await;
    for instance in [&app, &other] {
        until_published(instance, &[&old, &new]).await;
        let pair = alice.at(instance).signin().await.pair();
        assert_eq!(signer(&pair), old);
    }
    app.age_keys(secs(PUBLISHED)).await;
    for instance in [&app, &other] {
        until_signs(&alice, instance, &new).await;
    }
}

#[tokio::test]
async fn a_new_key_can_sign_as_soon_as_the_settings_say() {
    let app = TestApp::with(&[("keys.publish_seconds", "0")]).await;
    let alice = app.user(ALICE).await;
    let new = rotate(&app, Activation::AfterPublishing).await;
    until_signs(&alice, &app, &new).await;
}

#[tokio::test]
async fn tokens_of_the_key_before_stay_good_after_the_takeover() {
    let app = TestApp::start().await;
    let (alice, before) = app.signed_in(ALICE).await;
    let new = rotate(&app, Activation::Now).await;
    until_signs(&alice, &app, &new).await;
    session(&alice, &app, &before.access).await.ok();
    assert!(Jwt::read(&before.access).is_signed_by(&app.jwks().await));
    let after = alice.refresh(&before.refresh).await.pair();
    assert_eq!(signer(&after), new);
    assert!(Jwt::read(&after.access).is_signed_by(&app.jwks().await));
}

#[tokio::test]
async fn a_key_is_forgotten_by_every_instance_once_its_last_token_has_expired() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (_, before) = app.signed_in(ALICE).await;
    let new = rotate(&app, Activation::Now).await;
    let tokens = &app.config.tokens;
    let life = tokens.access_ttl.max(tokens.refresh_idle_ttl);
    app.age_keys(life.checked_sub(secs(60)).unwrap()).await;
    until_published(&app, &[&signer(&before), &new]).await;
    app.age_keys(secs(60)).await;
    for instance in [&app, &other] {
        until_published(instance, &[&new]).await;
    }
}

#[tokio::test]
async fn a_repeat_across_a_takeover_gets_the_same_pair_byte_for_byte() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, first) = app.signed_in(ALICE).await;
    let second = alice.refresh(&first.refresh).await.pair();
    let new = rotate(&app, Activation::Now).await;
    for instance in [&app, &other] {
        until_signs(&alice, instance, &new).await;
        let repeated = alice.at(instance).refresh(&first.refresh).await.pair();
        assert_eq!(repeated.body, second.body);
    }
}

#[tokio::test]
async fn while_a_key_waits_to_take_over_there_is_no_second_one() {
    let app = TestApp::start().await;
    let pending = rotate(&app, Activation::AfterPublishing).await;
    let admin = admin_of(&app).await;
    let again = admin
        .rotate_keys(&OPERATOR, Activation::AfterPublishing, None)
        .await;
    let told = again.unwrap_err().to_string();
    let start = format!("the key {pending} is published already and signs from ");
    assert!(told.starts_with(&start), "{told}");
    let pem = Signer::new().private_pem();
    let imported = admin.import_key(&OPERATOR, pem.as_bytes(), None).await;
    assert!(matches!(imported, Err(KeyChangeError::Pending { .. })));
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn a_key_that_waits_can_be_told_to_sign_at_once() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    let pending = rotate(&app, Activation::AfterPublishing).await;
    assert_eq!(rotate(&app, Activation::Now).await, pending);
    until_signs(&alice, &app, &pending).await;
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn a_key_grown_old_is_followed_by_one_whatever_the_number_of_instances() {
    let app = TestApp::with(&[("keys.rotate_days", "30")]).await;
    let other = app.second_instance().await;
    app.age_keys(secs(30 * DAY)).await;
    // An instance that publishes both has looked again after it had its turn to make one.
    for instance in [&app, &other] {
        until("a successor is published", async || {
            published(instance).await.len() > 1
        })
        .await;
    }
    assert_eq!(count(&app).await, 2);
    let lines = app.audit().await;
    let rotations = lines.iter().filter(|line| line.ends_with("key_rotated"));
    assert_eq!(rotations.count(), 2, "one of each kind");
    assert_eq!(count_refresh_keys(&app).await, 2);
}

#[tokio::test]
async fn an_imported_key_is_published_and_then_signs() {
    let app = TestApp::start().await;
    let (alice, before) = app.signed_in(ALICE).await;
    let pem = Signer::new().private_pem();
    let imported = admin_of(&app)
        .await
        .import_key(&OPERATOR, pem.as_bytes(), None)
        .await;
    let Ok(Imported::Private(new)) = imported else {
        panic!("{imported:?}");
    };
    until_published(&app, &[&signer(&before), &new.key_id]).await;
    app.age_keys(secs(PUBLISHED)).await;
    until_signs(&alice, &app, &new.key_id).await;
}

#[tokio::test]
async fn a_key_is_taken_over_once_even_if_it_was_revoked_since() {
    let app = TestApp::start().await;
    let admin = admin_of(&app).await;
    let pem = Signer::new().private_pem();
    let imported = admin.import_key(&OPERATOR, pem.as_bytes(), None).await;
    let Ok(Imported::Private(key)) = imported else {
        panic!("{imported:?}");
    };
    admin.revoke_key(&OPERATOR, &key.key_id).await.unwrap();
    let again = admin.import_key(&OPERATOR, pem.as_bytes(), None).await;
    assert!(matches!(again, Err(KeyChangeError::Known)), "{again:?}");
}

#[tokio::test]
async fn the_tokens_of_a_revoked_key_are_refused_on_every_instance() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let revoked = signer(&pair);
    let done = admin_of(&app).await.revoke_key(&OPERATOR, &revoked).await;
    let new = done.unwrap().made.unwrap();
    for instance in [&app, &other] {
        until_published(instance, &[&new]).await;
        session(&alice, instance, &pair.access)
            .await
            .problem(401, "invalid_access_token");
        let there = alice.at(instance);
        there.fails_to_refresh(&pair.refresh).await;
        assert_eq!(signer(&there.signin().await.pair()), new);
    }
}

/// The sessions that the feed tells as ended.
async fn feed(app: &TestApp) -> Vec<String> {
    let request = app.request("GET", "/api/v2/revocations", "203.0.113.1");
    let page = app.send(request.basic_auth("orders", Some("s3cret"))).await;
    let page = page.ok();
    let entries = page["revocations"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["sessionId"].as_str().unwrap().to_owned())
        .collect()
}

fn session_id(pair: &Pair) -> String {
    let claims = Jwt::read(&pair.access).claims;
    claims["sid"].as_str().unwrap().to_owned()
}

/// How many sessions have ended with their key.
async fn ended_with_key(app: &TestApp) -> i64 {
    app.count("SELECT count(*) FROM sessions WHERE end_reason = 'key_revoked'")
        .await
}

#[tokio::test]
async fn the_sessions_of_a_revoked_key_end_and_no_others() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    let (alice, dying) = app.signed_in(ALICE).await;
    let old = signer(&dying);
    let new = rotate(&app, Activation::Now).await;
    until_signs(&alice, &app, &new).await;
    let stays = alice.signin().await.pair();
    let revoked = admin_of(&app)
        .await
        .revoke_key(&OPERATOR, &old)
        .await
        .unwrap();
    assert_eq!(revoked.made, None);
    assert_eq!(
        i64::try_from(revoked.ended_sessions).unwrap(),
        ended_with_key(&app).await
    );
    let told = feed(&app).await;
    assert!(told.contains(&session_id(&dying)));
    assert!(!told.contains(&session_id(&stays)));
    session(&alice, &app, &stays.access).await.ok();
}

#[tokio::test]
async fn sessions_that_a_revocation_left_behind_are_ended_later() {
    let app = TestApp::start().await;
    let (_, pair) = app.signed_in(ALICE).await;
    let admin = admin_of(&app).await;
    admin.revoke_key(&OPERATOR, &signer(&pair)).await.unwrap();
    // As if an instance had refreshed it before it learned of the revocation.
    app.execute("UPDATE sessions SET ended_at = NULL, end_reason = NULL")
        .await;
    let keys = SigningKeys::new(app.store().await, &app.config);
    keys.end_sessions_of_revoked().await.unwrap();
    assert_eq!(ended_with_key(&app).await, 1);
}

#[tokio::test]
async fn when_the_signing_key_is_revoked_its_successor_signs_at_once() {
    let app = TestApp::start().await;
    let (alice, before) = app.signed_in(ALICE).await;
    let pending = rotate(&app, Activation::AfterPublishing).await;
    let admin = admin_of(&app).await;
    let revoked = admin.revoke_key(&OPERATOR, &signer(&before)).await.unwrap();
    assert_eq!(revoked.made, None);
    until_published(&app, &[&pending]).await;
    assert_eq!(signer(&alice.signin().await.pair()), pending);
}

#[tokio::test]
async fn when_a_successor_is_revoked_the_signing_key_stays_without_an_end() {
    let app = TestApp::start().await;
    let (alice, before) = app.signed_in(ALICE).await;
    let active = signer(&before);
    let pending = rotate(&app, Activation::AfterPublishing).await;
    until_published(&app, &[&active, &pending]).await;
    let with_an_end = "SELECT count(*) FROM signing_keys
                         WHERE expires_at IS NOT NULL AND purpose = 'access'";
    assert_eq!(app.count(with_an_end).await, 1);
    let revoked = admin_of(&app)
        .await
        .revoke_key(&OPERATOR, &pending)
        .await
        .unwrap();
    assert_eq!((revoked.made, revoked.ended_sessions), (None, 0));
    assert_eq!(app.count(with_an_end).await, 0);
    until_published(&app, &[&active]).await;
    session(&alice, &app, &before.access).await.ok();
    assert_eq!(signer(&alice.signin().await.pair()), active);
    // And there can be another one.
    rotate(&app, Activation::AfterPublishing).await;
}

#[tokio::test]
async fn neither_an_unknown_key_nor_a_revoked_one_can_be_revoked() {
    let app = TestApp::start().await;
    let admin = admin_of(&app).await;
    let told = async |key_id: &KeyId| {
        let refused = admin.revoke_key(&OPERATOR, key_id).await;
        refused.unwrap_err().to_string()
    };
    assert_eq!(
        told(&KeyId("nobody".to_owned())).await,
        "there is no key with this id; `key list` shows those that there are"
    );
    let revoked = published(&app).await.remove(0);
    admin.revoke_key(&OPERATOR, &revoked).await.unwrap();
    let again = told(&revoked).await;
    let start = "this key was revoked already, on ";
    assert!(again.starts_with(start), "{again}");
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn under_another_master_key_no_key_is_changed_and_the_server_runs_on() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let active = signer(&pair);
    let other = [(
        "secrets.master_key",
        "//////////////////////////////////////////4=",
    )];
    let program = Program::on(app.database_url(), &other);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let pem = Signer::new().private_pem();
    std::fs::write(&file, pem).unwrap();
    for line in [
        "key rotate".to_owned(),
        "key rotate --now".to_owned(),
        "key rotate --purpose refresh".to_owned(),
        format!("key import {}", file.display()),
        format!("key revoke {active}"),
    ] {
        let run = program.run(&line).await;
        assert!(run.refused().contains("master key"), "{line}: {run:?}");
    }
    assert_eq!((count(&app).await, count_refresh_keys(&app).await), (1, 1));
    let listed: Value = program.run("key list --json").await.json();
    assert_eq!(listed[0]["stage"], "active");
    assert_eq!(signer(&alice.refresh(&pair.refresh).await.pair()), active);
}

/// A file with a master key that no server of a test has from the start.
fn new_master_key() -> (NamedTempFile, &'static str) {
    const NEW: &str = "//////////////////////////////////////////4=";
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{NEW}").unwrap();
    (file, NEW)
}

async fn reseal(program: &Program, file: &NamedTempFile) -> Run {
    let path = file.path().display();
    let line = format!("key reseal --new-master-key-file {path} --json");
    program.run(&line).await
}

#[tokio::test]
async fn the_master_key_is_changed_while_the_server_runs_and_nobody_is_signed_out() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in(ALICE).await;
    let program = Program::on(app.database_url(), &[]);
    let (file, new) = new_master_key();
    let run = reseal(&program, &file).await;
    assert_eq!(run.json(), json!({ "resealed": 2 }));
    assert!(
        app.audit().await.concat().contains("keys_resealed"),
        "{:?}",
        app.audit().await
    );

    // A running instance goes on; one that starts needs the new key.
    let second = alice.refresh(&first.refresh).await.pair();
    session(&alice, &app, &second.access).await.ok();
    let with_old = app.try_second_instance(&[]).await.err().unwrap();
    assert!(matches!(with_old, StartError::Keys(_)), "{with_old:?}");
    let with_new = [("secrets.master_key", new)];
    let restarted = app.try_second_instance(&with_new).await.unwrap();
    for instance in [&app, &restarted] {
        session(&alice, instance, &first.access).await.ok();
    }
    let third = alice.at(&restarted).refresh(&second.refresh).await.pair();
    assert_eq!(refresh_signer(&third), refresh_signer(&first));
    session(&alice, &app, &third.access).await.ok();
    alice.refresh(&third.refresh).await.pair();

    let again = reseal(&program, &file).await;
    assert!(
        again
            .refused()
            .contains("sealed under this master key already"),
        "{again:?}"
    );
}

#[tokio::test]
async fn an_instance_with_the_master_key_from_before_makes_no_key() {
    let app = TestApp::with(&[("keys.rotate_days", "0")]).await;
    let (file, _) = new_master_key();
    reseal(&Program::on(app.database_url(), &[]), &file)
        .await
        .ok();
    app.age_keys(secs(30 * DAY)).await;
    let mut config = app.config.clone();
    config.keys.rotate_after = secs(30 * DAY);
    let keys = SigningKeys::new(app.store().await, &config);
    let refused = keys.rotate_if_due().await.unwrap_err();
    assert!(refused.to_string().contains("master key"), "{refused}");
    let admin = Admin::new(app.store().await, &config);
    assert!(
        admin
            .rotate_keys(&OPERATOR, Activation::Now, None)
            .await
            .is_err(),
        "nor does an operator with it"
    );
    assert_eq!((count(&app).await, count_refresh_keys(&app).await), (1, 1));
}

#[tokio::test]
async fn if_one_key_does_not_open_none_gets_another_seal() {
    let app = TestApp::start().await;
    let sealed = async || {
        let sealed = sqlx::query_scalar::<_, Vec<u8>>(
            "SELECT COALESCE(sealed_private_key, sealed_refresh_key) FROM signing_keys ORDER BY key_id",
        );
        sealed.fetch_all(app.sql()).await.unwrap()
    };
    let program = Program::on(app.database_url(), &[]);
    let (file, new) = new_master_key();
    app.execute(
        "UPDATE signing_keys SET sealed_refresh_key = sealed_refresh_key || '\\x00' \
         WHERE purpose = 'refresh'",
    )
    .await;
    // The one that opens comes first.
    app.execute(
        "UPDATE signing_keys SET activates_at = activates_at + INTERVAL '1 second' \
         WHERE purpose = 'refresh'",
    )
    .await;
    let before = sealed().await;
    let run = reseal(&program, &file).await;
    let told = "the master key does not open the signing key";
    assert!(run.refused().contains(told), "{run:?}");
    assert_eq!(sealed().await, before);

    let other = Program::on(app.database_url(), &[("secrets.master_key", new)]);
    let (same, _) = new_master_key();
    assert!(reseal(&other, &same).await.refused().contains(told));
    assert_eq!(sealed().await, before);
    std::fs::write(same.path(), "no key").unwrap();
    let run = reseal(&program, &same).await;
    assert!(run.refused().contains("32 random bytes"), "{run:?}");
}

#[tokio::test]
async fn keys_are_removed_a_week_after_their_end() {
    let app = TestApp::with(&[("keys.rotate_days", "0")]).await;
    let store = app.store().await;
    rotate(&app, Activation::Now).await;
    app.execute("UPDATE signing_keys SET expires_at = now() WHERE expires_at IS NOT NULL")
        .await;
    app.age_keys(secs(7 * DAY - 60)).await;
    assert_eq!(store.purge_signing_keys().await.unwrap(), 0);
    app.age_keys(secs(60)).await;
    assert_eq!(store.purge_signing_keys().await.unwrap(), 2);
    assert_eq!((count(&app).await, count_refresh_keys(&app).await), (1, 1));
}

#[tokio::test]
async fn revoked_keys_are_removed_a_week_after_that_and_those_that_sign_never() {
    let app = TestApp::with(&[("keys.rotate_days", "0")]).await;
    let store = app.store().await;
    let revoked = published(&app).await.remove(0);
    let made = admin_of(&app)
        .await
        .revoke_key(&OPERATOR, &revoked)
        .await
        .unwrap();
    app.age_keys(secs(7 * DAY - 60)).await;
    assert_eq!(store.purge_signing_keys().await.unwrap(), 0);
    app.age_keys(secs(3650 * DAY)).await;
    assert_eq!(store.purge_signing_keys().await.unwrap(), 1);
    until_published(&app, &[&made.made.unwrap()]).await;
}

/// A token like this one, under a key that nobody has, issued so many seconds from now.
fn under_no_key(token: &str, later: i64) -> String {
    let Jwt { header, claims, .. } = Jwt::read(token);
    let issued_at = Clock::system().now().timestamp() + later;
    let header = but(&header, "kid", Some(json!("nobody-has-this-key")));
    let claims = but(&claims, "iat", Some(json!(issued_at)));
    Signer::new().sign(&header, &claims)
}

/// Has an instance read the keys now, as it does when it meets one that it does not know.
async fn reads_keys(person: &Person<'_>, app: &TestApp, like: &str) {
    session(person, app, &under_no_key(like, 60))
        .await
        .problem(401, "invalid_access_token");
}

/// Red where an unknown key is a verdict.
#[tokio::test]
async fn tokens_of_a_new_key_are_good_at_once_at_instances_that_have_not_read_it() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, first) = app.signed_in(ALICE).await;
    // Each round makes four RSA keys.
    for _ in 0..5 {
        let new = rotate(&app, Activation::Now).await;
        reads_keys(&alice, &app, &first.access).await;
        let pair = alice.elsewhere().signin().await.pair();
        assert_eq!(signer(&pair), new);
        session(&alice, &other, &pair.access).await.ok();
        let there = alice.at(&other);
        let next = there.refresh(&pair.refresh).await.pair();
        // And a repeat at an instance that does not know the key of the answer yet.
        let third = rotate(&app, Activation::Now).await;
        reads_keys(&alice, &other, &first.access).await;
        let last = there.refresh(&next.refresh).await.pair();
        assert_eq!(signer(&last), third);
        let repeated = alice.refresh(&next.refresh).await.pair();
        assert_eq!(repeated.body, last.body);
    }
}

/// Red where each request reads for itself: the last ones then wait for longer than they may.
#[tokio::test]
async fn one_reading_of_the_keys_serves_all_who_wait_for_one() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let forged = under_no_key(&pair.access, 60);
    let answers = (0..60).map(|_| session(&alice, &app, &forged));
    for answer in join_all(answers).await {
        answer.problem(401, "invalid_access_token");
    }
}

/// Red where nothing paces the readings, or where older tokens cause them, too.
#[tokio::test]
async fn made_up_tokens_have_the_keys_read_ten_times_a_second_and_old_ones_never() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let began = Instant::now();
    for _ in 0..11 {
        reads_keys(&alice, &app, &pair.access).await;
    }
    assert!(began.elapsed() >= secs(1));
    let old = under_no_key(&pair.access, -60);
    app.execute("ALTER TABLE signing_keys RENAME TO lost").await;
    session(&alice, &app, &old)
        .await
        .problem(401, "invalid_access_token");
    session(&alice, &app, &under_no_key(&pair.access, 60))
        .await
        .problem(500, "internal");
    app.execute("ALTER TABLE lost RENAME TO signing_keys").await;
}

/// Red where the reading's failure is taken for an answer.
#[tokio::test]
async fn a_key_that_may_be_new_is_no_verdict_while_the_keys_cannot_be_read() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let lock = app.hold("LOCK TABLE signing_keys IN ACCESS EXCLUSIVE MODE");
    let lock = lock.await;
    session(&alice, &app, &under_no_key(&pair.access, 60))
        .await
        .problem(503, "unavailable");
    alice
        .refresh(&under_no_key(&pair.refresh, 60))
        .await
        .problem(503, "unavailable");
    // A key older than the last reading was decided on then, and a known one needs no reading.
    session(&alice, &app, &under_no_key(&pair.access, -60))
        .await
        .problem(401, "invalid_access_token");
    session(&alice, &app, &pair.access).await.ok();
    lock.rollback().await.unwrap();
    session(&alice, &app, &under_no_key(&pair.access, 60))
        .await
        .problem(401, "invalid_access_token");
}

/// Red where the statements that open and refresh sessions do not look at the key.
#[tokio::test]
async fn no_instance_answers_with_a_pair_of_a_key_whose_revocation_has_ended() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, first) = app.signed_in(ALICE).await;
    let mut stays = first;
    for _ in 0..5 {
        let dying = rotate(&app, Activation::Now).await;
        for instance in [&app, &other] {
            reads_keys(&alice, instance, &stays.access).await;
        }
        let new = admin_of(&app)
            .await
            .revoke_key(&OPERATOR, &dying)
            .await
            .unwrap();
        let new = new.made.unwrap();
        for instance in [&other, &app] {
            let pair = alice.elsewhere().at(instance).signin().await.pair();
            assert_eq!(signer(&pair), new);
        }
        let refreshed = alice.at(&other).refresh(&stays.refresh).await.pair();
        assert_eq!(signer(&refreshed), new);
        stays = refreshed;
    }
}

/// Red where a revocation ends the sessions at once.
#[tokio::test]
async fn a_revocation_ends_also_what_was_being_opened_when_it_came() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let dying = signer(&pair);
    let admin = admin_of(&app).await;
    // Its successor is there already: to make one may take longer than a sign-in waits for a lock.
    admin
        .rotate_keys(&OPERATOR, Activation::AfterPublishing, None)
        .await
        .unwrap();
    let lock = app.hold("SELECT FROM users FOR UPDATE").await;
    let opening = alice.signin();
    let revoking = async {
        until("the sign-in waits", async || {
            app.waits_for_locks().await == 1
        })
        .await;
        let (revoked, ()) = tokio::join!(admin.revoke_key(&OPERATOR, &dying), async {
            let revoked = "SELECT count(*) FROM signing_keys WHERE revoked_at IS NOT NULL";
            until("it is revoked", async || app.count(revoked).await == 1).await;
            lock.rollback().await.unwrap();
        });
        revoked.unwrap();
    };
    let (opened, ()) = tokio::join!(opening, revoking);
    // 503 if the instance learns of the revocation before it signs.
    assert!([200, 503].contains(&opened.status), "{}", opened.status);
    let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(app.count(live).await, 0);
}

// Keys for refresh tokens

/// Red where a ring gives a key to every caller.
#[tokio::test]
async fn neither_kind_of_token_is_good_under_a_key_of_the_other_kind() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let admin = admin_of(&app).await;
    let [for_access, for_refresh] = [Signer::new(), Signer::new()];
    let pem = for_access.private_pem();
    let imported = admin.import_key(&OPERATOR, pem.as_bytes(), None).await;
    let Ok(Imported::Private(access)) = imported else {
        panic!("{imported:?}");
    };
    let pem = for_refresh.private_pem();
    let refresh = admin
        .import_refresh_key(&OPERATOR, pem.as_bytes(), None)
        .await;
    let under = |token: &str, signer: &Signer, key_id: &KeyId| {
        let Jwt { header, claims, .. } = Jwt::read(token);
        signer.sign(&but(&header, "kid", Some(json!(key_id))), &claims)
    };
    let refresh = refresh.unwrap().key_id;
    let wrong = under(&pair.access, &for_refresh, &refresh);
    session(&alice, &app, &wrong)
        .await
        .problem(401, "invalid_access_token");
    let wrong = under(&pair.refresh, &for_access, &access.key_id);
    alice.elsewhere().fails_to_refresh(&wrong).await;
    let right = under(&pair.access, &for_access, &access.key_id);
    session(&alice, &app, &right).await.ok();
    alice
        .refresh(&under(&pair.refresh, &for_refresh, &refresh))
        .await
        .pair();
}

/// Puts the database into the state in which the release before leaves it, and has an instance of that
/// release at work until what is returned ends.
async fn as_before(app: &TestApp) -> PgConnection {
    let older: PgConnectOptions = app.database_url().parse().unwrap();
    let older = older.application_name("backoffice-auth");
    let mut older = PgConnection::connect_with(&older).await.unwrap();
    sqlx::raw_sql("BEGIN").execute(&mut older).await.unwrap();
    app.execute("DELETE FROM signing_keys WHERE purpose = 'refresh'")
        .await;
    app.execute("UPDATE signing_keys SET refresh_expires_at = NULL")
        .await;
    app.execute("UPDATE sessions SET refresh_key_id = NULL")
        .await;
    older
}

/// Red where a key for refresh tokens is made beside instances of the release before, and where refresh
/// tokens from before are no longer taken, or for ever.
#[tokio::test]
async fn refresh_tokens_from_before_are_good_until_they_expire() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    let older = as_before(&app).await;
    until("one key signs both", async || {
        let pair = alice.elsewhere().signin().await.pair();
        refresh_signer(&pair) == signer(&pair)
    })
    .await;
    let old = alice.signin().await.pair();
    let late = alice.elsewhere().signin().await.pair();
    let other = app.second_instance().await;
    let there = alice.at(&other);
    let next = there.refresh(&old.refresh).await.pair();
    assert_eq!(refresh_signer(&next), signer(&next));
    assert_eq!(alice.refresh(&old.refresh).await.pair().body, next.body);
    assert_eq!(count_refresh_keys(&app).await, 0);

    older.close().await.unwrap();
    until("there is a key for refresh tokens", async || {
        count_refresh_keys(&app).await == 1
    })
    .await;
    for instance in [&app, &other] {
        until("it signs", async || {
            let pair = alice.elsewhere().at(instance).signin().await.pair();
            refresh_signer(&pair) != signer(&pair)
        })
        .await;
    }
    let last = there.refresh(&next.refresh).await.pair();
    assert_ne!(refresh_signer(&last), signer(&last));
    assert_eq!(alice.refresh(&next.refresh).await.pair().body, last.body);

    let end = "SELECT count(*) FROM signing_keys
                WHERE purpose = 'access'
                  AND refresh_expires_at BETWEEN now() + INTERVAL '23 hours' AND now() + INTERVAL '1 day'";
    assert_eq!(app.count(end).await, 1);
    app.execute("UPDATE signing_keys SET refresh_expires_at = now()")
        .await;
    until("they are over", async || {
        alice.elsewhere().refresh(&late.refresh).await.status == 401
    })
    .await;
    session(&alice, &app, &late.access).await.ok();
}

#[tokio::test]
async fn a_key_for_refresh_tokens_is_followed_at_once_and_what_it_signed_stays_good() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, before) = app.signed_in(ALICE).await;
    let admin = admin_of(&app).await;
    let purpose = Some(KeyPurpose::Refresh);
    let rotated = admin.rotate_keys(&OPERATOR, Activation::AfterPublishing, purpose);
    let rotated = rotated.await.unwrap();
    assert!(rotated.access.is_none());
    let new = rotated.refresh.unwrap();
    assert!(new.is_active);
    reads_keys(&alice, &other, &before.access).await;
    let after = alice.at(&other).refresh(&before.refresh).await.pair();
    assert_eq!(refresh_signer(&after), new.key_id);
    assert_eq!(signer(&after), signer(&before));
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn the_sessions_of_a_revoked_key_for_refresh_tokens_end_with_it() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let admin = admin_of(&app).await;
    let revoked = admin
        .revoke_key(&OPERATOR, &refresh_signer(&pair))
        .await
        .unwrap();
    assert_eq!(revoked.ended_sessions, 1);
    alice.at(&other).fails_to_refresh(&pair.refresh).await;
    for instance in [&other, &app] {
        let next = alice.at(instance).signin().await.pair();
        assert_eq!(Some(refresh_signer(&next)), revoked.made);
        assert_eq!(signer(&next), signer(&pair), "that one stays");
    }
}

#[tokio::test]
async fn the_keys_that_services_may_read_have_none_for_refresh_tokens() {
    let app = TestApp::start().await;
    let (_, pair) = app.signed_in(ALICE).await;
    let pending = rotate(&app, Activation::AfterPublishing).await;
    until_published(&app, &[&signer(&pair), &pending]).await;
    let all = app.get("/.well-known/jwks.pem").await;
    assert_eq!(all.header("content-type"), Some("application/x-pem-file"));
    let caching = ["cache-control", "etag"].map(|name| all.header(name).unwrap().to_owned());
    let one = |key_id: &KeyId| format!("/.well-known/jwks/{key_id}.pem");
    let [active, next] = [&signer(&pair), &pending].map(&one);
    let (active, next) = (app.get(&active).await, app.get(&next).await);
    assert_eq!(all.body, [&active.body[..], &next.body[..]].concat());
    assert_eq!(active.header("cache-control"), Some(&*caching[0]));
    let key = pem::parse(&active.body).unwrap();
    aws_lc_rs::rsa::PublicKey::from_der(key.contents()).unwrap();
    app.get(&one(&refresh_signer(&pair)))
        .await
        .problem(404, "not_found");
    app.get("/.well-known/jwks/nobody")
        .await
        .problem(404, "not_found");
    let request = app.request("GET", "/.well-known/jwks.pem", "203.0.113.1");
    let again = app.send(request.header("if-none-match", &caching[1])).await;
    assert_eq!((again.status, again.body.len()), (304, 0));

    let program = Program::on(app.database_url(), &[]);
    let listed = program.run("key list --pem").await;
    let listed = listed.ok();
    let blocks = listed.matches("-----BEGIN PUBLIC KEY-----").count();
    assert_eq!(blocks, 2);
    assert!(listed.starts_with(&format!("{} (active)\n", signer(&pair))));
    assert!(!listed.contains(&*refresh_signer(&pair).0));
    let listed = program.run("key list --json").await.json();
    let purposes: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["purpose"].as_str().unwrap())
        .collect();
    assert_eq!(
        purposes
            .iter()
            .filter(|purpose| **purpose == "refresh")
            .count(),
        2
    );
}

#[tokio::test]
async fn operators_rotate_and_import_keys_for_refresh_tokens_by_their_purpose() {
    let app = TestApp::start().await;
    let program = Program::on(app.database_url(), &[]);
    let both = program.run("key rotate --json").await.json();
    assert!(both["kid"].is_string() && both["refreshKid"].is_string());
    assert_ne!(both["kid"], both["refreshKid"]);
    let one = program.run("key rotate --purpose refresh --json").await;
    let one = one.json();
    assert_eq!(one["kid"], one["refreshKid"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let import = format!("key import {} --purpose refresh", file.display());
    std::fs::write(&file, Signer::new().public_pem()).unwrap();
    let refused = program.run(&import).await;
    assert!(refused.refused().contains("has to sign"), "{refused:?}");
    std::fs::write(&file, Signer::new().private_pem()).unwrap();
    let told = program.run(&import).await;
    let told = told.ok();
    assert!(
        told.ends_with(": signs refresh tokens from now on.\n"),
        "{told}"
    );
    assert_eq!((count(&app).await, count_refresh_keys(&app).await), (2, 4));
}
