//! `user import`: users of an older service.

use argon2::{Algorithm, Argon2, Params, Version};
use backoffice_auth::domain::{PlainPassword, TwoFactor};
use backoffice_auth::password::HashingPool;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Program, TestApp, until};

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

async fn set_up() -> (TestApp, Program) {
    let app = TestApp::start().await;
    let program = Program::on(app.database_url(), &[]);
    (app, program)
}

/// The password as PHP hashes it.
fn bcrypt() -> String {
    bcrypt::hash(PASSWORD, 4).unwrap().replace("$2b$", "$2y$")
}

/// The password under the older sibling of today's scheme.
fn argon2i() -> String {
    let salt = b"salt of an older service";
    let params = Params::new(64, 2, 1, None).unwrap();
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
        .hash_password_into(PASSWORD.as_bytes(), salt, &mut hash)
        .unwrap();
    let [salt, hash] = [&salt[..], &hash].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
    format!("$argon2i$v=19$m=64,t=2,p=1${salt}${hash}")
}

/// The password under today's scheme with half of today's memory.
async fn argon2id(app: &TestApp) -> String {
    let mut config = app.config.passwords;
    config.memory_kib /= 2;
    let password = PlainPassword::parse(PASSWORD).unwrap();
    let hash = HashingPool::new(config).hash(password).await;
    hash.unwrap().expose().to_owned()
}

/// A file of lines.
fn file(lines: &[Value]) -> String {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    lines.join("\n")
}

/// A user who needs no code.
fn user(email: &str) -> Value {
    json!({"email": email, "passwordHash": bcrypt(), "twoFactor": "off"})
}

/// Imports lines that must be good, and tells what was said.
async fn import(program: &Program, lines: &[Value]) -> String {
    let run = program.run_with_input("user import -", &file(lines)).await;
    run.ok().to_owned()
}

/// Imports what must be refused as a whole, and tells why.
async fn refused(program: &Program, file: &str) -> Vec<String> {
    let run = program.run_with_input("user import -", file).await;
    assert_eq!((run.code, &*run.stdout), (Some(1), ""), "{run:?}");
    assert!(!run.stderr.contains("$2y$"), "{run:?}");
    run.stderr.lines().map(str::to_owned).collect()
}

async fn count(app: &TestApp) -> i64 {
    app.count("SELECT count(*) FROM users").await
}

async fn stored_hash(app: &TestApp) -> String {
    sqlx::query_scalar("SELECT password_hash FROM users")
        .fetch_one(app.sql())
        .await
        .unwrap()
}

/// Imports Alice with a hash, and signs her in until that hash is one of today's.
async fn assert_upgraded(hash: String) {
    let (app, program) = set_up().await;
    let line = json!({"email": ALICE, "passwordHash": hash, "twoFactor": "off"});
    assert_eq!(import(&program, &[line]).await, "1 users imported.\n");
    assert_eq!(stored_hash(&app).await, hash);
    let alice = app.stranger(ALICE);
    alice.fails_to_signin_with("violet-anvil-68").await;
    alice.signin().await.pair();
    until("the hash is replaced", async || {
        stored_hash(&app)
            .await
            .starts_with("$argon2id$v=19$m=64,t=1,p=")
    })
    .await;
    alice.signin().await.pair();
}

#[tokio::test]
async fn whoever_was_imported_with_a_bcrypt_hash_signs_in_and_gets_one_of_today() {
    assert_upgraded(bcrypt()).await;
}

#[tokio::test]
async fn whoever_was_imported_with_another_argon2_hash_signs_in_and_gets_one_of_today() {
    assert_upgraded(argon2i()).await;
    let app = TestApp::start().await;
    assert_upgraded(argon2id(&app).await).await;
}

#[tokio::test]
async fn an_imported_user_needs_a_code_unless_the_line_says_otherwise() {
    let (app, program) = set_up().await;
    let line = json!({"email": "Alice@Example.com", "passwordHash": bcrypt()});
    let text = file(&[line]);
    let run = program.run_with_input("user import - --json", &text).await;
    assert_eq!(run.json(), json!({"imported": 1}));
    let alice = app.stranger(ALICE);
    let (token, code) = alice.challenge_and_code().await;
    alice.confirm(&token, &code).await.pair();
}

#[tokio::test]
async fn a_user_who_is_imported_disabled_is_shut_out() {
    let (app, program) = set_up().await;
    let mut line = user(ALICE);
    line["disabled"] = json!(true);
    import(&program, &[line]).await;
    let alice = app.stranger(ALICE);
    alice.signin().await.problem(401, "invalid_credentials");
    program.run("user enable alice@example.com").await.ok();
    alice.signin().await.pair();
}

