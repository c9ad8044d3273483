//! More than the server can do: sign-ins that it cannot hash, connections that say nothing, and
//! one network that does not stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Bench, USERS, ask, load, micros, quantile, sessions, signin_request};
use crate::accounts;
use crate::cores;
use crate::server::network;
use crate::wire::{Caller, post};

/// Connections that are open while sign-ins come.
const CONNECTIONS: usize = 10_000;

/// Sign-ins that come at once.
const AT_ONCE: usize = 500;

impl Bench {
    /// Ten times the sign-ins that the server can hash, and refreshes in between.
    pub async fn overload(&self) -> anyhow::Result<()> {
        const SPAN: Duration = Duration::from_secs(8);
        let server = self.setting(&[])?.start()?;
        let signins = load::Signins::new("usual", USERS);
        let rate = load::closed(&server, 4, SPAN / 4, &signins).await?.rate;
        let mut chains = sessions::open(&server, "usual", 20).await?;
        let flood = load::open(&server, rate * 10.0, SPAN, &signins);
        let refreshes = sessions::refresh_at_leisure(&server, &mut chains, SPAN / 4);
        let (flood, refreshes) = tokio::join!(flood, refreshes);
        let (flood, refreshes) = (flood?, refreshes?);
        let surplus = |part| quantile(&flood.refused, part);
        println!(
            "overload: {} of {} sign-ins were 503, after p50 {:.1} ms, p99 {:.1} ms (target: within 100)",
            flood.refused.len(),
            flood.refused.len() + flood.answered.len(),
            surplus(0.5),
            surplus(0.99),
        );
        println!(
            "  refreshes meanwhile: p50 {:.1} ms, p99 {:.1} ms (n={}; target: p99 under 50)",
            quantile(&refreshes, 0.5),
            quantile(&refreshes, 0.99),
            refreshes.len()
        );
        Ok(())
    }

    /// Memory with ten thousand connections that were used, and five hundred sign-ins at once.
    pub async fn memory(&self) -> anyhow::Result<()> {
        let server = self.setting(&[])?.start()?;
        let fresh = accounts::resident_mib(server.id())?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            let mut caller = Caller::connect(server.public).await?;
            let answer = caller
                .ask(&post("/nowhere", network(number), None, "{}"))
                .await?;
            anyhow::ensure!(answer.status == 404, "{}", answer.status);
            connections.push(caller);
        }
        let open = accounts::resident_mib(server.id())?;
        let mut tasks = JoinSet::new();
        for (number, mut caller) in connections.drain(..AT_ONCE).enumerate() {
            tasks.spawn(async move {
                let answer = caller.ask(&signin_request("usual", number, number)).await?;
                anyhow::Ok((answer.status, caller))
            });
        }
        let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
        while let Some(answered) = tasks.join_next().await {
            let (status, caller) = answered??;
            *statuses.entry(status).or_default() += 1;
            connections.push(caller);
        }
        let peak = accounts::peak_mib(server.id())?;
        let target = 64 + 20 * self.cores;
        println!("memory: {peak:.0} MiB at its peak (target: at most {target})");
        println!(
            "  {fresh:.0} MiB after the start, {open:.0} MiB with {CONNECTIONS} connections; {AT_ONCE} sign-ins at once: {statuses:?}"
        );
        Ok(())
    }

    /// One network that goes on and on, then more networks than there are buckets.
    pub async fn flood(&self) -> anyhow::Result<()> {
        const BATCHES: u32 = 50;
        const NETWORKS: usize = 200_000;
        const BATCH: usize = 50;
        let halves = self.divide()?;
        let server = cores::on(halves.servers, || self.cheap(&[]))?;
        let mut caller = Caller::connect(server.public).await?;
        let one: Arc<[_]> = (0..BATCH)
            .map(|_| post("/api/v2/signin", network(1), None, "{}"))
            .collect();
        for _ in 0..20 {
            caller.ask_all(&one).await?;
        }
        let (before, mut flood) = (server.cpu()?, JoinSet::new());
        for _ in 0..sessions::CALLERS {
            let (mut caller, one) = (Caller::connect(server.public).await?, Arc::clone(&one));
            flood.spawn(async move {
                let mut refused = 0_u32;
                for _ in 0..BATCHES {
                    let answers = caller.ask_all(&one).await?;
                    let now = answers.iter().filter(|answer| answer.status == 429);
                    refused += u32::try_from(now.count())?;
                }
                anyhow::Ok(refused)
            });
        }
        let mut refused = 0;
        while let Some(by_one) = flood.join_next().await {
            refused += by_one??;
        }
        let each = micros(server.cpu()?.saturating_sub(before)) / f64::from(refused);
        println!("flood: {each:.1} µs of CPU a refusal (target: at most 30)");
        let before = accounts::resident_mib(server.id())?;
        for first in (0..NETWORKS).step_by(BATCH) {
            let many =
                (first..first + BATCH).map(|n| post("/api/v2/signin", network(n), None, "{}"));
            caller.ask_all(&many.collect::<Vec<_>>()).await?;
        }
        let after = accounts::resident_mib(server.id())?;
        println!("  {NETWORKS} networks later: {after:.1} MiB, before {before:.1} MiB");
        let alive = ask(&server, &signin_request("cheap", 1, 77)).await?;
        anyhow::ensure!(alive.status == 200, "it still signs people in");
        Ok(())
    }
}
