//! Passwords by mailed links: forgotten, and not chosen yet.

use backoffice_auth::admin::Admin;
use backoffice_auth::domain::{LinkId, LinkPurpose, LinkToken, PlainPassword, Purpose, TwoFactor};
use backoffice_auth::workers::purge_once;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::scanner::{self, Kind};
use crate::support::{
    Answer, OPERATOR, PASSWORD, Person, Program, TestApp, assert_keys, seconds, secs, until,
};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const PAGE: &str = "https://office.example.com/password";
const NEW: &str = "another-anvil-68";

/// A server that mails links.
async fn office() -> TestApp {
    with(&[]).await
}

async fn with(settings: &[(&str, &str)]) -> TestApp {
    let mut all = vec![("links.password_url", PAGE)];
    all.extend(settings);
    TestApp::with(&all).await
}

/// A person's requests about links.
trait WithLinks {
    async fn forgot(&self) -> Answer;
    async fn link(&self, token: &str) -> Answer;
    async fn set(&self, token: &str, password: &str) -> Answer;
    async fn token(&self) -> String;
    async fn forgotten(&self) -> String;
}

impl WithLinks for Person<'_> {
    async fn forgot(&self) -> Answer {
        let body = json!({"email": self.email});
        let path = "/api/v2/password/forgot";
        self.app.post(path, &self.network, &body).await
    }

    async fn link(&self, token: &str) -> Answer {
        let (path, body) = ("/api/v2/password/link", json!({"token": token}));
        self.app.post(path, &self.network, &body).await
    }

    async fn set(&self, token: &str, password: &str) -> Answer {
        if password.contains("anvil") {
            scanner::know(Kind::Password, password);
        }
        let body = json!({"token": token, "newPassword": password});
        let path = "/api/v2/password/set";
        self.app.post(path, &self.network, &body).await
    }

    /// The token in the next mail that has one.
    async fn token(&self) -> String {
        loop {
            let mail = self.app.mail_for(&self.email).await;
            if let Some(link) = mail.link() {
                let token = link.strip_prefix(PAGE).unwrap().strip_prefix('#').unwrap();
                assert!(mail.html.as_deref().unwrap().contains(link));
                assert!(!mail.subject.contains(token));
                scanner::know(Kind::Token, token);
                return token.to_owned();
            }
        }
    }

    /// Asks for a link and gets the token in it.
    async fn forgotten(&self) -> String {
        assert_silent(&self.forgot().await, 202);
        self.token().await
    }
}

/// Fails unless an answer is a success that says no more.
fn assert_silent(answer: &Answer, status: u16) {
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!((answer.status, &*body), (status, ""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), None);
    assert_eq!(answer.header("authorization"), None);
}

/// The number that a statement selects.
async fn number(app: &TestApp, statement: &str) -> i64 {
    let counted = sqlx::query_scalar(sqlx::AssertSqlSafe(statement.to_owned()));
    counted.fetch_one(app.sql()).await.unwrap()
}

// Journeys

#[tokio::test]
async fn a_person_who_forgot_their_password_sets_another_one_by_mail() {
    let app = office().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let token = alice.forgotten().await;
    // Looking uses nothing up, however often a scanner does.
    for _ in 0..3 {
        let link = alice.link(&token).await.ok();
        assert_keys(&link, &["purpose", "email", "expiresAt"]);
        assert_eq!(
            (&link["purpose"], &link["email"]),
            (&json!("reset"), &json!(ALICE))
        );
        let life = "SELECT extract(epoch FROM expires_at - created_at)::BIGINT FROM links";
        assert_eq!(app.count(life).await, 1800);
        let ends = "SELECT extract(epoch FROM date_trunc('second', expires_at))::BIGINT FROM links";
        assert_eq!(seconds(&link["expiresAt"]), app.count(ends).await);
    }
    assert_silent(&alice.set(&token, NEW).await, 204);
    // Nobody is signed in by it, and the sessions from before are over.
    alice.fails_to_refresh(&pair.refresh).await;
    alice.fails_to_signout(&pair.access).await;
    let live =
        "SELECT count(*) FROM sessions WHERE ended_at IS NULL OR end_reason <> 'password_changed'";
    assert_eq!(app.count(live).await, 0);
    alice.fails_to_signin_with(PASSWORD).await;
    alice.signin_with(NEW).await.pair();
    let notice = app.mail_for(ALICE).await;
    assert!(
        notice
            .subject
            .starts_with("Your password was set by a mailed link (")
    );
    assert!(notice.text.contains(&alice.network), "{}", notice.text);
    alice
        .set(&token, "violet-anvil-69")
        .await
        .problem(401, "invalid_link");
    alice.link(&token).await.problem(401, "invalid_link");
    for line in ["link granted link_mailed", "link granted password_set"] {
        assert_eq!(app.recorded(line).await, 1, "{line}");
    }
}

