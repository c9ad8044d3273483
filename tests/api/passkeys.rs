//! Passkeys, as a second factor and alone. The rules for authenticators and pages are in `passkey/tests`; that other
//! people's authenticators do the same, in `tests/interop` and `tests/browser`.

use backoffice_auth::domain::EmailAddress;
use backoffice_auth::workers::purge_once;
use serde_json::{Value, json};

use crate::authenticator::{Authenticator, ELIGIBLE, Key, PRESENT, VERIFIED};
use crate::factors::act;
use crate::support::{
    Answer, Jwt, OPERATOR, Pair, Person, TestApp, assert_keys, hold, post, race, secs,
};

const ALICE: &str = "alice@example.com";
const RP_ID: &str = "example.com";
const ORIGIN: &str = "https://office.example.com";

const PASSKEYS: [(&str, &str); 2] = [("passkeys.rp_id", RP_ID), ("passkeys.origins", ORIGIN)];

fn alice() -> EmailAddress {
    ALICE.parse().unwrap()
}

async fn server() -> TestApp {
    TestApp::with(&PASSKEYS).await
}

fn authenticator() -> Authenticator {
    Authenticator::new(Key::es256(), RP_ID, ORIGIN)
}

async fn begin(person: &Person<'_>, pair: &Pair) -> Value {
    act(person, "POST", "passkeys/options", pair, None)
        .await
        .ok()
}

async fn send(person: &Person<'_>, pair: &Pair, token: &Value, credential: &Value) -> Answer {
    let body = json!({"token": token, "name": "Phone", "credential": credential});
    act(person, "POST", "passkeys", pair, Some(body)).await
}

/// Adds a passkey; the answer.
async fn add(person: &Person<'_>, pair: &Pair, key: &mut Authenticator) -> Value {
    let options = begin(person, pair).await;
    let credential = key.create(&options["publicKey"]);
    let added = send(person, pair, &options["token"], &credential).await;
    assert_eq!(added.status, 201, "{}", added.json());
    added.json()
}

async fn confirm(person: &Person<'_>, token: &Value, credential: &Value) -> Answer {
    let body = json!({"token": token, "credential": credential});
    let path = "/api/v2/2fa/confirm";
    person.app.post(path, &person.network, &body).await
}

/// Signs in with the password and a passkey.
async fn signin(person: &Person<'_>, key: &mut Authenticator) -> Answer {
    let details = person.signin().await.ok()["2faDetails"].clone();
    confirm(person, &details["token"], &key.get(&details["publicKey"])).await
}

async fn ask(person: &Person<'_>) -> Value {
    let path = "/api/v2/passkey/options";
    person
        .app
        .post(path, &person.network, &json!({}))
        .await
        .ok()
}

async fn send_alone(person: &Person<'_>, token: &Value, credential: &Value) -> Answer {
    let body = json!({"token": token, "credential": credential});
    let path = "/api/v2/passkey/signin";
    person.app.post(path, &person.network, &body).await
}

/// Signs in with a passkey alone.
async fn signin_alone(person: &Person<'_>, key: &mut Authenticator) -> Answer {
    let options = ask(person).await;
    let credential = key.get(&options["publicKey"]);
    send_alone(person, &options["token"], &credential).await
}

fn amr(pair: &Pair) -> Value {
    Jwt::read(&pair.access).claims["amr"].clone()
}

/// The fields of a passkey that was added as the first one.
const ADDED: [&str; 6] = [
    "id",
    "name",
    "createdAt",
    "synced",
    "alone",
    "recoveryCodes",
];

/// Fails unless these options ask for a passkey of Alice's, with the algorithms that are taken.
fn assert_is_wanted_of_alice(wanted: &Value) {
    assert_eq!(wanted["rp"], json!({"id": RP_ID, "name": "Back Office"}));
    assert_eq!(wanted["user"]["name"], ALICE);
    let algorithms = wanted["pubKeyCredParams"].as_array().unwrap();
    let algorithms: Vec<_> = algorithms.iter().map(|known| &known["alg"]).collect();
    assert_eq!(algorithms, [-7, -257, -8]);
}

