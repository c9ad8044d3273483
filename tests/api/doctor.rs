//! `doctor`, and the errors of the command line about a database that it cannot work with.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Database, Program, Run, Serving, soon};

const ANOTHER_KEY: &str = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// Everything that is looked at in a database with its tables.
const CHECKS: [&str; 13] = [
    "configuration",
    "database",
    "version",
    "encoding",
    "writing",
    "isolation",
    "connections",
    "clock",
    "migrations",
    "rights",
    "hashes",
    "passkeys",
    "master key",
];

/// The problems that a run found, each with its text.
fn problems(run: &Run) -> Vec<(String, String)> {
    let told: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    let checks = told["checks"].as_array().unwrap();
    let problems = checks.iter().filter(|check| check["status"] == "problem");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let problems: Vec<_> = problems
        .map(|check| (text(&check["check"]), text(&check["text"])))
        .collect();
    assert_eq!(told["good"] == true, problems.is_empty(), "{run:?}");
    let code = i32::from(!problems.is_empty());
    assert_eq!(run.code, Some(code), "{run:?}");
    problems
}

/// The one problem that was found.
fn only_problem(run: &Run) -> (String, String) {
    let [problem] = <[_; 1]>::try_from(problems(run)).unwrap_or_else(|_| panic!("{run:?}"));
    problem
}

/// Red where the memory of a worker is not compared with.
#[tokio::test]
async fn hashes_that_take_more_memory_than_a_worker_has_are_told() {
    let database = Database::migrated().await;
    database
        .execute(
            "INSERT INTO users (email, password_hash, two_factor, password_changed_at)
             VALUES ('a@example.com', '$argon2id$v=19$m=65536,t=1,p=1$c2FsdHNhbHQ$aGFzaA', 'off', now())"
                .to_owned(),
        )
        .await;
    let run = Program::on(&database.url, &[]).run("doctor").await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let told = run.stdout.lines().find(|line| line.contains("hashes"));
    let told = told.unwrap_or_default();
    assert!(told.starts_with("warning"), "{run:?}");
    assert!(told.contains("m=65536"), "{told}");
}

async fn set_read_only(database: &Database) {
    let name = database.name();
    let statement = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
    database.execute(statement).await;
}

#[tokio::test]
async fn a_database_with_which_the_server_works_is_good_in_every_line() {
    let database = Database::migrated().await;
    let program = Program::on(&database.url, &[]);
    let run = program.run("doctor").await;
    assert_eq!(run.code, Some(0), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines.len(), CHECKS.len(), "{run:?}");
    for (line, check) in lines.iter().zip(CHECKS) {
        assert!(line.starts_with("ok "), "{line}");
        assert!(line[9..].starts_with(check), "{line}");
    }
    let same = program.run("config check --database").await;
    assert_eq!(same.stdout.lines().count(), CHECKS.len());
    assert!(problems(&program.run("doctor --json").await).is_empty());
    // Without it, nothing is connected to.
    let nowhere = Program::on("postgres://nobody:secret@127.0.0.1:1/none", &[]);
    assert_eq!(nowhere.run("config check").await.code, Some(0));
    let run = nowhere.run("config check --database --json").await;
    let (check, text) = only_problem(&run);
    assert!(text.starts_with("cannot reach the database"), "{text}");
    assert_eq!(check, "database");
    assert!(!run.stdout.contains("secret"));
}