#[tokio::test]
async fn an_invited_person_chooses_a_password_and_signs_in_with_the_second_factor() {
    let app = office().await;
    let admin = app.admin().await;
    let email = ALICE.parse().unwrap();
    assert!(
        admin
            .invite_user(&OPERATOR, &email, TwoFactor::Email)
            .await
            .unwrap()
    );
    let alice = app.stranger(ALICE);
    alice.signin().await.problem(401, "invalid_credentials");
    let first = alice.token().await;
    // A user without a password can be invited again; both links work until one is used.
    assert!(
        !admin
            .invite_user(&OPERATOR, &email, TwoFactor::Email)
            .await
            .unwrap()
    );
    let second = alice.token().await;
    for token in [&first, &second] {
        assert_eq!(alice.link(token).await.ok()["purpose"], "invitation");
    }
    assert_silent(&alice.set(&second, NEW).await, 204);
    alice
        .set(&first, "violet-anvil-69")
        .await
        .problem(401, "invalid_link");
    let challenge = alice.signin_with(NEW).await.ok();
    assert_eq!(challenge["2faRequired"], true);
    let code = alice.code().await;
    let token = challenge["2faDetails"]["token"].as_str().unwrap();
    alice.confirm(token, &code).await.pair();
    assert_eq!(app.recorded("user_changed granted invited").await, 1);
}

#[tokio::test]
async fn an_invitation_that_ran_out_heals_itself() {
    let app = office().await;
    let admin = app.admin().await;
    let email = ALICE.parse().unwrap();
    admin
        .invite_user(&OPERATOR, &email, TwoFactor::Off)
        .await
        .unwrap();
    let alice = app.stranger(ALICE);
    let old = alice.token().await;
    app.age_links(secs(259_200)).await;
    alice.set(&old, NEW).await.problem(401, "invalid_link");
    let token = alice.forgotten().await;
    assert_eq!(alice.link(&token).await.ok()["purpose"], "invitation");
    assert_silent(&alice.set(&token, NEW).await, 204);
    alice.signin_with(NEW).await.pair();
}

/// Red without `lift_signin_limits` in `use_link`: five wrong guesses, a reset, and 429.
#[tokio::test]
async fn a_user_who_guessed_until_the_block_and_then_reset_gets_in_at_once() {
    let app = with(&[("limits.signin_account_failures_per_hour", "6")]).await;
    let alice = app.user(ALICE).await;
    for _ in 0..5 {
        alice.signin_with("wrong").await;
    }
    alice.signin().await.limited();
    let elsewhere = alice.elsewhere();
    elsewhere.signin_with("wrong").await;
    elsewhere.signin_with("wrong").await.limited();
    // The lock of the second factor is another matter.
    app.execute("UPDATE users SET second_factor_failures = 100")
        .await;
    let token = alice.forgotten().await;
    assert_silent(&alice.set(&token, NEW).await, 204);
    for person in [&alice, &elsewhere] {
        person.signin_with(NEW).await.pair();
    }
    let locked = "SELECT second_factor_failures::BIGINT FROM users";
    assert_eq!(app.count(locked).await, 100);
}

#[tokio::test]
async fn a_password_that_is_too_weak_leaves_the_link_good() {
    let app = office().await;
    let alice = app.user(ALICE).await;
    let token = alice.forgotten().await;
    let long = "x".repeat(1025);
    for weak in ["", "short", "password123", ALICE, &long] {
        let body = alice
            .set(&token, weak)
            .await
            .problem(422, "invalid_request");
        let errors = body["errors"].as_array().unwrap();
        assert_eq!(
            (errors.len(), &errors[0]["field"]),
            (1, &json!("newPassword"))
        );
    }
    assert_silent(&alice.set(&token, NEW).await, 204);
    alice.signin_with(NEW).await.pair();
    assert!(app.recorded("link refused weak_password").await > 0);
}

