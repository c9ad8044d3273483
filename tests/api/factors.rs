//! Authenticator apps and recovery codes.

use aws_lc_rs::hmac;
use backoffice_auth::domain::{Clock, EmailAddress, TwoFactor};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use crate::support::{
    Answer, Jwt, OPERATOR, Pair, Person, TestApp, assert_keys, hold, post, race, secs,
};

const ALICE: &str = "alice@example.com";

fn alice() -> EmailAddress {
    ALICE.parse().unwrap()
}

/// An authenticator app, as RFC 6238 has it.
pub struct App {
    secret: Vec<u8>,
}

impl App {
    pub fn of(enrolment: &Value) -> Self {
        let secret = enrolment["secret"].as_str().unwrap();
        Self {
            secret: BASE32_NOPAD.decode(secret.as_bytes()).unwrap(),
        }
    }

    /// The code that is shown so many steps from now.
    pub fn code(&self, steps: i64) -> String {
        let step = Clock::system().now().timestamp() / 30 + steps;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let mac = hmac::sign(&key, &step.to_be_bytes());
        let at = usize::from(mac.as_ref()[19] & 15);
        let word = mac.as_ref()[at..at + 4].try_into().unwrap();
        format!(
            "{:06}",
            (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000
        )
    }
}

/// Asks for something of the caller's own account.
pub async fn act(
    person: &Person<'_>,
    method: &str,
    path: &str,
    pair: &Pair,
    body: Option<Value>,
) -> Answer {
    let path = format!("me/{path}");
    person.ask(&pair.access, method, &path, body).await
}

async fn begin(person: &Person<'_>, pair: &Pair) -> Value {
    act(person, "POST", "totp", pair, None).await.ok()
}

async fn confirm_app(person: &Person<'_>, pair: &Pair, id: &Value, code: &str) -> Answer {
    let body = json!({"id": id, "code": code});
    act(person, "POST", "totp/confirm", pair, Some(body)).await
}

/// Enrols an app; its recovery codes.
async fn enrol(person: &Person<'_>, pair: &Pair) -> (App, Vec<String>) {
    let enrolment = begin(person, pair).await;
    let app = App::of(&enrolment);
    let confirmed = confirm_app(person, pair, &enrolment["id"], &app.code(0)).await;
    let codes = confirmed.ok()["recoveryCodes"].as_array().unwrap().clone();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned());
    (app, codes.collect())
}

/// Lets an app's next code be taken, as if time had passed.
async fn pass_steps(app: &TestApp) {
    app.execute("UPDATE totp_factors SET last_step = last_step - 10")
        .await;
}

/// Fails unless the session's tokens and the checks of them say that an app was used.
async fn assert_all_tell_of_an_app(person: &Person<'_>, pair: &Pair) {
    let server = person.app;
    let methods = json!(["pwd", "otp", "mfa"]);
    assert_eq!(Jwt::read(&pair.access).claims["amr"], methods);
    let next = person.refresh(&pair.refresh).await.pair();
    assert_eq!(Jwt::read(&next.access).claims["amr"], methods);
    let request = server.request("GET", "/auth/verify", &person.network);
    let verified = server.send(request.bearer_auth(&next.access)).await;
    assert_eq!(verified.header("x-auth-amr"), Some("pwd,otp,mfa"));
    let request = server.request("GET", "/api/v2/session", &person.network);
    let session = server.send(request.bearer_auth(&next.access)).await.ok();
    assert_eq!(session["session"]["amr"], methods);
}

