//! `explain`: the facts about a person or a request that support staff see, and those that nobody sees.

use backoffice_auth::dev::{Behaviour, Recipients};
use serde_json::{Value, json};

use crate::support::{
    OPERATOR, PASSWORD, Program, TestApp, assert_keys, other_than, seconds, secs, until,
};

const ALICE: &str = "alice@example.com";

fn program(app: &TestApp, settings: &[(&str, &str)]) -> Program {
    Program::on(app.database_url(), settings)
}

/// The explanation of a person or a request, for programs.
async fn explained(app: &TestApp, subject: &str) -> Value {
    explained_by(&program(app, &[]), subject).await
}

async fn explained_by(program: &Program, subject: &str) -> Value {
    let line = format!("explain {subject} --json");
    program.run(&line).await.json()
}

/// The words in this member of each object of a list.
fn words<'a>(list: &'a Value, member: &str) -> Vec<&'a str> {
    let list = list.as_array().unwrap().iter();
    list.map(|each| each[member].as_str().unwrap()).collect()
}

/// The event with this reason.
fn event<'a>(found: &'a Value, reason: &str) -> &'a Value {
    let events = found["events"].as_array().unwrap();
    let event = events.iter().find(|event| event["reason"] == reason);
    event.unwrap_or_else(|| panic!("{reason} in {found}"))
}

#[tokio::test]
async fn a_wrong_password_is_told_with_its_request_and_network() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    let answer = alice.signin_with("violet-anvil-68").await;
    let found = explained(&app, ALICE).await;
    let event = event(&found, "wrong_password");
    assert_eq!(
        (&event["kind"], &event["outcome"]),
        (&json!("signin"), &json!("refused"))
    );
    assert_eq!(event["text"], "the password was wrong.");
    assert_eq!(event["requestId"], answer.header("x-request-id").unwrap());
    let network = event["network"].as_str().unwrap();
    assert!(network.starts_with(&alice.network), "{network}");
    assert_eq!(found["obstacles"], json!([]));
    assert_eq!(found["user"]["email"], ALICE);
}

#[tokio::test]
async fn a_block_is_told_with_its_end_and_gone_when_it_is_over() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    for _ in 0..app.config.limits.signin.attempts {
        alice.signin_with("violet-anvil-68").await;
    }
    alice.signin().await.limited();
    let found = explained(&app, ALICE).await;
    let obstacle = &found["obstacles"][0];
    assert_keys(obstacle, &["code", "text", "limit", "network", "until"]);
    assert_eq!(
        (&obstacle["code"], &obstacle["limit"]),
        (&json!("limited"), &json!("signin"))
    );
    let network = obstacle["network"].as_str().unwrap();
    assert!(network.starts_with(&alice.network), "{network}");
    let end = "SELECT ceil(extract(epoch FROM max(blocked_until)))::BIGINT FROM attempts";
    let end = app.count(end).await;
    assert!((end - 1..=end).contains(&seconds(&obstacle["until"])));
    event(&found, "limited_signin");

    app.age(app.config.limits.signin.block.unwrap()).await;
    assert_eq!(explained(&app, ALICE).await["obstacles"], json!([]));
}

#[tokio::test]
async fn a_disabled_user_is_told_with_what_lets_them_in_again() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    let admin = app.admin().await;
    admin
        .disable_user(&*OPERATOR, &ALICE.parse().unwrap())
        .await
        .unwrap();
    alice.signin().await.problem(401, "invalid_credentials");
    let found = explained(&app, ALICE).await;
    assert_eq!(words(&found["obstacles"], "code"), ["disabled"]);
    let text = found["obstacles"][0]["text"].as_str().unwrap();
    assert!(text.contains("`user enable`"), "{text}");
    assert_eq!(event(&found, "disabled")["actor"], "tests");
    assert_eq!(event(&found, "user_disabled")["outcome"], "refused");
}

