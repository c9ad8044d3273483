//! The life of sessions: opened with a code, refreshed, checked, signed out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use backoffice_auth::dev::Mailbox;
use backoffice_auth::domain::Clock;
use rustix::thread::CpuSet;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Bench, TURNS, USERS, ask, micros, millis, signin_request, spread};
use crate::cores;
use crate::measure::quantile;
use crate::server::{Server, network};
use crate::wire::{Answer, Caller, post};

/// Sessions that a turn works on.
const SESSIONS: usize = 1000;

/// The callers at once.
pub const CALLERS: usize = 8;

/// A session as its client knows it.
pub struct Chain {
    number: usize,
    access: String,
    refresh: String,
}

impl Chain {
    pub fn new(number: usize, pair: &Value) -> anyhow::Result<Self> {
        let token = |kind: &str| pair[kind]["token"].as_str().map(str::to_owned);
        Ok(Self {
            number,
            access: token("accessToken").context("an access token")?,
            refresh: token("refreshToken").context("a refresh token")?,
        })
    }

    pub fn refresh(&self) -> String {
        let body = json!({"refreshToken": self.refresh}).to_string();
        post("/api/v2/refresh", network(self.number), None, &body)
    }

    pub fn bearer(&self, path: &str) -> String {
        post(path, network(self.number), Some(&self.access), "")
    }
}

/// Opens sessions, one for each user.
pub async fn open(server: &Server, prefix: &str, count: usize) -> anyhow::Result<Vec<Chain>> {
    let mut caller = Caller::connect(server.public).await?;
    let mut chains = Vec::with_capacity(count);
    for number in 0..count {
        let answer = caller.ask(&signin_request(prefix, number, number)).await?;
        chains.push(Chain::new(number, &answer.ok()?)?);
    }
    Ok(chains)
}

/// Refreshes sessions now and then. Gives how long each took from when it was due, in milliseconds.
pub async fn refresh_at_leisure(
    server: &Server,
    chains: &mut [Chain],
    span: Duration,
) -> anyhow::Result<Vec<f64>> {
    let mut caller = Caller::connect(server.public).await?;
    let (started, mut times) = (Instant::now(), Vec::new());
    // Four each: five a minute are allowed.
    let count = u32::try_from(chains.len() * 4)?;
    for number in 0..count {
        let due = started + span * 4 * number / count;
        sleep_until(due).await;
        let number = number as usize % chains.len();
        let answer = caller.ask(&chains[number].refresh()).await?;
        times.push(millis(due.elapsed()));
        chains[number] = Chain::new(chains[number].number, &answer.ok()?)?;
    }
    Ok(times)
}

/// Asks what nobody has asked yet, until all is asked. Gives the number of each request, how long its
/// answer took, and the answer.
async fn ask_in_turns(
    mut caller: Caller,
    requests: Arc<[String]>,
    next: Arc<AtomicUsize>,
) -> anyhow::Result<Vec<(usize, Duration, Answer)>> {
    let mut done = Vec::new();
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(request) = requests.get(number) else {
            return Ok(done);
        };
        let asked = Instant::now();
        let answer = caller.ask(request).await?;
        done.push((number, asked.elapsed(), answer));
    }
}

