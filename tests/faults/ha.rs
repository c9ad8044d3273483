//! A failover manager moves the primary: Patroni, behind `HAProxy` and `PgBouncer`, as `tests/ha/run` starts them.
//! It names them in the environment, and `HA_CLUSTER` is the program that makes the faults.

use std::env::var;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::select_all;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::figures::{head, line};
use crate::form::{play, say};
use crate::history::{Asked, Outcome, Request};
use crate::postgres::Postgres;
use crate::world::{Tally, World};

/// The scenarios: their names, the faults, and whether `PgBouncer` stands between.
const SCENARIOS: [(&str, &str, bool); 7] = [
    ("switchover", "switchover", false),
    ("kill", "kill", false),
    ("pause", "pause", false),
    ("partition", "partition", false),
    ("standby", "standby", false),
    ("pooled_switchover", "switchover", true),
    ("pooled_kill", "kill", true),
];

/// How long writes may be refused in a switchover.
const SWITCHOVER: Duration = Duration::from_millis(2_500);

/// How much longer than Patroni takes writes may be refused in a failover, and how long an instance may take
/// to be ready and to sign people in once its database is writable.
const OURS: Duration = Duration::from_secs(1);

/// The time that `PgBouncer` adds: its `server_login_retry`.
const LOGIN_RETRY: Duration = Duration::from_secs(1);

/// For how long a commit of the judge is waited for.
const PROMPT: Duration = Duration::from_secs(1);

/// The names of the columns, and their widths.
const COLUMNS: [(&str, usize); 9] = [
    ("writes refused, s", 17),
    ("a node commits after, s", 23),
    ("the proxy leads there, s", 24),
    ("ready after that, s", 19),
    ("refused at the mending, s", 25),
    ("acknowledged", 12),
    ("lost", 4),
    ("wrong", 5),
    ("not ours, %", 11),
];

/// How a scenario went.
struct Seen {
    began: Duration,
    /// After what time a node committed that may be the primary now.
    committed: Duration,
    /// After what time the proxy led there.
    led: Duration,
    /// How much later both instances were ready and signed people in.
    ready: Duration,
    /// For how long writes were refused before the mending, and from then on.
    refused: [Duration; 2],
    acknowledged: usize,
    tally: Tally,
}

#[test]
#[ignore = "needs a cluster under Patroni: `tests/ha/run`"]
fn ha_a_failover_by_patroni_loses_nothing_and_no_instance_is_restarted() {
    play(async {
        let wanted = var("HA_SCENARIOS").unwrap();
        let is_wanted = |name| wanted.is_empty() || wanted.split_whitespace().any(|w| w == name);
        let (mut table, mut failed) = (vec![head(&COLUMNS)], Vec::new());
        for (name, fault, is_pooled) in SCENARIOS {
            if is_wanted(name) {
                let seen = scenario(name, fault, is_pooled).await;
                table.push(line(name, &seen.cells(), &COLUMNS));
                let wrong = seen.violations(fault, is_pooled).into_iter();
                failed.extend(wrong.map(|violation| format!("{name}: {violation}")));
            }
        }
        say(&format!("\n{}", table.join("\n")));
        failed.truncate(20);
        assert!(failed.is_empty(), "{failed:#?}");
    });
}

/// Plays one, up to a whole cluster again.
async fn scenario(name: &'static str, fault: &str, is_pooled: bool) -> Seen {
    let (proxy, pooler) = (var("HA_PROXY").unwrap(), var("HA_POOLER").unwrap());
    let door = if is_pooled { &pooler } else { &proxy };
    let url = format!("{door}faults_{name}");
    let settings = [
        ("database.url", url.as_str()),
        ("database.transaction_pooling", &is_pooled.to_string()),
        ("database.migrate", "false"),
    ];
    let mut world = World::on(Postgres::elsewhere(&proxy), name, &settings).await;
    world.begin().await;

    let (nodes, leader) = (var("HA_NODES").unwrap(), cluster("leader").await);
    let leader = format!("@{leader}:");
    let may_lead = |url: &&str| fault == "standby" || !url.contains(&leader);
    let next: Vec<&str> = nodes.split_whitespace().filter(may_lead).collect();
    world.trouble_begins();
    let began = world.history().now();
    let made = tokio::spawn(cluster(format!("fault {fault}")));
    if fault != "switchover" {
        made.await.unwrap();
    }
    first_commit(&next).await;
    let committed = world.history().now().saturating_sub(began);
    first_commit(&[proxy.as_str()]).await;
    let led = world.history().now().saturating_sub(began);
    world.recovers().await;
    world.goes_on(4).await;

    let mending = world.history().now();
    world.trouble_begins();
    cluster("mend").await;
    world.recovers().await;
    world.goes_on(4).await;

    let ended = world.history().now();
    let history = world.history().requests();
    let acknowledged = history.iter().filter(|r| r.is_ok() && is_write(r));
    for instance in &mut world.instances {
        assert!(instance.runs(), "{name}: {}", instance.last_words());
    }
    Seen {
        began,
        committed,
        led,
        ready: world.recoveries[0],
        refused: [(began, mending), (mending, ended)].map(|(from, to)| refused(&history, from, to)),
        acknowledged: acknowledged.count(),
        tally: world.tally().await,
    }
}

