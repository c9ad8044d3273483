//! All that administrators see and do, and that nobody else does it.

use std::cell::Cell;
use std::time::Duration;

use backoffice_auth::dev::{Behaviour, Recipients};
use backoffice_auth::domain::{EmailAddress, TwoFactor};
use futures_util::future::join;
use serde_json::{Value, json};

use crate::factors::{App, act};
use crate::support::{
    Answer, Jwt, OPERATOR, PASSWORD, Pair, Person, Program, TestApp, assert_keys, hold, post, race,
    request, seconds, secs, until,
};

const ROOT: &str = "root@example.com";
const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const LINKS: (&str, &str) = ("links.password_url", "https://office.example/password");

/// An administrator with an authenticator app, signed in with it.
struct Administrator<'a> {
    person: Person<'a>,
    app: App,
    pair: Pair,
    /// The step of the next code that is taken.
    step: Cell<i64>,
}

impl<'a> Administrator<'a> {
    async fn new(server: &'a TestApp, email: &str) -> Self {
        let (person, pair) = server.signed_in(email).await;
        let begun = act(&person, "POST", "totp", &pair, None).await.ok();
        let app = App::of(&begun);
        let body = json!({"id": begun["id"], "code": app.code(0)});
        act(&person, "POST", "totp/confirm", &pair, Some(body))
            .await
            .ok();
        // As if it had been the code before, so that the one that is shown now is still to be used.
        let earlier = "UPDATE totp_factors SET last_step = last_step - 1";
        sqlx::query(earlier).execute(server.sql()).await.unwrap();
        set_role(server, email, true).await;
        let administrator = Self {
            person,
            app,
            pair,
            step: Cell::new(0),
        };
        let pair = administrator.sign_in().await;
        Self {
            pair,
            ..administrator
        }
    }

    /// Signs in again, with the next code.
    async fn sign_in(&self) -> Pair {
        let token = self.person.challenge().await;
        let step = self.step.replace(self.step.get() + 1);
        self.person
            .confirm(&token, &self.app.code(step))
            .await
            .pair()
    }

    async fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        ask(&self.person, &self.pair, method, path, body).await
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, None).await.ok()
    }

    /// An act that waits for the locks of a statement, which is committed then.
    async fn acts_behind(&self, statement: &'static str, path: &str) -> Answer {
        let server = self.person.app;
        let first = server.hold(statement).await;
        let commit = async {
            until("the act to wait", async || {
                server.waits_for_locks().await == 1
            })
            .await;
            first.commit().await.unwrap();
        };
        join(self.send("POST", path, None), commit).await.0
    }

    /// An act that must be done.
    async fn does(&self, method: &str, path: &str, body: Option<Value>) {
        let answer = self.send(method, path, body).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
    }
}

/// Asks for something under `/admin`.
async fn ask(
    person: &Person<'_>,
    pair: &Pair,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let path = format!("admin/{path}");
    person.ask(&pair.access, method, &path, body).await
}

async fn set_role(server: &TestApp, email: &str, is_administrator: bool) {
    let email: EmailAddress = email.parse().unwrap();
    let admin = server.admin().await;
    (admin
        .change_administrator(&OPERATOR, &email, is_administrator)
        .await)
        .unwrap();
}

/// The number of a user, as it stands in a path.
async fn number_of(server: &TestApp, email: &str) -> String {
    let number: i64 = sqlx::query_scalar("SELECT user_id FROM users WHERE email = $1")
        .bind(email)
        .fetch_one(server.sql())
        .await
        .unwrap();
    number.to_string()
}

fn emails(page: &Value) -> Vec<&str> {
    let users = page["users"].as_array().unwrap();
    users
        .iter()
        .map(|user| user["email"].as_str().unwrap())
        .collect()
}

/// Every route, with a body that is good.
fn routes(id: &str) -> Vec<(&'static str, String, Option<Value>)> {
    let session = "017e12ef-9c00-7c3a-9d1e-5b2f8a4c6e10";
    vec![
        ("GET", "users".to_owned(), None),
        ("GET", format!("users/{id}"), None),
        ("GET", format!("users/{id}/sessions"), None),
        ("GET", format!("users/{id}/events"), None),
        (
            "POST",
            "users".to_owned(),
            Some(json!({"email": "new@example.com"})),
        ),
        ("DELETE", format!("users/{id}/sessions/{session}"), None),
        ("POST", format!("users/{id}/link"), None),
        ("POST", format!("users/{id}/disable"), None),
        ("POST", format!("users/{id}/enable"), None),
        ("POST", format!("users/{id}/unlock"), None),
        ("POST", format!("users/{id}/signout"), None),
        (
            "POST",
            format!("users/{id}/two-factor"),
            Some(json!({"twoFactor": "off"})),
        ),
        ("POST", format!("users/{id}/reset-factors"), None),
        (
            "POST",
            format!("users/{id}/email"),
            Some(json!({"email": "new@example.com"})),
        ),
        ("DELETE", format!("users/{id}"), None),
    ]
}

// Seeing