#[tokio::test]
async fn a_link_works_whoever_is_signed_in_on_the_page() {
    let app = office().await;
    let (alice, _) = app.signed_in(ALICE).await;
    let (_, bobs) = app.signed_in(BOB).await;
    let send = async |path: &str, body: Value, bearer: &str| {
        let request = app.request("POST", path, &alice.network).json(&body);
        app.send(request.bearer_auth(bearer)).await
    };
    for bearer in ["nonsense", &bobs.access] {
        let forgot = json!({"email": ALICE});
        assert_silent(&send("/api/v2/password/forgot", forgot, bearer).await, 202);
        let token = alice.token().await;
        send("/api/v2/password/link", json!({"token": token}), bearer)
            .await
            .ok();
        let body = json!({"token": token, "newPassword": NEW});
        assert_silent(&send("/api/v2/password/set", body, bearer).await, 204);
    }
    alice.signin_with(NEW).await.pair();
}

#[tokio::test]
async fn where_there_is_no_page_for_passwords_there_are_no_links() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    for answer in [
        alice.forgot().await,
        alice.link("x").await,
        alice.set("x", NEW).await,
    ] {
        answer.problem(404, "not_found");
    }
    let (admin, email) = (app.admin().await, ALICE.parse().unwrap());
    let told = admin.mail_link(&OPERATOR, &email).await;
    let told = told.unwrap_err().to_string();
    assert!(
        told.starts_with("there are no links: set links.password_url"),
        "{told}"
    );
}

/// Red without `kinds` in `Delivery`: the mail would lead to no page.
#[tokio::test]
async fn an_instance_without_the_page_leaves_links_to_one_that_has_it() {
    let app = TestApp::start().await;
    let alice = app.user(ALICE).await;
    let config = crate::support::settings(app.database_url(), &[("links.password_url", PAGE)]);
    let admin = Admin::new(app.store().await, &config);
    admin
        .mail_link(&OPERATOR, &ALICE.parse().unwrap())
        .await
        .unwrap();
    // A notice that comes later leaves before.
    app.user(BOB).await;
    app.change_password(BOB, NEW).await;
    app.mail_for(BOB).await;
    let waits = "SELECT count(*) FROM outbox WHERE kind = 'reset_link' AND attempts = 0";
    assert_eq!(app.count(waits).await, 1);
    let other = app
        .try_second_instance(&[("links.password_url", PAGE)])
        .await
        .unwrap();
    let token = alice.at(&other).token().await;
    alice.at(&other).link(&token).await.ok();
}

// Secrets from strangers

/// All answers of one kind, each from a network of its own.
fn assert_alike(answers: &[Answer]) {
    let seen: Vec<_> = answers.iter().map(Answer::seen).collect();
    for other in &seen {
        assert_eq!(other, &seen[0]);
    }
}

#[tokio::test]
async fn every_wish_for_a_link_gets_the_same_answer() {
    let app = office().await;
    let admin = app.admin().await;
    let alice = app.user(ALICE).await;
    app.user("disabled@example.com").await;
    let disabled = "disabled@example.com".parse().unwrap();
    admin.disable_user(&*OPERATOR, &disabled).await.unwrap();
    app.user("bare@example.com").await;
    app.execute("UPDATE users SET password_hash = NULL WHERE email = 'bare@example.com'")
        .await;
    let mut answers = Vec::new();
    for email in [
        ALICE,
        "nobody@example.com",
        "disabled@example.com",
        "bare@example.com",
    ] {
        answers.push(app.stranger(email).forgot().await);
    }
    // Past the budget, which nobody has, too.
    for email in [ALICE, "nobody@example.com"] {
        for _ in 0..4 {
            answers.push(app.stranger(email).forgot().await);
        }
    }
    assert_alike(&answers);
    for answer in &answers {
        assert_silent(answer, 202);
    }
    // Each left as much behind: a link and a mail.
    for table in ["links", "outbox"] {
        assert_eq!(
            number(&app, &format!("SELECT count(*) FROM {table}")).await,
            12
        );
    }
    let real = "SELECT count(*) FROM links WHERE user_id IS NOT NULL";
    assert_eq!(app.count(real).await, 4);
    let mails =
        "SELECT count(*) FROM outbox WHERE (recipient_id IS NULL) <> (given_up_at IS NOT NULL
                 AND attempts = 0)";
    assert_eq!(app.count(mails).await, 0);
    for _ in 0..3 {
        alice.token().await;
    }
    app.stranger("bare@example.com").token().await;
    for (line, count) in [
        ("link granted link_mailed", 4),
        ("link refused link_not_mailed", 2),
        ("link refused unknown_address", 5),
        ("link refused user_disabled", 1),
    ] {
        assert_eq!(app.recorded(line).await, count, "{line}");
    }
}

