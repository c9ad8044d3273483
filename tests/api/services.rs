//! The questions of other services and of the owners of sessions: whose token it is, which sessions there are,
//! whether one has ended.

use backoffice_auth::domain::EmailAddress;
use serde_json::{Value, json};

use crate::support::{Answer, OPERATOR, Pair, Person, TestApp, assert_keys, seconds, until};

/// SHA-256 of `s3cret`.
const CLIENT: &str = "orders:1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

async fn get(person: &Person<'_>, path: &str, token: &str) -> Answer {
    let request = person.app.request("GET", path, &person.network);
    person.app.send(request.bearer_auth(token)).await
}

async fn delete(person: &Person<'_>, path: &str, token: &str) -> Answer {
    let request = person.app.request("DELETE", path, &person.network);
    person.app.send(request.bearer_auth(token)).await
}

async fn introspect(app: &TestApp, secret: &str, token: &str) -> Answer {
    let request = app
        .request("POST", "/oauth2/introspect", "203.0.113.1")
        .basic_auth("orders", Some(secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}&token_type_hint=access_token"));
    app.send(request).await
}

async fn revocations(app: &TestApp, since: Option<&str>) -> Answer {
    let path = match since {
        Some(since) => format!("/api/v2/revocations?since={since}"),
        None => "/api/v2/revocations".to_owned(),
    };
    let request = app.request("GET", &path, "203.0.113.1");
    app.send(request.basic_auth("orders", Some("s3cret"))).await
}

fn ids(page: &Value) -> Vec<String> {
    let entries = page["revocations"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["sessionId"].as_str().unwrap().to_owned())
        .collect()
}

/// The id of a pair's session, as the server tells it.
async fn session_id(person: &Person<'_>, pair: &Pair) -> String {
    let body = get(person, "/api/v2/session", &pair.access).await.ok();
    body["session"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_access_token_tells_whose_it_is() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let body = get(&alice, "/api/v2/session", &pair.access).await.ok();
    assert_keys(&body, &["user", "session", "accessToken"]);
    assert_eq!(
        body["user"],
        json!({"id": "1", "email": "alice@example.com"})
    );
    assert_keys(&body["session"], &["id", "createdAt", "amr"]);
    let token = &body["accessToken"];
    assert_keys(token, &["createdAt", "expiresAt"]);
    assert_eq!(
        seconds(&token["expiresAt"]) - seconds(&token["createdAt"]),
        900
    );
}

#[tokio::test]
async fn without_a_good_access_token_nothing_is_told() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    for path in ["/api/v2/session", "/api/v2/sessions", "/auth/verify"] {
        app.get(path).await.problem(401, "missing_access_token");
        for bad in [pair.refresh.as_str(), "abc", "a.b.c"] {
            get(&alice, path, bad)
                .await
                .problem(401, "invalid_access_token");
        }
    }
    alice.signout(&pair.access).await.ok_and_empty();
    for path in ["/api/v2/session", "/api/v2/sessions", "/auth/verify"] {
        get(&alice, path, &pair.access)
            .await
            .problem(401, "invalid_access_token");
    }
}

#[tokio::test]
async fn a_proxy_learns_the_caller_whatever_the_method() {
    let app = TestApp::start().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let session = session_id(&alice, &pair).await;
    for method in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE",
    ] {
        let request = app.request(method, "/auth/verify", &alice.network);
        let answer = app.send(request.bearer_auth(&pair.access)).await;
        assert_eq!(answer.status, 200, "{method}");
        assert_eq!(answer.header("x-auth-user-id"), Some("1"));
        assert_eq!(
            answer.header("x-auth-user-email"),
            Some("alice@example.com")
        );
        assert_eq!(answer.header("x-auth-session-id"), Some(session.as_str()));
        let request = app.request(method, "/auth/verify", &alice.network);
        assert_eq!(app.send(request).await.status, 401, "{method}");
    }
}

/// A preflight is answered for a browser's sake without a token. A proxy that took that for its own
/// answer would let every request with `OPTIONS` in.
#[tokio::test]
async fn a_preflight_is_no_way_past_forward_authentication() {
    let app = TestApp::with(&[("http.allowed_origins", "https://office.example")]).await;
    let request = app
        .request("OPTIONS", "/auth/verify", "203.0.113.1")
        .header("origin", "https://office.example")
        .header("access-control-request-method", "POST");
    app.send(request).await.problem(401, "missing_access_token");
}

