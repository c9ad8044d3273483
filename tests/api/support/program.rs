//! The program itself, run the way operators run it.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::app::variables;
use super::soon;

/// The program with a configuration in its environment and nothing else there.
pub struct Program {
    variables: Vec<(String, String)>,
}

/// What a run of the program left.
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
        }
    }

    /// With no configuration at all.
    pub fn bare() -> Self {
        Self {
            variables: Vec::new(),
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_backoffice-auth"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("USER", "operator")
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

    /// Starts a command line that runs until it is stopped.
    pub fn start(&self, line: &str) -> Child {
        self.command(line).spawn().unwrap()
    }
}

impl Run {
    fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// What a run that must succeed printed.
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
    pub child: Child,
    /// What it logged until it was ready, and where it listens.
    pub ready: Value,
}

impl Serving {
    pub async fn start(program: &Program) -> Self {
        let mut child = program.start("serve");
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        let ready = soon("it is ready", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended");
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                if line["message"] == "ready" {
                    return line;
                }
            }
        });
        let ready = ready.await;
        Self { child, ready }
    }

    pub async fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.await.unwrap().success());
    }
}
