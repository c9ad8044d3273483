//! `user import`: users of an older service.

use argon2::{Algorithm, Argon2, Params, Version};
use backoffice_auth::domain::{PlainPassword, TwoFactor};
use backoffice_auth::password::HashingPool;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use serde_json::{Value, json};

use crate::support::{Held, PASSWORD, Program, Serving, TestApp, post, race, until};

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

/// `violet-Anvil-67` under today's scheme with this much memory.
fn argon2_of(memory_kib: u32) -> String {
    let salt = b"salt of an older service";
    let params = Params::new(memory_kib, 1, 1, None).unwrap();
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(b"violet-Anvil-67", salt, &mut hash)
        .unwrap();
    let [salt, hash] = [&salt[..], &hash].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
    format!("$argon2id$v=19$m={memory_kib},t=1,p=1${salt}${hash}")
}

/// The password under today's scheme with half of today's memory.
async fn argon2id(app: &TestApp) -> String {
    let mut config = app.config.passwords;
    config.memory_kib /= 2;
    let password = PlainPassword::parse(PASSWORD).unwrap();
    let hash = HashingPool::new(config).hash(password).await;
    hash.unwrap().hash().expose().to_owned()
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

/// Imports lines that must be good, and gives the output.
async fn import(program: &Program, lines: &[Value]) -> String {
    let run = program.run_with_input("user import -", &file(lines)).await;
    run.ok().to_owned()
}

/// Imports lines that must be refused as a whole, and gives the reason.
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
    let said = import(&program, &[line]).await;
    assert!(said.starts_with("1 user imported.\n"), "{said}");
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
async fn a_user_imported_with_a_bcrypt_hash_signs_in_and_gets_one_of_today() {
    assert_upgraded(bcrypt()).await;
}

#[tokio::test]
async fn a_user_imported_with_another_argon2_hash_signs_in_and_gets_one_of_today() {
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
    assert_eq!(run.json()["imported"], 1);
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
    let run = program.run(&line).await;
    assert!(run.ok().starts_with("2 users imported.\n"), "{run:?}");
    let gone = program.run("user import /nowhere/users.jsonl").await;
    let start = "cannot read /nowhere/users.jsonl";
    assert!(gone.refused().starts_with(start), "{gone:?}");
    assert_eq!(count(&app).await, 2);
}

/// The output of `manage.py dumpdata` for Alice, who is number 7, and of Bob, who has no usable password.
fn dump() -> String {
    let alice = json!({"username": "alice", "email": ALICE, "is_active": true,
                       "password": format!("bcrypt${}", bcrypt())});
    let bob = json!({"username": "bob", "email": BOB, "is_active": false, "password": "!Xy0"});
    let records = [(7, alice), (8, bob)];
    let records =
        records.map(|(pk, fields)| json!({"model": "auth.user", "pk": pk, "fields": fields}));
    json!(records).to_string()
}

#[tokio::test]
async fn an_export_of_another_system_is_imported_as_it_is() {
    let (app, program) = set_up().await;
    let line = "user import - --from django --two-factor off";
    let run = program.run_with_input(line, &dump()).await;
    let told =
        "2 users imported.\n1 of them have no password, and get in once they have set one.\n";
    assert!(run.ok().starts_with(told), "{run:?}");
    app.stranger(ALICE).signin().await.pair();
    let bob = app.stranger(BOB);
    bob.signin().await.problem(401, "invalid_credentials");
    let listed = program.run("user list --json").await.json();
    let told = |user: &Value| {
        json!([
            user["id"],
            user["email"],
            user["hasPassword"],
            user["disabled"]
        ])
    };
    let told: Vec<Value> = listed.as_array().unwrap().iter().map(told).collect();
    assert_eq!(
        told,
        [json!([7, ALICE, true, false]), json!([8, BOB, false, true])]
    );
}

#[tokio::test]
async fn a_dry_run_tells_what_would_happen_and_changes_nothing() {
    let (app, program) = set_up().await;
    app.create(BOB, PASSWORD, TwoFactor::Off).await;
    let mut records: Value = serde_json::from_str(&dump()).unwrap();
    let alice = records[0].clone();
    for (pk, email, password) in [
        (9, "carol@example.com", "md5$salt$hash"),
        (10, "", "!"),
        (11, ALICE, "!"),
        (12, "dave@example.com", "!"),
    ] {
        let mut record = alice.clone();
        record["pk"] = json!(pk);
        record["fields"]["email"] = json!(email);
        record["fields"]["password"] = json!(password);
        records.as_array_mut().unwrap().push(record);
    }
    let line = "user import - --from django --dry-run";
    let run = program.run_with_input(line, &records.to_string()).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    let table: Vec<&str> = run
        .stdout
        .lines()
        .take_while(|line| !line.ends_with('.'))
        .collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    PEOPLE  BECOME
    1       imported with $2b$04
    1       imported without a password
    0       disabled, of all these
    1       refused: email: a user with this address exists already
    1       refused: email: missing
    1       refused: email: the same address as in an earlier record
    1       refused: passwordHash: MD5 is not taken
    ");
    insta::assert_snapshot!(run.stderr, @r"
    record 2: email: a user with this address exists already
    record 3: passwordHash: MD5 is not taken
    record 4: email: missing
    record 5: email: the same address as in record 1
    backoffice-auth: nothing would be imported: 4 cannot be; correct the file, or leave them out with --skip-refused
    ");
    assert_eq!(count(&app).await, 1);
    let json = program
        .run_with_input(&format!("{line} --json"), &dump())
        .await;
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["users"], 1);
    assert_eq!(
        json["refusals"],
        json!([{"record": 2, "reason": "email: a user with this address exists already"}])
    );
    // Nor does it take numbers away.
    assert!(next_number(&app, "later@example.com").await < 7);
}

#[tokio::test]
async fn those_who_cannot_come_along_are_left_out_if_that_is_asked_for() {
    let (app, program) = set_up().await;
    app.create(BOB, PASSWORD, TwoFactor::Off).await;
    let lines = [
        json!({"email": "nobody", "passwordHash": bcrypt()}),
        user(ALICE),
        user(BOB),
        user(ALICE),
    ];
    let text = file(&lines);
    let run = program
        .run_with_input("user import - --skip-refused", &text)
        .await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("1 user imported.\n"), "{run:?}");
    let told: Vec<&str> = run.stderr.lines().take(3).collect();
    assert_eq!(
        told,
        [
            "line 1: email: must have exactly one @ with something on both sides",
            "line 3: email: a user with this address exists already",
            "line 4: email: the same address as in line 2",
        ]
    );
    // Once more: nobody is left to be imported, which is fine.
    let again = program
        .run_with_input("user import - --skip-refused", &text)
        .await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.starts_with("0 users imported.\n"), "{again:?}");
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn a_file_of_many_is_imported_in_parts_and_whole_or_not_at_all() {
    let (app, program) = set_up().await;
    let hash = bcrypt();
    let line = |n: usize| json!({"email": format!("user{n}@example.com"), "passwordHash": hash});
    let mut lines: Vec<Value> = (0..2_500).map(line).collect();
    // A number that would be given to one of the first, were it not known from the start.
    lines[2_499]["id"] = json!(100);
    lines.push(lines[3].clone());
    let told = refused(&program, &file(&lines)).await;
    assert_eq!(told[0], "line 2501: email: the same address as in line 4");
    assert_eq!(count(&app).await, 0);
    lines.pop();
    let run = program.run_with_input("user import -", &file(&lines)).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.starts_with("2500 users imported.\n"), "{run:?}");
    assert_eq!(count(&app).await, 2_500);
}