/// The addresses of all users, from pages of two.
async fn emails_page_by_page(root: &Administrator<'_>) -> Vec<String> {
    let mut seen = Vec::new();
    let mut path = "users?limit=2".to_owned();
    loop {
        let page = root.get(&path).await;
        seen.extend(emails(&page).into_iter().map(str::to_owned));
        match page["next"].as_str() {
            Some(next) => path = format!("users?limit=2&after={next}"),
            None => return seen,
        }
    }
}

/// Disables Ann, takes Anna's password, and counts 11 wrong codes for Bob.
async fn change_states(server: &TestApp) {
    for statement in [
        "UPDATE users SET disabled_at = now() WHERE email = 'ann@a.example'",
        "UPDATE users SET password_hash = NULL WHERE email = 'anna@a.example'",
        "UPDATE users SET second_factor_failures = 11 WHERE email = 'bob@example.com'",
    ] {
        server.execute(statement).await;
    }
}

#[tokio::test]
async fn users_are_listed_by_prefix_and_state_and_page_by_page() {
    let server = TestApp::with(&[("limits.confirm_failures_per_account", "12")]).await;
    let root = Administrator::new(&server, ROOT).await;
    for email in ["anna@a.example", "ann@a.example", "annika@b.example", BOB] {
        server.create(email, PASSWORD, TwoFactor::Off).await;
    }
    change_states(&server).await;

    let all = root.get("users").await;
    assert_keys(&all, &["users"]);
    let in_order = [
        "ann@a.example",
        "anna@a.example",
        "annika@b.example",
        BOB,
        ROOT,
    ];
    assert_eq!(emails(&all), in_order);
    assert_eq!(
        emails(&root.get("users?email=ANN").await),
        ["ann@a.example", "anna@a.example", "annika@b.example"]
    );
    assert_eq!(
        emails(&root.get("users?email=ann%40").await),
        ["ann@a.example"]
    );
    assert_eq!(emails(&root.get("users?email=zz").await), [""; 0]);

    for (state, expected) in [
        ("disabled", &["ann@a.example"][..]),
        ("invited", &["anna@a.example"]),
        ("locked", &[]),
        ("active", &["annika@b.example", BOB, ROOT]),
    ] {
        let found = root.get(&format!("users?state={state}")).await;
        assert_eq!(emails(&found), expected, "{state}");
        for user in found["users"].as_array().unwrap() {
            assert_eq!(user["state"], state);
        }
    }
    server
        .execute("UPDATE users SET second_factor_failures = 12 WHERE email = 'bob@example.com'")
        .await;
    assert_eq!(emails(&root.get("users?state=locked").await), [BOB]);
    assert_eq!(
        emails(&root.get("users?state=locked&email=a").await),
        [""; 0]
    );
    assert_eq!(
        emails(&root.get("users?state=active").await),
        ["annika@b.example", ROOT]
    );

    // Page by page, everybody once.
    assert_eq!(emails_page_by_page(&root).await, in_order);
}

#[tokio::test]
async fn a_lock_after_few_wrong_codes_is_found_as_well() {
    let server = TestApp::with(&[("limits.confirm_failures_per_account", "2")]).await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    server
        .execute("UPDATE users SET second_factor_failures = 2 WHERE email = 'bob@example.com'")
        .await;
    assert_eq!(emails(&root.get("users?state=locked").await), [BOB]);
    assert_eq!(emails(&root.get("users?state=active").await), [ROOT]);
}