/// Fails unless the session's tokens and the check of one say that a passkey was used.
async fn assert_all_tell_of_a_passkey(person: &Person<'_>, pair: &Pair) {
    let server = person.app;
    let methods = json!(["pwd", "swk", "user", "mfa"]);
    assert_eq!(amr(pair), methods);
    let next = person.refresh(&pair.refresh).await.pair();
    assert_eq!(amr(&next), methods);
    let request = server.request("GET", "/auth/verify", &person.network);
    let verified = server.send(request.bearer_auth(&next.access)).await;
    assert_eq!(verified.header("x-auth-amr"), Some("pwd,swk,user,mfa"));
}

#[tokio::test]
async fn a_user_who_adds_a_passkey_confirms_with_it_and_gets_no_mail() {
    let server = server().await;
    let person = server.user_with_code(ALICE).await;
    let (token, code) = person.challenge_and_code().await;
    let own = person.confirm(&token, &code).await.pair();
    let (token, code) = person.elsewhere().challenge_and_code().await;
    let other = person.elsewhere().confirm(&token, &code).await.pair();

    let mut key = authenticator();
    let options = begin(&person, &own).await;
    assert_keys(&options, &["token", "publicKey", "expiresAt"]);
    let wanted = &options["publicKey"];
    assert_is_wanted_of_alice(wanted);
    // Nothing has changed yet.
    person.refresh(&other.refresh).await.pair();

    let credential = key.create(wanted);
    let added = send(&person, &own, &options["token"], &credential).await;
    let added = added.json();
    assert_keys(&added, &ADDED);
    assert_eq!(added["recoveryCodes"].as_array().unwrap().len(), 10);
    person.fails_to_signout(&other.access).await;
    let mail = server.mail_for(ALICE).await;
    assert!(mail.text.contains("A passkey was added"), "{}", mail.text);

    let mails = server.count("SELECT count(*) FROM outbox").await;
    let details = person.signin().await.ok()["2faDetails"].clone();
    assert_eq!(details["provider"], "passkey");
    assert_eq!(details["providers"], json!(["passkey", "recovery_code"]));
    let asked = &details["publicKey"];
    assert_eq!(asked["allowCredentials"][0]["id"], credential["id"]);
    assert_eq!(
        asked["allowCredentials"][0]["transports"],
        json!(["internal", "hybrid"])
    );
    assert_eq!(asked["userVerification"], "discouraged");
    let confirmed = confirm(&person, &details["token"], &key.get(asked)).await;
    assert_keys(&confirmed.json(), &["accessToken", "refreshToken"]);
    assert_all_tell_of_a_passkey(&person, &confirmed.pair()).await;
    assert_eq!(server.count("SELECT count(*) FROM outbox").await, mails);
    let me = person.me(&own.access).await.ok();
    assert_keys(
        &me["passkeys"][0],
        &["id", "name", "createdAt", "lastUsedAt", "synced", "alone"],
    );
    let events = [
        "account granted passkey_added",
        "signin granted challenged_for_passkey",
        "confirm granted session_opened",
    ];
    for event in events {
        assert!(server.recorded(event).await > 0, "{event}");
    }
}

#[tokio::test]
async fn a_passkey_that_verifies_its_owner_signs_in_alone() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    for (flags, methods) in [
        (PRESENT | VERIFIED, json!(["hwk", "user", "mfa"])),
        (PRESENT | VERIFIED | ELIGIBLE, json!(["swk", "user", "mfa"])),
    ] {
        let mut key = authenticator();
        key.flags = flags;
        assert_eq!(add(&person, &own, &mut key).await["alone"], true);
        let pair = signin_alone(&person, &mut key).await.pair();
        assert_eq!(amr(&pair), methods);
        let next = person.refresh(&pair.refresh).await.pair();
        assert_eq!(amr(&next), methods);
        assert_eq!(Jwt::read(&next.access).claims["email"], ALICE);
    }
    // It takes the password along where it is used after it.
    let options = ask(&person).await;
    assert_keys(&options, &["token", "publicKey", "expiresAt"]);
    assert_eq!(options["publicKey"]["allowCredentials"], json!([]));
    assert_eq!(options["publicKey"]["userVerification"], "required");
}