#[tokio::test]
async fn people_keep_their_numbers_unless_they_are_to_get_new_ones() {
    let (app, program) = set_up().await;
    let table = format!("id,email,password\n4711,{ALICE},{}\n", bcrypt());
    let line = "user import - --from laravel --new-numbers";
    let run = program.run_with_input(line, &table).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(app.count("SELECT user_id FROM users").await < 4711);
}

#[tokio::test]
async fn a_file_that_is_not_the_export_it_is_said_to_be_is_refused_as_a_whole() {
    let (app, program) = set_up().await;
    for (from, text, reason) in [
        ("django", "id,email\n", "the file is not JSON"),
        ("keycloak", "{}", "the file has no array \"users\""),
        ("kratos", "[{\"traits\"", "the file ends within it"),
        (
            "table",
            "a,b\n1,2\n",
            "the first line names no column email",
        ),
        (
            "firebase",
            "",
            "--from firebase and --firebase-config FILE go together",
        ),
    ] {
        let line = format!("user import - --from {from}");
        let run = program.run_with_input(&line, text).await;
        assert!(run.refused().contains(reason), "{run:?}");
    }
    assert_eq!(count(&app).await, 0);
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
        "line 4: passwordHash: a space or a line break stands before it, in it or behind it"
    );
    assert_eq!(told[2], "line 5: email: the same address as in line 1");
    assert_eq!(
        told[3],
        "backoffice-auth: nothing was imported: 3 cannot be; correct the file, or leave them out \
         with --skip-refused"
    );
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn a_person_who_clashes_with_a_user_who_is_there_is_named_by_line() {
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
            "backoffice-auth: nothing was imported: 2 cannot be; correct the file, or leave them out \
             with --skip-refused",
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

/// Hashes of `violet-Anvil-67` that other libraries made, a format each.
const FOREIGN: [(&str, &str); 11] = [
    (
        "passlib",
        "$pbkdf2-sha512$25000$wpjznvNeS8mZU4oRgtAaQw$NV2xBsqG1OJL9kJWriKeKteVzvuqQ..RBYfudNdDK2oQ9Dl57rtbambnRBcQfDTN3T0CJrgWUzmGAj2OTzgJkg",
    ),
    (
        "django",
        "pbkdf2_sha1$5000$saltsaltsalt$GbX3kVtyTaQ2BaZJLB9kTiQ4LOU=",
    ),
    (
        "django-scrypt",
        "scrypt$16384$ph2F8gYEo6RZUEmbd0cGSc$8$5$MfeVfts/5Wdg8rFMPEEvv9s11bN/0/pui58/b5EnNYK4g+Gm/vAU//29H5njjjX7ISZQoH5rcV8mWIBE9WJ41g==",
    ),
    (
        "werkzeug",
        "scrypt:32768:8:1$7CuwsKOBtxzYrEVj$ddb5aade15c130e08dda96e94eb132c24b1f9e3441580bf06cc6fac8f69fd86e267358e18f6646bd888571c12bff7a1bf128cbe338f88e7bd71e0f3fba71aef9",
    ),
    (
        "better-auth",
        "6e2a1b84a206eacf1b10e4217dc2c077:032a72c5b7ae5bab313b1653ec39ed83160781717adb4a7d9b520350cdfdf579a55b5d919f950288d90e3f8e9771b4827e6259bd94138526c49136099b1b9c6f",
    ),
    (
        "wordpress",
        "$wp$2y$10$5x7LKgkdiRykgZpX0xphteWgw1SKbeJszbckr6N1UP6WNQ7b/4n2O",
    ),
    ("old-wordpress", "$P$B3Ez99i62EzKQGAUMCY73TqWG8fHJn."),
    (
        "drupal",
        "$S$D12345678VipQHVpOV446dVzg163SToE5E6WD4py5YVIACqOJN2v",
    ),
    (
        "aspnet",
        "AQAAAAIAAYagAAAAEAABAgMEBQYHCAkKCwwNDg9DEYj9mco55YooF7WwyKi2+/up0/GhQ+/Iz73jUo70Bg==",
    ),
    (
        "openldap",
        "{SSHA512}M/G1QoT8S1hXek7JLsc1zqNVUoOcIziq0YkD4RNuWkkPXb54cnajSePQgBTm5dbHuKiOBUX+6xS/Nc9C6YOZ88hMNqnxhNYm",
    ),
    (
        "linux",
        "{CRYPT}$6$saltsalt12345678$w3sZA6VJtFFvAJjkdaAyvssHbt./2Brchkp1xFdUZhiR/XqFpDRaYFS4LH7lTqimlHijcvN.XldDcjzJ/EIuP1",
    ),
];

#[tokio::test]
async fn hashes_of_many_services_are_imported_open_for_their_password_and_are_replaced() {
    let (app, program) = set_up().await;
    let lines = FOREIGN.map(|(name, hash)| {
        let email = format!("{name}@example.com");
        json!({"email": email, "passwordHash": hash, "twoFactor": "off"})
    });
    let said = import(&program, &lines).await;
    for part in [
        "11 users imported.\n",
        "\n3 of the hashes are checked in memory beside the workers', ",
        "\n1 of the hashes are a single digest: ",
        "\nUntil each user with a hash of another kind has signed in (",
        ", every refused sign-in takes ",
    ] {
        assert!(format!("\n{said}").contains(part), "{said}");
    }
    let kinds = program.run("user list --hashes --json").await.json();
    assert_eq!(kinds.as_array().unwrap().len(), 11);
    assert!(
        kinds
            .to_string()
            .contains(r#"{"kind":"$pbkdf2-sha1$5000","users":1}"#)
    );
    for (name, _) in FOREIGN {
        let person = app.stranger(&format!("{name}@example.com"));
        person.fails_to_signin_with("violet-anvil-67").await;
        person.signin_with("violet-Anvil-67").await.pair();
        until("the hash is replaced", async || {
            let email = format!("{name}@example.com");
            let replaced = "SELECT count(*) FROM users WHERE email = $1
                             AND password_hash LIKE '$argon2id$v=19$m=64,t=1,p=1$%'";
            let count = sqlx::query_scalar::<_, i64>(replaced).bind(email);
            count.fetch_one(app.sql()).await.unwrap() == 1
        })
        .await;
        person.signin_with("violet-Anvil-67").await.pair();
    }
    let kinds = program.run("user list --hashes --json").await.json();
    let ours = json!([{"kind": "$argon2id$v=19$m=64,t=1,p=1", "users": 11}]);
    assert_eq!(kinds, ours);
}

#[tokio::test]
async fn people_without_a_password_come_along_and_get_in_once_they_have_one() {
    let (app, program) = set_up().await;
    let lines = [
        json!({"email": ALICE, "passwordHash": null, "twoFactor": "off"}),
        json!({"email": BOB, "passwordHash": "!V9rBRpPVKfRjMZUYWGDNVZzY0p6C6aGMGRjd7Szr"}),
    ];
    let said = import(&program, &lines).await;
    let expected = "2 users imported.\n\
                    2 of them have no password, and get in once they have set one.\n";
    assert_eq!(said, expected);
    let alice = app.stranger(ALICE);
    alice.signin().await.problem(401, "invalid_credentials");
    assert_eq!(app.recorded("signin refused no_password").await, 1);
    let kinds = program.run("user list --hashes").await;
    assert_eq!(kinds.ok(), "USERS  KIND OF HASH\n2      none\n");
    let shown = program
        .run("user show alice@example.com --json")
        .await
        .json();
    assert_eq!(shown["hasPassword"], false);
    assert_eq!(shown["passwordChangedAt"], Value::Null);
    let line = "user password alice@example.com --password-stdin";
    program.run_with_input(line, PASSWORD).await.ok();
    alice.signin().await.pair();
}

/// The statements of the release before, which name no kind.
#[tokio::test]
async fn a_hash_that_the_release_before_writes_has_its_kind_as_well() {
    let app = TestApp::start().await;
    let kind = async || -> Option<String> {
        sqlx::query_scalar("SELECT password_hash_kind FROM users")
            .fetch_one(app.sql())
            .await
            .unwrap()
    };
    app.execute(
        "INSERT INTO users (user_id, email, password_hash, two_factor, disabled_at,
                            password_changed_at)
         VALUES (COALESCE(NULL, nextval(pg_get_serial_sequence('users', 'user_id'))),
                 'a@example.com', '$2y$10$x', 'off', NULL, clock_timestamp())",
    )
    .await;
    assert_eq!(kind().await.as_deref(), Some("$2y$10"));
    app.execute("UPDATE users SET password_hash_kind = '$pbkdf2-sha256$1000'")
        .await;
    app.execute("UPDATE users SET password_hash = '$argon2id$v=19$m=64,t=1,p=1$x$y' WHERE user_id = user_id AND password_hash = '$2y$10$x'")
        .await;
    assert_eq!(kind().await.as_deref(), Some("$argon2id$v=19$m=64,t=1,p=1"));
    app.execute(
        "UPDATE users SET password_hash = '$2y$12$x', password_changed_at = clock_timestamp(),
                credential_version = credential_version + 1",
    )
    .await;
    assert_eq!(kind().await.as_deref(), Some("$2y$12"));
    app.execute("UPDATE users SET password_hash = NULL").await;
    assert_eq!(kind().await, None);
}

/// Red where such a hash counts as a wrong password.
#[tokio::test]
async fn a_hash_that_outgrows_the_memory_for_imported_ones_is_503_and_counts_nothing() {
    let app = TestApp::with(&[("passwords.imported_memory_mib", "16")]).await;
    let program = Program::on(
        app.database_url(),
        &[("passwords.imported_memory_mib", "16")],
    );
    let large = Program::on(
        app.database_url(),
        &[("passwords.imported_memory_mib", "128")],
    );
    let (_, hash) = FOREIGN[4];
    let line = json!({"email": ALICE, "passwordHash": hash, "twoFactor": "off"});
    let told = refused(&program, &file(std::slice::from_ref(&line))).await;
    assert_eq!(
        told[0],
        "line 1: passwordHash: it takes 33 MiB to check, and passwords.imported_memory_mib is 16"
    );
    import(&large, &[line]).await;
    let alice = app.stranger(ALICE);
    for _ in 0..10 {
        alice
            .signin_with("violet-Anvil-67")
            .await
            .problem(503, "overloaded");
    }
    let run = program.run("doctor").await;
    let told = run.stdout.lines().find(|line| line.contains("hashes"));
    assert!(told.unwrap().starts_with("problem"), "{run:?}");
    let other = app
        .try_second_instance(&[("passwords.imported_memory_mib", "64")])
        .await
        .unwrap();
    alice.at(&other).signin_with("violet-Anvil-67").await.pair();
}

/// The most memory that a process has had, in MiB.
#[cfg(target_os = "linux")]
fn peak_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: String = peak.unwrap().chars().filter(char::is_ascii_digit).collect();
    kib.parse::<u64>().unwrap() / 1024
}

