//! The command line, run as a program.

use serde_json::{Value, json};

use crate::support::{
    Database, Jwt, Program, Serving, TestApp, assert_keys, seconds, secs, soon, until,
};

const ALICE: &str = "alice@example.com";
const PASSWORD: &str = "violet-anvil-67";

/// A running server, and the program on its database.
async fn set_up() -> (TestApp, Program) {
    let app = TestApp::start().await;
    let program = Program::on(app.database_url(), &[]);
    (app, program)
}

/// Makes a user with the usual password.
async fn create(program: &Program, line: &str) -> Value {
    let line = format!("user create {line} --password-stdin --json");
    program.run_with_input(&line, PASSWORD).await.json()
}

#[tokio::test]
async fn a_user_who_is_created_can_sign_in() {
    let (app, program) = set_up().await;
    let line = "user create Alice@Example.com --password-stdin --two-factor off";
    let run = program.run_with_input(line, &format!("{PASSWORD}\n")).await;
    let number = app.count("SELECT user_id FROM users").await;
    let said = format!("alice@example.com: created with number {number}, second factor off.\n");
    assert_eq!(run.ok(), said);
    app.stranger(ALICE).signin_with(PASSWORD).await.pair();
}

#[tokio::test]
async fn a_new_user_needs_a_code_unless_told_otherwise() {
    let (app, program) = set_up().await;
    let created = create(&program, ALICE).await;
    assert_keys(&created, &["id", "email", "twoFactor"]);
    assert_eq!(created["twoFactor"], "email");
    let alice = app.stranger(ALICE);
    let (token, code) = alice.challenge_and_code().await;
    alice.confirm(&token, &code).await.pair();
}

#[tokio::test]
async fn without_a_password_a_strong_one_is_made_and_printed_once() {
    let (app, program) = set_up().await;
    let created = program
        .run("user create alice@example.com --two-factor off --json")
        .await
        .json();
    assert_keys(&created, &["id", "email", "twoFactor", "password"]);
    let password = created["password"].as_str().unwrap();
    app.stranger(ALICE).signin_with(password).await.pair();

    let run = program
        .run("user create bob@example.com --two-factor off")
        .await;
    let (_, other) = run.ok().trim_end().rsplit_once(": ").unwrap();
    assert_ne!(password, other);
    app.stranger("bob@example.com")
        .signin_with(other)
        .await
        .pair();
    for line in ["user show bob@example.com --json", "user list --json"] {
        assert!(!program.run(line).await.ok().contains(other));
    }
}

#[tokio::test]
async fn only_the_line_break_at_the_end_of_a_piped_password_is_not_part_of_it() {
    let (app, program) = set_up().await;
    let line = "user create alice@example.com --password-stdin --two-factor off";
    program
        .run_with_input(line, "  violet anvil  \r\n")
        .await
        .ok();
    app.stranger(ALICE)
        .signin_with("  violet anvil  ")
        .await
        .pair();
}

#[tokio::test]
async fn a_weak_password_is_refused_with_what_is_wrong_with_it() {
    let (app, program) = set_up().await;
    for (password, reason) in [
        ("", "must not be empty"),
        ("short", "at least 8 characters"),
        ("\u{e4}\u{f6}\u{fc}\u{e4}", "at least 8 characters"),
        ("password123", "common"),
        (ALICE, "must not be the email address"),
        (&*"x".repeat(1025), "at most 1024 bytes"),
    ] {
        let line = "user create alice@example.com --password-stdin";
        let run = program.run_with_input(line, password).await;
        assert!(run.refused().contains(reason), "{password}: {run:?}");
    }
    assert_eq!(app.count("SELECT count(*) FROM users").await, 0);

    create(&program, "alice@example.com --two-factor off").await;
    let run = program.run_with_input("user password alice@example.com --password-stdin", "short");
    run.await.refused();
    app.stranger(ALICE).signin_with(PASSWORD).await.pair();
}

#[tokio::test]
async fn a_taken_address_and_an_unknown_user_are_refused() {
    let (_app, program) = set_up().await;
    create(&program, ALICE).await;
    let line = "user create ALICE@example.com --password-stdin";
    let run = program.run_with_input(line, PASSWORD).await;
    assert_eq!(run.refused(), "a user with this address exists already");
    create(&program, "bob@example.com").await;
    let line = "user email bob@example.com alice@example.com";
    let run = program.run(line).await;
    assert_eq!(run.refused(), "a user with this address exists already");
    for command in [
        "show",
        "password",
        "email",
        "two-factor",
        "disable",
        "enable",
        "unlock",
        "sessions",
        "signout",
        "delete",
    ] {
        let more = match command {
            "two-factor" => " off",
            "email" => " somebody@example.com",
            "password" => " --password-stdin",
            _ => "",
        };
        let line = format!("user {command} nobody@example.com{more}");
        let run = program.run_with_input(&line, PASSWORD).await;
        assert_eq!(
            run.refused(),
            "there is no user with this address",
            "{command}"
        );
    }
}

