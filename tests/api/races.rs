//! Every compare-and-set of the database, raced.
//!
//! The requests of a race have arrived at two instances but for their last byte; the last bytes are
//! sent together. An act without a route is called on two connections of its own at the same
//! instant. Each race is run [`ROUNDS`] times with exact counts, and each was seen to fail with its
//! guard taken out of the statement; the line above a test names the guard, and the result without
//! it. Races for limits are in `limits.rs`.

use std::collections::HashSet;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use backoffice_auth::admin::{Activation, Admin, ImportError, KeyChangeError, UserError};
use backoffice_auth::auth::SigningKeys;
use backoffice_auth::config::Config;
use backoffice_auth::domain::{
    ChallengeId, ClientNetwork, CodeNonce, EmailAddress, HashKind, KeyId, MailKind,
    NewPasswordHash, OneTimeCode, PasswordHash, PlainPassword, Purpose, RequestId, TwoFactor,
    UserId,
};
use backoffice_auth::store::{Due, DueMail, NewChallenge, NewUser, PurgedTable, Store};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use serde_json::json;
use sqlx::PgPool;

use crate::support::{
    Answer, Database, Jwt, OPERATOR, PASSWORD, Pair, Person, ROUNDS, TestApp, hold, other_than,
    post, race, request, secs, settings, until,
};

const ALICE: &str = "alice@example.com";

fn alice() -> EmailAddress {
    ALICE.parse().unwrap()
}

/// How many of the answers have this status.
fn with_status(answers: &[Answer], status: u16) -> usize {
    answers
        .iter()
        .filter(|answer| answer.status == status)
        .count()
}

fn refresh(pair: &Pair, network: &str) -> Vec<u8> {
    let body = json!({"refreshToken": pair.refresh}).to_string();
    post(
        "/api/v2/refresh",
        &[("X-Forwarded-For", network)],
        body.as_bytes(),
    )
}

fn confirm(token: &str, code: &str, network: &str) -> Vec<u8> {
    let body = json!({"token": token, "code": code}).to_string();
    post(
        "/api/v2/2fa/confirm",
        &[("X-Forwarded-For", network)],
        body.as_bytes(),
    )
}

fn signin(network: &str) -> Vec<u8> {
    let body = json!({"email": ALICE, "password": PASSWORD}).to_string();
    post(
        "/api/v2/signin",
        &[("X-Forwarded-For", network)],
        body.as_bytes(),
    )
}

/// A request with the access token of a pair.
fn bearing(method: &str, path: &str, pair: &Pair, network: &str) -> Vec<u8> {
    let bearer = format!("Bearer {}", pair.access);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("X-Forwarded-For", network),
    ];
    request(method, path, &headers, b"")
}

/// A change of password with the access token of a pair.
fn change_password(pair: &Pair, new: &str, network: &str) -> Vec<u8> {
    let bearer = format!("Bearer {}", pair.access);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("X-Forwarded-For", network),
    ];
    let body = json!({"currentPassword": PASSWORD, "newPassword": new}).to_string();
    post("/api/v2/me/password", &headers, body.as_bytes())
}

/// The database of two servers with as little in the way as can be.
async fn two() -> (TestApp, TestApp) {
    let app = TestApp::with(&[
        ("limits.signin.attempts", "1000"),
        ("limits.signin_network_per_minute", "100000"),
        ("limits.account.attempts", "1000"),
        ("limits.confirm.attempts", "1000"),
        ("limits.refresh.attempts", "1000"),
        ("limits.mails_per_account", "1000"),
        ("limits.flood_burst", "100000"),
    ])
    .await;
    let other = app.second_instance().await;
    (app, other)
}

// Sessions

/// Red without `s.generation = $2` in `advance!`: fifty pairs instead of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_tabs_that_wake_at_once_with_one_token_get_one_pair() {
    let (app, other) = two().await;
    app.user(ALICE).await;
    for _ in 0..ROUNDS {
        let alice = app.stranger(ALICE);
        let first = alice.signin().await.pair();
        let answers = race(hold(&[&app, &other], &refresh(&first, &alice.network), 50).await).await;
        let pairs: Vec<_> = answers.iter().map(Answer::pair).collect();
        let bodies: HashSet<_> = pairs.iter().map(|pair| &pair.body).collect();
        assert_eq!(bodies.len(), 1);
        alice.refresh(&pairs[0].refresh).await.pair();
    }
    assert_eq!(app.count("SELECT min(generation) FROM sessions").await, 3);
    assert_eq!(app.count("SELECT max(generation) FROM sessions").await, 3);
}

/// Red without `s.ended_at IS NULL` in `advance!`: an ended session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn once_a_sign_out_is_answered_no_token_of_the_session_refreshes_it() {
    let (app, other) = two().await;
    app.user(ALICE).await;
    for _ in 0..ROUNDS {
        let alice = app.stranger(ALICE);
        let first = alice.signin().await.pair();
        let mut held = hold(&[&other, &app], &refresh(&first, &alice.network), 3).await;
        let signout = bearing("POST", "/api/v2/signout", &first, &alice.network);
        held.extend(hold(&[&other], &signout, 1).await);
        held.swap(2, 3);
        let answers = race(held).await;
        answers[2].ok_and_empty();
        let mut pairs = vec![first];
        for answer in [&answers[0], &answers[1], &answers[3]] {
            if answer.status == 200 {
                pairs.push(answer.pair());
            } else {
                answer.problem(401, "invalid_refresh_token");
            }
        }
        assert_all_dead(&alice, &pairs).await;
    }
}

/// Fails if one of these pairs is still good for anything.
async fn assert_all_dead(person: &Person<'_>, pairs: &[Pair]) {
    for pair in pairs {
        person.fails_to_refresh(&pair.refresh).await;
        person.fails_to_signout(&pair.access).await;
    }
}