#[tokio::test]
async fn an_end_is_known_on_every_instance_within_a_second() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let elsewhere = alice.at(&other);
    get(&elsewhere, "/auth/verify", &pair.access)
        .await
        .ok_and_empty();
    alice.signout(&pair.access).await.ok_and_empty();
    // The wait has a limit far above the second: how soon it is belongs to a bench.
    until("the other instance refuses", async || {
        get(&elsewhere, "/auth/verify", &pair.access).await.status == 401
    })
    .await;
}

#[tokio::test]
async fn every_way_to_end_a_session_is_known_on_every_instance() {
    let app = TestApp::start().await;
    let other = app.second_instance().await;
    let admin = app.admin().await;
    for (end, email) in [
        (0, "a@example.com"),
        (1, "b@example.com"),
        (2, "c@example.com"),
    ] {
        let (person, pair) = app.signed_in(email).await;
        let address: EmailAddress = email.parse().unwrap();
        match end {
            0 => admin.disable_user(&*OPERATOR, &address).await.unwrap(),
            1 => admin.delete_user(&*OPERATOR, &address).await.unwrap(),
            _ => app.change_password(email, "another-anvil-76").await,
        }
        let elsewhere = person.at(&other);
        until("the other instance refuses", async || {
            get(&elsewhere, "/api/v2/session", &pair.access)
                .await
                .status
                == 401
        })
        .await;
    }
}

#[tokio::test]
async fn a_user_sees_their_live_sessions_and_which_is_the_one_that_asks() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in("alice@example.com").await;
    let second = alice.elsewhere().signin().await.pair();
    let (bob, his) = app.signed_in("bob@example.com").await;
    let body = get(&alice, "/api/v2/sessions", &first.access).await.ok();
    let listed = body["sessions"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    let keys = [
        "id",
        "createdAt",
        "lastUsedAt",
        "expiresAt",
        "network",
        "userAgent",
        "lastNetwork",
        "lastUserAgent",
        "device",
        "current",
    ];
    for session in listed {
        assert_keys(session, &keys);
    }
    let current = listed.iter().filter(|session| session["current"] == true);
    let current: Vec<_> = current
        .map(|session| session["id"].as_str().unwrap())
        .collect();
    assert_eq!(current, [session_id(&alice, &first).await]);
    alice.signout(&second.access).await.ok_and_empty();
    let body = get(&alice, "/api/v2/sessions", &first.access).await.ok();
    assert_eq!(body["sessions"].as_array().unwrap().len(), 1);
    let body = get(&bob, "/api/v2/sessions", &his.access).await.ok();
    assert_eq!(body["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_user_ends_one_of_their_sessions_and_nobody_elses() {
    let app = TestApp::start().await;
    let (alice, mine) = app.signed_in("alice@example.com").await;
    let lost = alice.signin().await.pair();
    let (bob, his) = app.signed_in("bob@example.com").await;
    let lost_id = session_id(&alice, &lost).await;
    let path = format!("/api/v2/sessions/{lost_id}");
    delete(&bob, &path, &his.access)
        .await
        .problem(404, "not_found");
    assert_eq!(delete(&alice, &path, &mine.access).await.status, 204);
    get(&alice, "/api/v2/session", &lost.access)
        .await
        .problem(401, "invalid_access_token");
    alice.fails_to_refresh(&lost.refresh).await;
    delete(&alice, &path, &mine.access)
        .await
        .problem(404, "not_found");
    for odd in ["/api/v2/sessions/x", "/api/v2/sessions/%ff"] {
        delete(&alice, odd, &mine.access)
            .await
            .problem(404, "not_found");
    }
    get(&alice, "/api/v2/session", &mine.access).await.ok();
}

#[tokio::test]
async fn a_user_ends_all_their_sessions_and_nobody_elses() {
    let app = TestApp::start().await;
    let (alice, one) = app.signed_in("alice@example.com").await;
    let two = alice.signin().await.pair();
    let (bob, his) = app.signed_in("bob@example.com").await;
    assert_eq!(
        delete(&alice, "/api/v2/sessions", &one.access).await.status,
        204
    );
    for pair in [&one, &two] {
        get(&alice, "/api/v2/session", &pair.access)
            .await
            .problem(401, "invalid_access_token");
    }
    get(&bob, "/api/v2/session", &his.access).await.ok();
}

#[tokio::test]
async fn a_service_learns_of_a_token_what_it_says_or_that_it_is_not_good() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let body = introspect(&app, "s3cret", &pair.access).await.ok();
    assert_eq!(body["active"], true);
    assert_eq!(body["sub"], "1");
    assert_eq!(body["username"], "alice@example.com");
    assert_eq!(body["client_id"], "back-office");
    let inactive = json!({"active": false});
    assert_eq!(
        introspect(&app, "s3cret", &pair.refresh).await.ok(),
        inactive
    );
    assert_eq!(introspect(&app, "s3cret", "nonsense").await.ok(), inactive);
    alice.signout(&pair.access).await.ok_and_empty();
    assert_eq!(
        introspect(&app, "s3cret", &pair.access).await.ok(),
        inactive
    );
}

#[tokio::test]
async fn a_service_that_is_not_known_learns_nothing() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    let (_, pair) = app.signed_in("alice@example.com").await;
    let answer = introspect(&app, "wrong", &pair.access).await;
    answer.problem(401, "invalid_client");
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic ")
    );
    let request = app.request("GET", "/api/v2/revocations", "203.0.113.1");
    app.send(request.bearer_auth(&pair.access))
        .await
        .problem(401, "invalid_client");
}

