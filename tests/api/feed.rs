//! The feed of ended sessions: nobody who follows it misses an end, and it can be waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Answer, Pair, Person, TestApp, until};

/// SHA-256 of `s3cret`.
const CLIENT: (&str, &str) = (
    "introspection.clients",
    "orders:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0",
);

fn request(app: &TestApp, query: &str) -> reqwest::RequestBuilder {
    let path = format!("/api/v2/revocations{query}");
    app.request("GET", &path, "203.0.113.1")
        .basic_auth("orders", Some("s3cret"))
}

async fn ask(app: &TestApp, query: &str) -> Answer {
    app.send(request(app, query)).await
}

fn ids(page: &Value) -> BTreeSet<String> {
    let entries = page["revocations"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["sessionId"].as_str().unwrap().to_owned())
        .collect()
}

fn cursor(page: &Value) -> String {
    page["cursor"].as_str().unwrap().to_owned()
}

/// Somebody who follows the feed, and asks now this instance and now that.
#[derive(Default)]
struct Follower {
    cursor: Option<String>,
    known: BTreeSet<String>,
}

impl Follower {
    /// Asks until an answer brings nothing new, and tells how many entries came.
    async fn catch_up(&mut self, app: &TestApp) -> usize {
        let mut entries = 0;
        loop {
            let query = self.cursor.as_ref().map(|since| format!("?since={since}"));
            let page = ask(app, &query.unwrap_or_default()).await.ok();
            let told = ids(&page);
            self.cursor = Some(cursor(&page));
            entries += told.len();
            let is_news = !told.is_subset(&self.known);
            self.known.extend(told);
            if !is_news {
                return entries;
            }
        }
    }
}

/// An instance that starts has much to read.
async fn until_it_tells(app: &TestApp) {
    until("it has read all ends", async || {
        ask(app, "").await.status == 200
    })
    .await;
}

async fn check(person: &Person<'_>, app: &TestApp, token: &str) -> u16 {
    let request = app.request("GET", "/auth/verify", &person.network);
    app.send(request.bearer_auth(token)).await.status
}

async fn session_id(person: &Person<'_>, pair: &Pair) -> String {
    let request = person.app.request("GET", "/api/v2/session", "203.0.113.1");
    let answer = person.app.send(request.bearer_auth(&pair.access)).await;
    answer.ok()["session"]["id"].as_str().unwrap().to_owned()
}

/// Live sessions of a user that nobody knows.
const OPEN_MANY: &str = "
    INSERT INTO sessions (session_id, user_id, key_id, amr, created_at, rotated_at,
                          access_expires_at, idle_expires_at, expires_at, access_horizon_at,
                          client_network)
    SELECT gen_random_uuid(), 0, '', '{pwd}', now(), now(), now() + INTERVAL '15 minutes',
           now() + INTERVAL '1 day', now() + INTERVAL '1 day', now() + INTERVAL '15 minutes',
           '203.0.113.1/32'
      FROM generate_series(1, 12000)";

const END_MANY: &str = "
    UPDATE sessions SET ended_at = now(), end_reason = 'signed_out'
     WHERE user_id = 0 AND ended_at IS NULL";

/// Red where a cursor says nothing of the transactions that were under way.
#[tokio::test]
async fn an_end_whose_commit_comes_late_reaches_readers_who_had_read_past_it() {
    let app = TestApp::with(&[CLIENT]).await;
    let other = app.second_instance().await;
    let (alice, hers) = app.signed_in("alice@example.com").await;
    let (bob, his) = app.signed_in("bob@example.com").await;
    let (carol, also) = app.signed_in("carol@example.com").await;
    let late = session_id(&alice, &hers).await;
    let mut followers = [Follower::default(), Follower::default()];
    for follower in &mut followers {
        follower.catch_up(&app).await;
    }

    let held = app
        .hold(
            "UPDATE sessions SET ended_at = clock_timestamp(), end_reason = 'signed_out'
              WHERE user_id = (SELECT user_id FROM users WHERE email = 'alice@example.com')",
        )
        .await;
    bob.signout(&his.access).await.ok_and_empty();
    followers[0].catch_up(&app).await;
    carol.at(&other).signout(&also.access).await.ok_and_empty();
    for (follower, instance) in followers.iter_mut().zip([&app, &other]) {
        follower.catch_up(instance).await;
        assert_eq!(follower.known.len(), 2);
        // Nothing is told twice because of transactions under way.
        let page = format!("?since={}", follower.cursor.clone().unwrap());
        assert_eq!(ids(&ask(&app, &page).await.ok()).len(), 0);
    }
    held.commit().await.unwrap();
    // Each goes on at the instance that it did not ask before.
    for (follower, instance) in followers.iter_mut().zip([&other, &app]) {
        assert_eq!(follower.catch_up(instance).await, 1);
        assert!(follower.known.contains(&late));
        assert_eq!(follower.catch_up(instance).await, 0);
    }
    for instance in [&app, &other] {
        until("it refuses", async || {
            check(&alice, instance, &hers.access).await == 401
        })
        .await;
    }
}