/// Red without `ended_at IS NULL` in `end_session`: several succeed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_sign_outs_at_once_one_succeeds() {
    let (app, other) = two().await;
    app.user(ALICE).await;
    for round in 1..=ROUNDS {
        let alice = app.stranger(ALICE);
        let pair = alice.signin().await.pair();
        let signout = bearing("POST", "/api/v2/signout", &pair, &alice.network);
        let answers = race(hold(&[&app, &other], &signout, 8).await).await;
        assert_eq!(with_status(&answers, 200), 1);
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            refused.problem(401, "invalid_access_token");
        }
        assert_eq!(
            app.recorded("session_ended granted signed_out").await,
            round
        );
    }
}

/// Red without `ended_at IS NULL` in `end_session`: several end the same session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_end_another_of_their_sessions_at_once_one_does() {
    let (app, other) = two().await;
    let (alice, own) = app.signed_in(ALICE).await;
    for round in 1..=ROUNDS {
        let ended = alice.signin().await.pair();
        let claims = Jwt::read(&ended.access).claims;
        let path = format!("/api/v2/sessions/{}", claims["sid"].as_str().unwrap());
        let end = bearing("DELETE", &path, &own, &alice.network);
        let answers = race(hold(&[&app, &other], &end, 8).await).await;
        assert_eq!(with_status(&answers, 204), 1);
        for refused in answers.iter().filter(|answer| answer.status != 204) {
            refused.problem(404, "not_found");
        }
        assert_all_dead(&alice, &[ended]).await;
        let ended = "SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL";
        assert_eq!(app.count(ended).await, i64::try_from(round).unwrap());
    }
}

/// Red without `ended_at IS NULL` in `end_sessions_of`: a session is ended by each of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_operators_who_sign_somebody_out_at_once_each_session_is_ended_by_one() {
    let (app, _) = two().await;
    let alice_there = app.user(ALICE).await;
    let admins = [operator(&app).await, operator(&app).await];
    let email = alice();
    for _ in 0..ROUNDS {
        for _ in 0..3 {
            alice_there.elsewhere().signin().await.pair();
        }
        let ended = join_all(
            admins
                .iter()
                .cycle()
                .take(6)
                .map(|admin| admin.sign_user_out(&*OPERATOR, &email)),
        )
        .await;
        assert_eq!(ended.into_iter().map(Result::unwrap).sum::<usize>(), 3);
    }
}

/// Red without `FOR UPDATE` in `end_other_sessions_of`: each ends the other, and nobody is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sessions_that_end_each_other_at_once_one_stays() {
    let (app, other) = two().await;
    for _ in 0..ROUNDS {
        let (alice, one) = app.signed_in(ALICE).await;
        let two = alice.signin().await.pair();
        let mut held = Vec::new();
        for pair in [&one, &two] {
            let path = "/api/v2/sessions?others=true";
            let end = bearing("DELETE", path, pair, &alice.network);
            held.extend(hold(&[&app, &other], &end, 2).await);
        }
        let answers = race(held).await;
        for refused in answers.iter().filter(|answer| answer.status != 204) {
            refused.problem(401, "invalid_access_token");
        }
        let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
        assert_eq!(app.count(live).await, 1);
        app.execute("DELETE FROM users").await;
        app.execute("DELETE FROM sessions").await;
    }
}

/// Red without `credential_version = $2` in `replace_password`: several are told that their password counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_changes_of_a_password_at_once_one_counts() {
    let (app, other) = two().await;
    for round in 1..=ROUNDS {
        let (alice, pair) = app.signed_in(ALICE).await;
        let mut held = Vec::new();
        for n in 0..6 {
            let change = change_password(&pair, &format!("new-anvil-{n}"), &alice.network);
            held.extend(hold(&[[&app, &other][n % 2]], &change, 1).await);
        }
        let answers = race(held).await;
        let winners: Vec<_> = (0..6).filter(|n| answers[*n].status == 204).collect();
        assert_eq!(winners.len(), 1);
        for refused in answers.iter().filter(|answer| answer.status != 204) {
            refused.problem(403, "wrong_password");
        }
        let password = format!("new-anvil-{}", winners[0]);
        alice.signin_with(&password).await.pair();
        alice.refresh(&pair.refresh).await.pair();
        let line = "account granted password_changed";
        assert_eq!(app.recorded(line).await, round);
        app.execute("DELETE FROM users").await;
    }
}

/// Red without `s.ended_at IS NULL` in `advance!`: a session of the old password goes on. Red where a change
/// ends the session that asks, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_of_password_ends_the_sessions_that_are_refreshed_meanwhile_but_its_own() {
    let (app, other) = two().await;
    for _ in 0..ROUNDS {
        let (alice, own) = app.signed_in(ALICE).await;
        let theirs = alice.signin().await.pair();
        let mut held = hold(&[&app, &other], &refresh(&theirs, &alice.network), 4).await;
        held.extend(hold(&[&other], &refresh(&own, &alice.network), 2).await);
        let change = change_password(&own, "new-anvil-1", &alice.network);
        held.extend(hold(&[&app], &change, 1).await);
        let answers = race(held).await;
        assert_eq!(answers[6].status, 204);
        let mut pairs = vec![theirs];
        for answer in &answers[..4] {
            match answer.status {
                200 => pairs.push(answer.pair()),
                _ => drop(answer.problem(401, "invalid_refresh_token")),
            }
        }
        let next = [answers[4].pair(), answers[5].pair()];
        assert_eq!(next[0].body, next[1].body);
        assert_all_dead(&alice, &pairs).await;
        alice.refresh(&next[0].refresh).await.pair();
        app.execute("DELETE FROM users").await;
    }
}