#[tokio::test]
async fn a_bad_query_is_refused_with_all_that_is_wrong_with_it() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let refused = root
        .send("GET", "users?limit=0&state=gone&email=a%20b&after=x", None)
        .await;
    let problem = refused.problem(422, "invalid_request");
    let fields: Vec<_> = (problem["errors"].as_array().unwrap().iter())
        .map(|error| error["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["limit", "after", "email", "state"]);
    let id = number_of(&server, ROOT).await;
    for query in ["after=-1", "after=x", "limit=201", "limit=1&limit=2"] {
        let refused = root
            .send("GET", &format!("users/{id}/events?{query}"), None)
            .await;
        refused.problem(422, "invalid_request");
    }
}

/// The fields of a user whom nothing keeps from signing in.
const SHOWN: [&str; 12] = [
    "id",
    "email",
    "state",
    "administrator",
    "twoFactor",
    "totp",
    "passkeys",
    "recoveryCodesLeft",
    "createdAt",
    "passwordChangedAt",
    "obstacles",
    "mails",
];

#[tokio::test]
async fn one_user_is_shown_with_all_that_stands_in_the_way_of_signing_in() {
    let server = TestApp::with(&[
        ("limits.signin.attempts", "2"),
        ("limits.confirm_failures_per_account", "12"),
    ])
    .await;
    let root = Administrator::new(&server, ROOT).await;
    let bob = server.user_with_code(BOB).await;
    let id = number_of(&server, BOB).await;

    let shown = root.get(&format!("users/{id}")).await;
    assert_keys(&shown, &SHOWN);
    assert_eq!(shown["id"], json!(id));
    assert_eq!(
        (&shown["obstacles"], &shown["mails"]),
        (&json!([]), &json!([]))
    );

    server.mailbox_does(Behaviour::Defer(Recipients::All));
    bob.challenge().await;
    bob.fails_to_signin_with("not-this-one").await;
    bob.signin().await.limited();
    let tried = "SELECT count(*) FROM outbox
                  WHERE kind = 'sign_in_code' AND attempts > 0 AND last_reply IS NOT NULL";
    until("the mail to be tried", async || {
        server.count(tried).await == 1
    })
    .await;
    let lock_and_disable = "UPDATE users SET second_factor_failures = 12, disabled_at = now()
                             WHERE email = 'bob@example.com'";
    server.execute(lock_and_disable).await;
    let shown = root.get(&format!("users/{id}")).await;
    assert_eq!(shown["state"], "disabled");
    assert!(shown["disabledAt"].is_string());
    let obstacles = shown["obstacles"].as_array().unwrap();
    let kinds: Vec<_> = obstacles
        .iter()
        .map(|obstacle| obstacle["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["disabled", "second_factor_locked", "mail_stuck", "limited"]
    );
    assert_keys(&obstacles[0], &["kind", "since"]);
    assert_eq!(obstacles[1]["wrongCodes"], 12);
    assert_eq!(obstacles[2]["mail"], shown["mails"][0]);
    assert_eq!(obstacles[3]["limit"], "signin");
    assert_eq!(obstacles[3]["network"], json!(bob.network));
    assert!(obstacles[3]["until"].is_string());
    let mail = &shown["mails"][0];
    assert_keys(
        mail,
        &["kind", "createdAt", "state", "attempts", "lastReply"],
    );
    assert_eq!(
        (&mail["kind"], &mail["state"]),
        (&json!("sign_in_code"), &json!("waiting"))
    );
}

#[tokio::test]
async fn a_users_sessions_and_events_are_shown_newest_first() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, first) = server.signed_in(BOB).await;
    let second = bob.elsewhere().signin().await.pair();
    bob.fails_to_signin_with("not-this-one").await;
    let id = number_of(&server, BOB).await;

    let listed = root.get(&format!("users/{id}/sessions")).await;
    let sids: Vec<_> = (listed["sessions"].as_array().unwrap().iter())
        .map(|session| session["id"].clone())
        .collect();
    let sid = |pair: &Pair| Jwt::read(&pair.access).claims["sid"].clone();
    assert_eq!(sids, [sid(&second), sid(&first)]);
    assert!((listed["sessions"].as_array().unwrap().iter()).all(|s| s["current"] == false));
    let own = number_of(&server, ROOT).await;
    let listed = root.get(&format!("users/{own}/sessions")).await;
    let current = &listed["sessions"][0];
    assert_eq!(
        (&current["id"], &current["current"]),
        (&sid(&root.pair), &json!(true))
    );

    let reasons = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|event| event["reason"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = root.get(&format!("users/{id}/events")).await;
    assert_keys(&all, &["events"]);
    let expected = [
        "wrong_password",
        "session_opened",
        "session_opened",
        "created",
    ];
    assert_eq!(reasons(&all), expected);
    let page = root.get(&format!("users/{id}/events?limit=3")).await;
    assert_eq!(reasons(&page), expected[..3]);
    let next = page["next"].as_str().unwrap();
    let page = root
        .get(&format!("users/{id}/events?limit=3&after={next}"))
        .await;
    assert_eq!(reasons(&page), expected[3..]);
    assert!(page.get("next").is_none());
    assert_eq!(page["events"][0]["actor"], "tests");
}

#[tokio::test]
async fn a_list_tells_when_each_user_last_signed_in() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let bob = server.user(BOB).await;
    let found = root.get("users?email=bob").await;
    assert!(found["users"][0].get("lastSignInAt").is_none());
    let pair = bob.signin().await.pair();
    let found = root.get("users?email=bob").await;
    let at = seconds(&found["users"][0]["lastSignInAt"]);
    let opened = Jwt::read(&pair.access).claims["auth_time"]
        .as_i64()
        .unwrap();
    assert!((opened..=opened + 1).contains(&at), "{at} {opened}");
}

// Acting

#[tokio::test]
async fn an_invited_user_sets_a_password_by_the_mailed_link() {
    let server = TestApp::with(&[LINKS]).await;
    let root = Administrator::new(&server, ROOT).await;
    let body = json!({"email": "New@Example.com"});
    let answer = root.send("POST", "users", Some(body.clone())).await;
    assert_eq!(answer.status, 201, "{}", answer.seen());
    let made = answer.json();
    assert_eq!(
        (&made["email"], &made["state"], &made["twoFactor"]),
        (
            &json!("new@example.com"),
            &json!("invited"),
            &json!("email")
        )
    );
    let mail = server.mail_for("new@example.com").await;
    assert!(
        mail.text.contains("https://office.example/password#"),
        "{}",
        mail.text
    );
    let again = root.send("POST", "users", Some(body)).await;
    again.problem(409, "address_taken");

    let without_code = json!({"email": "other@example.com", "twoFactor": "off"});
    let other = root.send("POST", "users", Some(without_code)).await;
    assert_eq!(other.json()["twoFactor"], "off");
    let bad = json!({"email": "no address", "twoFactor": "fax"});
    let problem = root.send("POST", "users", Some(bad)).await;
    let problem = problem.problem(422, "invalid_request");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    assert_eq!(server.recorded("administration granted invited").await, 2);
}