/// Red where keys are listed without a look at what the master key opens.
#[tokio::test]
async fn a_master_key_that_does_not_open_the_keys_is_a_problem_and_marked_in_the_list() {
    let database = Database::migrated().await;
    let right = Program::on(&database.url, &[]);
    right.run("key rotate").await.ok();
    let wrong = Program::on(&database.url, &[("secrets.master_key", ANOTHER_KEY)]);
    let (check, text) = only_problem(&wrong.run("doctor --json").await);
    assert_eq!(check, "master key");
    assert!(text.contains("set it to the one"), "{text}");

    let keys = right.run("key list --json").await.json();
    let keys = keys.as_array().unwrap();
    assert!(keys.iter().all(|key| key["opens"] == true), "{keys:?}");
    let listed = wrong.run("key list").await;
    let listed = listed.ok();
    assert!(listed.contains("published, cannot be opened"), "{listed}");
    assert!(
        listed.contains("secrets.master_key does not open these"),
        "{listed}"
    );
    for key in wrong
        .run("key list --json")
        .await
        .json()
        .as_array()
        .unwrap()
    {
        assert_eq!(
            (&key["opens"], &key["canSign"]),
            (&false.into(), &false.into())
        );
    }
}

#[tokio::test]
async fn a_database_that_is_read_only_is_read_and_refuses_writes_with_the_cause() {
    let database = Database::migrated().await;
    let program = Program::on(&database.url, &[]);
    program.run("user create alice@example.com").await.ok();
    set_read_only(&database).await;
    for line in [
        "user list",
        "user show alice@example.com",
        "user sessions alice@example.com",
        "explain alice@example.com",
        "key list",
        "key list --pem",
    ] {
        program.run(line).await.ok();
    }
    for line in ["user disable alice@example.com", "key rotate", "migrate"] {
        let run = program.run(line).await;
        let told = run.refused();
        assert!(
            told.starts_with("the database is read-only"),
            "{line}: {told}"
        );
        assert!(!told.contains("run `"), "{line}: {told}");
    }
    let (check, text) = only_problem(&program.run("doctor --json").await);
    assert_eq!(check, "writing");
    assert!(text.starts_with("the database is read-only"), "{text}");
    let serves = program.run("serve").await;
    assert!(
        serves.stderr.contains("the database is read-only"),
        "{serves:?}"
    );
}

/// Red where a lacking right is a defect, as an unknown table is.
#[tokio::test]
async fn a_role_that_lacks_rights_is_told_which() {
    let database = Database::migrated().await;
    let role = format!("{}_less", database.name());
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'less-secret' CONNECTION LIMIT 5;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
         REVOKE SELECT, DELETE ON users FROM {role}"
    );
    database.execute(make).await;
    let program = Program::on(&database.url_of(&role, "less-secret"), &[]);
    let lists = program.run("user list").await;
    let found = program.run("doctor --json").await;
    let wrong = Program::on(&database.url_of(&role, "guess"), &[])
        .run("user list")
        .await;
    database
        .execute(format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
    let told = lists.refused();
    assert!(
        told.contains("permission denied for table users (42501)"),
        "{told}"
    );
    assert!(told.contains("doctor"), "{told}");
    let found = problems(&found);
    let [(first, connections), (second, rights)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&**first, &**second), ("connections", "rights"));
    assert!(
        connections.contains("up to 14, and can have 5"),
        "{connections}"
    );
    let lacking = "SELECT, DELETE on users; USAGE, UPDATE on public.users_user_id_seq";
    assert!(rights.contains(lacking), "{rights}");
    let told = wrong.refused();
    assert!(told.starts_with("the database refuses the login"), "{told}");
}

#[tokio::test]
async fn a_database_of_another_encoding_is_told_beside_all_else() {
    let database = Database::latin1().await;
    set_read_only(&database).await;
    let program = Program::on(&database.url, &[("database.migrate", "false")]);
    let found = problems(&program.run("doctor --json").await);
    let checks: Vec<_> = found.iter().map(|(check, _)| check.as_str()).collect();
    assert_eq!(checks, ["encoding", "writing", "migrations"]);
    assert!(found[0].1.contains("ENCODING 'UTF8'"), "{found:?}");
    assert!(found[2].1.contains("backoffice-auth migrate"), "{found:?}");
}

#[tokio::test]
async fn a_bad_configuration_is_json_too() {
    let program = Program::bare();
    let found = problems(&program.run("config check --json").await);
    assert!(found.len() > 2, "{found:?}");
    assert!(found.iter().all(|(check, _)| check == "configuration"));
}