/// Red without the guards of `replace_password` and the look at the session that asks, all together: a user
/// who was disabled has another password.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_of_password_and_a_disabling_come_one_after_the_other() {
    let (app, other) = two().await;
    let admin = operator(&app).await;
    for _ in 0..ROUNDS {
        let (alice, own) = app.signed_in(ALICE).await;
        let change = change_password(&own, "new-anvil-1", &alice.network);
        let held = hold(&[&app, &other], &change, 2).await;
        let (answers, ()) = tokio::join!(race(held), Blow::Disable.fall(&app, &admin));
        assert_all_dead(&alice, &[own]).await;
        let is_changed = with_status(&answers, 204) == 1;
        for refused in answers.iter().filter(|answer| answer.status != 204) {
            let code = match refused.status {
                401 => "invalid_access_token",
                _ => "wrong_password",
            };
            refused.problem(refused.status, code);
        }
        admin.enable_user(&*OPERATOR, &self::alice()).await.unwrap();
        let (good, bad) = if is_changed {
            ("new-anvil-1", PASSWORD)
        } else {
            (PASSWORD, "new-anvil-1")
        };
        alice.signin_with(good).await.pair();
        alice.fails_to_signin_with(bad).await;
        app.execute("DELETE FROM users").await;
    }
}

/// Red without `is_new` on the locked row: each is put on record.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_repeats_from_a_new_network_at_once_one_is_put_on_record() {
    let (app, other) = two().await;
    app.user(ALICE).await;
    for round in 1..=ROUNDS {
        let alice = app.stranger(ALICE);
        let first = alice.signin().await.pair();
        let second = alice.refresh(&first.refresh).await.pair();
        let there = alice.elsewhere().network;
        let answers = race(hold(&[&app, &other], &refresh(&first, &there), 8).await).await;
        for answer in &answers {
            assert_eq!(answer.pair().body, second.body);
        }
        let line = "refresh granted repeated_elsewhere";
        assert_eq!(app.recorded(line).await, round);
    }
}

/// Red without `FOR UPDATE` in `lock_session`: the same reuse is found, and told, several times.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_is_used_again_by_many_at_once_ends_its_session_once() {
    let (app, other) = two().await;
    app.user(ALICE).await;
    for round in 1..=ROUNDS {
        let alice = app.stranger(ALICE);
        let first = alice.signin().await.pair();
        let second = alice.refresh(&first.refresh).await.pair();
        app.age_sessions(secs(30)).await;
        let answers = race(hold(&[&app, &other], &refresh(&first, &alice.network), 8).await).await;
        for answer in &answers {
            answer.problem(401, "invalid_refresh_token");
        }
        assert_eq!(app.recorded("refresh refused reuse").await, round);
        assert_eq!(
            app.recorded("refresh refused session_over").await,
            7 * round + 2 * (round - 1)
        );
        assert_all_dead(&alice, &[first, second]).await;
    }
}

/// Red without `ON CONFLICT` in `open_session`: all but one of them are a 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_sign_ins_at_once_from_a_new_network_all_succeed_and_it_is_known_once() {
    let (app, other) = two().await;
    app.user(ALICE).await;
    for round in 1..=ROUNDS {
        let answers = race(hold(&[&app, &other], &signin(&app.new_network()), 8).await).await;
        for answer in &answers {
            answer.pair();
        }
        let known = app.count("SELECT count(*) FROM known_networks").await;
        assert_eq!(known, i64::try_from(round).unwrap());
    }
}

// Codes

/// Red without `c.consumed_at IS NULL` in `consume_challenge`: up to ten sessions instead of one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_code_that_is_confirmed_twenty_times_at_once_opens_one_session() {
    let (app, other) = two().await;
    let alice = app.user_with_code(ALICE).await;
    for round in 1..=ROUNDS {
        let (token, code) = alice.challenge_and_code().await;
        let confirm = confirm(&token, &code, &alice.network);
        let answers = race(hold(&[&app, &other], &confirm, 20).await).await;
        assert_eq!(with_status(&answers, 200), 1);
        for answer in answers.iter().filter(|answer| answer.status != 200) {
            answer.problem(401, "invalid_two_factor");
        }
        let sessions = app.count("SELECT count(*) FROM sessions").await;
        assert_eq!(sessions, i64::try_from(round).unwrap());
    }
}

/// Red when `spend_confirm_attempt` tells the attempts as they were when it began, and not those of
/// the locked row: more than ten guesses are looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_thirty_guesses_at_once_at_one_challenge_exactly_ten_are_looked_at() {
    let (app, other) = two().await;
    let alice = app.user_with_code(ALICE).await;
    for round in 1..=ROUNDS {
        let (token, code) = alice.challenge_and_code().await;
        let guess = confirm(&token, &other_than(&code), &alice.network);
        for answer in race(hold(&[&app, &other], &guess, 30).await).await {
            answer.problem(401, "invalid_two_factor");
        }
        assert_eq!(app.recorded("confirm refused wrong_code").await, 10 * round);
        assert_eq!(
            app.recorded("confirm refused challenge_exhausted").await,
            20 * round
        );
        app.admin()
            .await
            .unlock_user(&*OPERATOR, &self::alice())
            .await
            .unwrap();
    }
}