#[tokio::test]
async fn a_link_goes_to_the_user_alone_and_is_an_invitation_to_one_without_a_password() {
    let server = TestApp::with(&[LINKS, ("limits.link_mails_per_account", "1")]).await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    let link = format!("users/{}/link", number_of(&server, BOB).await);
    let answer = root.send("POST", &link, None).await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    let mail = server.mail_for(BOB).await;
    assert!(
        mail.text.contains("https://office.example/password#"),
        "{}",
        mail.text
    );
    let refused = root.send("POST", &link, None).await;
    assert_eq!(refused.limited(), 3600);
    server.age_attempts(Duration::from_mins(50)).await;
    let refused = root.send("POST", &link, None).await;
    assert!((540..=600).contains(&refused.limited()), "{refused:?}");
    server
        .execute("UPDATE users SET disabled_at = now() WHERE email = 'bob@example.com'")
        .await;
    server
        .execute("DELETE FROM attempts WHERE scope = 'link_mail'")
        .await;
    let refused = root.send("POST", &link, None).await;
    refused.problem(409, "user_disabled");
    assert_eq!(
        server.recorded("administration granted link_mailed").await,
        1
    );
    assert_eq!(
        server
            .recorded("administration refused link_not_mailed")
            .await,
        2
    );
    assert_eq!(
        server
            .recorded("administration refused user_disabled")
            .await,
        1
    );
}

#[tokio::test]
async fn nobody_is_invited_whom_no_mail_may_reach() {
    let server = TestApp::with(&[LINKS, ("limits.link_mails_per_account", "1")]).await;
    let root = Administrator::new(&server, ROOT).await;
    let stranger = server.stranger("new@example.com");
    let forgot = json!({"email": stranger.email});
    let asked = server
        .post("/api/v2/password/forgot", &stranger.network, &forgot)
        .await;
    assert_eq!(asked.status, 202);
    server.age_attempts(Duration::from_mins(50)).await;
    let refused = root.send("POST", "users", Some(forgot)).await;
    assert!((540..=600).contains(&refused.limited()), "{refused:?}");
    assert_eq!(server.count("SELECT count(*) FROM users").await, 1);
    assert_eq!(
        server
            .recorded("administration refused too_many_links")
            .await,
        1
    );
}

#[tokio::test]
async fn without_links_nobody_is_invited_and_no_link_is_mailed() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    let id = number_of(&server, BOB).await;
    let body = json!({"email": "new@example.com"});
    root.send("POST", "users", Some(body))
        .await
        .problem(404, "not_found");
    root.send("POST", &format!("users/{id}/link"), None)
        .await
        .problem(404, "not_found");
    assert_eq!(emails(&root.get("users").await), [BOB, ROOT]);
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once_and_may_be_let_in_again() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, pair) = server.signed_in(BOB).await;
    let id = number_of(&server, BOB).await;
    for _ in 0..2 {
        root.does("POST", &format!("users/{id}/disable"), None)
            .await;
    }
    // At once on the instance that did it: it needs no database for that.
    bob.me(&pair.access)
        .await
        .problem(401, "invalid_access_token");
    bob.fails_to_signin_with(PASSWORD).await;
    bob.fails_to_refresh(&pair.refresh).await;
    root.does("POST", &format!("users/{id}/enable"), None).await;
    bob.signin().await.pair();
}

#[tokio::test]
async fn a_user_is_unlocked_and_every_limit_lifted() {
    let server = TestApp::with(&[("limits.signin.attempts", "2")]).await;
    let root = Administrator::new(&server, ROOT).await;
    let bob = server.user(BOB).await;
    bob.signin().await.pair();
    bob.signin().await.pair();
    bob.signin().await.limited();
    server
        .execute("UPDATE users SET second_factor_failures = 100 WHERE email = 'bob@example.com'")
        .await;
    let id = number_of(&server, BOB).await;
    root.does("POST", &format!("users/{id}/unlock"), None).await;
    bob.signin().await.pair();
    assert_eq!(root.get(&format!("users/{id}")).await["state"], "active");
}

#[tokio::test]
async fn sessions_are_ended_one_by_one_or_all_at_once() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, first) = server.signed_in(BOB).await;
    let second = bob.elsewhere().signin().await.pair();
    let third = bob.elsewhere().signin().await.pair();
    let id = number_of(&server, BOB).await;
    let sid = Jwt::read(&first.access).claims["sid"].clone();
    let one = format!("users/{id}/sessions/{}", sid.as_str().unwrap());
    root.does("DELETE", &one, None).await;
    bob.fails_to_signout(&first.access).await;
    bob.me(&second.access).await.ok();
    // It is not live any more; another user's and no session at all are answered alike.
    let gone = root.send("DELETE", &one, None).await;
    let expected = gone.problem(404, "not_found");
    let own = Jwt::read(&root.pair.access).claims["sid"].clone();
    for other in [
        own.as_str().unwrap(),
        "017e12ef-9c00-7c3a-9d1e-5b2f8a4c6e10",
        "x",
    ] {
        let refused = root
            .send("DELETE", &format!("users/{id}/sessions/{other}"), None)
            .await;
        assert_eq!(refused.problem(404, "not_found"), expected);
    }
    root.does("POST", &format!("users/{id}/signout"), None)
        .await;
    for pair in [&second, &third] {
        bob.fails_to_signout(&pair.access).await;
    }
    root.person.me(&root.pair.access).await.ok();
}