/// The token of a link with this id, as the server makes it.
fn token_of(app: &TestApp, purpose: LinkPurpose, link_id: LinkId) -> String {
    let key = app.config.secrets.master_key.derive(Purpose::Links);
    LinkToken::derive(&key, purpose, link_id)
        .expose()
        .to_owned()
}

/// Mails a link to a new user with this address; its token.
async fn mailed_to(app: &TestApp, email: &str) -> String {
    app.user(email).await.forgotten().await
}

/// Links that are not good, for each reason that there is.
async fn bad_links(app: &TestApp) -> Vec<(&'static str, String)> {
    let mut links = ended_links(app).await;
    links.extend(made_up_links(app).await);
    links
}

/// Links that were good once.
async fn ended_links(app: &TestApp) -> Vec<(&'static str, String)> {
    let admin = app.admin().await;
    let used = app.user("used@example.com").await;
    let token = used.forgotten().await;
    assert_silent(&used.set(&token, NEW).await, 204);
    let voided = mailed_to(app, "void@example.com").await;
    app.change_password("void@example.com", NEW).await;
    let of_disabled = mailed_to(app, "disabled@example.com").await;
    let email = "disabled@example.com".parse().unwrap();
    admin.disable_user(&*OPERATOR, &email).await.unwrap();
    let of_enabled = mailed_to(app, "enabled@example.com").await;
    let email = "enabled@example.com".parse().unwrap();
    admin.disable_user(&*OPERATOR, &email).await.unwrap();
    admin.enable_user(&*OPERATOR, &email).await.unwrap();
    let of_deleted = mailed_to(app, "deleted@example.com").await;
    let email = "deleted@example.com".parse().unwrap();
    admin.delete_user(&*OPERATOR, &email).await.unwrap();
    let expired = mailed_to(app, "expired@example.com").await;
    app.execute(
        "UPDATE links SET expires_at = clock_timestamp() WHERE user_id =
                 (SELECT user_id FROM users WHERE email = 'expired@example.com')",
    )
    .await;
    vec![
        ("used", token),
        ("void", voided),
        ("of a disabled user", of_disabled),
        ("of a user that was disabled", of_enabled),
        ("of a deleted user", of_deleted),
        ("expired", expired),
    ]
}

/// Links that the server never mailed.
async fn made_up_links(app: &TestApp) -> Vec<(&'static str, String)> {
    app.stranger("nobody@example.com").forgot().await;
    let id = async |query| {
        sqlx::query_scalar(query)
            .fetch_one(app.sql())
            .await
            .unwrap()
    };
    let decoy = LinkId(id("SELECT link_id FROM links WHERE user_id IS NULL").await);
    let good = mailed_to(app, "live@example.com").await;
    let live =
        "SELECT link_id FROM links JOIN users USING (user_id) WHERE email = 'live@example.com'";
    let live = LinkId(id(live).await);
    let mut forged = good.clone();
    let last = if good.ends_with('A') { "Q" } else { "A" };
    forged.replace_range(42.., last);
    let reset = |link_id| token_of(app, LinkPurpose::Reset, link_id);
    let invitation = |link_id| token_of(app, LinkPurpose::Invitation, link_id);
    vec![
        ("empty", String::new()),
        ("nonsense", "x".to_owned()),
        ("long", "x".repeat(9_000)),
        ("padded", format!("{good}=")),
        ("of another purpose", invitation(live)),
        ("an id", live.0.to_string()),
        ("forged", forged),
        ("unknown", reset(LinkId::random())),
        ("decoy", reset(decoy)),
        ("decoy's invitation", invitation(decoy)),
    ]
}

