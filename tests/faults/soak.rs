//! Half an hour of everything: nothing grows and nothing fails.

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgConnection};
use tokio::time::{Instant, sleep_until};

use crate::form::{play, say};
use crate::history::Request;
use crate::world::World;

/// The tables that grow with use.
const TABLES: [&str; 6] = [
    "attempts",
    "audit_events",
    "challenges",
    "known_networks",
    "outbox",
    "sessions",
];

/// How often the servers and the tables are looked at, and how many times a minute that is.
const INTERVAL: Duration = Duration::from_secs(10);
const LOOKS: usize = 6;

/// From when on growth is judged: before, the tables fill.
const JUDGED_FROM: u64 = 10;

/// Rows that nobody has touched for a minute become more than a month old, so that days pass and the
/// purge has its work. An actor with a session uses it every few seconds.
const AGE: [&str; 5] = [
    "UPDATE sessions SET created_at = created_at - m, rotated_at = rotated_at - m,
            grace_from = grace_from - m,
            access_expires_at = access_expires_at - m, idle_expires_at = idle_expires_at - m,
            expires_at = expires_at - m, access_horizon_at = access_horizon_at - m,
            ended_at = ended_at - m
       FROM (SELECT INTERVAL '40 days' AS m) AS month
      WHERE rotated_at BETWEEN now() - INTERVAL '1 day' AND now() - INTERVAL '1 minute'",
    "UPDATE challenges SET created_at = created_at - m, expires_at = expires_at - m,
            consumed_at = consumed_at - m
       FROM (SELECT INTERVAL '40 days' AS m) AS month
      WHERE created_at BETWEEN now() - INTERVAL '1 day' AND now() - INTERVAL '1 minute'",
    "UPDATE audit_events SET happened_at = happened_at - INTERVAL '40 days'
      WHERE happened_at BETWEEN now() - INTERVAL '1 day' AND now() - INTERVAL '1 minute'",
    // Attempts go by tens of minutes, which would make a saw of the table.
    "UPDATE attempts SET stale_at = now()
      WHERE stale_at > now() AND (blocked_until IS NULL OR blocked_until < now())
        AND NOT now() - INTERVAL '1 minute' < ANY (hits || in_flight)",
    "UPDATE known_networks SET last_signin_at = last_signin_at - INTERVAL '40 days'
      WHERE last_signin_at BETWEEN now() - INTERVAL '1 day' AND now() - INTERVAL '1 minute'",
];

fn number(count: usize) -> f64 {
    u32::try_from(count).unwrap().into()
}

/// Measurements, by name.
struct Series {
    name: String,
    values: Vec<f64>,
    /// The growth that still counts as flat: a share, and a constant beside it.
    share: f64,
    slack: f64,
}

impl Series {
    /// The means of the second and of the last third.
    fn thirds(&self) -> (f64, f64) {
        let third = self.values.len() / 3;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / number(values.len());
        (
            mean(&self.values[third..2 * third]),
            mean(&self.values[2 * third..]),
        )
    }

    /// Whether it grew no more than the load, which grows by `pace` when the machine has more time.
    fn is_flat(&self, pace: f64) -> bool {
        let (before, after) = self.thirds();
        after <= before * pace.max(1.0) * (1.0 + self.share) + self.slack
    }
}

#[test]
fn growth_is_told_from_wavering() {
    let series = |values: &[f64]| Series {
        name: String::new(),
        values: values.to_vec(),
        share: 0.1,
        slack: 1.0,
    };
    assert!(series(&[0.0, 50.0, 101.0, 99.0, 100.0, 110.0]).is_flat(0.5));
    assert!(!series(&[0.0, 50.0, 100.0, 100.0, 115.0, 120.0]).is_flat(1.0));
    assert!(series(&[0.0, 50.0, 100.0, 100.0, 115.0, 120.0]).is_flat(1.1));
}

#[test]
#[ignore = "half an hour: `cargo test --test faults -- --ignored soak`"]
fn soak_nothing_grows_and_nothing_fails() {
    play(async {
        let minutes = std::env::var("SOAK_MINUTES").map_or(30, |text| text.parse().unwrap());
        // An ended session is kept in mind for as long as its tokens.
        let settings = [
            ("two_factor.ttl_seconds", "30"),
            ("tokens.access_ttl_seconds", "120"),
            ("audit.retention_days", "1"),
        ];
        let mut world = World::start("soak", &settings).await;
        let mut database = world.postgres.connect(&world.database).await;
        let mut all = series();
        let mut next = Instant::now();
        say(&minutes_head());
        for minute in 1..=minutes {
            for _ in 0..LOOKS {
                next += INTERVAL;
                sleep_until(next).await;
                for statement in AGE {
                    let aged = sqlx::raw_sql(statement).execute(&mut database).await;
                    aged.unwrap();
                }
                measure(&world, &mut database, &mut all).await;
            }
            say(&minute_line(minute, &all));
        }
        world.no_503();
        let flat = print(&all);
        world.finish_unverified().await;
        assert!(flat || minutes < JUDGED_FROM, "something grows");
    });
}

