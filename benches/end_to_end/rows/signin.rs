//! Sign-ins without a second factor, as many as go, against bare hashes.

use std::time::Duration;

use super::load::SPAN;
use super::{Bench, TURNS, USERS, load, millis, spread};
use crate::cores;
use crate::floors::{self, Memory};
use crate::measure::quantile;
use crate::server::Server;

/// The figures of the turns.
#[derive(Default)]
struct Turns {
    rates: Vec<f64>,
    floors: Vec<f64>,
    /// Sign-ins over all.
    count: f64,
    server: Duration,
    database: Duration,
}

impl Bench {
    /// Where server, callers and PostgreSQL share the machine, and where the server has its own cores.
    pub async fn signin(&self) -> anyhow::Result<()> {
        let signins = load::Signins::new("usual", USERS);
        let server = self.setting(&[])?.start()?;
        let floor = || floors::argon2_per_second(self.cores, SPAN, Memory::Reused);
        let shared = self.turns(&server, self.cores, &signins, floor).await?;
        shared.print("signin, all on the same cores", self.cores);
        let rate = quantile(&shared.rates, 0.5);
        let latencies = load::open(&server, rate / 2.0, SPAN * 2, &signins).await?;
        latencies.print("  at half that rate, from when each was due");
        drop(server);
        self.signin_apart(&signins).await
    }

    async fn signin_apart(&self, signins: &load::Signins) -> anyhow::Result<()> {
        let halves = self.divide()?;
        let count = halves.servers.count() as usize;
        let server = cores::on(halves.servers, || self.setting(&[])?.start())?;
        for (memory, what) in [
            (Memory::Reused, "signin, the server on cores of its own"),
            (Memory::ItsOwn, "  the same, hashes in memory of their own"),
        ] {
            let hash = || floors::argon2_per_second(count, SPAN, memory);
            let floor = || cores::on(halves.servers, hash);
            let apart = self.turns(&server, count, signins, floor).await?;
            apart.print(what, count);
        }
        Ok(())
    }

    async fn turns(
        &self,
        server: &Server,
        workers: usize,
        signins: &load::Signins,
        floor: impl Fn() -> anyhow::Result<f64>,
    ) -> anyhow::Result<Turns> {
        let mut turns = Turns::default();
        for _ in 0..TURNS {
            turns.floors.push(floor()?);
            let (cpu, database) = (server.cpu()?, self.machine.database_cpu()?);
            let done = load::closed(server, 2 * workers + 2, SPAN, signins).await?;
            anyhow::ensure!(done.refused.is_empty(), "all sign-ins succeed");
            turns.server += server.cpu()?.saturating_sub(cpu);
            turns.database += self.machine.database_cpu()?.saturating_sub(database);
            turns.count += done.rate * SPAN.as_secs_f64();
            turns.rates.push(done.rate);
        }
        Ok(turns)
    }
}

impl Turns {
    fn print(&self, what: &str, cores: usize) {
        let pairs = self.rates.iter().zip(&self.floors);
        let ratios: Vec<f64> = pairs.map(|(rate, floor)| rate / floor).collect();
        spread(
            &format!("{what}: sign-ins / bare hashes"),
            &ratios,
            "at least 0.95",
        );
        let [rate, floor] = [&self.rates, &self.floors].map(|rates| quantile(rates, 0.5));
        println!("  {rate:.1} sign-ins a second; bare Argon2id {floor:.1}");
        #[expect(clippy::cast_precision_loss, reason = "a handful of cores")]
        let hash = 1e3 * cores as f64 / floor;
        let [server, database] = [self.server, self.database].map(|cpu| millis(cpu) / self.count);
        println!(
            "  CPU a sign-in: server {server:.2} ms, PostgreSQL {database:.2} ms; one hash {hash:.2} ms"
        );
    }
}