#[tokio::test]
async fn a_user_who_enrols_an_app_signs_in_with_its_codes_and_gets_no_mail() {
    let server = TestApp::with(&[("limits.confirm.attempts", "100")]).await;
    let person = server.user_with_code(ALICE).await;
    let (token, code) = person.challenge_and_code().await;
    let own = person.confirm(&token, &code).await.pair();
    let (token, code) = person.elsewhere().challenge_and_code().await;
    let other = person.elsewhere().confirm(&token, &code).await.pair();

    let enrolment = begin(&person, &own).await;
    assert_keys(&enrolment, &["id", "secret", "uri", "qr", "expiresAt"]);
    let secret = enrolment["secret"].as_str().unwrap();
    assert_eq!(
        enrolment["uri"],
        format!(
            "otpauth://totp/Back%20Office:alice%40example.com?secret={secret}&issuer=Back%20Office"
        )
    );
    assert!(
        enrolment["qr"]["path"]
            .as_str()
            .unwrap()
            .starts_with("M4,4h7v1h-7z")
    );
    // Nothing has changed yet.
    assert!(person.me(&own.access).await.ok().get("totp").is_none());
    person.refresh(&other.refresh).await.pair();

    let app = App::of(&enrolment);
    let confirmed = confirm_app(&person, &own, &enrolment["id"], &app.code(0))
        .await
        .ok();
    assert_eq!(confirmed["recoveryCodes"].as_array().unwrap().len(), 10);
    let me = person.me(&own.access).await.ok();
    assert_keys(&me["totp"], &["createdAt"]);
    assert_eq!(me["recoveryCodesLeft"], 10);
    person.fails_to_signout(&other.access).await;
    let mail = server.mail_for(ALICE).await;
    assert!(
        mail.text.contains("An authenticator app was set up"),
        "{}",
        mail.text
    );

    let mails = server.count("SELECT count(*) FROM outbox").await;
    let challenge = person.signin().await.ok();
    let details = &challenge["2faDetails"];
    assert_eq!(details["provider"], "totp");
    assert_eq!(details["providers"], json!(["totp", "recovery_code"]));
    assert_eq!(server.count("SELECT count(*) FROM outbox").await, mails);
    let token = details["token"].as_str().unwrap();
    let answer = person.confirm(token, &app.code(1)).await;
    assert_keys(&answer.json(), &["accessToken", "refreshToken"]);
    assert_all_tell_of_an_app(&person, &answer.pair()).await;
    assert_keys(
        &person.me(&own.access).await.ok()["totp"],
        &["createdAt", "lastUsedAt"],
    );
}

/// Red without `last_step < $2` in `spend_totp_step`, and without `last_step` in `confirm_totp`.
#[tokio::test]
async fn a_code_of_an_app_is_taken_once_and_the_one_of_the_enrolment_not_again() {
    let server = TestApp::with(&[("limits.confirm.attempts", "100")]).await;
    let (person, own) = server.signed_in(ALICE).await;
    let enrolment = begin(&person, &own).await;
    let app = App::of(&enrolment);
    let first = app.code(0);
    confirm_app(&person, &own, &enrolment["id"], &first)
        .await
        .ok();
    person
        .fails_to_confirm(&person.challenge().await, &first)
        .await;
    let second = app.code(1);
    person
        .confirm(&person.challenge().await, &second)
        .await
        .pair();
    for used in [&first, &second] {
        person
            .fails_to_confirm(&person.challenge().await, used)
            .await;
    }
    assert_eq!(server.recorded("confirm refused code_reused").await, 3);
}

#[tokio::test]
async fn a_code_is_taken_a_step_early_or_late_and_no_more() {
    let server = TestApp::with(&[("limits.confirm.attempts", "100")]).await;
    let (person, own) = server.signed_in(ALICE).await;
    let (app, _) = enrol(&person, &own).await;
    pass_steps(&server).await;
    for steps in [-4, 4] {
        person
            .fails_to_confirm(&person.challenge().await, &app.code(steps))
            .await;
    }
    person
        .confirm(&person.challenge().await, &app.code(1))
        .await
        .pair();
    assert_eq!(server.recorded("confirm refused wrong_code").await, 2);
}

