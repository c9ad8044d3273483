//! A supervisor such as systemd learns of the program from its socket and from the exit status.

use std::os::unix::net::UnixDatagram as Blocking;

use serde_json::Value;
use tokio::net::UnixDatagram;

use crate::support::{Database, Program, Serving, TestApp, soon};

/// Settings with which no start succeeds.
const BAD_SETTINGS: Option<i32> = Some(78);
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

/// The other end of `NOTIFY_SOCKET`.
struct Supervisor {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Supervisor {
    fn listen() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        Self { folder, socket }
    }

    fn over(&self, program: Program) -> Program {
        let path = self.folder.path().join("notify");
        program.with_variable("NOTIFY_SOCKET", path.to_str().unwrap())
    }

    async fn hears(&self) -> String {
        let mut text = [0; 4096];
        let length = soon("a message", self.socket.recv(&mut text))
            .await
            .unwrap();
        String::from_utf8(text[..length].to_vec()).unwrap()
    }
}

#[tokio::test]
async fn a_supervisor_is_told_when_requests_are_served_and_when_the_server_stops() {
    let database = Database::migrated().await;
    let supervisor = Supervisor::listen();
    let program = supervisor.over(Program::on(&database.url, &[]));
    let mut serving = Serving::begin(&program);
    assert!(supervisor.hears().await.starts_with("STATUS=starting"));

    let ready = supervisor.hears().await;
    let addresses = ready.strip_prefix("READY=1\nSTATUS=serves on ").unwrap();
    let (public, management) = addresses.split_once(", probes on ").unwrap();
    for url in [
        format!("http://{public}/.well-known/jwks.json"),
        format!("http://{management}/health/ready"),
    ] {
        let answer = reqwest::get(&url).await.unwrap();
        assert_eq!(answer.status(), 200, "{url}");
    }

    serving.signal("TERM").await;
    assert_eq!(supervisor.hears().await, "STOPPING=1\nSTATUS=draining");
    let status = soon("its end", serving.running.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_server_that_waits_for_its_database_is_not_called_ready() {
    let supervisor = Supervisor::listen();
    let settings = [("database.wait_seconds", "1")];
    let program = supervisor.over(Program::on(NOWHERE, &settings));
    let run = program.run("serve").await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(supervisor.hears().await.starts_with("STATUS=starting"));
    let failed = supervisor.hears().await;
    let reason = "STATUS=did not start: cannot reach the database";
    assert!(failed.starts_with(reason), "{failed}");
}

#[tokio::test]
async fn a_supervisor_that_cannot_be_told_stops_nothing() {
    let database = Database::migrated().await;
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    // Nobody listens on it any more.
    drop(Blocking::bind(&gone).unwrap());
    let too_long = "/".repeat(500);
    for socket in ["", "/nowhere/notify", &too_long, gone.to_str().unwrap()] {
        let program = Program::on(&database.url, &[]).with_variable("NOTIFY_SOCKET", socket);
        let mut serving = Serving::begin(&program);
        let is_warning = |line: &Value| line["message"] == "the supervisor cannot be told";
        if !socket.is_empty() {
            serving.line(is_warning).await;
        }
        serving.line(|line| line["message"] == "ready").await;
        let rest = serving.stop().await;
        assert!(rest.contains(r#""message":"stopped""#), "{rest}");
    }
}

#[tokio::test]
async fn wrong_settings_have_an_exit_status_of_their_own_under_a_supervisor_alone() {
    let app = TestApp::start().await;
    let supervisor = Supervisor::listen();
    let another_key = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    for setting in [
        ("limits.signin.attempts", "0"),
        ("secrets.master_key_file", "/nowhere"),
        ("mail.templates_dir", "/nowhere"),
        ("secrets.master_key", another_key),
    ] {
        let program = Program::on(app.database_url(), &[setting]);
        let run = program.run("serve").await;
        assert_eq!(run.code, Some(1), "{setting:?}: {run:?}");
        let run = supervisor.over(program).run("serve").await;
        assert_eq!(run.code, BAD_SETTINGS, "{setting:?}: {run:?}");
    }
    let program = supervisor.over(Program::on(app.database_url(), &[]));
    let run = program.run("--config /nowhere serve").await;
    assert_eq!(run.code, BAD_SETTINGS, "{run:?}");
}

#[tokio::test]
async fn a_failure_that_may_pass_has_the_usual_exit_status() {
    let app = TestApp::start().await;
    let empty = Database::empty().await;
    let supervisor = Supervisor::listen();
    let taken = app.public_addr().to_string();
    for settings in [
        &[("http.listen", &*taken)][..],
        &[("database.url", NOWHERE)],
        &[("database.url", &app_url(&app, "nobody"))],
        &[("database.url", &empty.url), ("database.migrate", "false")],
    ] {
        let program = Program::on(app.database_url(), settings);
        let run = supervisor.over(program).run("serve").await;
        assert_eq!(run.code, Some(1), "{settings:?}: {run:?}");
    }
}

/// The URL of a server's database for a role that does not exist.
fn app_url(app: &TestApp, role: &str) -> String {
    let mut url = url::Url::parse(app.database_url()).unwrap();
    url.set_username(role).unwrap();
    url.to_string()
}