#[tokio::test]
async fn whether_a_code_is_mailed_is_set_and_sessions_stay() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, pair) = server.signed_in(BOB).await;
    let path = format!("users/{}/two-factor", number_of(&server, BOB).await);
    root.does("POST", &path, Some(json!({"twoFactor": "email"})))
        .await;
    assert_eq!(bob.signin().await.ok()["2faRequired"], true);
    bob.me(&pair.access).await.ok();
    root.does("POST", &path, Some(json!({"twoFactor": "off"})))
        .await;
    bob.signin().await.pair();
    let refused = root
        .send("POST", &path, Some(json!({"twoFactor": "totp"})))
        .await;
    refused.problem(422, "invalid_request");
}

#[tokio::test]
async fn a_lost_phone_is_helped_by_removing_the_factors_and_its_owner_is_told() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let bob = Administrator::new(&server, BOB).await;
    set_role(&server, BOB, false).await;
    server.mailbox().clear();
    let id = number_of(&server, BOB).await;
    root.does("POST", &format!("users/{id}/reset-factors"), None)
        .await;
    bob.person.fails_to_signout(&bob.pair.access).await;
    let mail = server.mail_for(BOB).await;
    assert!(!mail.text.contains("http"), "{}", mail.text);
    let challenge = bob.person.signin().await.ok();
    assert_eq!(challenge["2faDetails"]["provider"], "email");
    let shown = root.get(&format!("users/{id}")).await;
    assert_eq!(
        (
            &shown["totp"],
            &shown["recoveryCodesLeft"],
            &shown["twoFactor"]
        ),
        (&json!(false), &json!(0), &json!("email"))
    );
}

#[tokio::test]
async fn another_address_ends_the_sessions_and_both_addresses_are_told() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, pair) = server.signed_in(BOB).await;
    server.user(ALICE).await;
    let path = format!("users/{}/email", number_of(&server, BOB).await);
    let refused = root
        .send("POST", &path, Some(json!({"email": ALICE})))
        .await;
    refused.problem(409, "address_taken");
    root.does("POST", &path, Some(json!({"email": "robert@example.com"})))
        .await;
    bob.fails_to_signout(&pair.access).await;
    bob.fails_to_signin_with(PASSWORD).await;
    for told in [BOB, "robert@example.com"] {
        server.mail_for(told).await;
    }
    let robert = server.stranger("robert@example.com");
    let pair = robert.signin().await.pair();
    assert_eq!(
        server
            .recorded("administration refused address_taken")
            .await,
        1
    );

    // The same again, as by an administrator whose answer was lost.
    root.does("POST", &path, Some(json!({"email": "robert@example.com"})))
        .await;
    robert.me(&pair.access).await.ok();
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_signed_out() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, pair) = server.signed_in(BOB).await;
    let id = number_of(&server, BOB).await;
    root.does("DELETE", &format!("users/{id}"), None).await;
    bob.fails_to_signout(&pair.access).await;
    bob.fails_to_signin_with(PASSWORD).await;
    for (method, path, body) in routes(&id) {
        if path != "users" {
            let refused = root.send(method, &path, body).await;
            // `link` needs no user to say that there are no links.
            refused.problem(404, "not_found");
        }
    }
}

#[tokio::test]
async fn each_act_is_on_record_with_who_did_it_from_where() {
    let server = TestApp::with(&[LINKS]).await;
    let root = Administrator::new(&server, ROOT).await;
    let (_, pair) = server.signed_in(BOB).await;
    let id = number_of(&server, BOB).await;
    let sid = Jwt::read(&pair.access).claims["sid"].clone();
    let (email, off) = (json!({"twoFactor": "email"}), json!({"twoFactor": "off"}));
    let address = json!({"email": "b@example.com"});
    let session = format!("sessions/{}", sid.as_str().unwrap());
    let acts = [
        ("DELETE", session.as_str(), None, "one_session_ended"),
        ("POST", "link", None, "link_mailed"),
        ("POST", "disable", None, "disabled"),
        ("POST", "enable", None, "enabled"),
        ("POST", "unlock", None, "unlocked"),
        ("POST", "signout", None, "sessions_ended"),
        ("POST", "two-factor", Some(email), "two_factor_email"),
        ("POST", "two-factor", Some(off), "two_factor_off"),
        ("POST", "reset-factors", None, "factors_reset"),
        ("POST", "email", Some(address), "address_changed"),
    ];
    let administrator = format!("user:{}", number_of(&server, ROOT).await);
    let own = Jwt::read(&root.pair.access).claims["sid"].clone();
    for (method, path, body, reason) in acts {
        let answer = root.send(method, &format!("users/{id}/{path}"), body).await;
        assert!([202, 204].contains(&answer.status), "{path}");
        let page = root.get(&format!("users/{id}/events")).await;
        // Mails leave meanwhile, and are events as well.
        let mut events = page["events"].as_array().unwrap().iter();
        let event = events
            .find(|event| event["kind"] == "administration")
            .unwrap();
        assert_eq!(event["reason"], reason);
        assert_eq!(event["actor"], json!(administrator));
        assert_eq!(event["sessionId"], own);
        assert_eq!(event["network"], json!(root.person.network));
        assert_eq!(
            event["requestId"],
            json!(answer.header("x-request-id").unwrap())
        );
        assert_eq!(event["outcome"], "granted");
    }
    root.does("DELETE", &format!("users/{id}"), None).await;
    assert_eq!(server.recorded("administration granted deleted").await, 1);
}