/// Red where each worker gets the memory that its hash needs: 8 × 32 MiB.
#[cfg(target_os = "linux")]
#[expect(clippy::print_stdout, reason = "the figures are for whoever looks")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_expensive_hashes_at_once_take_no_more_memory_than_they_may() {
    const BUDGET_MIB: u64 = 72;
    /// The memory that a quiet server takes, with room.
    const BESIDES_MIB: u64 = 96;
    let app = TestApp::start().await;
    let settings = [
        ("passwords.workers", "8"),
        ("passwords.queue", "128"),
        ("passwords.imported_memory_mib", "72"),
        ("limits.signin_network_per_minute", "1000"),
        ("log.filter", "info"),
    ];
    let program = Program::on(app.database_url(), &settings);
    let large = argon2_of(32_768);
    let lines: Vec<Value> = (0..100)
        .map(|n| {
            let hash = if n % 4 == 0 { FOREIGN[4].1 } else { &large };
            json!({"email": format!("user{n}@example.com"), "passwordHash": hash, "twoFactor": "off"})
        })
        .collect();
    import(&program, &lines).await;
    let serving = Serving::start(&program).await;
    let mut held = Vec::new();
    for n in 0..100 {
        let body = json!({"email": format!("user{n}@example.com"), "password": "violet-Anvil-67"});
        let headers = [("X-Forwarded-For", format!("10.1.{n}.1"))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let request = post("/api/v2/signin", &headers, body.to_string().as_bytes());
        held.push(Held::open(serving.public(), &request).await);
    }
    let answers = race(held).await;
    let peak = peak_mib(serving.running.child.id().unwrap());
    let right = answers.iter().filter(|answer| answer.status == 200).count();
    let busy = answers.iter().filter(|answer| answer.status == 503).count();
    println!("{right} signed in, {busy} were told to come back; peak {peak} MiB");
    assert_eq!(right + busy, 100);
    assert!(right > 0);
    assert!(peak < BESIDES_MIB + BUDGET_MIB, "{peak} MiB");
    serving.stop().await;
}