fn series() -> Vec<Series> {
    let one = |name: String, share, slack| Series {
        name,
        values: Vec::new(),
        share,
        slack,
    };
    // The load itself may vary; failures are for the judges of the history.
    let mut all = vec![
        one(
            "requests since the last look".to_owned(),
            0.0,
            f64::INFINITY,
        ),
        one("5xx since the last look".to_owned(), 0.0, f64::INFINITY),
    ];
    for instance in ["a", "b"] {
        all.push(one(format!("{instance}: memory, MiB"), 0.05, 2.0));
        all.push(one(format!("{instance}: descriptors"), 0.1, 8.0));
    }
    for table in TABLES {
        all.push(one(format!("{table}: rows"), 0.15, 200.0));
        all.push(one(format!("{table}: KiB"), 0.15, 512.0));
    }
    all
}

async fn measure(world: &World, database: &mut PgConnection, all: &mut [Series]) {
    let history = &world.setting.history;
    let is_5xx = |request: &Request| request.status().is_some_and(|status| status >= 500);
    let counts = [history.count(|_| true), history.count(is_5xx)];
    let since =
        |(count, series): (usize, &Series)| number(count) - series.values.iter().sum::<f64>();
    let mut values: Vec<f64> = counts.into_iter().zip(&*all).map(since).collect();
    for instance in &world.instances {
        let process = format!("/proc/{}", instance.process_id());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let resident = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib: f64 = resident
            .and_then(|line| line.split_whitespace().nth(1))
            .unwrap()
            .parse()
            .unwrap();
        values.push(kib / 1024.0);
        let descriptors = std::fs::read_dir(format!("{process}/fd")).unwrap();
        values.push(number(descriptors.count()));
    }
    for table in TABLES {
        let statement = format!(
            "SELECT count(*)::FLOAT8, pg_total_relation_size('{table}')::FLOAT8 / 1024 FROM {table}"
        );
        let row: (f64, f64) = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_one(&mut *database)
            .await
            .unwrap();
        values.extend([row.0, row.1]);
    }
    for (series, value) in all.iter_mut().zip(values) {
        series.values.push(value);
    }
}

/// The columns of the table that grows by a line a minute: the counts, then the measurements except
/// the sizes of tables.
fn minutes_head() -> String {
    let mut line = format!("{:>6} {:>8} {:>5}", "minute", "requests", "5xx");
    for instance in ["a", "b"] {
        write!(line, " {:>6} {:>5}", format!("{instance}, MiB"), "files").unwrap();
    }
    for table in TABLES {
        write!(line, " {table:>14}").unwrap();
    }
    line
}

/// The requests of a minute, and the measurements at its end.
fn minute_line(minute: u64, all: &[Series]) -> String {
    let counted = |series: &Series| -> f64 { series.values.iter().rev().take(LOOKS).sum() };
    let last = |series: &Series| series.values[series.values.len() - 1];
    let [
        requests,
        failures,
        a_memory,
        a_files,
        b_memory,
        b_files,
        tables @ ..,
    ] = all
    else {
        unreachable!("there are more series than that");
    };
    let mut line = format!(
        "{minute:>6} {:>8} {:>5}",
        counted(requests),
        counted(failures)
    );
    for (memory, files) in [(a_memory, a_files), (b_memory, b_files)] {
        write!(line, " {:>6.1} {:>5}", last(memory), last(files)).unwrap();
    }
    // Rows and sizes take turns.
    for rows in tables.iter().step_by(2) {
        write!(line, " {:>14}", last(rows)).unwrap();
    }
    line
}

/// Prints the table; whether all of it is flat.
fn print(all: &[Series]) -> bool {
    let mut text = format!(
        "{:<30} {:>10} {:>10} {:>10} {:>10}\n",
        "", "first", "2nd third", "last third", "most"
    );
    let (before, after) = all[0].thirds();
    // Memory and descriptors follow the number of connections, not how much is done.
    let pace = |series: &Series| {
        let is_table = TABLES.iter().any(|table| series.name.starts_with(table));
        if is_table { after / before } else { 1.0 }
    };
    for series in all {
        let (before, after) = series.thirds();
        let most = series.values.iter().copied().fold(0.0, f64::max);
        let verdict = if series.is_flat(pace(series)) {
            ""
        } else {
            "  GROWS"
        };
        let first = series.values[0];
        let name = &series.name;
        writeln!(
            text,
            "{name:<30} {first:>10.1} {before:>10.1} {after:>10.1} {most:>10.1}{verdict}"
        )
        .unwrap();
    }
    say(&text);
    all.iter().all(|series| series.is_flat(pace(series)))
}