// Access

// Red without the check of the role.
#[tokio::test]
async fn an_ordinary_user_is_refused_alike_on_each_route_whatever_is_in_it() {
    let server = TestApp::with(&[LINKS, ("limits.flood_burst", "1000")]).await;
    let root = Administrator::new(&server, ROOT).await;
    // With a second factor, and just signed in: the role alone is missing.
    let bob = Administrator::new(&server, BOB).await;
    set_role(&server, BOB, false).await;
    let pair = bob.sign_in().await;
    let known = number_of(&server, ROOT).await;
    let own = number_of(&server, BOB).await;
    let mut seen = Vec::new();
    for id in [known.as_str(), &own, "999999", "-1", "x", "1e3"] {
        for (method, path, body) in routes(id) {
            seen.push(ask(&bob.person, &pair, method, &path, body).await);
        }
    }
    for query in ["users?limit=0", "users?state=gone", "users?email=%20"] {
        seen.push(ask(&bob.person, &pair, "GET", query, None).await);
    }
    for body in [json!({}), json!([]), json!({"email": 1})] {
        seen.push(ask(&bob.person, &pair, "POST", "users", Some(body)).await);
    }
    let first = seen[0].seen();
    for answer in &seen {
        answer.problem(403, "forbidden");
        assert_eq!(answer.seen(), first);
    }
    // Nothing was done, and a missing user gets the same answer as a refused act.
    assert_eq!(emails(&root.get("users?state=active").await), [BOB, ROOT]);
    assert!(
        server
            .recorded("administration refused not_administrator")
            .await
            > 0
    );
    let without_token = server.get("/api/v2/admin/users").await;
    without_token.problem(401, "missing_access_token");
}

#[tokio::test]
async fn a_path_and_a_method_that_are_not_there_are_told_as_everywhere() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    root.send("POST", "users/1/promote", None)
        .await
        .problem(404, "not_found");
    root.send("PATCH", "users/1", None)
        .await
        .problem(405, "method_not_allowed");
    for id in ["999999", "x", "01", "-0", "9223372036854775808"] {
        root.send("GET", &format!("users/{id}"), None)
            .await
            .problem(404, "not_found");
    }
}

// Red without the look at the database in each request.
#[tokio::test]
async fn a_demoted_administrator_has_no_rights_left_whatever_the_token_says() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    let id = number_of(&server, BOB).await;
    root.get("users").await;
    set_role(&server, ROOT, false).await;
    for (method, path, body) in routes(&id) {
        let refused = root.send(method, &path, body).await;
        refused.problem(403, "forbidden");
    }
    root.person.me(&root.pair.access).await.ok();
    set_role(&server, ROOT, true).await;
    root.get("users").await;
}

#[tokio::test]
async fn an_administrator_without_a_second_factor_is_told_to_set_one_up() {
    let server = TestApp::start().await;
    let (person, pair) = server.signed_in(ROOT).await;
    set_role(&server, ROOT, true).await;
    for (method, path, body) in routes("1") {
        let refused = ask(&person, &pair, method, &path, body).await;
        refused.problem(403, "second_factor_required");
    }
    assert_eq!(person.me(&pair.access).await.ok()["administrator"], true);
}

// Red without the look at `amr`.
#[tokio::test]
async fn a_session_that_was_opened_without_the_second_factor_manages_nobody() {
    let server = TestApp::start().await;
    let (person, before) = server.signed_in(ROOT).await;
    let begun = act(&person, "POST", "totp", &before, None).await.ok();
    let app = App::of(&begun);
    let body = json!({"id": begun["id"], "code": app.code(0)});
    let confirmed = act(&person, "POST", "totp/confirm", &before, Some(body)).await;
    let codes = confirmed.ok()["recoveryCodes"].clone();
    set_role(&server, ROOT, true).await;
    // The session that enrolled the app lives on, and has no `mfa`; nor has one by a recovery code.
    let token = person.challenge().await;
    let recovered = person.confirm(&token, codes[0].as_str().unwrap()).await;
    let recovered = recovered.pair();
    for pair in [&before, &recovered] {
        for (method, path, body) in routes("1") {
            let refused = ask(&person, pair, method, &path, body).await;
            refused.problem(401, "reauthentication_required");
            let challenge = refused.header("www-authenticate").unwrap();
            assert!(challenge.contains("insufficient_user_authentication"));
        }
    }
}

#[tokio::test]
async fn where_no_second_factor_is_asked_for_the_password_is_enough() {
    let server = TestApp::with(&[("administration.requires_mfa", "false")]).await;
    let (person, pair) = server.signed_in(ROOT).await;
    set_role(&server, ROOT, true).await;
    ask(&person, &pair, "GET", "users", None).await.ok();
    server.user(BOB).await;
    let path = format!("users/{}/disable", number_of(&server, BOB).await);
    let done = ask(&person, &pair, "POST", &path, None).await;
    assert_eq!(done.status, 204);
}