/// Red without `last_step < $2` in `spend_totp_step`, and without `used_at IS NULL` in `spend_recovery_code`.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_thirty_sign_ins_with_one_code_at_once_on_two_instances_one_succeeds() {
    let server = TestApp::with(&[
        ("limits.confirm.attempts", "1000"),
        ("limits.signin_network_per_minute", "1000"),
        ("limits.signin.attempts", "1000"),
    ])
    .await;
    let other = server.second_instance().await;
    let (person, own) = server.signed_in(ALICE).await;
    let (app, recovery_codes) = enrol(&person, &own).await;
    for code in [&app.code(1), &recovery_codes[0]] {
        let answers = race_codes(&server, &other, &person, code).await;
        let (granted, refused): (Vec<_>, Vec<_>) =
            answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(granted.len(), 1);
        for answer in refused {
            answer.problem(401, "invalid_two_factor");
        }
    }
    let used = "SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL";
    assert_eq!(server.count(used).await, 1);
}

/// Thirty challenges, and one code for all of them at once.
async fn race_codes(
    server: &TestApp,
    other: &TestApp,
    person: &Person<'_>,
    code: &str,
) -> Vec<Answer> {
    let mut held = Vec::new();
    for place in 0..30 {
        let body = json!({"token": person.challenge().await, "code": code}).to_string();
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", person.network.as_str()),
        ];
        let request = post("/api/v2/2fa/confirm", &headers, body.as_bytes());
        let instance = if place % 2 == 0 { server } else { other };
        held.extend(hold(&[instance], &request, 1).await);
    }
    race(held).await
}

#[tokio::test]
async fn a_lost_phone_is_found_again_by_a_recovery_code_as_people_type_it() {
    let server = TestApp::with(&[("limits.confirm.attempts", "100")]).await;
    let (person, own) = server.signed_in(ALICE).await;
    let (_, codes) = enrol(&person, &own).await;
    server.mail_for(ALICE).await;
    let typed = format!(
        " {} ",
        codes[3].to_lowercase().replace('-', " ").replace('0', "o")
    );
    let answer = person.confirm(&person.challenge().await, &typed).await;
    assert_eq!(answer.json()["recoveryCodesLeft"], 9);
    let pair = answer.pair();
    assert_eq!(Jwt::read(&pair.access).claims["amr"], json!(["pwd", "otp"]));
    assert_eq!(person.me(&pair.access).await.ok()["recoveryCodesLeft"], 9);
    let mail = server.mail_for(ALICE).await;
    assert!(
        mail.text.contains("A recovery code was used"),
        "{}",
        mail.text
    );
    // Once, and another account's never.
    for code in [&codes[3], "0000-0000-0000-0000"] {
        person
            .fails_to_confirm(&person.challenge().await, code)
            .await;
    }
    let (bob, his) = server.signed_in("bob@example.com").await;
    enrol(&bob, &his).await;
    bob.fails_to_confirm(&bob.challenge().await, &codes[4])
        .await;
    // It is enough to enrol another app; the codes that are left stay.
    let enrolment = begin(&person, &pair).await;
    let app = App::of(&enrolment);
    let confirmed = confirm_app(&person, &pair, &enrolment["id"], &app.code(0)).await;
    assert_eq!(confirmed.ok(), json!({}));
    assert_eq!(
        server.recorded("confirm granted recovery_code_used").await,
        1
    );
}

/// Red without the look at the app in `find_proof`.
#[tokio::test]
async fn with_an_app_a_mailed_code_is_neither_sent_nor_taken() {
    let server = TestApp::with(&[("limits.confirm.attempts", "100")]).await;
    let person = server.user_with_code(ALICE).await;
    let (token, code) = person.challenge_and_code().await;
    let own = person.confirm(&token, &code).await.pair();
    let (waiting, mailed) = person.elsewhere().challenge_and_code().await;
    enrol(&person, &own).await;
    // The challenge from before is void.
    person.fails_to_confirm(&waiting, &mailed).await;
    // Nor does an operator's word make it weaker.
    let admin = server.admin().await;
    (admin
        .change_two_factor(&*OPERATOR, &alice(), TwoFactor::Off)
        .await)
        .unwrap();
    let challenge = person.signin().await.ok();
    assert_eq!(challenge["2faDetails"]["provider"], "totp");
    assert_eq!(
        server.recorded("signin granted challenged_for_totp").await,
        1
    );
}

