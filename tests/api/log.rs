//! The log of the program: nobody waits for whoever reads it.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::support::{Program, TestApp, soon, until};

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
                if line["message"].as_str().unwrap().starts_with(message) {
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
        until("lines are dropped", async || {
            let asked = stream::iter(0..500).map(|_| {
                let asking = client.get(&url).timeout(Duration::from_secs(10)).send();
                async { asking.await.expect("an answer").status().as_u16() }
            });
            let statuses: Vec<u16> = asked.buffer_unordered(20).collect().await;
            assert!(statuses.iter().all(|status| *status == 401));
            self.dropped().await > 0
        })
        .await;
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

/// Red when what was dropped is not told.
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