#[tokio::test]
async fn users_are_listed_and_shown() {
    let (_app, program) = set_up().await;
    assert_eq!(program.run("user list --json").await.json(), json!([]));
    create(&program, "bob@example.com --two-factor off").await;
    let created = create(&program, ALICE).await;
    program.run("user disable alice@example.com").await.ok();

    let listed = program.run("user list --json").await.json();
    let emails: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|user| &user["email"])
        .collect();
    assert_eq!(emails, ["bob@example.com", ALICE]);
    let shown = program
        .run("user show Alice@example.com --json")
        .await
        .json();
    assert_eq!(shown, listed[1]);
    let names = [
        "id",
        "email",
        "twoFactor",
        "administrator",
        "disabled",
        "hasPassword",
        "wrongCodesInARow",
        "createdAt",
        "disabledAt",
        "passwordChangedAt",
        "totp",
        "passkey",
    ];
    assert_keys(&shown, &names);
    assert_eq!(shown["id"], created["id"]);
    assert_eq!(
        (&shown["disabled"], &shown["hasPassword"]),
        (&json!(true), &json!(true))
    );
    assert!(seconds(&shown["disabledAt"]) >= seconds(&shown["createdAt"]));

    for line in ["user list", "user show alice@example.com"] {
        let run = program.run(line).await;
        assert!(
            run.ok().contains(ALICE) && run.ok().contains("disabled"),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn acts_of_operators_take_effect_on_the_running_server() {
    let (app, program) = set_up().await;
    create(&program, "alice@example.com --two-factor off").await;
    let alice = app.stranger(ALICE);

    let pair = alice.signin_with(PASSWORD).await.pair();
    program.run("user disable alice@example.com").await.ok();
    alice.fails_to_refresh(&pair.refresh).await;
    alice.fails_to_signin_with(PASSWORD).await;
    program.run("user enable alice@example.com").await.ok();

    let pair = alice.signin_with(PASSWORD).await.pair();
    let run = program.run_with_input(
        "user password alice@example.com --password-stdin",
        "another-anvil-68",
    );
    assert_eq!(
        run.await.ok(),
        "alice@example.com: password changed, sessions ended.\n"
    );
    alice.fails_to_refresh(&pair.refresh).await;
    let pair = alice.signin_with("another-anvil-68").await.pair();

    program
        .run("user two-factor alice@example.com email")
        .await
        .ok();
    alice.refresh(&pair.refresh).await.pair();
    let body = alice.signin_with("another-anvil-68").await.ok();
    assert_eq!(body["2faRequired"], true);
    // That was the fifth attempt.
    alice.signin_with("another-anvil-68").await.limited();
    program.run("user unlock alice@example.com").await.ok();
    program
        .run("user two-factor alice@example.com off")
        .await
        .ok();
    let pair = alice.signin_with("another-anvil-68").await.pair();

    program.run("user delete alice@example.com").await.ok();
    alice.fails_to_refresh(&pair.refresh).await;
    program.run("user show alice@example.com").await.refused();
    let by = "SELECT count(*) FROM audit_events WHERE actor = 'operator'";
    assert_eq!(app.count(by).await, 8);
}

#[tokio::test]
async fn sessions_are_listed_newest_first_and_ended() {
    let (app, program) = set_up().await;
    create(&program, "alice@example.com --two-factor off").await;
    let alice = app.stranger(ALICE);
    let one = alice.signin_with(PASSWORD).await.pair();
    let two = alice.elsewhere().signin_with(PASSWORD).await.pair();

    let listed = program
        .run("user sessions alice@example.com --json")
        .await
        .json();
    let listed = listed.as_array().unwrap();
    let sid = |token: &str| Jwt::read(token).claims["sid"].clone();
    let ids: Vec<_> = listed.iter().map(|session| session["id"].clone()).collect();
    assert_eq!(ids, [sid(&two.access), sid(&one.access)]);
    let names = [
        "id",
        "createdAt",
        "lastUsedAt",
        "expiresAt",
        "network",
        "userAgent",
        "lastNetwork",
        "lastUserAgent",
        "device",
    ];
    assert_keys(&listed[1], &names);
    assert_eq!(listed[1]["network"], alice.network);
    program.run("user sessions alice@example.com").await.ok();

    let run = program.run("user signout alice@example.com").await;
    assert_eq!(run.ok(), "alice@example.com: 2 sessions ended.\n");
    let listed = program
        .run("user sessions alice@example.com --json")
        .await
        .json();
    assert_eq!(listed, json!([]));
    alice.fails_to_refresh(&one.refresh).await;
}

#[tokio::test]
async fn keys_are_listed() {
    let (app, program) = set_up().await;
    let keys = program.run("key list --json").await.json();
    let published = app.jwks().await;
    assert_eq!(keys[0]["kid"], published["keys"][0]["kid"]);
    assert_eq!(keys[0]["stage"], "active");
    assert!(program.run("key list").await.ok().contains("active"));
}

#[tokio::test]
async fn a_file_that_is_no_key_is_refused() {
    let (_app, program) = set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    std::fs::write(&file, "not a key").unwrap();
    let run = program.run(&format!("key import {}", file.display())).await;
    assert!(run.refused().starts_with("not an RSA key"), "{run:?}");
}

#[tokio::test]
async fn migrations_are_asked_for_by_name_and_can_be_applied_again() {
    let database = Database::empty().await;
    let program = Program::on(&database.url, &[]);
    let run = program.run("user list").await;
    assert!(run.refused().contains("backoffice-auth migrate"), "{run:?}");
    for _ in 0..2 {
        assert_eq!(
            program.run("migrate").await.ok(),
            "The database is up to date.\n"
        );
    }
    program.run("user list").await.ok();
}

#[tokio::test]
async fn a_database_that_is_away_is_told_in_one_line_without_its_password() {
    let program = Program::on("postgres://nobody:secret@127.0.0.1:1/none", &[]);
    for line in ["user list", "migrate", "serve"] {
        let run = program.run(line).await;
        let told = run.refused();
        assert!(told.starts_with("cannot reach the database"), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[tokio::test]
async fn every_problem_of_a_configuration_is_told_at_once_and_no_secret_with_it() {
    let settings = [
        ("secrets.master_key", "c2hvcnQ="),
        ("limits.signin.attempts", "0"),
        ("limits.signin.atempts", "5"),
        ("tokens.issuer", "not a URL"),
        ("mail.smtp.tls", "maybe"),
    ];
    let program = Program::on("mysql://user:hunter2@host/db", &settings);
    for line in [
        "config check",
        "config show",
        "serve",
        "user list",
        "healthcheck",
    ] {
        let run = tokio::time::timeout(secs(2), program.run(line)).await;
        let run = run.expect("within two seconds");
        assert_eq!((run.code, &*run.stdout), (Some(1), ""), "{run:?}");
        for key in settings.iter().map(|(key, _)| *key).chain(["database.url"]) {
            let variable = key.replace('.', "__").to_ascii_uppercase();
            assert!(
                run.stderr.contains(key) || run.stderr.contains(&variable),
                "{key}: {run:?}"
            );
        }
        assert!(
            !run.stderr.contains("hunter2") && !run.stderr.contains("c2hvcnQ"),
            "{run:?}"
        );
    }
}

#[tokio::test]
async fn required_settings_are_named_when_nothing_is_configured() {
    let run = Program::bare().run("config check").await;
    assert_eq!(run.code, Some(1));
    for key in [
        "database.url",
        "secrets.master_key",
        "tokens.issuer",
        "mail.from",
        "mail.smtp.host",
    ] {
        assert!(run.stderr.contains(key), "{key}: {run:?}");
    }
}

#[tokio::test]
async fn a_good_configuration_is_shown_without_its_secrets() {
    let settings = [
        ("passwords.memory_kib", "19456"),
        ("passwords.iterations", "2"),
        ("http.forwarded_header", "x-forwarded-for"),
    ];
    let program = Program::on(
        "postgres://user:hunter2@host/db?sslmode=verify-full",
        &settings,
    );
    assert_eq!(
        program.run("config check").await.ok(),
        "The configuration is good.\n"
    );
    let shown = program.run("config show --json").await;
    let master_key = crate::support::MASTER_KEY;
    assert!(!shown.ok().contains("hunter2") && !shown.ok().contains(master_key));
    assert_eq!(shown.json()["limits.signin.attempts"]["value"], 5);
    assert!(!program.run("config show").await.ok().contains("hunter2"));
}

#[tokio::test]
async fn usage_errors_exit_with_2_and_help_with_0() {
    let program = Program::bare();
    for line in [
        "",
        "frobnicate",
        "user",
        "user create",
        "user create not-an-address",
        "user two-factor alice@example.com sms",
        "user create a@b.c --password secret",
        "serve --verbose",
    ] {
        let run = program.run(line).await;
        assert_eq!((run.code, &*run.stdout), (Some(2), ""), "{line}: {run:?}");
        assert!(!run.stderr.is_empty());
    }
    for line in ["-h", "help user", "--version"] {
        assert!(!program.run(line).await.ok().is_empty());
    }
}

/// Red where `user create` takes what any other command on users does.
#[tokio::test]
async fn a_new_user_gets_an_address_that_sign_in_takes_and_an_older_one_is_reached_all_the_same() {
    let app = TestApp::start().await;
    let program = Program::on(app.database_url(), &[]);
    for odd in [
        "a..b@example.com",
        "a%b@example.com",
        "a@-x.example",
        "a@xn--.example",
    ] {
        let create = format!("user create {odd} --password-stdin");
        let run = program.run_with_input(&create, PASSWORD).await;
        assert_eq!((run.code, &*run.stdout), (Some(2), ""), "{run:?}");
        assert!(run.stderr.contains("where mail servers") || run.stderr.contains("usual signs"));
        sqlx::query("INSERT INTO users (email, two_factor) VALUES ($1, 'off')")
            .bind(odd)
            .execute(app.sql())
            .await
            .unwrap();
        assert!(program.run("user list").await.ok().contains(odd));
        assert!(
            program
                .run(&format!("user show {odd}"))
                .await
                .ok()
                .contains(odd)
        );
        program.run(&format!("user delete {odd}")).await.ok();
    }
}

#[tokio::test]
async fn the_help_of_the_program_is_this() {
    let help = Program::bare().run("--help").await;
    insta::assert_snapshot!(help.ok(), @r"
    Signs people in and out of a Back Office.

    Settings come from built-in defaults, then from --config FILE, then from the environment
    (`BACKOFFICE_AUTH__DATABASE__URL` is `database.url`). `config show` prints them all.

    Usage: backoffice-auth [OPTIONS] <COMMAND>

    Commands:
      serve        Run the server; applies migrations first unless `database.migrate` is false
      dev          Run everything with nothing set up: own PostgreSQL, mailbox, keys and demo users, on
                   loopback
      migrate      Apply the database migrations and stop
      user         Manage users
      key          Manage the signing keys
      config       Check or show the configuration
      doctor       Tell all that is wrong with the configuration and the database: `config check
                   --database`
      openapi      Print the OpenAPI description of the interface
      explain      Tell why a person cannot sign in or a request was refused, from the audit log
      healthcheck  Ask this machine's server whether it is ready; for container health checks
      help         Print this message or the help of the given subcommand(s)

    Options:
          --config <FILE>
              The configuration file (TOML): the settings that differ from the defaults

          --as <NAME>
              The operator, as the audit log is to call them; by default the system's user

      -h, --help
              Print help (see a summary with '-h')

      -V, --version
              Print version

    First steps:
      backoffice-auth dev                                   try it, with nothing set up
      backoffice-auth --config config.toml doctor           is all good, the database too?
      backoffice-auth --config config.toml user create alice@example.com
      backoffice-auth --config config.toml serve            run it

    When a person cannot sign in:
      backoffice-auth explain alice@example.com

    Environment:
      BACKOFFICE_AUTH__SECTION__KEY  A setting: BACKOFFICE_AUTH__HTTP__LISTEN is `http.listen`.
                                     Lists are comma-separated. Stronger than the file
      DATABASE_URL                   `database.url`, unless BACKOFFICE_AUTH__DATABASE__URL is set
      RUST_LOG                       `log.filter`, as info,backoffice_auth=debug
      SUDO_USER, USER, LOGNAME       Who is typing, for the audit log: the first that is set

    Files:
      FILE                           Settings in TOML that differ from the defaults; see --config
      x_file                         Each secret `x` can be given as the path of a file with it
      ./.dev                         All that `dev` keeps; remove it to start afresh

    Exit status:
      0  Done
      1  Refused or failed; one line on standard error says why and what to do
      2  Wrong usage
      78 Wrong settings, of `serve` under a supervisor (NOTIFY_SOCKET), which then need not try again

    Results go to standard output; errors, warnings and the log to standard error. Commands that
    list or show take --json. Times are UTC.
    ");
}

/// Every command that there is, as the help of those above it lists them.
async fn commands(program: &Program) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(command) = open.pop() {
        let help = program.run(&format!("{command} --help")).await;
        let listed = help.ok().split("\nCommands:\n").nth(1).unwrap_or_default();
        let listed = listed.lines().take_while(|line| !line.is_empty());
        // A description that goes on in the next line stands further right.
        let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        for name in names.filter(|name| !name.is_empty() && *name != "help") {
            open.push(format!("{command} {name}").trim().to_owned());
        }
        found.push(command);
    }
    found
}

#[tokio::test]
async fn every_command_says_what_it_is_for_within_a_hundred_columns() {
    let program = Program::bare();
    let commands = commands(&program).await;
    for command in ["serve", "user two-factor", "key revoke", "config show"] {
        assert!(
            commands.iter().any(|found| found == command),
            "{commands:?}"
        );
    }
    for command in commands {
        let help = program.run(&format!("{command} --help")).await;
        let help = help.ok();
        assert!(
            help.contains(&format!("Usage: backoffice-auth {command}")),
            "{help}"
        );
        assert!(!help.starts_with("Usage"), "{help}");
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest.unwrap() <= 100, "{help}");
    }
}

#[tokio::test]
async fn a_server_serves_says_so_to_its_health_check_and_stops_when_told() {
    let database = Database::migrated().await;
    for signal in ["TERM", "INT"] {
        let program = Program::on(&database.url, &[]);
        let mut serving = Serving::start(&program).await;
        let management = serving.management().to_string();
        let settings = [("http.management_listen", management.as_str())];
        let asking = Program::on(&database.url, &settings);
        assert_eq!(asking.run("healthcheck").await.ok(), "ready\n");
        let public = serving.public();
        let jwks = reqwest::get(format!("http://{public}/.well-known/jwks.json"))
            .await
            .unwrap();
        assert_eq!(jwks.status(), 200);

        serving.signal(signal).await;
        let status = soon("its end", serving.running.child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(0));
        let run = asking.run("healthcheck").await;
        assert!(run.refused().starts_with("no answer from"), "{run:?}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_told() {
    let (app, _) = set_up().await;
    let taken = app.public_addr().to_string();
    let program = Program::on(app.database_url(), &[("http.listen", &taken)]);
    let run = program.run("serve").await;
    assert!(
        run.stderr.contains(&format!("cannot listen on {taken}")),
        "{run:?}"
    );
    assert_eq!(run.code, Some(1));
}

#[tokio::test]
async fn the_log_of_a_server_holds_no_password_code_token_or_whole_address() {
    let app = TestApp::start().await;
    let smtp = app.mailbox().smtp_addr().port().to_string();
    let settings = [("mail.smtp.port", smtp.as_str())];
    let program = Program::on(app.database_url(), &settings);
    let serving = Serving::start(&program).await;
    let public = serving.public();
    let alice = app.user_with_code(ALICE).await;
    let post = async |path: &str, body: Value| -> Value {
        let url = format!("http://{public}/api/v2/{path}");
        let request = reqwest::Client::new().post(url).json(&body).send();
        soon("an answer", request)
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    };
    post(
        "signin",
        json!({"email": ALICE, "password": "hunter2-hunter2"}),
    )
    .await;
    let challenge = post("signin", json!({"email": ALICE, "password": PASSWORD})).await;
    let token = challenge["2faDetails"]["token"].as_str().unwrap();
    let code = alice.code().await;
    post("2fa/confirm", json!({"token": token, "code": "hunter3"})).await;
    let pair = post("2fa/confirm", json!({"token": token, "code": code})).await;
    let refresh = pair["refreshToken"]["token"].as_str().unwrap();
    let next = post("refresh", json!({"refreshToken": refresh})).await;
    until("the mail is settled", async || {
        app.count("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")
            .await
            == 1
    })
    .await;

    let log = serving.stop().await;
    assert!(log.contains("invalid_credentials"), "{log}");
    let signatures = [&pair, &next].map(|pair| pair["accessToken"]["token"].as_str().unwrap());
    for secret in [PASSWORD, "hunter2", "hunter3", token, &code, ALICE, refresh]
        .into_iter()
        .chain(signatures)
    {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{secret}: {lines:#?}");
    }
}