/// Red without the look at `verifies_user`.
#[tokio::test]
async fn a_passkey_that_never_verified_its_owner_does_not_sign_in_alone() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    key.flags = PRESENT;
    assert_eq!(add(&person, &own, &mut key).await["alone"], false);
    key.flags = PRESENT | VERIFIED;
    let refused = signin_alone(&person, &mut key).await;
    refused.problem(401, "invalid_passkey");
    assert_eq!(server.recorded("signin refused passkey_not_alone").await, 1);
    // After the password it may show that it does.
    let pair = signin(&person, &mut key).await.pair();
    assert_eq!(amr(&pair), json!(["pwd", "hwk", "user", "mfa"]));
    signin_alone(&person, &mut key).await.pair();
    key.flags = PRESENT;
    let refused = signin_alone(&person, &mut key).await;
    refused.problem(401, "invalid_passkey");
}

#[tokio::test]
async fn keys_of_all_algorithms_are_added_and_used() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    for key in [Key::es256(), Key::rs256(), Key::eddsa()] {
        let mut key = Authenticator::new(key, RP_ID, ORIGIN);
        add(&person, &own, &mut key).await;
        signin_alone(&person, &mut key).await.pair();
        signin(&person, &mut key).await.pair();
    }
    assert_eq!(
        server.count("SELECT count(*) FROM passkeys").await,
        3,
        "each of its own"
    );
}

/// Red without `used_passkey_requests`, and without `consumed_at IS NULL`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_thirty_answers_to_one_request_at_once_on_two_instances_one_succeeds() {
    let more = [("limits.signin_network_per_minute", "1000")];
    let server = TestApp::with(&[&PASSKEYS[..], &more].concat()).await;
    let other = server.second_instance().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    let options = ask(&person).await;
    let alone = json!({"token": options["token"], "credential": key.get(&options["publicKey"])});
    let details = person.signin().await.ok()["2faDetails"].clone();
    let second = json!({"token": details["token"], "credential": key.get(&details["publicKey"])});
    for (path, body, refusal) in [
        ("/api/v2/passkey/signin", alone, "invalid_passkey"),
        ("/api/v2/2fa/confirm", second, "invalid_two_factor"),
    ] {
        let mut held = Vec::new();
        for place in 0..30 {
            // A refusal counts for the network, and they are to be refused for the use.
            let network = server.new_network();
            let headers = [
                ("content-type", "application/json"),
                ("x-forwarded-for", network.as_str()),
            ];
            let request = post(path, &headers, body.to_string().as_bytes());
            let instance = if place % 2 == 0 { &server } else { &other };
            held.extend(hold(&[instance], &request, 1).await);
        }
        let answers = race(held).await;
        let (granted, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(granted.len(), 1, "{path}");
        for answer in refused {
            answer.problem(401, refusal);
        }
    }
}

#[tokio::test]
async fn a_request_is_answered_in_time_and_where_it_was_made() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    let options = ask(&person).await;
    let wanted = begin(&person, &own).await;
    let credential = key.get(&options["publicKey"]);
    // A token of another request, or of another kind, or of nobody.
    let foreign = [
        ask(&person).await["token"].clone(),
        wanted["token"].clone(),
        "".into(),
        "x".into(),
    ];
    for token in &foreign {
        let refused = send_alone(&person, token, &credential).await;
        refused.problem(401, "invalid_passkey");
    }
    send_alone(&person, &options["token"], &credential)
        .await
        .pair();
    let again = send_alone(&person, &options["token"], &credential).await;
    again.problem(401, "invalid_passkey");
    assert_eq!(
        server.recorded("signin refused passkey_request_over").await,
        1
    );
    // Another session of the same person did not ask.
    let elsewhere = person.elsewhere();
    let others = signin(&elsewhere, &mut key).await.pair();
    let mut second = authenticator();
    let credential = second.create(&wanted["publicKey"]);
    for token in [&options["token"], &wanted["token"]] {
        let refused = send(&elsewhere, &others, token, &credential).await;
        refused.problem(422, "invalid_request");
        assert_eq!(refused.json()["errors"][0]["field"], "token");
    }
    // A challenge that somebody else signed.
    let refused = send(
        &person,
        &own,
        &begin(&person, &own).await["token"],
        &credential,
    )
    .await;
    assert_eq!(refused.json()["errors"][0]["field"], "credential");
    assert_eq!(server.recorded("account refused passkey_refused").await, 1);
    let made = send(&person, &own, &wanted["token"], &credential).await;
    assert_eq!(made.status, 201);
}