#[tokio::test]
async fn every_bad_link_is_refused_alike() {
    let app = with(&[("limits.forgot_network_per_minute", "1000")]).await;
    let mut answers = Vec::new();
    for (what, token) in bad_links(&app).await {
        let thief = app.stranger(ALICE);
        for answer in [
            thief.link(&token).await,
            thief.set(&token, "violet-anvil-70").await,
        ] {
            assert_eq!(answer.status, 401, "{what}");
            answer.problem(401, "invalid_link");
            answers.push(answer);
        }
    }
    assert_alike(&answers);
    let changed = "SELECT count(*) FROM audit_events WHERE reason = 'password_set'";
    assert_eq!(app.count(changed).await, 1);
}

#[tokio::test]
async fn the_fate_of_links_is_on_record_and_explained() {
    let app = with(&[("limits.link_mails_per_account", "1")]).await;
    let alice = app.user(ALICE).await;
    let asked = alice.forgot().await;
    let token = alice.token().await;
    let over_budget = alice.forgot().await;
    let weak = alice.set(&token, "password123").await;
    let done = alice.set(&token, NEW).await;
    let again = alice.set(&token, NEW).await;
    let unknown = alice.link("x").await;
    let nobody = app.stranger("nobody@example.com").forgot().await;
    for (answer, outcome, reason) in [
        (asked, "granted", "link_mailed"),
        (over_budget, "refused", "link_not_mailed"),
        (weak, "refused", "weak_password"),
        (done, "granted", "password_set"),
        (again, "refused", "link_over"),
        (unknown, "refused", "link_unknown"),
        (nobody, "refused", "unknown_address"),
    ] {
        let id = answer.header("x-request-id").unwrap();
        let line = format!("explain {id} --json");
        let found = Program::on(app.database_url(), &[]).run(&line).await.json();
        let events: Vec<_> = (found["events"].as_array().unwrap().iter())
            .filter(|event| event["kind"] == "link")
            .collect();
        assert_eq!(events.len(), 1, "{reason}: {events:?}");
        assert_eq!(
            (&events[0]["outcome"], &events[0]["reason"]),
            (&json!(outcome), &json!(reason))
        );
        let text = events[0]["text"].as_str().unwrap();
        assert!(text.ends_with('.') && text.contains(' '), "{text}");
    }
    let budget = [("limits.link_mails_per_account", "1")];
    let program = Program::on(app.database_url(), &budget);
    let told = program
        .run("explain alice@example.com")
        .await
        .ok()
        .to_owned();
    for part in [
        "mail with a link",
        "No more links are mailed to this address",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

/// Red if the token, or its MAC alone, is written down anywhere.
#[tokio::test]
async fn a_copy_of_the_database_holds_no_link_that_could_be_used() {
    let app = office().await;
    let alice = app.user(ALICE).await;
    let token = alice.forgotten().await;
    app.admin()
        .await
        .mail_link(&OPERATOR, &ALICE.parse().unwrap())
        .await
        .unwrap();
    alice.token().await;
    until("the mails are settled", async || {
        app.count("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            .await
            == 2
    })
    .await;
    let mut all: Vec<String> = sqlx::query_scalar(
        "SELECT outbox::TEXT FROM outbox UNION ALL SELECT audit_events::TEXT FROM audit_events
         UNION ALL SELECT links::TEXT FROM links UNION ALL SELECT attempts::TEXT FROM attempts",
    )
    .fetch_all(app.sql())
    .await
    .unwrap();
    all.push(app.logged());
    // Of 43 letters the first 21 tell the id, which is in the table; the others are the MAC's.
    for text in &all {
        for part in [&token[22..32], &token[32..42], PAGE] {
            assert!(!text.contains(part), "{part} in {text}");
        }
    }
    alice.link(&token).await.ok();
}

// Limits

#[tokio::test]
async fn wishes_for_links_have_the_limits_of_an_address_and_of_a_network() {
    let app = office().await;
    let alice = app.user(ALICE).await;
    for person in [&alice, &app.stranger("nobody@example.com")] {
        for _ in 0..5 {
            assert_silent(&person.forgot().await, 202);
        }
        assert_eq!(person.forgot().await.limited(), 300);
        assert!(person.forgot().await.limited() <= 300);
        assert_silent(&person.elsewhere().forgot().await, 202);
        app.age_attempts(secs(301)).await;
        assert_silent(&person.forgot().await, 202);
    }
    let network = app.new_network();
    let from_there = |n: u32| Person::new(&app, &format!("u{n}@example.com"), network.clone());
    for n in 0..20 {
        assert_silent(&from_there(n).forgot().await, 202);
    }
    assert!(from_there(20).forgot().await.limited() <= 60);
    // A wish is no sign-in, and takes none of its room.
    from_there(21)
        .signin()
        .await
        .problem(401, "invalid_credentials");
    app.admin()
        .await
        .unlock_user(&*OPERATOR, &ALICE.parse().unwrap())
        .await
        .unwrap();
    assert_silent(&alice.forgot().await, 202);
}

#[tokio::test]
async fn bad_links_count_for_their_network_and_stop_no_good_one() {
    let app = office().await;
    let alice = app.user(ALICE).await;
    let token = alice.forgotten().await;
    for _ in 0..3 {
        alice.link("x").await.problem(401, "invalid_link");
    }
    assert_eq!(alice.link("x").await.limited(), 300);
    assert!(alice.set("x", NEW).await.limited() <= 300);
    alice
        .elsewhere()
        .link("x")
        .await
        .problem(401, "invalid_link");
    alice.link(&token).await.ok();
    assert_silent(&alice.set(&token, NEW).await, 204);
}

/// Requests that make rows without an account have a bound over all networks.
#[tokio::test]
async fn wishes_from_any_number_of_networks_have_a_bound() {
    let app = with(&[
        ("limits.strangers_burst", "3"),
        ("limits.strangers_per_second", "1"),
    ])
    .await;
    let mut refused = 0;
    for n in 0..20 {
        let answer = app.stranger(&format!("u{n}@example.com")).forgot().await;
        if answer.status == 429 {
            assert!(answer.limited() <= 2);
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(app.count("SELECT count(*) FROM links").await, 20 - refused);
}

// Races

/// Sends all at once, each from a network of its own, by turns to two instances.
async fn at_once<T>(
    [app, other]: [&TestApp; 2],
    email: &str,
    of: impl IntoIterator<Item = T>,
    act: impl AsyncFn(Person<'_>, T) -> Answer,
) -> Vec<Answer> {
    let people = of.into_iter().enumerate().map(|(n, item)| {
        let there = if n % 2 == 0 { app } else { other };
        let person = Person::new(there, email, app.new_network());
        (person, item)
    });
    let people: Vec<_> = people.collect();
    join_all(people.into_iter().map(|(person, item)| act(person, item))).await
}

/// Red without `l.consumed_at IS NULL` in `consume_link` and `credential_version = $2` in
/// `replace_password`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_uses_of_one_link_at_once_on_two_instances_one_sets_the_password() {
    let app = office().await;
    let other = app.second_instance().await;
    let alice = app.user(ALICE).await;
    for _ in 0..5 {
        let token = alice.forgotten().await;
        let passwords: Vec<_> = (0..20).map(|n| format!("violet-anvil-{n:04}")).collect();
        let answers = at_once(
            [&app, &other],
            ALICE,
            &passwords,
            async |person, password| person.set(&token, password).await,
        )
        .await;
        let set: Vec<_> = (answers.iter().zip(&passwords))
            .filter(|(answer, _)| answer.status == 204)
            .map(|(_, password)| password)
            .collect();
        assert_eq!(set.len(), 1);
        for answer in answers.iter().filter(|answer| answer.status != 204) {
            answer.problem(401, "invalid_link");
        }
        alice.signin_with(set[0]).await.pair();
        app.execute("DELETE FROM attempts").await;
    }
}

/// Red without `credential_version = $2` in `replace_password`: both set it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_links_of_a_user_at_once_one_sets_the_password() {
    let app = office().await;
    let other = app.second_instance().await;
    let alice = app.user(ALICE).await;
    for _ in 0..5 {
        let mut tokens = Vec::new();
        for _ in 0..3 {
            tokens.push(alice.forgotten().await);
        }
        let answers = at_once([&app, &other], ALICE, &tokens, async |person, token| {
            person.set(token, NEW).await
        })
        .await;
        let set = answers.iter().filter(|answer| answer.status == 204).count();
        assert_eq!(set, 1);
        for answer in answers.iter().filter(|answer| answer.status != 204) {
            answer.problem(401, "invalid_link");
        }
        app.execute("DELETE FROM attempts").await;
    }
}

/// An event that meets a user, or a link, while a password is being set by it.
const MEANWHILE: [&str; 3] = [
    "UPDATE users SET disabled_at = clock_timestamp(), credential_version = credential_version + 1",
    "UPDATE users SET credential_version = credential_version + 1",
    "UPDATE links SET consumed_at = clock_timestamp()",
];

/// Red without `credential_version = $2` in `replace_password`, without `disabled_at IS NULL` there if the
/// version did not move, and without `l.consumed_at IS NULL` in `consume_link`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_sets_a_password_once_its_user_has_changed() {
    for meanwhile in MEANWHILE {
        let app = office().await;
        let alice = app.user(ALICE).await;
        let token = alice.forgotten().await;
        let held = app.hold(meanwhile).await;
        let commit = async {
            until("the link waits", async || app.waits_for_locks().await == 1).await;
            held.commit().await.unwrap();
        };
        let (answer, ()) = tokio::join!(alice.set(&token, NEW), commit);
        answer.problem(401, "invalid_link");
        app.execute("UPDATE users SET disabled_at = NULL").await;
        alice.signin().await.pair();
        assert_eq!(app.recorded("link refused link_over").await, 1);
    }
}

/// Red without `reserve_link`: as many mails as wishes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_wishes_at_once_on_two_instances_exactly_so_many_as_the_budget_are_mailed() {
    let app = with(&[("limits.strangers_burst", "1000")]).await;
    let other = app.second_instance().await;
    app.user(ALICE).await;
    let mail = async |person: Person<'_>, _| person.forgot().await;
    for answer in at_once([&app, &other], ALICE, 0..30, mail).await {
        assert_silent(&answer, 202);
    }
    let real = "SELECT count(*) FROM links WHERE user_id IS NOT NULL";
    assert_eq!(app.count(real).await, 3);
    // Of one address from one network, as many as the limit lets through.
    let bob = app.user(BOB).await;
    let wishes = (0..20).map(|n| {
        let bob = bob.at(if n % 2 == 0 { &app } else { &other });
        async move { bob.forgot().await.status }
    });
    let answers = join_all(wishes).await;
    let taken = answers.iter().filter(|status| **status == 202).count();
    assert_eq!(taken, 5, "{answers:?}");
}

// Faults

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_database_does_not_answer_is_503_and_counts_for_nothing() {
    let app = office().await;
    let alice = app.user(ALICE).await;
    let token = alice.forgotten().await;
    let held = app.hold("LOCK TABLE links").await;
    for _ in 0..6 {
        alice.forgot().await.problem(503, "unavailable");
    }
    alice.link(&token).await.problem(503, "unavailable");
    alice.set(&token, NEW).await.problem(503, "unavailable");
    held.rollback().await.unwrap();
    until("what was reserved is taken back", async || {
        let left = "SELECT COALESCE(sum(cardinality(hits) + cardinality(in_flight)), 0)::BIGINT
                      FROM attempts WHERE scope = 'forgot'";
        app.count(left).await == 1
    })
    .await;
    assert_silent(&alice.set(&token, NEW).await, 204);
    alice.signin_with(NEW).await.pair();
}

/// Between any two lines of the use of a link: nothing of it is done, or all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_that_fails_in_the_middle_leaves_the_link_good() {
    let app = office().await;
    let (alice, pair) = app.signed_in(ALICE).await;
    let token = alice.forgotten().await;
    for table in ["users", "sessions", "attempts", "outbox", "audit_events"] {
        let trigger = format!(
            "CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''as if it died''; END';
             CREATE TRIGGER fails BEFORE INSERT OR UPDATE OR DELETE ON {table}
                 FOR EACH ROW EXECUTE FUNCTION fail();"
        );
        // So that there is something to lift.
        alice.signin_with("wrong").await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger))
            .execute(app.sql())
            .await
            .unwrap();
        alice.set(&token, NEW).await.problem(500, "internal");
        let undo = format!("DROP TRIGGER fails ON {table}; DROP FUNCTION fail();");
        sqlx::raw_sql(sqlx::AssertSqlSafe(undo))
            .execute(app.sql())
            .await
            .unwrap();
        alice.link(&token).await.ok();
        app.execute("DELETE FROM attempts").await;
    }
    alice.refresh(&pair.refresh).await.pair();
    assert_silent(&alice.set(&token, NEW).await, 204);
}