// Red without the look at freshness.
#[tokio::test]
async fn a_session_that_is_not_fresh_sees_and_does_not_act() {
    let server = TestApp::with(&[LINKS, ("tokens.fresh_seconds", "60")]).await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    let id = number_of(&server, BOB).await;
    server.age_sessions(secs(61)).await;
    for (method, path, body) in routes(&id) {
        let answer = root.send(method, &path, body).await;
        if method == "GET" {
            answer.ok();
        } else {
            answer.problem(401, "reauthentication_required");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.contains(r#"max_age="60""#), "{challenge}");
        }
    }
    let refreshed = root.person.refresh(&root.pair.refresh).await.pair();
    let path = format!("users/{id}/disable");
    let refused = ask(&root.person, &refreshed, "POST", &path, None).await;
    refused.problem(401, "reauthentication_required");
    let fresh = root.sign_in().await;
    let done = ask(&root.person, &fresh, "POST", &path, None).await;
    assert_eq!(done.status, 204);
}

// Red without the look at the target.
#[tokio::test]
async fn no_act_touches_an_administrator_oneself_included() {
    let server = TestApp::with(&[LINKS]).await;
    let root = Administrator::new(&server, ROOT).await;
    let other = Administrator::new(&server, ALICE).await;
    for email in [ROOT, ALICE] {
        let id = number_of(&server, email).await;
        for (method, path, body) in routes(&id) {
            let answer = root.send(method, &path, body).await;
            match method {
                "GET" => {
                    answer.ok();
                }
                "POST" if path == "users" => {}
                _ => {
                    answer.problem(403, "forbidden");
                }
            }
        }
    }
    other.person.me(&other.pair.access).await.ok();
    root.person.me(&root.pair.access).await.ok();
    assert!(
        server
            .recorded("administration refused on_administrator")
            .await
            > 10
    );
}

// Red without the lock on the administrator.
#[tokio::test]
async fn a_demotion_that_came_first_stops_an_act_under_way() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, pair) = server.signed_in(BOB).await;
    let path = format!("users/{}/disable", number_of(&server, BOB).await);
    let demotion = "UPDATE users SET is_administrator = FALSE WHERE email = 'root@example.com'";
    let refused = root.acts_behind(demotion, &path).await;
    refused.problem(403, "forbidden");
    bob.me(&pair.access).await.ok();
    assert_eq!(
        server
            .recorded("administration refused not_administrator")
            .await,
        1
    );
}

#[tokio::test]
async fn a_demotion_waits_for_an_act_under_way_and_stops_the_next_one() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    let path = format!("users/{}/disable", number_of(&server, BOB).await);
    let held = server
        .hold("UPDATE users SET two_factor = two_factor WHERE email = 'bob@example.com'")
        .await;
    let act = root.send("POST", &path, None);
    let demote = async {
        until("the act to wait", async || {
            server.waits_for_locks().await == 1
        })
        .await;
        let release = async {
            until("the demotion to wait", async || {
                server.waits_for_locks().await == 2
            })
            .await;
            held.commit().await.unwrap();
        };
        join(set_role(&server, ROOT, false), release).await;
    };
    let (done, ()) = join(act, demote).await;
    assert_eq!(done.status, 204);
    root.send("POST", &path, None)
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn a_promotion_that_came_first_keeps_an_act_off() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    let path = format!("users/{}/disable", number_of(&server, BOB).await);
    let promotion = "UPDATE users SET is_administrator = TRUE WHERE email = 'bob@example.com'";
    let refused = root.acts_behind(promotion, &path).await;
    refused.problem(403, "forbidden");
    let disabled = "SELECT count(*) FROM users WHERE disabled_at IS NOT NULL";
    assert_eq!(server.count(disabled).await, 0);
}

#[tokio::test]
async fn two_administrators_who_act_on_each_other_do_not_wait_for_each_other() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let other = Administrator::new(&server, ALICE).await;
    let path_of = async |email| format!("users/{}/disable", number_of(&server, email).await);
    let (first, second) = (path_of(ALICE).await, path_of(ROOT).await);
    let (one, another) = join(
        root.send("POST", &first, None),
        other.send("POST", &second, None),
    )
    .await;
    one.problem(403, "forbidden");
    another.problem(403, "forbidden");
}

#[tokio::test]
async fn acts_of_fifty_at_once_on_two_instances_leave_one_user_and_no_deadlock() {
    let server = TestApp::with(&[("limits.administration.attempts", "100")]).await;
    let second = server.second_instance().await;
    let root = Administrator::new(&server, ROOT).await;
    let (bob, pair) = server.signed_in(BOB).await;
    let id = number_of(&server, BOB).await;
    let bearer = format!("Bearer {}", root.pair.access);
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", root.person.network.as_str()),
    ];
    let mut held = Vec::new();
    for verb in ["disable", "signout", "unlock", "enable", "reset-factors"] {
        let path = format!("/api/v2/admin/users/{id}/{verb}");
        let request = post(&path, &headers, b"");
        held.extend(hold(&[&server, &second], &request, 10).await);
    }
    let delete = request(
        "DELETE",
        &format!("/api/v2/admin/users/{id}"),
        &headers,
        b"",
    );
    held.extend(hold(&[&server, &second], &delete, 4).await);
    let answers = race(held).await;
    for answer in &answers {
        assert!([204, 404].contains(&answer.status), "{}", answer.seen());
    }
    let gone = answers[50..].iter().filter(|answer| answer.status == 204);
    assert_eq!(gone.count(), 1);
    bob.fails_to_signout(&pair.access).await;
}