#[tokio::test]
async fn a_change_of_a_factor_needs_a_recent_sign_in() {
    let server = TestApp::with(&[("tokens.fresh_seconds", "600")]).await;
    let (person, own) = server.signed_in(ALICE).await;
    enrol(&person, &own).await;
    server.age_sessions(secs(601)).await;
    let own = person.refresh(&own.refresh).await.pair();
    let confirm = json!({"id": "00000000-0000-4000-8000-000000000000", "code": "123456"});
    for (method, path, body) in [
        ("POST", "totp", None),
        ("POST", "totp/confirm", Some(confirm)),
        ("DELETE", "totp", None),
        ("POST", "recovery-codes", None),
    ] {
        let refused = act(&person, method, path, &own, body).await;
        refused.problem(401, "reauthentication_required");
        assert_eq!(
            refused.header("www-authenticate"),
            Some(
                r#"Bearer realm="back-office", error="insufficient_user_authentication", max_age="600""#
            ),
        );
    }
    assert_eq!(person.me(&own.access).await.ok()["recoveryCodesLeft"], 10);
    assert_eq!(server.recorded("account refused not_fresh").await, 4);
}

#[tokio::test]
async fn a_user_who_removes_the_app_is_mailed_codes_again_and_all_else_ends() {
    let server = TestApp::start().await;
    let (person, own) = server.signed_in(ALICE).await;
    let (_, codes) = enrol(&person, &own).await;
    let other = person.elsewhere();
    let others = other
        .confirm(&other.challenge().await, &codes[0])
        .await
        .pair();
    let renewed = act(&person, "POST", "recovery-codes", &own, None)
        .await
        .ok();
    assert_eq!(renewed["recoveryCodes"].as_array().unwrap().len(), 10);
    person.fails_to_refresh(&others.refresh).await;
    person
        .fails_to_confirm(&person.challenge().await, &codes[1])
        .await;
    let removed = act(&person, "DELETE", "totp", &own, None).await;
    assert_eq!((removed.status, removed.body.len()), (204, 0));
    let me = person.me(&own.access).await.ok();
    assert!(me.get("totp").is_none());
    assert_eq!(
        (&me["recoveryCodesLeft"], &me["twoFactor"]),
        (&json!(0), &json!("email"))
    );
    for (method, path) in [("DELETE", "totp"), ("POST", "recovery-codes")] {
        act(&person, method, path, &own, None)
            .await
            .problem(404, "not_found");
    }
    let challenge = person.signin().await.ok();
    assert_keys(
        &challenge["2faDetails"],
        &["token", "provider", "expiresAt"],
    );
    assert_eq!(challenge["2faDetails"]["provider"], "email");
}

#[tokio::test]
async fn an_operator_helps_a_user_who_lost_both_phone_and_codes() {
    let server = TestApp::start().await;
    let (person, own) = server.signed_in(ALICE).await;
    enrol(&person, &own).await;
    server.mail_for(ALICE).await;
    let admin = server.admin().await;
    let owner = admin.find_user(&alice()).await.unwrap().user_id;
    let factors = admin.find_factors(owner).await.unwrap();
    assert!(factors.totp.is_some() && factors.recovery_codes_left == 10);
    admin.reset_factors(&*OPERATOR, &alice()).await.unwrap();
    let mail = server.mail_for(ALICE).await;
    assert!(
        mail.text
            .contains("second factors of your account were reset"),
        "{}",
        mail.text
    );
    person.fails_to_refresh(&own.refresh).await;
    let factors = admin.find_factors(owner).await.unwrap();
    assert!(factors.totp.is_none() && factors.recovery_codes_left == 0);
    let (token, code) = person.challenge_and_code().await;
    person.confirm(&token, &code).await.pair();
}

