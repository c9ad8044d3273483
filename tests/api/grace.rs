//! The grace of a refresh token, and the outages that use none of it up.

use backoffice_auth::store::Store;
use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{Answer, Pair, Stallable, TestApp, secs, soon, until};

/// Puts an outage on record that began and ended so many seconds ago.
async fn outage(app: &TestApp, began: i32, ended: i32) {
    let insert = "INSERT INTO outages (began_at, ended_at)
                  VALUES (now() - make_interval(secs => $1), now() - make_interval(secs => $2))";
    let inserted = sqlx::query(insert).bind(began).bind(ended);
    inserted.execute(app.sql()).await.unwrap();
}

async fn count_reuse(app: &TestApp) -> i64 {
    app.count("SELECT count(*) FROM sessions WHERE end_reason = 'reuse'")
        .await
}

fn assert_one_pair(answers: &[Answer]) -> Pair {
    for answer in answers {
        assert_eq!(answer.pair().body, answers[0].pair().body);
    }
    answers[0].pair()
}

/// Red where outages are not asked for.
#[tokio::test]
async fn an_outage_uses_none_of_the_grace_up() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    app.age_sessions(secs(63)).await;
    outage(&app, 62, 19).await;
    let answers = [
        alice.refresh(&first.refresh).await,
        alice.at(&other).refresh(&first.refresh).await,
    ];
    let second = assert_one_pair(&answers);
    // The rest of it runs as ever.
    app.age_sessions(secs(20)).await;
    alice.fails_to_refresh(&first.refresh).await;
    alice.fails_to_refresh(&second.refresh).await;
    assert_eq!(count_reuse(&app).await, 1);
}

/// Red where the lengths of outages are added up.
#[tokio::test]
async fn two_outages_at_once_are_no_longer_than_one() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    app.age_sessions(secs(63)).await;
    outage(&app, 62, 42).await;
    outage(&app, 60, 41).await;
    alice.fails_to_refresh(&first.refresh).await;
    assert_eq!(count_reuse(&app).await, 1);
}

/// Red where the time before the rotation counts.
#[tokio::test]
async fn an_outage_before_the_rotation_lengthens_nothing() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    app.age_sessions(secs(40)).await;
    outage(&app, 600, 39).await;
    alice.fails_to_refresh(&first.refresh).await;
    assert_eq!(count_reuse(&app).await, 1);
}

/// Red where a heartbeat does not look at the one before: later requests are reuse.
#[tokio::test]
async fn a_time_in_which_no_instance_beat_is_an_outage() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    until("there is a beat", async || {
        app.count("SELECT count(beat_at) FROM heartbeat").await == 1
    })
    .await;
    let mut meanwhile = app
        .hold("UPDATE heartbeat SET beat_at = beat_at - INTERVAL '60 s'")
        .await;
    let aged = sqlx::query("UPDATE sessions SET rotated_at = rotated_at - INTERVAL '60 s'");
    aged.execute(&mut *meanwhile).await.unwrap();
    meanwhile.commit().await.unwrap();
    alice.refresh(&first.refresh).await.pair();
    until("the outage is on record", async || {
        let long = "SELECT count(*) FROM outages WHERE ended_at - began_at > INTERVAL '60 s'";
        app.count(long).await == 1
    })
    .await;
    alice.refresh(&first.refresh).await.pair();
}

/// Red where the beat before is read from the snapshot and not from the locked row: nobody finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_hearts_that_beat_at_once_after_an_outage_one_writes_it_down() {
    let app = TestApp::start().await;
    let mut stores = Vec::new();
    for _ in 0..8 {
        let store = app.store().await;
        store.beat().await.unwrap();
        stores.push(store);
    }
    let silence = app
        .hold("UPDATE heartbeat SET beat_at = now() - INTERVAL '60 s'")
        .await;
    until("a beat is due", async || {
        let due = "SELECT count(*) FROM heartbeat
                    WHERE beat_at < clock_timestamp() - INTERVAL '1 s'";
        app.count(due).await == 1
    })
    .await;
    let beats = join_all(stores.iter().map(Store::beat));
    let release = async {
        until("all wait for the row", async || {
            app.waits_for_locks().await >= 8
        })
        .await;
        silence.commit().await.unwrap();
    };
    let (beats, ()) = tokio::join!(beats, release);
    beats.into_iter().for_each(Result::unwrap);
    let found = "SELECT count(*) FROM outages WHERE ended_at - began_at > INTERVAL '59 s'";
    assert_eq!(app.count(found).await, 1);
}