impl Seen {
    /// The broken promises. The time for which the machine was not ours is taken off.
    fn violations(&self, fault: &str, is_pooled: bool) -> Vec<String> {
        let may_take = if is_pooled { OURS + LOGIN_RETRY } else { OURS };
        let bound = match fault {
            "switchover" => SWITCHOVER,
            _ => self.committed + may_take,
        };
        let times = [
            (
                "writes were refused for",
                self.began,
                self.refused[0],
                bound,
            ),
            (
                "writes were refused at the mending for",
                self.began,
                self.refused[1],
                may_take,
            ),
            ("ready after", self.began + self.led, self.ready, may_take),
        ];
        let late = times.into_iter().filter_map(|(what, from, took, bound)| {
            let ours = took.saturating_sub(self.tally.stolen.between(from, from + took));
            (ours > bound).then(|| format!("{what} {ours:?}, not {bound:?}"))
        });
        late.chain(self.tally.violations.iter().cloned()).collect()
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let until = self.began + self.led;
        let seconds = |duration: Duration| format!("{:.1}", duration.as_secs_f64());
        [
            seconds(self.refused[0]),
            seconds(self.committed),
            seconds(self.led),
            seconds(self.ready),
            seconds(self.refused[1]),
            self.acknowledged.to_string(),
            self.tally.lost.to_string(),
            self.tally.wrong.to_string(),
            format!("{:.0}", 100.0 * self.tally.stolen.share(self.began, until)),
        ]
    }
}

/// Runs a command of `tests/ha/cluster`, and gives its output.
async fn cluster(command: impl AsRef<str>) -> String {
    let command = command.as_ref();
    let output = Command::new(var("HA_CLUSTER").unwrap())
        .args(command.split(' '))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = output.await.unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Waits until one of these servers commits.
async fn first_commit(urls: &[&str]) {
    let all = urls.iter().map(|url| {
        Box::pin(async move {
            while !timeout(PROMPT, commits(url)).await.unwrap_or(false) {
                sleep(Duration::from_millis(20)).await;
            }
        })
    });
    let first = timeout(Duration::from_mins(3), select_all(all)).await;
    assert!(first.is_ok(), "no commit at {urls:?}");
}

async fn commits(url: &str) -> bool {
    let Ok(mut connection) = PgConnection::connect(&format!("{url}postgres")).await else {
        return false;
    };
    let record = "SELECT pg_logical_emit_message(TRUE, 'judge', '')";
    connection.execute(record).await.is_ok()
}

fn is_write(request: &Request) -> bool {
    !matches!(request.asked, Asked::Check { .. })
}

/// For how long writes were refused between two instants: from the first one to the last one that was answered
/// 503 or not at all.
fn refused(history: &[Request], from: Duration, to: Duration) -> Duration {
    let is_refused = |r: &Request| match r.outcome {
        Outcome::Answered { status, .. } => status == 503,
        Outcome::Refused | Outcome::Lost => true,
    };
    let within = |r: &&Request| r.ended >= from && r.started < to && is_write(r) && is_refused(r);
    let all = || history.iter().filter(within);
    let first = all().map(|r| r.started).min().unwrap_or_default();
    let last = all().map(|r| r.ended).max().unwrap_or_default();
    last.saturating_sub(first)
}