/// Red without `second_factor_failures < $2` in `spend_confirm_attempt`: all forty are looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_guesses_at_once_at_four_challenges_exactly_so_many_are_looked_at_as_the_account_has()
 {
    let app = TestApp::with(&[
        ("limits.confirm.attempts", "1000"),
        ("limits.confirm_failures_per_account", "20"),
        ("limits.mails_per_account", "1000"),
    ])
    .await;
    let other = app.second_instance().await;
    let alice = app.user_with_code(ALICE).await;
    for round in 1..=ROUNDS {
        let mut held = Vec::new();
        for _ in 0..4 {
            let (token, code) = alice.elsewhere().challenge_and_code().await;
            let guess = confirm(&token, &other_than(&code), &app.new_network());
            held.extend(hold(&[&app, &other], &guess, 10).await);
        }
        for answer in race(held).await {
            answer.problem(401, "invalid_two_factor");
        }
        assert_eq!(app.recorded("confirm refused wrong_code").await, 20 * round);
        assert_eq!(
            app.recorded("confirm refused second_factor_locked").await,
            20 * round
        );
        app.admin()
            .await
            .unlock_user(&*OPERATOR, &self::alice())
            .await
            .unwrap();
    }
}

// Sign-ins against operators

/// The act of an operator on a user who is signing in.
#[derive(Debug, Clone, Copy)]
enum Blow {
    Disable,
    Delete,
    ChangePassword,
}

impl Blow {
    const ALL: [Self; 3] = [Self::Disable, Self::Delete, Self::ChangePassword];

    async fn fall(self, app: &TestApp, admin: &Admin) {
        let done = match self {
            Self::Disable => admin.disable_user(&*OPERATOR, &alice()).await,
            Self::Delete => admin.delete_user(&*OPERATOR, &alice()).await,
            Self::ChangePassword => {
                let password = PlainPassword::parse("violet-anvil-68").unwrap();
                admin
                    .change_password(&OPERATOR, &app.pool(), &alice(), password)
                    .await
            }
        };
        done.unwrap();
    }
}

/// The request of a user when the blow falls.
#[derive(Debug, Clone, Copy)]
enum Way {
    Signin,
    Confirm,
    Refresh,
}

/// Races a way in against every blow. Nothing works once the blow has fallen, for any answer.
async fn race_against_operators(way: Way) {
    let (app, other) = two().await;
    let admin = operator(&app).await;
    for round in 0..ROUNDS {
        let blow = Blow::ALL[round % Blow::ALL.len()];
        let (alice, request) = ready(&app, way).await;
        let held = hold(&[&app, &other], &request, 6).await;
        let (answers, ()) = tokio::join!(race(held), blow.fall(&app, &admin));
        let mut pairs = Vec::new();
        for answer in answers {
            match answer.status {
                200 => pairs.push(answer.pair()),
                status => assert_eq!(status, 401, "{way:?} {blow:?}"),
            }
        }
        assert_all_dead(&alice, &pairs).await;
        let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
        assert_eq!(app.count(live).await, 0, "{way:?} {blow:?}");
        app.execute("DELETE FROM users").await;
    }
}

/// A user, and the request that gets them in.
async fn ready(app: &TestApp, way: Way) -> (Person<'_>, Vec<u8>) {
    let alice = match way {
        Way::Confirm => app.user_with_code(ALICE).await,
        Way::Signin | Way::Refresh => app.user(ALICE).await,
    };
    let request = match way {
        Way::Signin => signin(&alice.network),
        Way::Refresh => refresh(&alice.signin().await.pair(), &alice.network),
        Way::Confirm => {
            let (token, code) = alice.challenge_and_code().await;
            confirm(&token, &code, &alice.network)
        }
    };
    (alice, request)
}

/// Red without `FOR NO KEY UPDATE` in `open_session`: a session outlives the ending of all sessions, and a
/// sign-in that meets a deletion is a 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_session_slips_in_between_a_change_to_a_user_and_the_end_of_their_sessions() {
    race_against_operators(Way::Signin).await;
}

/// Red without `u.credential_version = c.credential_version` in `consume_challenge` and the same in
/// `open_session`: a code opens a session after the password has changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_code_opens_a_session_once_its_user_has_changed() {
    race_against_operators(Way::Confirm).await;
}

/// Red without `ended_at IS NULL` in `advance!`: a pair is handed out that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_session_is_refreshed_once_its_user_has_changed() {
    race_against_operators(Way::Refresh).await;
}

/// Red without `credential_version = $4` in `insert_challenge` and without `credential_version` in
/// `consume_challenge`: the old password, checked before the change, still opens a session.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_challenge_for_the_password_before_is_good_for_nothing() {
    let (app, other) = two().await;
    let admin = operator(&app).await;
    for _ in 0..ROUNDS {
        let alice = app.user_with_code(ALICE).await;
        let held = hold(&[&app, &other], &signin(&alice.network), 4).await;
        let change = Blow::ChangePassword.fall(&app, &admin);
        let (answers, ()) = tokio::join!(race(held), change);
        for answer in answers.iter().filter(|answer| answer.status == 200) {
            let token = answer.ok()["2faDetails"]["token"]
                .as_str()
                .unwrap()
                .to_owned();
            let code = code_of(&app, &token).await;
            alice.fails_to_confirm(&token, &code).await;
        }
        assert_eq!(app.count("SELECT count(*) FROM sessions").await, 0);
        app.execute("DELETE FROM users").await;
    }
}

/// The right code of a challenge, whether its mail has left or not.
async fn code_of(app: &TestApp, token: &str) -> String {
    let challenge_id: uuid::Uuid = token.parse().unwrap();
    let nonce: Vec<u8> = sqlx::query_scalar("SELECT nonce FROM challenges WHERE challenge_id = $1")
        .bind(challenge_id)
        .fetch_one(app.sql())
        .await
        .unwrap();
    let key = app.config.secrets.master_key.derive(Purpose::OneTimeCodes);
    let nonce = CodeNonce::from_stored(&nonce).unwrap();
    OneTimeCode::derive(&key, ChallengeId(challenge_id), nonce)
        .expose()
        .to_owned()
}

/// A database on which no server runs, and two instances' ways to it.
struct Idle {
    config: Config,
    stores: [Store; 2],
    sql: PgPool,
    _database: Database,
}