/// One instance cannot ask the database, while another one goes on. Red where nothing of it is kept in
/// mind; and on the other instance, where it is not written down.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_503_uses_none_of_the_grace_up() {
    let app = TestApp::with(&[("tokens.refresh_grace_seconds", "4")]).await;
    let other = app.second_instance().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.at(&other).refresh(&first.refresh).await.pair();
    let lock = app.hold("LOCK TABLE sessions").await;
    // The database's clock decides when it would be over.
    let begun = app.count("SELECT EXTRACT(EPOCH FROM now())::BIGINT").await;
    while app.count("SELECT EXTRACT(EPOCH FROM now())::BIGINT").await <= begun + 5 {
        let answer = alice.refresh(&first.refresh).await;
        answer.problem(503, "unavailable");
    }
    lock.commit().await.unwrap();
    let here = alice.refresh(&first.refresh).await;
    until("it is written down", async || {
        app.count("SELECT count(grace_from) FROM sessions").await == 1
    })
    .await;
    let there = alice.at(&other).refresh(&first.refresh).await;
    assert_one_pair(&[here, there]);
    // The next generation has its own.
    app.age_sessions(secs(100)).await;
    alice.fails_to_refresh(&first.refresh).await;
}

/// Red where every token that was answered 503 is within its grace.
#[tokio::test]
async fn an_answer_that_was_503_saves_no_token_whose_grace_was_over() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    app.age_sessions(secs(40)).await;
    let lock = app.hold("LOCK TABLE sessions").await;
    alice
        .refresh(&first.refresh)
        .await
        .problem(503, "unavailable");
    lock.commit().await.unwrap();
    alice.fails_to_refresh(&first.refresh).await;
    assert_eq!(count_reuse(&app).await, 1);
}

/// Why an instance is not ready, or `ready`.
async fn readiness(app: &TestApp) -> String {
    let url = format!("http://{}/health/ready", app.management_addr());
    let answer = soon("a probe's answer", reqwest::get(url)).await.unwrap();
    let body: Value = answer.json().await.unwrap();
    body["status"].as_str().unwrap().to_owned()
}

/// Waits until an instance's readiness is this.
async fn until_readiness(app: &TestApp, status: &str) {
    let what = format!("readiness to be {status}");
    until(&what, async || readiness(app).await == status).await;
}

/// Waits until the database's clock has gone on by more than this.
async fn until_later(app: &TestApp, seconds: i64) {
    let now = "SELECT EXTRACT(EPOCH FROM now())::BIGINT";
    let begun = app.count(now).await;
    until("time to pass", async || {
        app.count(now).await > begun + seconds
    })
    .await;
}

/// A standby that is waited for is not there: reads are answered, commits are not. Red where the grace
/// counts from the rotation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_longer_than_the_grace_sign_nobody_out() {
    let postgres = Stallable::start().await;
    let settings = [("tokens.refresh_grace_seconds", "2")];
    let app = TestApp::on(&postgres.url, None, &settings).await;
    let other = app.second_instance().await;
    let (alice, hers) = app.signed_in("alice@example.com").await;
    let (bob, his) = app.signed_in("bob@example.com").await;
    until_readiness(&app, "ready").await;
    until_readiness(&other, "ready").await;

    postgres.stalls().await;
    let bob_there = bob.at(&other);
    let answers = tokio::join!(
        alice.refresh(&hers.refresh),
        bob_there.refresh(&his.refresh)
    );
    answers.0.problem(503, "unavailable");
    answers.1.problem(503, "unavailable");
    until_readiness(&app, "commits_stalled").await;
    // One instance goes, and another one comes, which has not seen how it began.
    other.stop().await;
    let third = app.second_instance().await;
    // The grace would be over.
    until_later(&app, 4).await;
    bob.at(&third)
        .refresh(&his.refresh)
        .await
        .problem(503, "unavailable");
    postgres.flows().await;

    until("commits are answered", async || {
        app.count("SELECT count(*) FROM sessions WHERE generation = 2")
            .await
            == 2
    })
    .await;
    let (alice_there, bob_there) = (alice.at(&third), bob.at(&third));
    let answers = tokio::join!(
        alice_there.refresh(&hers.refresh),
        alice.refresh(&hers.refresh),
        bob_there.refresh(&his.refresh),
        bob.refresh(&his.refresh),
    );
    let second = assert_one_pair(&[answers.0, answers.1]);
    assert_one_pair(&[answers.2, answers.3]);
    alice.refresh(&second.refresh).await.pair();
    assert_eq!(count_reuse(&app).await, 0);
    until_readiness(&app, "ready").await;
    // And afterwards an old token is an old token.
    app.age_sessions(secs(100)).await;
    bob.fails_to_refresh(&his.refresh).await;
    third.stop().await;
    app.stop().await;
    postgres.stop();
}