/// Red without the clock in `use_passkey_request` and in `try_add_passkey`.
#[tokio::test]
async fn a_request_is_over_after_five_minutes() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    // As if they had been asked for 301 seconds ago.
    server.clock().go_back(secs(301));
    let options = ask(&person).await;
    let wanted = begin(&person, &own).await;
    server.clock().advance(secs(301));
    let credential = key.get(&options["publicKey"]);
    let refused = send_alone(&person, &options["token"], &credential).await;
    refused.problem(401, "invalid_passkey");
    assert_eq!(
        server.recorded("signin refused passkey_request_over").await,
        1
    );
    let credential = authenticator().create(&wanted["publicKey"]);
    let refused = send(&person, &own, &wanted["token"], &credential).await;
    assert_eq!(refused.json()["errors"][0]["field"], "token");
}

/// Red where a passkey takes a place under the limit of codes, or sets back the count of wrong ones.
#[tokio::test]
async fn a_passkey_is_not_kept_out_by_wrong_codes_and_does_not_pardon_them() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    for _ in 0..3 {
        let token = person.challenge().await;
        person.fails_to_confirm(&token, "123456").await;
    }
    let token = person.challenge().await;
    let blocked = person.confirm(&token, "123456").await;
    blocked.problem(429, "too_many_attempts");
    signin(&person.elsewhere(), &mut key).await.pair();
    let failures = "SELECT second_factor_failures::BIGINT FROM users";
    assert_eq!(server.count(failures).await, 3);
}

#[tokio::test]
async fn a_refused_passkey_counts_for_its_network_alone() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let (mut key, mut strange) = (authenticator(), authenticator());
    add(&person, &own, &mut key).await;
    let guesser = person.elsewhere();
    let details = guesser.signin().await.ok()["2faDetails"].clone();
    let bad = strange.get(&details["publicKey"]);
    for _ in 0..3 {
        let refused = confirm(&guesser, &details["token"], &bad).await;
        refused.problem(401, "invalid_two_factor");
    }
    let refused = confirm(&guesser, &details["token"], &bad).await;
    refused.problem(429, "too_many_attempts");
    assert_eq!(server.recorded("confirm refused unknown_passkey").await, 3);
    // Neither the challenge nor the network is closed to the owner.
    let good = key.get(&details["publicKey"]);
    confirm(&guesser, &details["token"], &good).await.pair();
}

#[tokio::test]
async fn every_reason_to_refuse_a_passkey_gets_the_same_answer() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    let mut answers = Vec::new();
    let mut tell = async |change: &dyn Fn(&mut Authenticator)| {
        let mut other = authenticator();
        other.credential_id.clone_from(&key.credential_id);
        other.user_handle.clone_from(&key.user_handle);
        change(&mut other);
        let elsewhere = person.elsewhere();
        answers.push(signin_alone(&elsewhere, &mut other).await);
    };
    tell(&|_| {}).await;
    tell(&|other| other.credential_id = vec![1; 32]).await;
    tell(&|other| other.user_handle = None).await;
    tell(&|other| other.origin = "https://example.com".to_owned()).await;
    tell(&|other| other.flags = PRESENT).await;
    let admin = server.admin().await;
    admin.disable_user(&*OPERATOR, &alice()).await.unwrap();
    answers.push(signin_alone(&person.elsewhere(), &mut key).await);
    for answer in &answers {
        answer.problem(401, "invalid_passkey");
        let without_id = |answer: &Answer| {
            let mut body = answer.json();
            body.as_object_mut().unwrap().remove("requestId");
            body
        };
        assert_eq!(without_id(answer), without_id(&answers[0]));
    }
    assert_eq!(server.recorded("signin refused user_disabled").await, 1);
}

/// Red without the look at the passkey in `find_proof`.
#[tokio::test]
async fn with_a_passkey_a_mailed_code_is_neither_sent_nor_taken() {
    let server = server().await;
    let person = server.user_with_code(ALICE).await;
    let (token, code) = person.challenge_and_code().await;
    let own = person.confirm(&token, &code).await.pair();
    let (waiting, mailed) = person.elsewhere().challenge_and_code().await;
    let added = add(&person, &own, &mut authenticator()).await;
    person.fails_to_confirm(&waiting, &mailed).await;
    let code = added["recoveryCodes"][0].as_str().unwrap();
    let answer = person.confirm(&person.challenge().await, code).await;
    assert_eq!(answer.json()["recoveryCodesLeft"], 9);
    assert_eq!(amr(&answer.pair()), json!(["pwd", "otp"]));
}

