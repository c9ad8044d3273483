//! A row for each promise.

mod load;
mod overload;
mod sessions;
mod signin;
mod versus;

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::cores::Halves;
use super::floors::Rs256;
use super::measure::quantile;
use super::server::{self, Machine, PASSWORD, Server, Setting};
use super::wire::{Caller, post};

/// How often a measurement and its floor take turns.
const TURNS: usize = 5;

/// Users with a password under the default parameters, and with a cheap one.
const USERS: usize = 1000;

/// A server whose passwords cost nothing, for rows that are about something else.
const CHEAP: &[(&str, &str)] = &[
    ("PASSWORDS__MEMORY_KIB", "8"),
    ("PASSWORDS__ITERATIONS", "1"),
];

/// A machine with a migrated database and users.
pub struct Bench {
    machine: Machine,
    cores: usize,
    rs256: Rs256,
}

impl Bench {
    pub async fn set_up(cores: usize) -> anyhow::Result<Self> {
        let machine = Machine::set_up()?;
        let bench = Self {
            machine,
            cores,
            rs256: Rs256::new()?,
        };
        let setting = bench.setting(&[])?;
        setting.migrate()?;
        let usual = setting.hash(19_456, 2).await?;
        setting.import(USERS, "usual", &usual, "off")?;
        let cheap = setting.hash(8, 1).await?;
        setting.import(USERS, "cheap", &cheap, "off")?;
        setting.import(USERS, "mailed", &cheap, "email")?;
        Ok(bench)
    }

    fn setting(&self, extra: &[(&str, &str)]) -> anyhow::Result<Setting> {
        Setting::new(&self.machine, extra)
    }

    fn cheap(&self, extra: &[(&str, &str)]) -> anyhow::Result<Server> {
        self.setting(&[CHEAP, extra].concat())?.start()
    }

    /// Gives half of the machine to the server alone.
    fn divide(&self) -> anyhow::Result<Halves> {
        let postmaster = self.machine.cluster.process_id();
        Halves::divide(postmaster.context("PostgreSQL runs")?)
    }

    /// From the start of the process to "ready", on a migrated database.
    pub fn start(&self) -> anyhow::Result<()> {
        let setting = self.setting(&[])?;
        let times: Result<Vec<_>, _> = (0..15)
            .map(|_| setting.start().map(|server| millis(server.start)))
            .collect();
        let times = times?;
        println!(
            "start: ready after {:.0} ms ({:.0} to {:.0}; target: at most 300)",
            quantile(&times, 0.5),
            quantile(&times, 0.0),
            quantile(&times, 1.0)
        );
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A ratio to a floor, with the range that it had in the turns.
fn spread(what: &str, ratios: &[f64], target: &str) {
    println!(
        "{what}: {:.3} ({:.3} to {:.3}; target: {target})",
        quantile(ratios, 0.5),
        quantile(ratios, 0.0),
        quantile(ratios, 1.0)
    );
}

/// A sign-in of a user, from a network of its own.
fn signin_request(prefix: &str, user: usize, network: usize) -> String {
    let body = json!({"email": server::address(prefix, user), "password": PASSWORD}).to_string();
    post("/api/v2/signin", server::network(network), None, &body)
}

/// Asks one thing of a server on a new connection.
async fn ask(server: &Server, request: &str) -> anyhow::Result<super::wire::Answer> {
    Caller::connect(server.public).await?.ask(request).await
}