/// An address that nobody listens on now.
async fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// The status and body of an answer.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("http://{address}{path}"))
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// A server that waits for a database at an address where there is none.
async fn waiting(database: &Database) -> (Serving, SocketAddr, SocketAddr) {
    let (there, management) = (free_address().await, free_address().await);
    let (before, rest) = database.url.rsplit_once("127.0.0.1:").unwrap();
    let (_, name) = rest.split_once('/').unwrap();
    let url = format!("{before}{there}/{name}");
    let listen = management.to_string();
    let settings = [
        ("http.management_listen", &*listen),
        ("database.wait_seconds", "60"),
    ];
    let mut serving = Serving::begin(&Program::on(&url, &settings));
    serving
        .line(|line| line["message"] == "waiting for the database")
        .await;
    (serving, there, management)
}

/// Red where the wait is left out: the program ends after a second.
#[tokio::test]
async fn a_server_that_starts_before_its_database_waits_for_it_and_says_so() {
    let database = Database::migrated().await;
    let (mut serving, there, management) = waiting(&database).await;
    assert_eq!(get(management, "/health/live").await.0, 200);
    let not_ready = (503, r#"{"status":"starting"}"#.to_owned());
    assert_eq!(get(management, "/health/ready").await, not_ready);
    assert_eq!(get(management, "/metrics").await.0, 200);

    let (_, rest) = database.url.rsplit_once('@').unwrap();
    let postgres = rest.split_once('/').unwrap().0.to_owned();
    let door = TcpListener::bind(there).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut one, _)) = door.accept().await {
            let mut other = TcpStream::connect(&postgres).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut one, &mut other).await });
        }
    });
    let mut waits = 0;
    serving
        .line(|line| {
            waits += usize::from(line["message"] == "waiting for the database");
            line["message"] == "the database is there"
        })
        .await;
    assert_eq!(waits, 0, "it was said once");
    serving.line(|line| line["message"] == "ready").await;
    assert_eq!(get(management, "/health/ready").await.0, 200);
    serving.stop().await;
}

/// Red where only the first connection is waited for.
#[tokio::test]
async fn a_connection_for_the_migrations_that_breaks_off_is_waited_for() {
    let database = Database::migrated().await;
    let (before, rest) = database.url.rsplit_once("127.0.0.1:").unwrap();
    let (port, name) = rest.split_once('/').unwrap();
    let postgres = format!("127.0.0.1:{port}");
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{before}{}/{name}", door.local_addr().unwrap());
    tokio::spawn(async move {
        for number in 1.. {
            let (mut one, _) = door.accept().await.unwrap();
            // The first one asks for the state of the server, the second one is to migrate.
            if number == 2 {
                continue;
            }
            let mut other = TcpStream::connect(&postgres).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut one, &mut other).await });
        }
    });
    let settings = [("database.wait_seconds", "60")];
    let mut serving = Serving::begin(&Program::on(&url, &settings));
    serving
        .line(|line| line["message"] == "waiting for the database")
        .await;
    serving.line(|line| line["message"] == "ready").await;
    serving.stop().await;
}

#[tokio::test]
async fn a_server_that_waits_for_its_database_stops_when_told() {
    let database = Database::migrated().await;
    let (mut serving, ..) = waiting(&database).await;
    serving.signal("TERM").await;
    let status = soon("its end", serving.running.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Problems that no waiting helps.
#[tokio::test]
async fn a_login_that_is_refused_and_a_database_that_is_not_there_are_not_waited_for() {
    let database = Database::migrated().await;
    let (place, _) = database.url.rsplit_once('/').unwrap();
    for (url, told) in [
        (
            database.url_of("nobody", "secret"),
            "the database refuses the login",
        ),
        (
            format!("{place}/no_such"),
            "PostgreSQL has no such database",
        ),
    ] {
        let program = Program::on(&url, &[("database.wait_seconds", "60")]);
        let run = program.run("serve").await;
        assert!(run.refused().starts_with(told), "{run:?}");
    }
}