#[tokio::test]
async fn the_app_is_an_alternative_and_the_codes_stay_until_the_last_factor_goes() {
    let server =
        TestApp::with(&[&PASSKEYS[..], &[("limits.confirm.attempts", "100")]].concat()).await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    let added = add(&person, &own, &mut key).await;
    let enrolled = act(&person, "POST", "totp", &own, None).await.ok();
    assert!(enrolled["secret"].is_string());
    let (app, codes) = enrol_beside(&person, &own).await;
    assert!(codes.is_none(), "those of the passkey are still good");
    let details = person.signin().await.ok()["2faDetails"].clone();
    assert_eq!(
        details["providers"],
        json!(["passkey", "totp", "recovery_code"])
    );
    let pair = person
        .confirm(details["token"].as_str().unwrap(), &app.code(1))
        .await
        .pair();
    assert_eq!(amr(&pair), json!(["pwd", "otp", "mfa"]));
    // The app goes, the passkey and the codes stay.
    let removed = act(&person, "DELETE", "totp", &pair, None).await;
    assert_eq!(removed.status, 204);
    assert_eq!(person.me(&pair.access).await.ok()["recoveryCodesLeft"], 10);
    let path = format!("passkeys/{}", added["id"].as_str().unwrap());
    for other in [
        "passkeys/x",
        "passkeys/00000000-0000-4000-8000-000000000000",
    ] {
        let refused = act(&person, "DELETE", other, &pair, None).await;
        refused.problem(404, "not_found");
    }
    let (bob, his) = server.signed_in("bob@example.com").await;
    let refused = act(&bob, "DELETE", &path, &his, None).await;
    refused.problem(404, "not_found");
    let removed = act(&person, "DELETE", &path, &pair, None).await;
    assert_eq!((removed.status, removed.body.len()), (204, 0));
    let me = person.me(&pair.access).await.ok();
    assert_eq!(me["recoveryCodesLeft"], 0);
    assert_eq!(
        (&me["passkeys"], &me["twoFactor"]),
        (&json!([]), &json!("email"))
    );
    let details = person.signin().await.ok()["2faDetails"].clone();
    assert_keys(&details, &["token", "provider", "expiresAt"]);
    let gone = signin_alone(&person.elsewhere(), &mut key).await;
    gone.problem(401, "invalid_passkey");
}

/// An app for somebody who has a passkey.
async fn enrol_beside(person: &Person<'_>, pair: &Pair) -> (crate::factors::App, Option<Value>) {
    let enrolment = act(person, "POST", "totp", pair, None).await.ok();
    let app = crate::factors::App::of(&enrolment);
    let body = json!({"id": enrolment["id"], "code": app.code(0)});
    let confirmed = act(person, "POST", "totp/confirm", pair, Some(body)).await;
    (app, confirmed.ok().get("recoveryCodes").cloned())
}

#[tokio::test]
async fn a_change_of_a_passkey_needs_a_recent_sign_in() {
    let server = TestApp::with(&[&PASSKEYS[..], &[("tokens.fresh_seconds", "600")]].concat()).await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    let added = add(&person, &own, &mut key).await;
    let wanted = begin(&person, &own).await;
    let credential = authenticator().create(&wanted["publicKey"]);
    server.age_sessions(secs(601)).await;
    let own = person.refresh(&own.refresh).await.pair();
    let path = format!("passkeys/{}", added["id"].as_str().unwrap());
    let body = json!({"token": wanted["token"], "name": "x", "credential": credential});
    for (method, path, body) in [
        ("POST", "passkeys/options", None),
        ("POST", "passkeys", Some(body)),
        ("DELETE", &*path, None),
    ] {
        let refused = act(&person, method, path, &own, body).await;
        refused.problem(401, "reauthentication_required");
    }
    assert_eq!(server.count("SELECT count(*) FROM passkeys").await, 1);
}