#[tokio::test]
async fn links_are_gone_a_day_after_they_end_and_decoys_at_once() {
    let app = office().await;
    let alice = app.user(ALICE).await;
    alice.forgotten().await;
    app.stranger("nobody@example.com").forgot().await;
    until("the mail is settled", async || {
        app.count("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            .await
            == 1
    })
    .await;
    let (store, audit) = (app.store().await, app.config.audit);
    let rows = async || {
        purge_once(&store, audit).await;
        let links = app.count("SELECT count(*) FROM links").await;
        (links, app.count("SELECT count(*) FROM outbox").await)
    };
    until("the decoy is gone", async || rows().await == (1, 1)).await;
    app.age_links(secs(1_800 + 86_300)).await;
    assert_eq!(rows().await, (1, 1));
    app.age_links(secs(200)).await;
    until("the link is gone", async || rows().await == (0, 0)).await;
}

// Operators

#[tokio::test]
async fn operators_have_links_mailed_that_they_never_see() {
    let app = office().await;
    let program = Program::on(app.database_url(), &[("links.password_url", PAGE)]);
    let said = async |line: &str| program.run(line).await.ok().to_owned();
    let refused = async |line: &str| program.run(line).await.refused().to_owned();
    let told = said("user invite alice@example.com --two-factor off").await;
    assert_eq!(
        told,
        format!("{ALICE}: invited; a link to set a password goes out by mail.\n")
    );
    let alice = app.stranger(ALICE);
    let token = alice.token().await;
    assert_silent(&alice.set(&token, NEW).await, 204);
    app.mail_for(ALICE).await;
    let told = refused("user invite alice@example.com").await;
    assert!(
        told.contains("has a password already; `user link` mails"),
        "{told}"
    );
    let told = program
        .run("user link alice@example.com --json")
        .await
        .json();
    assert_eq!(told["result"], "a link to set a password goes out by mail");
    let mail = app.mail_for(ALICE).await;
    assert!(
        mail.link().is_some() && !mail.text.contains("network"),
        "{}",
        mail.text
    );
    said("user link alice@example.com").await;
    let told = refused("user link alice@example.com").await;
    assert!(told.contains("limits.link_mails_per_account"), "{told}");
    said("user unlock alice@example.com").await;
    said("user link alice@example.com").await;
    said("user disable alice@example.com").await;
    let told = refused("user link alice@example.com").await;
    assert!(told.contains("`user enable`"), "{told}");
    let told = refused("user link nobody@example.com").await;
    assert!(told.contains("no user with this address"), "{told}");
    let off = Program::on(app.database_url(), &[]);
    let told = off
        .run("user link alice@example.com")
        .await
        .refused()
        .to_owned();
    assert!(told.contains("links.password_url"), "{told}");
    let by_operator = "SELECT count(*) FROM audit_events WHERE kind = 'link' AND actor IS NOT NULL
                          AND request_id IS NOT NULL";
    assert_eq!(app.count(by_operator).await, 6);
}

/// The password is hashed as any other is: normalised, and never cut.
#[tokio::test]
async fn a_password_set_by_a_link_is_the_one_that_was_typed() {
    let app = office().await;
    let alice = app.user(ALICE).await;
    let token = alice.forgotten().await;
    let typed = " \u{fb01}sh-u\u{308}ber-all ";
    assert_silent(&alice.set(&token, typed).await, 204);
    assert!(PlainPassword::parse(typed).is_ok());
    alice.signin_with(" fish-\u{fc}ber-all ").await.pair();
    alice.fails_to_signin_with("fish-\u{fc}ber-all").await;
}
