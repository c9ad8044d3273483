//! `POST /api/v2/refresh`.

use std::collections::HashSet;

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::support::{Answer, Jwt, OPERATOR, Person, TestApp, assert_keys, secs};

/// Refreshes until a session is in its grace no more, and its first token thus an old one.
async fn outlive_grace(app: &TestApp) {
    app.age_sessions(secs(30)).await;
}

#[tokio::test]
async fn a_refresh_token_is_traded_for_the_next_pair() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let answer = alice.refresh(&first.refresh).await;
    assert_keys(&answer.ok(), &["accessToken", "refreshToken"]);
    let second = answer.pair();
    assert_ne!(first.access, second.access);
    assert_ne!(first.refresh, second.refresh);
    let third = alice.refresh(&second.refresh).await.pair();
    alice.signout(&third.access).await.ok_and_empty();
}

#[tokio::test]
async fn an_access_token_stays_good_after_a_refresh() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    alice.signout(&first.access).await.ok_and_empty();
}

#[tokio::test]
async fn a_refresh_outlives_the_access_token() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    app.clock().advance(secs(901));
    let request = app.request("GET", "/api/v2/session", &alice.network);
    app.send(request.bearer_auth(&first.access))
        .await
        .problem(401, "invalid_access_token");
    alice.refresh(&first.refresh).await.pair();
}

#[tokio::test]
async fn within_the_grace_the_token_before_gets_the_current_pair_byte_for_byte() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let second = alice.refresh(&first.refresh).await.pair();
    for instance in [&app, &other, &app] {
        let repeated = alice.at(instance).refresh(&first.refresh).await.pair();
        assert_eq!(repeated.body, second.body);
    }
    // Nor did the repeats move the session on.
    alice.refresh(&second.refresh).await.pair();
}

#[tokio::test]
async fn the_grace_is_counted_from_the_rotation_and_repeats_do_not_stretch_it() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    for _ in 0..2 {
        app.age_sessions(secs(14)).await;
        alice.refresh(&first.refresh).await.pair();
    }
    app.age_sessions(secs(2)).await;
    alice.fails_to_refresh(&first.refresh).await;
}

#[tokio::test]
async fn the_grace_can_be_set_to_nothing() {
    let app = TestApp::with(&[("tokens.refresh_grace_seconds", "0")]).await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    alice.refresh(&first.refresh).await.pair();
    alice.fails_to_refresh(&first.refresh).await;
}

#[tokio::test]
async fn a_token_used_again_after_the_grace_ends_the_session() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let second = alice.refresh(&first.refresh).await.pair();
    outlive_grace(&app).await;

    let refused = alice.refresh(&first.refresh).await;
    assert_json_snapshot!(refused.problem(401, "invalid_refresh_token"), @r#"
    {
      "code": "invalid_refresh_token",
      "detail": "The refresh token is not valid. Sign in again.",
      "requestId": "(id)",
      "status": 401,
      "title": "Unauthorized",
      "type": "about:blank"
    }
    "#);
    alice.fails_to_refresh(&second.refresh).await;
    for access in [&first.access, &second.access] {
        alice.fails_to_signout(access).await;
    }
    assert!(app.recorded("refresh refused reuse").await > 0);
    let ended = "SELECT count(*) FROM sessions WHERE end_reason = 'reuse' AND ended_at IS NOT NULL";
    assert_eq!(app.count(ended).await, 1);
}

#[tokio::test]
async fn a_token_two_generations_old_ends_the_session_even_within_the_grace() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let second = alice.refresh(&first.refresh).await.pair();
    let third = alice.refresh(&second.refresh).await.pair();
    alice.fails_to_refresh(&first.refresh).await;
    alice.fails_to_refresh(&third.refresh).await;
}