impl Idle {
    async fn start() -> Self {
        let database = Database::migrated().await;
        let config = settings(&database.url, &[]);
        let stores = [
            Store::connect(&config.database).await.unwrap(),
            Store::connect(&config.database).await.unwrap(),
        ];
        let sql = PgPool::connect(&database.url).await.unwrap();
        Self {
            config,
            stores,
            sql,
            _database: database,
        }
    }

    fn admins(&self) -> [Admin; 2] {
        let stores = self.stores.each_ref();
        stores.map(|store| Admin::new(store.clone(), &self.config))
    }

    fn keys(&self) -> [SigningKeys; 2] {
        let stores = self.stores.each_ref();
        stores.map(|store| SigningKeys::new(store.clone(), &self.config))
    }

    /// Somebody who needs a code.
    async fn user(&self) -> UserId {
        let hash = hash("some salt or other");
        self.admins()[0]
            .insert_user(&OPERATOR, &alice(), hash, TwoFactor::Email)
            .await
            .unwrap()
    }

    async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.sql).await.unwrap();
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .fetch_one(&self.sql)
            .await
            .unwrap()
    }

    /// The number of keys for access tokens, in any state.
    async fn count_keys(&self) -> i64 {
        self.count("SELECT count(*) FROM signing_keys WHERE purpose = 'access'")
            .await
    }

    /// The same for refresh tokens.
    async fn count_refresh_keys(&self) -> i64 {
        self.count("SELECT count(*) FROM signing_keys WHERE purpose = 'refresh'")
            .await
    }

    /// Removes all keys but one of each kind, which sign.
    async fn back_to_one_key(&self) {
        self.execute(
            "DELETE FROM signing_keys
              WHERE key_id NOT IN (SELECT DISTINCT ON (purpose) key_id FROM signing_keys
                                    WHERE revoked_at IS NULL ORDER BY purpose, activates_at)",
        )
        .await;
        self.execute("UPDATE signing_keys SET expires_at = NULL")
            .await;
    }

    async fn waits_for_locks(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .await
    }
}

// Users

/// The use cases of an operator, on a connection of their own.
async fn operator(app: &TestApp) -> Admin {
    Admin::new(app.store().await, &app.config)
}

/// A hash that is none of anybody's password.
fn hash(text: &str) -> NewPasswordHash {
    let (kind, salt) = (
        "$argon2id$v=19$m=64,t=1,p=1",
        BASE64_STANDARD.encode(text).replace('=', ""),
    );
    let hash = format!("{kind}${salt}$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    NewPasswordHash::new(PasswordHash::new(hash), HashKind::new(kind.to_owned()))
}

/// Red without `users_email_key`: several users with one address.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_address_that_is_given_to_many_at_once_has_one_user() {
    let idle = Idle::start().await;
    let admins = idle.admins();
    for round in 1..=ROUNDS {
        let email: EmailAddress = format!("user{round}@example.com").parse().unwrap();
        let hash = hash("some salt or other");
        let makers = admins.iter().cycle().take(6);
        let made =
            makers.map(|admin| admin.insert_user(&OPERATOR, &email, hash.clone(), TwoFactor::Off));
        let (made, refused): (Vec<_>, Vec<_>) =
            join_all(made).await.into_iter().partition(Result::is_ok);
        assert_eq!(made.len(), 1);
        for refusal in refused {
            assert!(
                matches!(refusal, Err(UserError::AddressTaken)),
                "{refusal:?}"
            );
        }
        let count = idle.count("SELECT count(*) FROM users").await;
        assert_eq!(count, i64::try_from(round).unwrap());
    }
}

/// Red without `try_lock_imports`: the two wait for each other, and PostgreSQL ends one of them for a
/// deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_files_with_the_same_people_that_are_imported_at_once_one_gets_in_whole() {
    let idle = Idle::start().await;
    let admins = idle.admins();
    for round in 1..=ROUNDS {
        let there: Vec<NewUser> = (0..200).map(|n| new_user(round * 1_000 + n)).collect();
        let back: Vec<NewUser> = there.iter().rev().cloned().collect();
        let (one, other) = tokio::join!(
            import_whole(&admins[0], &there),
            import_whole(&admins[1], &back)
        );
        // Of those who clash none is made, and another import is told of.
        let made = [&one, &other]
            .into_iter()
            .filter(|result| matches!(result, Ok(true)));
        assert_eq!(made.count(), 1, "{one:?} {other:?}");
        for error in [one, other].into_iter().filter_map(Result::err) {
            assert!(matches!(error, ImportError::Busy), "{error:?}");
        }
        let count = idle.count("SELECT count(*) FROM users").await;
        assert_eq!(count, 200 * i64::try_from(round).unwrap());
    }
}

/// Imports all of `users`, or none of them and says so.
async fn import_whole(admin: &Admin, users: &[NewUser]) -> Result<bool, ImportError> {
    let mut import = admin.begin_import(&OPERATOR, None).await?;
    if import.add(users).await?.is_empty() {
        import.commit().await?;
        return Ok(true);
    }
    import.undo().await?;
    Ok(false)
}

fn new_user(number: usize) -> NewUser {
    NewUser {
        user_id: None,
        email: format!("user{number}@example.com").parse().unwrap(),
        password_hash: Some(hash("some salt or other")),
        two_factor: TwoFactor::Off,
        is_disabled: false,
    }
}