/// Red where a cursor names a transaction and not what it has ended so far.
#[tokio::test]
async fn more_ends_of_one_transaction_than_a_page_holds_are_all_told() {
    let app = TestApp::with(&[CLIENT]).await;
    let mut follower = Follower::default();
    follower.catch_up(&app).await;
    app.execute(OPEN_MANY).await;
    assert_eq!(app.execute(END_MANY).await, 12_000);
    assert_eq!(follower.catch_up(&app).await, 12_000);
    assert_eq!(follower.known.len(), 12_000);
    let other = app.second_instance().await;
    until_it_tells(&other).await;
    let mut newcomer = Follower::default();
    newcomer.catch_up(&other).await;
    assert_eq!(newcomer.known.len(), 12_000);
    assert_eq!(follower.catch_up(&other).await, 0);
}

/// Red where an end is looked for among those that can have tokens left, or a step of a reading is its end.
#[tokio::test]
async fn ends_without_tokens_hide_none_that_has_some() {
    let app = TestApp::with(&[CLIENT]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let ended = session_id(&alice, &pair).await;
    let mut follower = Follower::default();
    follower.catch_up(&app).await;
    let mut gap = app.hold(OPEN_MANY).await;
    for statement in [
        "UPDATE sessions SET access_horizon_at = now() WHERE user_id = 0",
        END_MANY,
    ] {
        sqlx::query(statement).execute(&mut *gap).await.unwrap();
    }
    alice.signout(&pair.access).await.ok_and_empty();
    gap.commit().await.unwrap();
    follower.catch_up(&app).await;
    assert_eq!(follower.known, [ended.clone()].into());
    let other = app.second_instance().await;
    until_it_tells(&other).await;
    let mut newcomer = Follower::default();
    newcomer.catch_up(&other).await;
    assert_eq!(newcomer.known, [ended].into());
}

#[tokio::test]
async fn a_cursor_that_means_nothing_here_begins_again() {
    let app = TestApp::with(&[CLIENT]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let ended = session_id(&alice, &pair).await;
    alice.signout(&pair.access).await.ok_and_empty();
    let page = ask(&app, "").await.ok();
    let good = cursor(&page);
    assert_eq!(ids(&page), [ended.clone()].into());
    let page = ask(&app, &format!("?since={good}")).await.ok();
    assert!(ids(&page).is_empty());

    let (epoch, rest) = good.split_once('-').unwrap();
    let (_, session) = rest.split_once('-').unwrap();
    for (what, odd) in [
        ("of the release before", "1640995200000000".to_owned()),
        ("of another cluster", format!("0123456789abcdef-{rest}")),
        ("of the future", format!("{epoch}-ffffffffff-{session}")),
    ] {
        let page = ask(&app, &format!("?since={odd}")).await.ok();
        assert_eq!(ids(&page), [ended.clone()].into(), "{what}");
        let next = ask(&app, &format!("?since={}", cursor(&page))).await.ok();
        assert!(ids(&next).is_empty(), "{what}");
        // Nobody waits before all was told.
        let page = ask(&app, &format!("?since={odd}&wait=30")).await.ok();
        assert_eq!(ids(&page), [ended.clone()].into(), "{what}");
    }
}

/// Red where what a dump brought counts as an end by one of this cluster's transactions.
#[tokio::test]
async fn ends_from_a_restored_dump_are_told_and_hide_none() {
    let app = TestApp::with(&[CLIENT]).await;
    let (alice, hers) = app.signed_in("alice@example.com").await;
    let (bob, his) = app.signed_in("bob@example.com").await;
    let (restored, later) = (
        session_id(&alice, &hers).await,
        session_id(&bob, &his).await,
    );
    alice.signout(&hers.access).await.ok_and_empty();
    for xid in ["1000000000000", "NULL"] {
        let statement = format!("UPDATE sessions SET ended_xid = {xid} WHERE ended_at IS NOT NULL");
        let statement = sqlx::AssertSqlSafe(statement);
        let done = sqlx::query(statement).execute(app.sql()).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
        let other = app.second_instance().await;
        assert_eq!(check(&alice, &other, &hers.access).await, 401);
        let mut follower = Follower::default();
        assert_eq!(follower.catch_up(&other).await, 1);
        assert_eq!(follower.catch_up(&other).await, 0);
        assert_eq!(follower.known, [restored.clone()].into());
        if xid == "NULL" {
            bob.signout(&his.access).await.ok_and_empty();
            assert_eq!(follower.catch_up(&other).await, 1);
            assert!(follower.known.contains(&later));
        }
        other.stop().await;
    }
}

/// Somebody waits for news. Other tests wait too: it is only the earliest time to go on.
async fn until_somebody_waits(app: &TestApp) {
    until("somebody waits", async || {
        let metrics = app.metrics().await;
        let mut lines = metrics.lines();
        let waiting = lines.find_map(|line| line.strip_prefix("backoffice_auth_feed_waiting "));
        waiting.is_some_and(|count| count != "0")
    })
    .await;
}

/// Red where the results of a reading are passed on to nobody.
#[tokio::test]
async fn a_waiting_service_learns_of_an_end_on_any_instance() {
    let app = TestApp::with(&[CLIENT]).await;
    let other = app.second_instance().await;
    let mut since = cursor(&ask(&app, "").await.ok());
    for (email, ends_at) in [("alice@example.com", &app), ("bob@example.com", &other)] {
        let (person, pair) = app.signed_in(email).await;
        let id = session_id(&person, &pair).await;
        let query = format!("?since={since}&wait=30");
        let (answer, ()) = tokio::join!(ask(&app, &query), async {
            until_somebody_waits(&app).await;
            let signed_out = person.at(ends_at).signout(&pair.access).await;
            signed_out.ok_and_empty();
        });
        let page = answer.ok();
        assert_eq!(ids(&page), [id].into(), "{email}");
        since = cursor(&page);
    }
}

#[tokio::test]
async fn a_wait_in_which_nothing_ends_is_answered_when_its_time_is_over() {
    let app = TestApp::with(&[CLIENT]).await;
    let since = cursor(&ask(&app, "").await.ok());
    let asked = tokio::time::Instant::now();
    let page = ask(&app, &format!("?since={since}&wait=1")).await.ok();
    assert!(asked.elapsed() >= Duration::from_secs(1));
    assert!(ids(&page).is_empty());
    assert_eq!(cursor(&page), since);
}

/// Red where a waiting service is not told that the server ends.
#[tokio::test]
async fn a_waiting_service_is_answered_when_the_server_ends() {
    let app = TestApp::with(&[CLIENT]).await;
    let since = cursor(&ask(&app, "").await.ok());
    let waiting = request(&app, &format!("?since={since}&wait=30")).send();
    let waiting = tokio::spawn(waiting);
    until_somebody_waits(&app).await;
    app.stop().await;
    let answer = Answer::of(waiting.await.unwrap().unwrap()).await;
    assert_eq!(cursor(&answer.ok()), since);
}

#[tokio::test]
async fn no_more_wait_than_may_and_the_others_can_ask() {
    let app = TestApp::with(&[CLIENT, ("introspection.max_waiting", "0")]).await;
    let since = cursor(&ask(&app, "").await.ok());
    let refused = ask(&app, &format!("?since={since}&wait=1")).await;
    let problem = refused.problem(503, "overloaded");
    assert_eq!(problem["retryAfter"], 1);
    for query in [format!("?since={since}"), format!("?since={since}&wait=0")] {
        assert!(ids(&ask(&app, &query).await.ok()).is_empty());
    }
}

#[tokio::test]
async fn a_wait_out_of_bounds_is_refused() {
    let app = TestApp::with(&[CLIENT]).await;
    for wait in ["31", "-1", "1.5", "x", ""] {
        let answer = ask(&app, &format!("?wait={wait}")).await;
        let body = answer.problem(422, "invalid_request");
        assert_eq!(body["errors"][0]["field"], "wait", "{wait}");
    }
    let body = ask(&app, "?since=x&wait=x").await;
    let body = body.problem(422, "invalid_request");
    assert_eq!(body["errors"].as_array().unwrap().len(), 2);
}