#[tokio::test]
async fn a_passkey_is_added_once_and_ten_are_enough() {
    let server =
        TestApp::with(&[&PASSKEYS[..], &[("limits.account.attempts", "100")]].concat()).await;
    let (person, own) = server.signed_in(ALICE).await;
    let (bob, his) = server.signed_in("bob@example.com").await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    // Whether the owner or somebody else has it: a page may have lost the answer, or somebody sends another's.
    for (person, pair) in [(&person, &own), (&bob, &his)] {
        let options = begin(person, pair).await;
        let credential = key.create(&options["publicKey"]);
        let refused = send(person, pair, &options["token"], &credential).await;
        refused.problem(409, "passkey_known");
    }
    let options = begin(&person, &own).await;
    assert_eq!(
        options["publicKey"]["excludeCredentials"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for _ in 1..10 {
        add(&person, &own, &mut authenticator()).await;
    }
    let refused = act(&person, "POST", "passkeys/options", &own, None).await;
    refused.problem(409, "too_many_passkeys");
    let credential = authenticator().create(&options["publicKey"]);
    let refused = send(&person, &own, &options["token"], &credential).await;
    refused.problem(409, "too_many_passkeys");
}

#[tokio::test]
async fn a_counter_that_does_not_go_up_is_on_record_and_accepted() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    key.sign_count = 7;
    add(&person, &own, &mut key).await;
    for (count, events) in [(10, 0), (10, 1), (4, 2), (11, 2)] {
        key.sign_count = count - 1;
        signin_alone(&person, &mut key).await.pair();
        let recorded = server.recorded("signin granted passkey_counter").await;
        assert_eq!(recorded, events, "{count}");
    }
    key.sign_count = 11;
    let details = person.signin().await.ok()["2faDetails"].clone();
    key.sign_count = 5;
    let used = key.get(&details["publicKey"]);
    confirm(&person, &details["token"], &used).await.pair();
    assert_eq!(server.recorded("confirm granted passkey_counter").await, 1);
}

/// A setting that changes must not leave an account with a password alone.
#[tokio::test]
async fn a_passkey_of_another_domain_is_not_offered_and_still_counts() {
    let more = [("limits.confirm.attempts", "100")];
    let server = TestApp::with(&[&PASSKEYS[..], &more].concat()).await;
    let person = server.user_with_code(ALICE).await;
    let (token, code) = person.challenge_and_code().await;
    let own = person.confirm(&token, &code).await.pair();
    let mut key = authenticator();
    let added = add(&person, &own, &mut key).await;
    let code = added["recoveryCodes"][0].as_str().unwrap();
    let details = |answer: Answer| answer.ok()["2faDetails"].clone();
    let moved = [
        ("passkeys.rp_id", "example.org"),
        ("passkeys.origins", "https://example.org"),
    ];
    for settings in [
        &moved[..],
        &[("passkeys.rp_id", ""), ("passkeys.origins", "")],
    ] {
        let other = server.try_second_instance(settings).await.unwrap();
        let person = person.elsewhere();
        let person = person.at(&other);
        let details = details(person.signin().await);
        assert_eq!(details["provider"], "recovery_code");
        assert_eq!(details["providers"], json!(["recovery_code"]));
        assert!(details.get("publicKey").is_none());
        let token = details["token"].as_str().unwrap();
        person.fails_to_confirm(token, "123456").await;
    }
    let off = [
        ("passkeys.rp_id", ""),
        ("passkeys.origins", ""),
        ("http.allowed_origins", ORIGIN),
    ];
    let off = server.try_second_instance(&off).await.unwrap();
    let person = person.at(&off);
    for path in ["passkey/options", "passkey/signin", "me/passkeys"] {
        let path = format!("/api/v2/{path}");
        let answer = off.post(&path, &person.network, &json!({})).await;
        answer.problem(404, "not_found");
    }
    // A page of another origin may read that there are none.
    let request = off.request("POST", "/api/v2/passkey/options", &person.network);
    let answer = off.send(request.header("origin", ORIGIN)).await;
    answer.problem(404, "not_found");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    let details = details(person.signin().await);
    let token = details["token"].as_str().unwrap();
    let pair = person.confirm(token, code).await.pair();
    let path = format!("passkeys/{}", added["id"].as_str().unwrap());
    let removed = act(&person, "DELETE", &path, &pair, None).await;
    assert_eq!(removed.status, 204);
}

#[tokio::test]
async fn an_operator_sees_and_removes_passkeys() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    let admin = server.admin().await;
    let user = admin.find_user(&alice()).await.unwrap();
    assert!(user.has_passkey && user.has_strong_factor());
    let factors = admin.find_factors(user.user_id).await.unwrap();
    assert_eq!(factors.passkeys[0].name, "Phone");
    admin.reset_factors(&*OPERATOR, &alice()).await.unwrap();
    let factors = admin.find_factors(user.user_id).await.unwrap();
    assert!(factors.passkeys.is_empty() && factors.recovery_codes_left == 0);
    person.fails_to_refresh(&own.refresh).await;
    signin_alone(&person.elsewhere(), &mut key)
        .await
        .problem(401, "invalid_passkey");
    let (token, code) = person.challenge_and_code().await;
    person.confirm(&token, &code).await.pair();
}