#[tokio::test]
async fn a_form_without_exactly_one_token_is_refused() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    for form in ["", "tokens=a", "token=a&token=b"] {
        let request = app
            .request("POST", "/oauth2/introspect", "203.0.113.1")
            .basic_auth("orders", Some("s3cret"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let body = app.send(request).await.problem(422, "invalid_request");
        assert_eq!(body["errors"][0]["field"], "token");
    }
}

#[tokio::test]
async fn the_feed_tells_every_end_and_goes_on_at_its_cursor() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    let first = session_id(&alice, &pair).await;
    let start = revocations(&app, None).await.ok();
    assert_keys(&start, &["revocations", "cursor"]);
    assert!(ids(&start).is_empty());
    alice.signout(&pair.access).await.ok_and_empty();
    let page = revocations(&app, start["cursor"].as_str()).await.ok();
    assert_eq!(ids(&page), [first.as_str()]);
    assert_keys(
        &page["revocations"][0],
        &["sessionId", "endedAt", "expiresAt"],
    );
    assert_eq!(ids(&revocations(&app, None).await.ok()), [first.as_str()]);
    for odd in ["x", "-1", "99999999999999999999"] {
        revocations(&app, Some(odd))
            .await
            .problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn the_feed_forgets_a_session_whose_access_tokens_have_all_expired() {
    let app = TestApp::with(&[("introspection.clients", CLIENT)]).await;
    let (alice, pair) = app.signed_in("alice@example.com").await;
    alice.signout(&pair.access).await.ok_and_empty();
    app.age_sessions(std::time::Duration::from_secs(901)).await;
    // Which has not read when they expire before they were made older.
    let other = app.second_instance().await;
    assert!(ids(&revocations(&other, None).await.ok()).is_empty());
}

#[tokio::test]
async fn the_metadata_says_where_things_are() {
    let app = TestApp::start().await;
    let body = app
        .get("/.well-known/oauth-authorization-server")
        .await
        .ok();
    let issuer = body["issuer"].as_str().unwrap();
    assert_eq!(body["jwks_uri"], format!("{issuer}/.well-known/jwks.json"));
    assert_eq!(
        body["introspection_endpoint"],
        format!("{issuer}/oauth2/introspect")
    );
    let openid = app.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(openid, body, "the same, and no more");
}

#[tokio::test]
async fn the_key_set_is_cached_and_asked_for_again_only_when_it_changed() {
    let app = TestApp::start().await;
    let answer = app.get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let etag = answer.header("etag").unwrap().to_owned();
    let request = app.request("GET", "/.well-known/jwks.json", "203.0.113.1");
    let again = app.send(request.header("if-none-match", etag)).await;
    assert_eq!(again.status, 304);
}