#[tokio::test]
async fn acts_of_an_operator_on_the_command_line_are_told_with_their_name() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    let operator = program(&app, &[]);
    for command in ["disable", "enable", "unlock", "signout", "delete"] {
        operator.run(&format!("user {command} {ALICE}")).await.ok();
    }
    let found = explained(&app, ALICE).await;
    for reason in [
        "disabled",
        "enabled",
        "unlocked",
        "sessions_ended",
        "deleted",
    ] {
        assert_eq!(event(&found, reason)["actor"], "operator", "{reason}");
    }
    operator.run("key rotate").await.ok();
    let keys = "SELECT count(*) FROM audit_events
                 WHERE kind = 'keys_changed' AND reason = 'key_rotated' AND actor = 'operator'";
    // One for each kind of tokens.
    assert_eq!(app.count(keys).await, 2);
}

#[tokio::test]
async fn a_second_factor_that_is_locked_is_told() {
    let setting = [("limits.confirm_failures_per_account", "1")];
    let app = TestApp::with(&setting).await;
    let alice = app.user_with_code(ALICE).await;
    let (token, code) = alice.challenge_and_code().await;
    alice.confirm(&token, &other_than(&code)).await;
    alice.confirm(&token, &code).await;
    let found = explained_by(&program(&app, &setting), ALICE).await;
    assert_eq!(words(&found["obstacles"], "code"), ["second_factor_locked"]);
    event(&found, "wrong_code");
    event(&found, "second_factor_locked");
}

#[tokio::test]
async fn a_code_mail_that_left_is_told_with_what_the_relay_said() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    let answer = alice.signin().await;
    until("the mail is sent", async || {
        app.count("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            .await
            == 1
    })
    .await;
    let found = explained(&app, ALICE).await;
    let mail = &found["mails"][0];
    assert_eq!(mail["text"], "The mail server took the code mail.");
    assert_eq!(mail["requestId"], answer.header("x-request-id").unwrap());
    assert_eq!(mail["lastReply"], stored_reply(&app).await);
    assert_eq!(found["obstacles"], json!([]));
}