// Limits

#[tokio::test]
async fn acts_of_an_administrator_are_limited_over_all_instances_and_refused_ones_count() {
    let server = TestApp::with(&[
        ("limits.administration.attempts", "3"),
        ("limits.administration.block_seconds", "90"),
    ])
    .await;
    let second = server.second_instance().await;
    let root = Administrator::new(&server, ROOT).await;
    let elsewhere = root.person.elsewhere();
    let there = elsewhere.at(&second);
    server.user(BOB).await;
    let id = number_of(&server, BOB).await;
    root.does("POST", &format!("users/{id}/unlock"), None).await;
    let unknown = ask(&there, &root.pair, "POST", "users/999999/unlock", None).await;
    unknown.problem(404, "not_found");
    let own = number_of(&server, ROOT).await;
    root.send("DELETE", &format!("users/{own}"), None)
        .await
        .problem(403, "forbidden");
    let refused = ask(
        &there,
        &root.pair,
        "POST",
        &format!("users/{id}/disable"),
        None,
    )
    .await;
    assert_eq!(refused.limited(), 90);
    // Seeing is not acting, and another administrator is not this one.
    root.get("users").await;
    let other = Administrator::new(&server, ALICE).await;
    other
        .does("POST", &format!("users/{id}/unlock"), None)
        .await;
    assert_eq!(
        server
            .recorded("administration refused limited_administration")
            .await,
        1
    );
    server.age_attempts(secs(90)).await;
    root.does("POST", &format!("users/{id}/unlock"), None).await;
}

#[tokio::test]
async fn an_act_that_the_database_could_not_do_is_503_and_does_not_count() {
    let server = TestApp::with(&[("limits.administration.attempts", "1")]).await;
    let root = Administrator::new(&server, ROOT).await;
    server.user(BOB).await;
    let path = format!("users/{}/disable", number_of(&server, BOB).await);
    let held = server
        .hold("UPDATE users SET two_factor = two_factor WHERE email = 'bob@example.com'")
        .await;
    let unavailable = root.send("POST", &path, None).await;
    unavailable.problem(503, "unavailable");
    held.rollback().await.unwrap();
    root.does("POST", &path, None).await;
    root.send("POST", &path, None).await.limited();
}

#[tokio::test]
async fn a_flood_of_an_ordinary_user_fills_neither_the_log_nor_a_table() {
    let server = TestApp::with(&[("limits.flood_burst", "1000")]).await;
    let (bob, pair) = server.signed_in(BOB).await;
    for _ in 0..60 {
        let refused = ask(&bob, &pair, "POST", "users/1/disable", None).await;
        refused.problem(403, "forbidden");
    }
    let recorded = server
        .recorded("administration refused not_administrator")
        .await;
    assert!(recorded <= 20, "{recorded} of 60");
    let counted = "SELECT count(*) FROM attempts WHERE scope = 'administration'";
    assert_eq!(server.count(counted).await, 0);
}

// The command line

#[tokio::test]
async fn the_role_is_given_and_taken_on_the_command_line() {
    let server = TestApp::start().await;
    let (person, pair) = server.signed_in(ROOT).await;
    let program = Program::on(server.database_url(), &[]);
    let made = program.run("user administrator root@example.com on").await;
    assert!(
        made.ok()
            .contains("administrator, once an authenticator app or a passkey is set up"),
        "{}",
        made.ok()
    );
    assert_eq!(person.me(&pair.access).await.ok()["administrator"], true);
    let shown = program.run("user show root@example.com").await;
    assert!(
        shown.ok().contains("role:            administrator"),
        "{}",
        shown.ok()
    );
    let shown = program
        .run("user show root@example.com --json")
        .await
        .json();
    assert_eq!(shown["administrator"], true);
    let explained = program.run("explain root@example.com").await;
    assert!(
        explained
            .ok()
            .contains("the user was made an administrator."),
        "{}",
        explained.ok()
    );
    program
        .run("user administrator root@example.com off")
        .await
        .ok();
    assert_eq!(person.me(&pair.access).await.ok()["administrator"], false);
    let wrong = program.run("user administrator root@example.com yes").await;
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.stderr.contains("must be `on` or `off`"),
        "{}",
        wrong.stderr
    );
    let unknown = program
        .run("user administrator nobody@example.com on")
        .await;
    assert!(
        unknown
            .refused()
            .contains("there is no user with this address")
    );
}

#[tokio::test]
async fn an_operator_may_change_an_administrator() {
    let server = TestApp::start().await;
    let root = Administrator::new(&server, ROOT).await;
    let email: EmailAddress = ROOT.parse().unwrap();
    let admin = server.admin().await;
    admin.disable_user(&*OPERATOR, &email).await.unwrap();
    let refused = root.send("GET", "users", None).await;
    refused.problem(401, "invalid_access_token");
}
