//! The program itself, run the way operators run it.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;

use super::app::variables;
use super::scanner::{self, Watch};
use super::soon;

/// The program with a configuration in its environment and nothing else there.
pub struct Program {
    variables: Vec<(String, String)>,
    _watch: Watch,
}

/// A run of the program that goes on.
pub struct Running {
    pub child: Child,
    /// Its log, line by line.
    pub log: mpsc::UnboundedReceiver<String>,
}

/// The outcome of a run of the program.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// On a database, with these settings.
    pub fn on(database: &str, settings: &[(&str, &str)]) -> Self {
        Self {
            variables: variables(database, settings),
            _watch: Watch::start(),
        }
    }

    /// With no configuration at all.
    pub fn bare() -> Self {
        Self {
            variables: Vec::new(),
            _watch: Watch::start(),
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backoffice-auth"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("USER", "operator")
            .env("RUST_LOG", "trace")
            // Tests send one header or the other, and mean it.
            .env("BACKOFFICE_AUTH__HTTP__FORWARDED_HEADER", "x-forwarded-for")
            .envs(self.variables.clone())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command line to its end.
    pub async fn run(&self, line: &str) -> Run {
        let output = soon(line, self.command(line).output()).await.unwrap();
        Run::of(output)
    }

    /// Runs a command line that reads this from standard input.
    pub async fn run_with_input(&self, line: &str, input: &str) -> Run {
        let mut child = self.command(line).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A program that refuses before it reads closes the pipe, which is its right.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        Run::of(soon(line, child.wait_with_output()).await.unwrap())
    }

    /// With this in its environment, besides.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a command line and leaves its log to the caller.
    pub fn spawn(&self, line: &str) -> Child {
        self.command(line).spawn().unwrap()
    }

    /// Starts a command line that runs until it is stopped.
    pub fn start(&self, line: &str) -> Running {
        let mut child = self.spawn(line);
        let (lines, log) = mpsc::unbounded_channel();
        tokio::spawn(read_along(child.stderr.take().unwrap(), lines));
        Running { child, log }
    }
}

/// Reads all that a program logs, whether the test asks for it or not: a full pipe would stop it.
async fn read_along(log: ChildStderr, lines: mpsc::UnboundedSender<String>) {
    let mut log = BufReader::new(log).lines();
    while let Ok(Some(line)) = log.next_line().await {
        scanner::take_in(line.as_bytes());
        scanner::take_in(b"\n");
        let _ = lines.send(line);
    }
}

impl Run {
    fn of(output: std::process::Output) -> Self {
        scanner::take_in(&output.stderr);
        scanner::assert_clean("standard output", &output.stdout);
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The output of a run that must succeed.
    pub fn ok(&self) -> &str {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{self:?}");
        &self.stdout
    }

    /// The JSON that a run that must succeed printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(self.ok()).unwrap()
    }

    /// Why a run that must fail failed: one line on standard error, and nothing else.
    pub fn refused(&self) -> &str {
        assert_eq!((self.code, &*self.stdout), (Some(1), ""), "{self:?}");
        let line = self.stderr.strip_suffix('\n').unwrap();
        assert!(!line.contains('\n'), "{line}");
        line.strip_prefix("backoffice-auth: ").unwrap()
    }
}

/// A program that serves until it is told to stop.
pub struct Serving {
    pub running: Running,
    /// The line that says where it listens.
    ready: Value,
}

impl Serving {
    /// One that is not ready yet.
    pub fn begin(program: &Program) -> Self {
        Self {
            running: program.start("serve"),
            ready: Value::Null,
        }
    }

    pub async fn start(program: &Program) -> Self {
        let mut serving = Self::begin(program);
        serving.ready = serving.line(|line| line["message"] == "ready").await;
        serving
    }

    /// The next line of the log that is looked for.
    pub async fn line(&mut self, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        soon("a line of the log", async {
            loop {
                let line = self.running.log.recv().await.expect("the program runs");
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                if is_it(&line) {
                    return line;
                }
            }
        })
        .await
    }

    pub fn public(&self) -> SocketAddr {
        self.ready["public"].as_str().unwrap().parse().unwrap()
    }

    pub fn management(&self) -> SocketAddr {
        self.ready["management"].as_str().unwrap().parse().unwrap()
    }

    pub async fn signal(&self, name: &str) {
        let pid = self.running.child.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.await.unwrap().success());
    }

    /// Stops it the way an operator does, and gives what it logged since it was last looked at.
    pub async fn stop(mut self) -> String {
        self.signal("TERM").await;
        let mut rest = String::new();
        while let Some(line) = soon("its end", self.running.log.recv()).await {
            rest.push_str(&line);
            rest.push('\n');
        }
        rest
    }
}