/// Red without the lock on the owner, or where the use of a passkey is noted before it is had.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_passkey_that_is_removed_while_it_signs_in_does_not_deadlock() {
    let more = [
        ("limits.signin_network_per_minute", "1000"),
        ("limits.account.attempts", "1000"),
        ("limits.signin.attempts", "1000"),
    ];
    let server = TestApp::with(&[&PASSKEYS[..], &more].concat()).await;
    let (person, own) = server.signed_in(ALICE).await;
    for _ in 0..10 {
        let mut key = authenticator();
        let added = add(&person, &own, &mut key).await;
        let options = ask(&person).await;
        let alone =
            json!({"token": options["token"], "credential": key.get(&options["publicKey"])});
        let details = person.signin().await.ok()["2faDetails"].clone();
        let second =
            json!({"token": details["token"], "credential": key.get(&details["publicKey"])});
        let path = format!("passkeys/{}", added["id"].as_str().unwrap());
        let elsewhere = person.elsewhere();
        let (removed, alone, second) = tokio::join!(
            act(&person, "DELETE", &path, &own, None),
            server.post("/api/v2/passkey/signin", &elsewhere.network, &alone),
            server.post("/api/v2/2fa/confirm", &elsewhere.network, &second),
        );
        assert_eq!(removed.status, 204);
        for answer in [alone, second] {
            assert!(matches!(answer.status, 200 | 401), "{}", answer.json());
        }
    }
    let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL";
    assert_eq!(server.count(live).await, 1, "the removal ended all others");
}

#[tokio::test]
async fn bodies_that_are_no_passkeys_are_named_for_what_is_wrong() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    let token = person.challenge().await;
    let fields = |answer: &Answer| {
        answer.problem(422, "invalid_request");
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        let names = errors
            .iter()
            .map(|error| error["field"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for (path, body, wrong) in [
        ("2fa/confirm", json!({"token": token}), &["code"][..]),
        (
            "2fa/confirm",
            json!({"token": token, "credential": {}}),
            &["credential"],
        ),
        (
            "2fa/confirm",
            json!({"token": token, "code": "123456", "credential": key.get(&json!({"challenge": ""}))}),
            &["credential"],
        ),
        ("2fa/confirm", json!({}), &["token", "code"]),
        ("passkey/signin", json!({}), &["token", "credential"]),
        (
            "passkey/signin",
            json!({"token": "x", "credential": "x"}),
            &["credential"],
        ),
    ] {
        let path = format!("/api/v2/{path}");
        let answer = server.post(&path, &person.network, &body).await;
        assert_eq!(fields(&answer), wrong, "{body}");
    }
    let answer = act(
        &person,
        "POST",
        "passkeys",
        &own,
        Some(json!({"name": " "})),
    )
    .await;
    assert_eq!(fields(&answer), ["token", "name", "credential"]);
}

/// Red without the purge of `used_passkey_requests`.
#[tokio::test]
async fn used_requests_are_forgotten_after_a_day() {
    let server = server().await;
    let (person, own) = server.signed_in(ALICE).await;
    let mut key = authenticator();
    add(&person, &own, &mut key).await;
    signin_alone(&person, &mut key).await.pair();
    let rows = "SELECT count(*) FROM used_passkey_requests";
    assert_eq!(server.count(rows).await, 1);
    server
        .execute("UPDATE used_passkey_requests SET expires_at = expires_at - INTERVAL '25 hours'")
        .await;
    purge_once(&server.store().await, server.config.audit).await;
    assert_eq!(server.count(rows).await, 0);
}
