//! The log of the program: nobody waits for its reader, and it says why.

use std::io::Write as _;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::support::scanner::{self, Kind};
use crate::support::{Program, Serving, TestApp, soon};

/// A server whose log is read only when a test says so.
struct Unread {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    ready: Value,
}

impl Unread {
    async fn start(app: &TestApp) -> Self {
        let mut child = Program::on(app.database_url(), &[]).spawn("serve");
        let mut unread = Self {
            log: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
            ready: Value::Null,
        };
        unread.ready = unread.line("ready").await;
        unread
    }

    /// Reads on to the next line with this message.
    async fn line(&mut self, message: &str) -> Value {
        soon("a line of the log", async {
            loop {
                let line = self.log.next_line().await.unwrap();
                let line = line.expect("the program runs");
                let line: Value = serde_json::from_str(&line).expect("a line of JSON, and whole");
                let said = line["message"].as_str();
                if said.is_some_and(|said| said.starts_with(message)) {
                    return line;
                }
            }
        })
        .await
    }

    fn url(&self, listener: &str, path: &str) -> String {
        format!("http://{}{path}", self.ready[listener].as_str().unwrap())
    }

    /// The lines that were dropped, as the metrics tell it.
    async fn dropped(&self) -> u64 {
        let metrics = get(&self.url("management", "/metrics")).await.text().await;
        let metrics = metrics.unwrap();
        let mut lines = metrics.lines();
        let line = lines.find_map(|l| l.strip_prefix("backoffice_auth_log_lines_dropped_total "));
        line.map_or(0, |count| count.parse().unwrap())
    }

    /// Asks until so much was logged that lines are dropped.
    async fn fill(&self) {
        let url = self.url("public", "/api/v2/session");
        let client = reqwest::Client::new();
        // It is in each line.
        let id = "x".repeat(128);
        for _ in 0..40 {
            let asked = stream::iter(0..500).map(|_| {
                let asking = client.get(&url).header("X-Request-Id", &id).send();
                async { soon("an answer", asking).await.unwrap().status().as_u16() }
            });
            let statuses: Vec<u16> = asked.buffer_unordered(20).collect().await;
            assert!(statuses.iter().all(|status| *status == 401));
            if self.dropped().await > 0 {
                return;
            }
        }
        panic!("no line was dropped");
    }

    async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").arg(pid).status().await;
        assert!(kill.unwrap().success());
    }
}

async fn get(url: &str) -> reqwest::Response {
    soon("an answer", reqwest::get(url)).await.unwrap()
}

/// Red when lines are written where they are logged, and when the end waits for the reader.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_stops_neither_requests_nor_probes_nor_the_end() {
    let app = TestApp::start().await;
    let mut serving = Unread::start(&app).await;
    serving.fill().await;
    assert_eq!(
        get(&serving.url("management", "/health/live"))
            .await
            .status(),
        200
    );
    assert_eq!(
        get(&serving.url("management", "/health/ready"))
            .await
            .status(),
        200
    );
    serving.terminate().await;
    let status = soon("its end", serving.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}

/// Red when the number of dropped lines is not told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_comes_back_learns_how_many_lines_it_missed() {
    let app = TestApp::start().await;
    let mut serving = Unread::start(&app).await;
    serving.fill().await;
    let dropped = serving.dropped().await;
    let told = serving.line("lines were left out here").await;
    assert!(told["dropped"].as_u64().unwrap() >= dropped);
    serving.terminate().await;
    serving.line("stopped").await;
}

/// Red when a worker tells each failure, when it leaves the cause out, and when it does not tell the end.
#[tokio::test]
async fn an_outage_is_in_the_log_once_with_its_cause_and_once_when_it_is_over() {
    let app = TestApp::start().await;
    let mut serving = Serving::start(&Program::on(app.database_url(), &[])).await;
    app.execute("ALTER TABLE outbox RENAME TO away").await;
    let begins = "reading the outbox fails";
    let line = serving.line(|line| line["message"] == begins).await;
    assert_eq!(line["level"], "WARN");
    let cause = r#"a statement failed: relation "outbox" does not exist (42P01)"#;
    assert_eq!(line["cause"], cause);
    // The outbox is read twice a second.
    tokio::time::timeout(
        Duration::from_secs(2),
        serving.line(|line| line["message"] == begins),
    )
    .await
    .expect_err("it is told once");
    app.execute("ALTER TABLE away RENAME TO outbox").await;
    let line = serving.line(|line| line["message"] == "reading the outbox works again");
    assert!(line.await["seconds"].as_u64().unwrap() >= 1);
}