async fn stored_reply(app: &TestApp) -> String {
    sqlx::query_scalar("SELECT last_reply FROM outbox")
        .fetch_one(app.sql())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_code_mail_that_was_refused_stands_in_the_way_with_the_relays_words() {
    let app = TestApp::start().await;
    app.mailbox_does(Behaviour::Refuse(Recipients::All));
    let alice = app.user_with_code(ALICE).await;
    alice.challenge().await;
    until("the mail is given up", async || {
        app.count("SELECT count(*) FROM outbox WHERE given_up_at IS NOT NULL")
            .await
            == 1
    })
    .await;
    let found = explained(&app, ALICE).await;
    assert_eq!(words(&found["obstacles"], "code"), ["mail_stuck"]);
    let reply = found["mails"][0]["lastReply"].as_str().unwrap();
    assert!(reply.starts_with("550 "), "{reply}");
    let told = program(&app, &[]).run(&format!("explain {ALICE}")).await;
    assert!(
        told.ok().contains(&format!("last reply: {reply}")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_session_that_ended_by_reuse_is_told_with_what_that_means() {
    let app = TestApp::start().await;
    let (alice, first) = app.signed_in(ALICE).await;
    alice.refresh(&first.refresh).await.pair();
    app.age_sessions(secs(30)).await;
    let answer = alice.refresh(&first.refresh).await;
    answer.problem(401, "invalid_refresh_token");
    let found = explained(&app, ALICE).await;
    let session = &found["sessions"][0];
    assert_eq!(session["endReason"], "reuse");
    let text = session["text"].as_str().unwrap();
    assert!(text.contains("had been traded in before"), "{text}");
    let event = event(&found, "reuse");
    assert_eq!(event["sessionId"], session["id"]);
    assert_eq!(event["requestId"], answer.header("x-request-id").unwrap());
}

#[tokio::test]
async fn an_address_that_nobody_has_is_told_with_who_tried_it() {
    let app = TestApp::start().await;
    let nobody = app.stranger("nobody@example.com");
    nobody.signin().await.problem(401, "invalid_credentials");
    let found = explained(&app, &nobody.email).await;
    assert_eq!(words(&found["obstacles"], "code"), ["no_user"]);
    assert_eq!(words(&found["events"], "reason"), ["unknown_address"]);
    assert_eq!(found["user"], Value::Null);
    let told = program(&app, &[]).run("explain nobody@example.com").await;
    assert!(
        told.ok()
            .starts_with("nobody@example.com is nobody's address.\n")
    );
}

#[tokio::test]
async fn a_deleted_user_is_explained_by_the_recorded_events() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    let admin = app.admin().await;
    admin
        .delete_user(&*OPERATOR, &ALICE.parse().unwrap())
        .await
        .unwrap();
    let found = explained(&app, ALICE).await;
    assert_eq!(words(&found["obstacles"], "code"), ["no_user"]);
    assert_eq!(words(&found["events"], "reason"), ["created", "deleted"]);
}

#[tokio::test]
async fn a_request_is_told_by_its_id_and_nothing_of_any_other() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    alice.signin().await.pair();
    let answer = alice.signin_with("violet-anvil-68").await;
    let found = explained(&app, answer.header("x-request-id").unwrap()).await;
    assert_eq!(found["email"], ALICE);
    assert_eq!(words(&found["events"], "reason"), ["wrong_password"]);
    assert_eq!(found["sessions"], json!([]));
}

/// Red where the mails of the request alone are looked at.
#[tokio::test]
async fn any_request_of_a_person_tells_the_obstacles_to_their_sign_in() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    let refused = alice.signin_with("violet-anvil-68").await;
    alice.challenge_and_code().await;
    sqlx::query("UPDATE outbox SET sent_at = NULL, attempts = 1, next_attempt_at = 'infinity'")
        .execute(app.sql())
        .await
        .unwrap();
    let found = explained(&app, refused.header("x-request-id").unwrap()).await;
    assert_eq!(words(&found["obstacles"], "code"), ["mail_stuck"]);
    assert_eq!(found["mails"], json!([]), "those of another request");
}

#[tokio::test]
async fn an_operator_can_say_who_they_are() {
    let app = TestApp::start().await;
    app.user(ALICE).await;
    let run = format!("--as carol user disable {ALICE}");
    program(&app, &[]).run(&run).await.ok();
    let found = explained(&app, ALICE).await;
    assert_eq!(event(&found, "disabled")["actor"], "carol");
}

#[tokio::test]
async fn a_request_that_is_not_on_record_is_told_as_such() {
    let app = TestApp::start().await;
    let run = program(&app, &[])
        .run("explain 0192a5e0-no-such-request")
        .await;
    let start = "nothing is on record for this request";
    assert!(run.refused().starts_with(start), "{run:?}");
}

#[tokio::test]
async fn the_explanation_for_programs_has_these_parts() {
    let app = TestApp::start().await;
    app.signed_in(ALICE).await;
    let found = explained(&app, ALICE).await;
    assert_keys(
        &found,
        &[
            "email",
            "user",
            "obstacles",
            "mails",
            "sessions",
            "hasOlderEvents",
            "events",
        ],
    );
    assert_eq!(found["hasOlderEvents"], false);
    assert_eq!(words(&found["sessions"], "text"), ["Live."]);
}

#[tokio::test]
async fn no_secret_is_told() {
    let app = TestApp::start().await;
    let alice = app.user_with_code(ALICE).await;
    alice.signin_with("a-typed-password").await;
    let (challenge, code) = alice.challenge_and_code().await;
    let wrong = other_than(&code);
    alice.confirm(&challenge, &wrong).await;
    let pair = alice.confirm(&challenge, &code).await.pair();
    alice.signout(&pair.access).await.ok_and_empty();
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM users")
        .fetch_one(app.sql())
        .await
        .unwrap();
    for line in [
        format!("explain {ALICE}"),
        format!("explain {ALICE} --json"),
    ] {
        let told = program(&app, &[]).run(&line).await;
        // That there is something to tell it of.
        assert!(told.ok().contains("the code was wrong."), "{told:?}");
        let secrets = [PASSWORD, "a-typed-password", &challenge, &hash, "$argon2"];
        let tokens = [&*pair.access, &pair.refresh];
        for secret in secrets.into_iter().chain(tokens) {
            assert!(!told.stdout.contains(secret), "{secret} in {told:?}");
        }
        for code in [&code, &wrong] {
            let mut numbers = told.stdout.split(|c: char| !c.is_ascii_alphanumeric());
            assert!(!numbers.any(|number| number == code), "{code} in {told:?}");
        }
    }
}