/// Red without `password_hash = $2` in `upgrade_password_hash`: the new hash of the old password
/// replaces that of the new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hash_that_is_upgraded_never_brings_an_old_password_back() {
    let (app, other) = two().await;
    let admin = operator(&app).await;
    let stores = [app.store().await, other.store().await];
    app.user(ALICE).await;
    for round in 0..ROUNDS {
        let user = admin.find_user(&alice()).await.unwrap();
        let old = user.password_hash.unwrap();
        let upgraded = hash(&format!("upgraded in round {round}"));
        let password = format!("violet-anvil-{round:03}");
        let pool = app.pool();
        let change = admin.change_password(
            &OPERATOR,
            &pool,
            &user.email,
            PlainPassword::parse(&password).unwrap(),
        );
        let rehashed = stores
            .iter()
            .cycle()
            .take(6)
            .map(|store| store.upgrade_password_hash(user.user_id, &old, &upgraded));
        let (changed, done) = tokio::join!(change, join_all(rehashed));
        changed.unwrap();
        for done in done {
            done.unwrap();
        }
        app.stranger(ALICE).signin_with(&password).await.pair();
    }
}

// Keys

/// Fails unless one of two got what only one can get; that there is now one more key is the proof.
/// Tells what the other was told.
fn one_of_two<T>(
    one: Result<T, KeyChangeError>,
    other: Result<T, KeyChangeError>,
) -> KeyChangeError {
    match (one, other) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        (Ok(_), Ok(_)) => panic!("both got it"),
        (Err(one), Err(other)) => panic!("{one}; {other}"),
    }
}

/// Red without the second look behind the lock in `ensure_first`: two first keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_find_no_key_at_once_make_one() {
    let idle = Idle::start().await;
    let rings = idle.keys();
    for _ in 0..ROUNDS {
        idle.execute("DELETE FROM signing_keys").await;
        let (one, other) = tokio::join!(rings[0].ensure_first(), rings[1].ensure_first());
        one.unwrap();
        other.unwrap();
        assert_eq!(idle.count_keys().await, 1);
        assert_eq!(idle.count_refresh_keys().await, 1);
    }
}

/// Red without `refuse_second` behind the lock in `rotate`: two keys wait to take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn operators_who_rotate_at_once_make_one_successor() {
    let idle = Idle::start().await;
    let admins = idle.admins();
    for _ in 0..ROUNDS {
        let rotate =
            |ring: usize| admins[ring].rotate_keys(&OPERATOR, Activation::AfterPublishing, None);
        let (one, other) = tokio::join!(rotate(0), rotate(1));
        let error = one_of_two(one, other);
        assert!(matches!(error, KeyChangeError::Pending { .. }), "{error}");
        assert_eq!(idle.count_keys().await, 2);
        assert_eq!(idle.count_refresh_keys().await, 2);
        idle.back_to_one_key().await;
    }
}

/// Red when `rotate_if_due` looks only before the lock: two successors.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_who_find_a_key_old_at_once_one_makes_the_next() {
    let mut idle = Idle::start().await;
    idle.config.keys.rotate_after = secs(3_600);
    let rings = idle.keys();
    let age = "UPDATE signing_keys SET activates_at = activates_at - INTERVAL '1 day'";
    idle.execute(age).await;
    for _ in 0..ROUNDS {
        let made = join_all(rings.iter().cycle().take(4).map(SigningKeys::rotate_if_due)).await;
        let made = made.into_iter().flat_map(Result::unwrap).count();
        assert_eq!((made, idle.count_keys().await), (2, 2));
        assert_eq!(idle.count_refresh_keys().await, 2);
        idle.back_to_one_key().await;
    }
}

/// Red without the second `plan_revocation` behind the lock in `revoke`: each revokes it again, and
/// makes a key in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_operators_who_revoke_a_key_at_once_one_does() {
    let idle = Idle::start().await;
    let admins = idle.admins();
    for _ in 0..ROUNDS {
        let key_id: String =
            sqlx::query_scalar("SELECT key_id FROM signing_keys WHERE purpose = 'access'")
                .fetch_one(&idle.sql)
                .await
                .unwrap();
        let key_id = KeyId(key_id);
        let revoke = |ring: usize| admins[ring].revoke_key(&OPERATOR, &key_id);
        let (one, other) = tokio::join!(revoke(0), revoke(1));
        one_of_two(one, other);
        assert_eq!(idle.count_keys().await, 2);
        idle.back_to_one_key().await;
    }
}

/// Red without `refuse_second` behind the lock in `import`: two keys wait to take over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_keys_that_are_imported_at_once_one_is_taken() {
    let idle = Idle::start().await;
    let admins = idle.admins();
    let pems = [(); 2].map(|()| {
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let text = BASE64_STANDARD.encode(der.as_ref());
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
    });
    for _ in 0..ROUNDS {
        let import = |n: usize| admins[n].import_key(&OPERATOR, pems[n].as_bytes(), None);
        let (one, other) = tokio::join!(import(0), import(1));
        one_of_two(one, other);
        assert_eq!(idle.count_keys().await, 2);
        idle.back_to_one_key().await;
    }
}

// Mails and purging