/// Red with the driver's own text, and when a cause is said as often as there are errors around it.
#[tokio::test]
async fn a_statement_that_fails_is_told_in_the_words_of_the_server_and_once() {
    let app = TestApp::start().await;
    let mut serving = Serving::start(&Program::on(app.database_url(), &[])).await;
    // As if this program's role lacked a right.
    app.execute(
        "CREATE FUNCTION deny() RETURNS TRIGGER LANGUAGE plpgsql AS
         $$ BEGIN SET LOCAL ROLE pg_monitor; PERFORM FROM users; RETURN NEW; END $$",
    )
    .await;
    app.execute(
        "CREATE TRIGGER deny BEFORE INSERT ON attempts FOR EACH ROW EXECUTE FUNCTION deny()",
    )
    .await;
    let url = format!("http://{}/api/v2/signin", serving.public());
    let body = r#"{"email":"alice@example.com","password":"Secret123"}"#;
    let answer = reqwest::Client::new().post(url).body(body).send();
    assert_eq!(soon("an answer", answer).await.unwrap().status(), 500);
    let line = serving.line(|line| line["message"] == "failed").await;
    let cause = "a statement failed: permission denied for table users (42501)";
    assert_eq!(line["cause"], cause);
}

/// Red for each line of the driver that is let through.
#[tokio::test]
async fn the_drivers_words_on_an_address_and_on_a_password_file_give_no_password_away() {
    let [ignored, kept] = ["Unescaped%Ignored", "Kept-In-A-File"];
    scanner::know(Kind::Server, ignored);
    scanner::know(Kind::Server, kept);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "127.0.0.1:1:none:nobody {kept}").unwrap();
    let url = format!("postgres://nobody@127.0.0.1:1/none?sslpassword={ignored}");
    let program = Program::on(&url, &[]).with_variable("PGPASSFILE", file.path().to_str().unwrap());
    let run = program.run("serve").await;
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("cannot reach the database"), "{run:?}");
    for secret in [ignored, kept] {
        assert!(!run.stderr.contains(secret), "{}", run.stderr);
    }
    let checked = program.run("config check").await;
    let warning = "warning: database.url: sslpassword has no effect; leave it out\n";
    assert!(checked.stderr.ends_with(warning), "{checked:?}");
}

#[tokio::test]
async fn a_bad_filter_stops_the_start_whichever_way_it_is_given() {
    let url = "postgres://nobody@127.0.0.1:1/none";
    for (name, told) in [
        ("RUST_LOG", "(from RUST_LOG)"),
        (
            "BACKOFFICE_AUTH__LOG__FILTER",
            "(from BACKOFFICE_AUTH__LOG__FILTER)",
        ),
    ] {
        let program = Program::on(url, &[]).with_variable("RUST_LOG", "");
        let program = program.with_variable(name, "inof");
        for command in ["serve", "config check"] {
            let run = program.run(command).await;
            let refused = run.refused();
            assert!(
                refused.starts_with("log.filter: must be a filter") && refused.ends_with(told),
                "{refused}"
            );
        }
    }
}

/// Red when nothing is logged below info.
#[tokio::test]
async fn a_lower_level_says_more_of_a_request() {
    let app = TestApp::start().await;
    let alice = app.user("alice@example.com").await;
    let program = Program::on(app.database_url(), &[]).with_variable("RUST_LOG", "debug");
    let mut serving = Serving::start(&program).await;
    let url = format!("http://{}/api/v2/signin", serving.public());
    let body = format!(r#"{{"email":"{}","password":"wrong"}}"#, alice.email);
    let answer = reqwest::Client::new().post(url).body(body).send();
    let answer = soon("an answer", answer).await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    let mut seen = Vec::new();
    serving
        .line(|line| {
            let is_ours = line["span"]["request_id"] == id;
            if is_ours {
                let target = line["target"].as_str().unwrap_or_default();
                seen.push(target.to_owned());
            }
            is_ours && line["message"] == "answered"
        })
        .await;
    for target in [
        "sqlx::query",
        "backoffice_auth::auth::password_attempt",
        "backoffice_auth::password::workers",
    ] {
        assert!(
            seen.iter().any(|other| other == target),
            "{target}: {seen:?}"
        );
    }
}