#[tokio::test]
async fn an_enrolment_is_confirmed_in_time_by_its_own_code_and_id_alone() {
    let server = TestApp::with(&[("limits.confirm.attempts", "100")]).await;
    let (person, own) = server.signed_in(ALICE).await;
    let (bob, his) = server.signed_in("bob@example.com").await;
    let first = begin(&person, &own).await;
    let second = begin(&person, &own).await;
    let (of_first, of_second) = (App::of(&first), App::of(&second));
    let refusals = [
        // Of the tab before, whose secret was replaced.
        (&person, &own, &first["id"], of_first.code(0)),
        (&person, &own, &second["id"], of_first.code(0)),
        (&bob, &his, &second["id"], of_second.code(0)),
        (&person, &own, &json!("none"), of_second.code(0)),
    ];
    for (person, pair, id, code) in refusals {
        let refused = confirm_app(person, pair, id, &code).await;
        refused.problem(401, "invalid_two_factor");
    }
    server
        .execute("UPDATE totp_factors SET expires_at = expires_at - INTERVAL '10 minutes'")
        .await;
    let refused = confirm_app(&person, &own, &second["id"], &of_second.code(0)).await;
    refused.problem(401, "invalid_two_factor");
    assert!(person.me(&own.access).await.ok().get("totp").is_none());
}

#[tokio::test]
async fn guesses_at_an_enrolment_count_as_guesses_at_a_code() {
    let server = TestApp::start().await;
    let (person, own) = server.signed_in(ALICE).await;
    let enrolment = begin(&person, &own).await;
    for _ in 0..3 {
        let refused = confirm_app(&person, &own, &enrolment["id"], "wrong").await;
        refused.problem(401, "invalid_two_factor");
    }
    assert_eq!(
        confirm_app(&person, &own, &enrolment["id"], "wrong")
            .await
            .limited(),
        300
    );
}

#[tokio::test]
async fn where_apps_are_switched_off_none_is_enrolled_and_those_there_are_go_on() {
    let server = TestApp::start().await;
    let (person, own) = server.signed_in(ALICE).await;
    let (app, _) = enrol(&person, &own).await;
    let off = TestApp::on(server.database_url(), None, &[("two_factor.totp", "false")]).await;
    let there = person.at(&off);
    act(
        &there,
        "POST",
        "totp/confirm",
        &own,
        Some(json!({"id": "", "code": ""})),
    )
    .await
    .problem(404, "not_found");
    act(&there, "POST", "totp", &own, None)
        .await
        .problem(405, "method_not_allowed");
    there
        .confirm(&there.challenge().await, &app.code(1))
        .await
        .pair();
}

#[tokio::test]
async fn the_database_holds_neither_a_secret_nor_a_recovery_code() {
    let server = TestApp::start().await;
    let (person, own) = server.signed_in(ALICE).await;
    let (app, codes) = enrol(&person, &own).await;
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed_secret FROM totp_factors")
        .fetch_one(server.sql())
        .await
        .unwrap();
    assert!(
        !sealed
            .windows(app.secret.len())
            .any(|part| part == app.secret)
    );
    let hashes: Vec<Vec<u8>> = sqlx::query_scalar("SELECT code_hash FROM recovery_codes")
        .fetch_all(server.sql())
        .await
        .unwrap();
    assert_eq!((hashes.len(), hashes[0].len()), (10, 32));
    let logged = server.logged();
    for code in codes {
        assert!(!logged.contains(&code), "a recovery code is in the log");
    }
    assert!(!logged.contains(&BASE32_NOPAD.encode(&app.secret)));
}