/// Puts mails into the outbox that no server sends: there is none on this database.
async fn queue_mails(store: &Store, user_id: UserId, count: usize) {
    for _ in 0..count {
        let mut tx = store.begin().await.unwrap();
        let new = NewChallenge {
            challenge_id: ChallengeId::random(),
            user_id,
            nonce: CodeNonce::random(),
            credential_version: 1,
            has_totp: false,
            has_passkey: false,
            rp_id: None,
            ttl: secs(600),
            network: ClientNetwork::of([198, 18, 0, 1].into()),
        };
        let (challenge, _) = tx.insert_challenge(&new).await.unwrap().unwrap();
        tx.insert_code_mail(&challenge, &RequestId::parse("request-1").unwrap())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

/// Leases a mail, and has lost it at once.
async fn lease(store: &Store, due: Due) -> DueMail {
    let leased = store
        .lease_due_mails(MailKind::ALL, due, 1, secs(0))
        .await
        .unwrap();
    leased.into_iter().next().unwrap()
}

/// Red without `FOR UPDATE OF o SKIP LOCKED` in `lease_due_mails`: both instances lease the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mail_that_is_due_is_leased_by_one_instance() {
    let idle = Idle::start().await;
    let user_id = idle.user().await;
    for _ in 0..ROUNDS {
        queue_mails(&idle.stores[0], user_id, 12).await;
        let takers = idle.stores.iter().cycle().take(6);
        let leased = join_all(
            takers.map(|store| store.lease_due_mails(MailKind::ALL, Due::New, 12, secs(45))),
        )
        .await;
        let leased: Vec<_> = leased.into_iter().flat_map(Result::unwrap).collect();
        let distinct: HashSet<_> = leased.iter().map(|mail| mail.mail_id.0).collect();
        assert_eq!((leased.len(), distinct.len()), (12, 12));
        assert!(leased.iter().all(|mail| mail.attempts == 1));
    }
}

/// Red without `o.given_up_at IS NULL` in `give_up_overdue_mails`: each of them writes it down.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_mail_that_is_overdue_is_given_up_once() {
    let idle = Idle::start().await;
    let user_id = idle.user().await;
    for round in 1..=ROUNDS {
        queue_mails(&idle.stores[0], user_id, 5).await;
        idle.execute("UPDATE challenges SET expires_at = clock_timestamp()")
            .await;
        let takers = idle.stores.iter().cycle().take(6);
        for done in join_all(takers.map(|store| store.give_up_overdue_mails(100))).await {
            done.unwrap();
        }
        let told = "SELECT count(*) FROM audit_events WHERE reason = 'mail_expired'";
        assert_eq!(idle.count(told).await, 5 * i64::try_from(round).unwrap());
    }
}

/// Red without `attempts = $3` in `settle_refused_mail`: the other's mail is given up while it is on
/// its way; and without `sent_at IS NULL`: one that has arrived is.
#[tokio::test]
async fn a_refusal_gives_up_no_mail_that_another_has_leased_or_sent() {
    let idle = Idle::start().await;
    let user_id = idle.user().await;
    queue_mails(&idle.stores[0], user_id, 1).await;
    let given_up = "SELECT count(*) FROM outbox WHERE given_up_at IS NOT NULL";
    let first = lease(&idle.stores[0], Due::New).await;
    let second = lease(&idle.stores[1], Due::Again).await;
    let refuse = async |mail| {
        let mut tx = idle.stores[0].begin().await.unwrap();
        let did = tx.settle_refused_mail(mail, "550 no").await.unwrap();
        tx.commit().await.unwrap();
        did
    };
    assert!(!refuse(&first).await);
    assert_eq!(idle.count(given_up).await, 0);
    // The first was frozen: its mail had arrived after all.
    let mut tx = idle.stores[0].begin().await.unwrap();
    let sent = tx.settle_sent_mail(first.mail_id, "250 yes").await;
    sent.unwrap();
    tx.commit().await.unwrap();
    assert!(!refuse(&second).await);
    assert_eq!(idle.count(given_up).await, 0);

    queue_mails(&idle.stores[0], user_id, 1).await;
    let third = lease(&idle.stores[0], Due::New).await;
    assert!(refuse(&third).await && !refuse(&third).await);
    assert_eq!(idle.count(given_up).await, 1);
}

/// Red without `attempts = $4` or `sent_at IS NULL` in `postpone_mail`, and without either of them or
/// `given_up_at IS NULL` in `count_mail_copy`.
#[tokio::test]
async fn a_mail_that_another_has_leased_or_settled_is_neither_sent_nor_put_off() {
    let idle = Idle::start().await;
    let (store, user_id) = (&idle.stores[0], idle.user().await);
    let put_off = "SELECT count(*) FROM outbox WHERE last_reply = '451 later'";
    let is_left_alone = async |mail| {
        store
            .postpone_mail(mail, secs(0), "451 later")
            .await
            .unwrap();
        !store.count_mail_copy(mail).await.unwrap() && idle.count(put_off).await == 0
    };
    queue_mails(store, user_id, 1).await;
    let first = lease(store, Due::New).await;
    let second = lease(store, Due::Again).await;
    assert!(is_left_alone(&first).await);
    assert!(store.count_mail_copy(&second).await.unwrap());
    let mut tx = store.begin().await.unwrap();
    let sent = tx.settle_sent_mail(second.mail_id, "250 yes").await;
    sent.unwrap();
    tx.commit().await.unwrap();
    assert!(is_left_alone(&second).await);

    queue_mails(store, user_id, 1).await;
    let third = lease(store, Due::New).await;
    let mut tx = store.begin().await.unwrap();
    tx.settle_refused_mail(&third, "550 no").await.unwrap();
    tx.commit().await.unwrap();
    assert!(!store.count_mail_copy(&third).await.unwrap());
}

/// Red where all that is given up counts as expired, where the time of a lease is not waited for, or
/// where a mail that may have arrived counts too.
#[tokio::test]
async fn a_mail_that_arrived_or_may_have_is_not_said_to_have_expired() {
    let idle = Idle::start().await;
    let (store, user_id) = (&idle.stores[0], idle.user().await);
    let lease = async |lasting| {
        let leased = store
            .lease_due_mails(MailKind::ALL, Due::New, 1, lasting)
            .await
            .unwrap();
        assert_eq!(leased.len(), 1);
        leased.into_iter().next().unwrap()
    };
    // One whose code was used, one of which a relay had all when its sender said no more, one that is
    // being sent, one that nobody has tried to send.
    queue_mails(store, user_id, 1).await;
    lease(secs(0)).await;
    idle.execute("UPDATE challenges SET consumed_at = clock_timestamp()")
        .await;
    queue_mails(store, user_id, 1).await;
    let at_the_relay = lease(secs(0)).await;
    assert!(store.count_mail_copy(&at_the_relay).await.unwrap());
    queue_mails(store, user_id, 1).await;
    lease(secs(600)).await;
    queue_mails(store, user_id, 1).await;
    idle.execute("UPDATE challenges SET expires_at = clock_timestamp()")
        .await;
    let given_up = store.give_up_overdue_mails(10).await.unwrap();
    assert_eq!((given_up.mails, given_up.expired), (3, 1));
    let told = "SELECT count(*) FROM audit_events WHERE reason = 'mail_expired'";
    assert_eq!(idle.count(told).await, 1);
    // Its sender has put it off instead: it has not left.
    idle.execute("UPDATE outbox SET leased_until = NULL").await;
    let given_up = store.give_up_overdue_mails(10).await.unwrap();
    assert_eq!((given_up.mails, given_up.expired), (1, 1));
}