/// Has so many callers ask all of it.
pub async fn ask_all(
    address: SocketAddr,
    callers: usize,
    requests: &Arc<[String]>,
) -> anyhow::Result<Vec<(usize, Duration, Answer)>> {
    let (next, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..callers {
        let caller = Caller::connect(address).await?;
        tasks.spawn(ask_in_turns(
            caller,
            Arc::clone(requests),
            Arc::clone(&next),
        ));
    }
    let mut done = Vec::with_capacity(requests.len());
    while let Some(asked) = tasks.join_next().await {
        done.extend(asked??);
    }
    Ok(done)
}

/// The settings by which mails go to a relay on this machine.
pub fn mailing(port: &str) -> [(&str, &str); 5] {
    [
        ("MAIL__TRANSPORT", "smtp"),
        ("MAIL__FROM", "bench@example.com"),
        ("MAIL__SMTP__HOST", "127.0.0.1"),
        ("MAIL__SMTP__PORT", port),
        ("MAIL__SMTP__TLS", "none"),
    ]
}

/// The cost of a turn, for each operation.
pub struct Cost {
    pub server: f64,
    pub database: f64,
    latency: f64,
}

impl Bench {
    /// Confirmations, refreshes, checks and sign-outs, with the CPU time of each: from many callers while
    /// the server has cores of its own, and refreshes from one while it shares them with everybody.
    pub async fn life_of_sessions(&self) -> anyhow::Result<()> {
        let mailbox = Mailbox::start(([127, 0, 0, 1], 0).into(), None, Clock::system()).await?;
        let port = mailbox.smtp_addr().port().to_string();
        let halves = self.divide()?;
        let server = cores::on(halves.servers, || self.cheap(&mailing(&port)))?;
        self.confirm(&server, &mailbox).await?;
        let mut chains = open(&server, "cheap", SESSIONS).await?;
        let what = format!("refresh, the server on cores of its own, {CALLERS} callers");
        self.refresh(&server, halves.servers, &what, CALLERS, &mut chains)
            .await?;
        self.check(&server, &chains).await?;
        self.sign_out(&server, &chains).await?;
        let whole = halves.whole;
        drop((server, halves));

        let server = self.cheap(&[])?;
        let mut chains = open(&server, "cheap", SESSIONS).await?;
        let what = "refresh, all on the same cores, one caller";
        self.refresh(&server, whole, what, 1, &mut chains).await
    }

    /// Asks by so many callers at once, and tells what one request took.
    pub async fn cost_of(
        &self,
        server: &Server,
        callers: usize,
        requests: &[String],
    ) -> anyhow::Result<(Cost, Vec<Value>)> {
        let requests: Arc<[String]> = requests.into();
        let (cpu, database) = (server.cpu()?, self.machine.database_cpu()?);
        let mut done = ask_all(server.public, callers, &requests).await?;
        let cpu = server.cpu()?.saturating_sub(cpu);
        let database = self.machine.database_cpu()?.saturating_sub(database);
        done.sort_by_key(|(number, ..)| *number);
        let times: Vec<_> = done.iter().map(|(_, time, _)| micros(*time)).collect();
        let answers: Result<_, _> = done.iter().map(|(.., answer)| answer.ok()).collect();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let count = requests.len() as f64;
        let cost = Cost {
            server: micros(cpu) / count,
            database: micros(database) / count,
            latency: quantile(&times, 0.5),
        };
        Ok((cost, answers?))
    }

    async fn confirm(&self, server: &Server, mailbox: &Mailbox) -> anyhow::Result<()> {
        let mut requests = Vec::with_capacity(USERS);
        for number in 0..SESSIONS {
            let challenge = ask(server, &signin_request("mailed", number, number))
                .await?
                .ok()?;
            let mail = mailbox
                .next_for(&crate::server::address("mailed", number))
                .await;
            let code = mail.code.as_ref().context("a code in the mail")?;
            let body = json!({"token": challenge["2faDetails"]["token"], "code": code});
            requests.push(post(
                "/api/v2/2fa/confirm",
                network(number),
                None,
                &body.to_string(),
            ));
        }
        let sign = micros(self.rs256.cost()?.sign) * 2.0;
        let (cost, _) = self.cost_of(server, CALLERS, &requests).await?;
        cost.print("confirm");
        println!("  two signatures of it: {sign:.0} µs");
        Ok(())
    }

    async fn refresh(
        &self,
        server: &Server,
        its_cores: CpuSet,
        what: &str,
        callers: usize,
        chains: &mut [Chain],
    ) -> anyhow::Result<()> {
        let (mut ratios, mut last) = (Vec::new(), None);
        for _ in 0..TURNS {
            let floor = cores::on(its_cores, || self.rs256.cost())?;
            let floor = micros(floor.sign * 2 + floor.verify);
            let requests: Vec<_> = chains.iter().map(Chain::refresh).collect();
            let (cost, pairs) = self.cost_of(server, callers, &requests).await?;
            for (chain, pair) in chains.iter_mut().zip(&pairs) {
                *chain = Chain::new(chain.number, pair)?;
            }
            ratios.push(cost.server / floor);
            last = Some((cost, floor));
        }
        spread(
            &format!("{what}: server CPU / (two signatures and a verification)"),
            &ratios,
            "at most 1.25",
        );
        if let Some((cost, floor)) = last {
            cost.print("  refresh");
            println!("  its floor: {floor:.0} µs");
        }
        Ok(())
    }

    async fn check(&self, server: &Server, chains: &[Chain]) -> anyhow::Result<()> {
        let ask = |chain: &Chain| chain.bearer("/auth/verify");
        let requests: Vec<_> = chains.iter().map(ask).cycle().take(4000).collect();
        self.cost_of(server, CALLERS, &requests)
            .await?
            .0
            .print("token check");
        Ok(())
    }

    async fn sign_out(&self, server: &Server, chains: &[Chain]) -> anyhow::Result<()> {
        let ask = |chain: &Chain| chain.bearer("/api/v2/signout");
        let requests: Vec<_> = chains.iter().map(ask).collect();
        self.cost_of(server, CALLERS, &requests)
            .await?
            .0
            .print("sign-out");
        Ok(())
    }
}

impl Cost {
    fn print(&self, what: &str) {
        let Self {
            server,
            database,
            latency,
        } = self;
        println!(
            "{what}: CPU server {server:.0} µs, PostgreSQL {database:.0} µs; answered after {latency:.0} µs"
        );
    }
}