#[tokio::test]
async fn a_file_is_read_by_its_name() {
    let (app, program) = set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.jsonl");
    std::fs::write(&path, file(&[user(ALICE), user(BOB)])).unwrap();
    let line = format!("user import {}", path.display());
    assert_eq!(program.run(&line).await.ok(), "2 users imported.\n");
    let gone = program.run("user import /nowhere/users.jsonl").await;
    let start = "cannot read /nowhere/users.jsonl";
    assert!(gone.refused().starts_with(start), "{gone:?}");
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn one_bad_line_keeps_all_out_and_every_bad_line_is_named() {
    let (app, program) = set_up().await;
    let lines = [
        user(ALICE),
        json!({"email": "nobody", "passwordHash": bcrypt()}),
        user(BOB),
        json!({"email": "carol@example.com", "passwordHash": "plain text"}),
        user(ALICE),
    ];
    let told = refused(&program, &file(&lines)).await;
    let numbers: Vec<&str> = told
        .iter()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(numbers, ["line 2", "line 4", "line 5", "backoffice-auth"]);
    assert!(told[0].starts_with("line 2: email: "), "{told:?}");
    assert_eq!(
        told[1],
        "line 4: passwordHash: not an argon2 or bcrypt hash"
    );
    assert_eq!(told[2], "line 5: email: the same address as in line 1");
    assert_eq!(
        told[3],
        "backoffice-auth: nothing was imported: 3 bad lines; correct them and try again"
    );
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn whoever_clashes_with_a_user_who_is_there_is_named_by_line() {
    let (app, program) = set_up().await;
    app.create(ALICE, PASSWORD, TwoFactor::Off).await;
    let taken = app.count("SELECT user_id FROM users").await;
    let mut same_number = user("carol@example.com");
    same_number["id"] = json!(taken);
    let text = format!("\n{}", file(&[user(BOB), same_number, user(ALICE)]));
    assert_eq!(
        refused(&program, &text).await,
        [
            "line 3: id: a user with this number exists already",
            "line 4: email: a user with this address exists already",
            "backoffice-auth: nothing was imported: 2 users clash with users that exist already",
        ]
    );
    assert_eq!(count(&app).await, 1);
}

/// Makes a user and tells their number.
async fn next_number(app: &TestApp, email: &str) -> i64 {
    app.create(email, PASSWORD, TwoFactor::Off).await;
    app.count("SELECT user_id FROM users ORDER BY created_at DESC LIMIT 1")
        .await
}

#[tokio::test]
async fn numbers_given_later_are_beyond_the_imported_ones() {
    let (app, program) = set_up().await;
    for (id, email, next, later) in [
        (4711, ALICE, 4712, "x@example.com"),
        // One below those that are given already turns nothing back.
        (12, BOB, 4713, "y@example.com"),
    ] {
        let mut line = user(email);
        line["id"] = json!(id);
        import(&program, &[line]).await;
        assert_eq!(next_number(&app, later).await, next);
    }
}

#[tokio::test]
async fn unknown_and_doubled_fields_are_refused() {
    let (app, program) = set_up().await;
    let hash = bcrypt();
    let text = format!(
        "{{\"email\": \"{ALICE}\", \"passwordHash\": \"{hash}\", \"admin\": true}}\n\
         {{\"email\": \"{BOB}\", \"passwordHash\": \"{hash}\", \"email\": \"{BOB}\"}}\n"
    );
    let told = refused(&program, &text).await;
    let unknown = "line 1: unknown field `admin`, expected one of ";
    assert!(told[0].starts_with(unknown), "{told:?}");
    assert_eq!(told[1], "line 2: duplicate field `email`");
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn no_hash_is_printed_whatever_is_wrong_with_its_line() {
    let (app, program) = set_up().await;
    let hash = bcrypt();
    let good = file(&[user(ALICE)]);
    let run = program.run_with_input("user import -", &good).await;
    assert!(!run.ok().contains('$'));
    // `refused` looks for it in all of these.
    for text in [
        good,
        format!("\"{hash}\""),
        format!("{{\"{hash}\": 1}}"),
        format!("{{\"email\": \"{hash}\"}}"),
        format!("{{\"email\": \"{BOB}\", \"passwordHash\": \"x{hash}\"}}"),
        format!("{{\"email\": \"{BOB}\", \"passwordHash\": \"{hash}\" \"{hash}\"}}"),
        format!("{{\"email\": \"{BOB}\", \"passwordHash\": \"{hash}\", \"id\": \"{hash}\"}}"),
    ] {
        refused(&program, &text).await;
    }
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn each_imported_user_is_in_the_audit_log_with_who_imported_them() {
    let (app, program) = set_up().await;
    import(&program, &[user(ALICE), user(BOB)]).await;
    let lines: Vec<String> = sqlx::query_scalar(
        "SELECT email || ' ' || actor FROM audit_events
          WHERE kind = 'user_changed' AND reason = 'imported' ORDER BY email",
    )
    .fetch_all(app.sql())
    .await
    .unwrap();
    assert_eq!(
        lines,
        ["alice@example.com operator", "bob@example.com operator"]
    );
}

/// Signs in with a password that may not be the user's.
async fn signs_in(app: &TestApp, email: &str, password: &str) -> bool {
    let answer = app.stranger(email).signin_with(password).await;
    answer.status == 200
}

#[tokio::test]
async fn a_password_that_normalisation_changes_opens_a_hash_of_what_was_typed() {
    let (app, program) = set_up().await;
    let typed = "Passw\u{b2}rd-lang";
    let hash = bcrypt::hash(typed, 4).unwrap();
    let line = json!({"email": ALICE, "passwordHash": hash, "twoFactor": "off"});
    import(&program, &[line]).await;
    assert!(!signs_in(&app, ALICE, "Passw2rd-lang").await);
    assert!(signs_in(&app, ALICE, typed).await);
    until("the hash is replaced", async || {
        stored_hash(&app).await.starts_with("$argon2id$")
    })
    .await;
    assert!(signs_in(&app, ALICE, typed).await);
    assert!(signs_in(&app, ALICE, "Passw2rd-lang").await);
}

#[tokio::test]
async fn the_first_72_bytes_of_a_bcrypt_password_do_not_become_the_password() {
    let (app, program) = set_up().await;
    let long = "0123456789".repeat(10);
    let hash = bcrypt::hash(&long[..99], 4).unwrap();
    let line = json!({"email": ALICE, "passwordHash": hash, "twoFactor": "off"});
    import(&program, &[line]).await;
    assert!(signs_in(&app, ALICE, &long[..72]).await);
    assert!(signs_in(&app, ALICE, &long[..99]).await);
    assert_eq!(stored_hash(&app).await, hash);
}