/// Red without `copies < $4` in `lease_due_mails`, without `attempts = $2` in `count_mail_copy` (the
/// first counts the second's copy as its own), and where a copy that cannot arrive stays counted.
#[tokio::test]
async fn a_mail_is_never_on_its_way_more_than_twice() {
    let idle = Idle::start().await;
    let (store, user_id) = (&idle.stores[0], idle.user().await);
    queue_mails(store, user_id, 1).await;
    let copies = "SELECT copies::BIGINT FROM outbox";
    // A relay said no, as often as it liked: nothing can arrive.
    let mut refused = lease(store, Due::New).await;
    for _ in 0..5 {
        assert!(store.count_mail_copy(&refused).await.unwrap());
        assert!(store.count_mail_copy(&refused).await.unwrap());
        assert_eq!(idle.count(copies).await, 1);
        store
            .postpone_mail(&refused, secs(0), "451 later")
            .await
            .unwrap();
        refused = lease(store, Due::Again).await;
    }
    assert_eq!(idle.count(copies).await, 0);
    // A sender dies with the relay in the middle of the mail, another gets no answer.
    assert!(store.count_mail_copy(&refused).await.unwrap());
    let second = lease(&idle.stores[1], Due::Again).await;
    assert!(
        !store.count_mail_copy(&refused).await.unwrap(),
        "the lease was lost"
    );
    assert!(store.count_mail_copy(&second).await.unwrap());
    store
        .postpone_unclear_mail(&second, secs(0), "cut")
        .await
        .unwrap();
    assert_eq!(idle.count(copies).await, 2);
    let third = store
        .lease_due_mails(MailKind::ALL, Due::Again, 1, secs(0))
        .await
        .unwrap();
    assert!(third.is_empty(), "{third:?}");
}

/// Red without `attempts = held.attempts` in `renew_mail_leases` and `release_mail_leases`: a sender
/// that was frozen prolongs the other's lease, or ends it.
#[tokio::test]
async fn a_lease_is_prolonged_and_given_back_by_its_holder_alone() {
    let idle = Idle::start().await;
    let (store, user_id) = (&idle.stores[0], idle.user().await);
    let leased = "SELECT count(*) FROM outbox WHERE leased_until > clock_timestamp()";
    let held = |mail: &DueMail| [(mail.mail_id, mail.attempts)];
    queue_mails(store, user_id, 2).await;
    let first = lease(store, Due::New).await;
    let second = lease(store, Due::Again).await;
    store
        .renew_mail_leases(&held(&first), secs(60))
        .await
        .unwrap();
    assert_eq!(idle.count(leased).await, 0);
    store
        .renew_mail_leases(&held(&second), secs(60))
        .await
        .unwrap();
    assert_eq!(idle.count(leased).await, 1);
    store
        .release_mail_leases(&held(&first), secs(60))
        .await
        .unwrap();
    assert_eq!(idle.count(leased).await, 1);
    store
        .release_mail_leases(&held(&second), secs(60))
        .await
        .unwrap();
    assert_eq!(idle.count(leased).await, 0);
    // It cannot have arrived, so it is due; with a copy on its way it would wait.
    let third = lease(store, Due::Again).await;
    assert_eq!(third.mail_id.0, second.mail_id.0);
    store
        .renew_mail_leases(&held(&third), secs(60))
        .await
        .unwrap();
    assert!(store.count_mail_copy(&third).await.unwrap());
    store
        .release_mail_leases(&held(&third), secs(60))
        .await
        .unwrap();
    let due = store
        .lease_due_mails(MailKind::ALL, Due::Again, 1, secs(0))
        .await
        .unwrap();
    assert!(due.is_empty(), "{due:?}");
}

/// Red without `pg_try_advisory_xact_lock` in `begin_purge`: the second removes the challenges while
/// the first is still at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_one_instance_purges_another_leaves_it_alone() {
    let idle = Idle::start().await;
    let user_id = idle.user().await;
    for _ in 0..ROUNDS {
        queue_mails(&idle.stores[0], user_id, 5).await;
        idle.execute("UPDATE challenges SET expires_at = clock_timestamp() - INTERVAL '2 days'")
            .await;
        // The first to purge waits in the middle of it.
        let mut busy = idle.sql.begin().await.unwrap();
        sqlx::query("LOCK TABLE attempts")
            .execute(&mut *busy)
            .await
            .unwrap();
        let first = idle.stores[0].purge(PurgedTable::Attempts, 100);
        let second = async {
            until("the first waits", async || {
                idle.waits_for_locks().await == 1
            })
            .await;
            let removed = idle.stores[1]
                .purge(PurgedTable::Challenges, 100)
                .await
                .unwrap();
            busy.commit().await.unwrap();
            removed
        };
        let (first, second) = tokio::join!(first, second);
        assert_eq!((first.unwrap(), second), (0, 0));
        assert_eq!(
            idle.stores[1]
                .purge(PurgedTable::Challenges, 100)
                .await
                .unwrap(),
            5
        );
    }
}