/// Red where the limit is asked first: the owner's token is 429 for ever, and the thief's lives on.
#[tokio::test]
async fn a_thief_who_uses_the_limit_up_is_found_out_all_the_same() {
    for is_blocked in [false, true] {
        let app = TestApp::start().await;
        let (owner, stolen) = app.signed_in("alice@example.com").await;
        let thief = owner.elsewhere();
        let mut pair = thief.refresh(&stolen.refresh).await.pair();
        for _ in 0..4 {
            pair = thief.refresh(&pair.refresh).await.pair();
        }
        if is_blocked {
            assert_eq!(thief.refresh(&pair.refresh).await.limited(), 300);
        }
        owner.fails_to_refresh(&stolen.refresh).await;
        thief.fails_to_signout(&pair.access).await;
        let ended = "SELECT count(*) FROM sessions WHERE end_reason = 'reuse'";
        assert_eq!(app.count(ended).await, 1);
        assert!(app.recorded("refresh refused reuse").await > 0);
        // The block lasts as long as it said it would, for a session that is over too.
        thief.refresh(&pair.refresh).await.limited();
    }
}

/// Red where a block refuses every old token.
#[tokio::test]
async fn during_a_block_the_current_token_and_the_one_before_are_refused_and_end_nothing() {
    let app = TestApp::with(&[("limits.refresh.attempts", "1")]).await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let second = alice.refresh(&first.refresh).await.pair();
    assert_eq!(alice.refresh(&second.refresh).await.limited(), 300);
    alice.refresh(&first.refresh).await.limited();
    alice.refresh(&second.refresh).await.limited();
    let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(app.count(live).await, 1);
}

/// Red without the look at the session in `refuse_expired`: the thief's session lives on.
#[tokio::test]
async fn an_old_token_that_has_expired_gives_the_theft_away_too() {
    let app = TestApp::with(&[("tokens.refresh_idle_ttl_seconds", "1000")]).await;
    let (owner, stolen) = app.signed_in("alice@example.com").await;
    app.age_sessions(secs(900)).await;
    let pair = owner.elsewhere().refresh(&stolen.refresh).await.pair();
    app.age_sessions(secs(101)).await;
    app.clock().advance(secs(1001));
    owner.fails_to_refresh(&stolen.refresh).await;
    let ended = "SELECT count(*) FROM sessions WHERE end_reason = 'reuse'";
    assert_eq!(app.count(ended).await, 1);
    owner.fails_to_refresh(&pair.refresh).await;
}

/// Red where any expired token ends its session: the answer to the last refresh was lost.
#[tokio::test]
async fn a_token_that_expired_within_its_grace_ends_nothing() {
    let app = TestApp::with(&[("tokens.refresh_idle_ttl_seconds", "1000")]).await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let second = alice.refresh(&first.refresh).await.pair();
    app.clock().advance(secs(1001));
    alice.fails_to_refresh(&first.refresh).await;
    alice.fails_to_refresh(&second.refresh).await;
    let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(app.count(live).await, 1);
}

#[tokio::test]
async fn reuse_ends_no_session_but_its_own() {
    let app = TestApp::start().await;
    let (alice, stolen) = app.signed_in("alice@example.com").await;
    let untouched = alice.signin().await.pair();
    alice.refresh(&stolen.refresh).await.pair();
    outlive_grace(&app).await;
    alice.fails_to_refresh(&stolen.refresh).await;
    alice.refresh(&untouched.refresh).await.pair();
}

#[tokio::test]
async fn anything_but_a_live_refresh_token_gets_the_same_answer_byte_for_byte() {
    let app = TestApp::with(&[("limits.refresh.attempts", "1000")]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let (bob, ended) = app.signed_in("bob@example.com").await;
    bob.signout(&ended.access).await.ok_and_empty();
    let (carol, disabled) = app.signed_in("carol@example.com").await;
    let admin = app.admin().await;
    admin
        .disable_user(&*OPERATOR, &carol.email.parse().unwrap())
        .await
        .unwrap();
    let (dave, deleted) = app.signed_in("dave@example.com").await;
    admin
        .delete_user(&*OPERATOR, &dave.email.parse().unwrap())
        .await
        .unwrap();

    let (head, signature) = pair.refresh.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let mut answers = Vec::new();
    for token in [
        "",
        "x",
        "a.b.c",
        &"x".repeat(8000),
        &pair.access,
        &format!("{head}."),
        &format!("{header}.{signature}"),
        &format!("{}A", pair.refresh),
        &format!(" {}", pair.refresh),
        &ended.refresh,
        &disabled.refresh,
        &deleted.refresh,
    ] {
        answers.push(alice.refresh(token).await);
    }
    let seen: HashSet<String> = answers.iter().map(Answer::seen).collect();
    assert_eq!(seen.len(), 1, "{seen:#?}");
    answers[0].problem(401, "invalid_refresh_token");
    alice.refresh(&pair.refresh).await.pair();
}

#[tokio::test]
async fn a_user_who_is_enabled_again_does_not_get_the_old_sessions_back() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let (admin, email) = (app.admin().await, alice.email.parse().unwrap());
    admin.disable_user(&*OPERATOR, &email).await.unwrap();
    admin.enable_user(&*OPERATOR, &email).await.unwrap();
    alice.fails_to_refresh(&pair.refresh).await;
}

/// Red without `u.disabled_at IS NULL` in `advance!`.
#[tokio::test]
async fn the_users_state_is_asked_at_every_refresh_and_not_only_when_it_changes() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    app.execute("UPDATE users SET disabled_at = now()").await;
    alice.fails_to_refresh(&pair.refresh).await;
    app.execute("UPDATE users SET disabled_at = NULL").await;
    alice.refresh(&pair.refresh).await.pair();
}

#[tokio::test]
async fn a_refresh_token_is_expired_in_the_second_of_its_exp() {
    let app = TestApp::with(&[("tokens.refresh_idle_ttl_seconds", "100")]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    app.clock().advance(secs(100));
    alice.fails_to_refresh(&pair.refresh).await;
}

#[tokio::test]
async fn a_session_that_is_not_refreshed_idles_out() {
    let app = TestApp::with(&[("tokens.refresh_idle_ttl_seconds", "100")]).await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    app.age_sessions(secs(90)).await;
    let second = alice.refresh(&first.refresh).await.pair();
    app.age_sessions(secs(90)).await;
    let third = alice.refresh(&second.refresh).await.pair();
    app.age_sessions(secs(100)).await;
    // The process clock stood still: it is the database that says so.
    alice.fails_to_refresh(&third.refresh).await;
}

#[tokio::test]
async fn a_session_ends_at_its_time_however_often_it_is_refreshed() {
    let app = TestApp::with(&[
        ("tokens.session_ttl_seconds", "1000"),
        ("tokens.refresh_idle_ttl_seconds", "500"),
    ])
    .await;
    let (alice, mut pair) = app.signed_in("alice@example.com").await;
    for _ in 0..3 {
        app.age_sessions(secs(300)).await;
        pair = alice.refresh(&pair.refresh).await.pair();
    }
    app.age_sessions(secs(100)).await;
    alice.fails_to_refresh(&pair.refresh).await;
    alice.fails_to_signout(&pair.access).await;
}

#[tokio::test]
async fn no_token_outlives_its_session() {
    let app = TestApp::with(&[("tokens.session_ttl_seconds", "1000")]).await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let life = |token: &str| {
        let claims = Jwt::read(token).claims;
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
    };
    assert_eq!((life(&first.access), life(&first.refresh)), (900, 1000));
    app.age_sessions(secs(600)).await;
    let second = alice.refresh(&first.refresh).await.pair();
    // A second may have passed between the two.
    let (access, refresh) = (life(&second.access), life(&second.refresh));
    assert!(
        access == refresh && (398..=400).contains(&access),
        "{access} {refresh}"
    );
}

#[tokio::test]
async fn tokens_in_the_query_are_ignored() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let path = format!("/api/v2/refresh?refreshToken={}", pair.refresh);
    let answer = app.post(&path, &alice.network, &json!({})).await;
    answer.problem(422, "invalid_request");
    let there: Person<'_> = alice.elsewhere();
    there.refresh(&pair.refresh).await.pair();
}

/// Refreshes with an agent that says what it is.
async fn refresh_as(agent: &str, person: &Person<'_>, token: &str) -> Answer {
    let request = person
        .app
        .request("POST", "/api/v2/refresh", &person.network)
        .header("user-agent", agent)
        .json(&json!({"refreshToken": token}));
    person.app.send(request).await
}

/// The one session of a token's owner, as it is listed.
async fn listed(person: &Person<'_>, access: &str) -> Value {
    let request = (person.app).request("GET", "/api/v2/sessions", &person.network);
    let body = person.app.send(request.bearer_auth(access)).await.ok();
    assert_eq!(body["sessions"].as_array().unwrap().len(), 1);
    body["sessions"][0].clone()
}

/// Red without the guard on networks in `advance!`, and where it always writes the first network.
#[tokio::test]
async fn a_refresh_from_another_network_is_on_record_once_and_the_list_tells_the_last_use() {
    let app = TestApp::start().await;
    let (home, first) = app.signed_in("alice@example.com").await;
    let office = home.elsewhere();
    let second = refresh_as("lynx/2.9", &office, &first.refresh).await.pair();
    let session = listed(&office, &second.access).await;
    assert_eq!(session["network"], json!(home.network));
    assert_eq!(session["userAgent"], Value::Null);
    assert_eq!(session["lastNetwork"], json!(office.network));
    assert_eq!(session["lastUserAgent"], json!("lynx/2.9"));
    let third = office.refresh(&second.refresh).await.pair();
    let session = listed(&office, &third.access).await;
    assert_eq!(session["lastUserAgent"], Value::Null);
    let fourth = home.refresh(&third.refresh).await.pair();
    let session = listed(&home, &fourth.access).await;
    assert_eq!(session["lastNetwork"], json!(home.network));
    office.refresh(&fourth.refresh).await.pair();
    assert_eq!(app.recorded("refresh granted other_network").await, 1);
    let of_office = "SELECT count(*) FROM audit_events AS e JOIN sessions AS s USING (session_id)
                      WHERE e.reason = 'other_network' AND e.network = s.last_network
                        AND e.user_id = s.user_id AND e.request_id IS NOT NULL";
    assert_eq!(app.count(of_office).await, 1);
}

/// Red where a repeat writes nothing, as it was.
#[tokio::test]
async fn a_repeat_from_another_network_is_on_record_once_and_the_list_tells_it() {
    let app = TestApp::start().await;
    let (owner, first) = app.signed_in("alice@example.com").await;
    let thief = owner.elsewhere();
    let second = owner.refresh(&first.refresh).await.pair();
    for _ in 0..4 {
        let copy = refresh_as("thief/1", &thief, &first.refresh).await.pair();
        assert_eq!(copy.body, second.body);
    }
    assert_eq!(app.recorded("refresh granted repeated_elsewhere").await, 1);
    assert_eq!(app.recorded("refresh granted other_network").await, 0);
    let session = listed(&owner, &second.access).await;
    assert_eq!(session["network"], json!(owner.network));
    assert_eq!(session["lastNetwork"], json!(thief.network));
    assert_eq!(session["lastUserAgent"], json!("thief/1"));
    // The owner's own repeats are nothing to tell of.
    owner.refresh(&first.refresh).await.pair();
    let third = owner.refresh(&second.refresh).await.pair();
    let session = listed(&owner, &third.access).await;
    assert_eq!(session["lastNetwork"], json!(owner.network));
    let refreshes = app.audit().await;
    let refreshes = refreshes.iter().filter(|line| line.starts_with("refresh"));
    assert_eq!(refreshes.count(), 1);
}

/// Red without `MAX_OTHER_NETWORKS` in `is_new`.
#[tokio::test]
async fn of_a_session_on_the_move_no_more_than_eight_networks_are_put_on_record() {
    let app = TestApp::with(&[("limits.refresh.attempts", "1000")]).await;
    let (alice, mut pair) = app.signed_in("alice@example.com").await;
    let mut last = alice.clone();
    for _ in 0..12 {
        last = alice.elsewhere();
        pair = last.refresh(&pair.refresh).await.pair();
    }
    assert_eq!(app.recorded("refresh granted other_network").await, 8);
    let session = listed(&alice, &pair.access).await;
    assert_eq!(session["lastNetwork"], json!(last.network));
    let next = alice.refresh(&pair.refresh).await.pair();
    let copy = alice.elsewhere().refresh(&pair.refresh).await.pair();
    assert_eq!(copy.body, next.body);
    assert_eq!(app.recorded("refresh granted repeated_elsewhere").await, 0);
    let most = "SELECT max(cardinality(other_networks))::BIGINT FROM sessions";
    assert_eq!(app.count(most).await, 8);
}
