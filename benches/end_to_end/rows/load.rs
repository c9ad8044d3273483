//! Load: closed, with so many callers that wait for each other's turn, and open, at a rate that
//! does not wait for answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{millis, quantile, signin_request};
use crate::server::Server;
use crate::wire::Caller;

/// How long sign-ins come in a turn.
pub const SPAN: Duration = Duration::from_secs(4);

/// Sign-ins of one user after the other, each from a network that was not seen before.
#[derive(Clone)]
pub struct Signins {
    prefix: &'static str,
    users: usize,
    next: Arc<AtomicUsize>,
}

impl Signins {
    pub fn new(prefix: &'static str, users: usize) -> Self {
        let next = Arc::new(AtomicUsize::new(1));
        Self {
            prefix,
            users,
            next,
        }
    }

    pub fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        signin_request(self.prefix, number % self.users, number)
    }
}

/// Answers and how long they took, in milliseconds.
#[derive(Debug, Default)]
pub struct Done {
    /// 200s a second.
    pub rate: f64,
    pub answered: Vec<f64>,
    /// The times of the answers that were 503.
    pub refused: Vec<f64>,
}

impl Done {
    fn note(&mut self, status: u16, took: Duration) -> anyhow::Result<()> {
        match status {
            200 => self.answered.push(millis(took)),
            503 => self.refused.push(millis(took)),
            other => anyhow::bail!("an answer was {other}"),
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.refused.extend(other.refused);
    }

    pub fn print(&self, what: &str) {
        let [middle, high, most] = [0.5, 0.99, 1.0].map(|part| quantile(&self.answered, part));
        let n = self.answered.len();
        println!("{what}: p50 {middle:.1} ms, p99 {high:.1} ms, max {most:.1} ms (n={n})");
    }
}

/// So many callers, each of whom asks again as soon as it is answered.
pub async fn closed(
    server: &Server,
    callers: usize,
    span: Duration,
    signins: &Signins,
) -> anyhow::Result<Done> {
    let end = Instant::now() + span;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (mut caller, signins) = (Caller::connect(server.public).await?, signins.clone());
        tasks.spawn(async move {
            let mut done = Done::default();
            while Instant::now() < end {
                let asked = Instant::now();
                let answer = caller.ask(&signins.next()).await?;
                done.note(answer.status, asked.elapsed())?;
            }
            anyhow::Ok(done)
        });
    }
    let mut total = Done::default();
    while let Some(done) = tasks.join_next().await {
        total.add(done??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let count = total.answered.len() as f64;
    total.rate = count / span.as_secs_f64();
    Ok(total)
}

/// Requests at a rate, whether or not those before are answered. A time is counted from when the
/// request was due, so that a server which makes callers wait cannot hide it.
pub async fn open(
    server: &Server,
    rate: f64,
    span: Duration,
    signins: &Signins,
) -> anyhow::Result<Done> {
    let idle: Arc<Mutex<Vec<Caller>>> = Arc::default();
    let (started, mut tasks) = (Instant::now(), JoinSet::new());
    let mut due = started;
    while due < started + span {
        sleep_until(due).await;
        let (idle, address, request) = (idle.clone(), server.public, signins.next());
        tasks.spawn(async move {
            let waiting = idle.lock().await.pop();
            let mut caller = match waiting {
                Some(caller) => caller,
                None => Caller::connect(address).await?,
            };
            let answer = caller.ask(&request).await?;
            let took = due.elapsed();
            idle.lock().await.push(caller);
            anyhow::Ok((answer.status, took))
        });
        due += Duration::from_secs_f64(1.0 / rate);
    }
    let mut done = Done::default();
    while let Some(answered) = tasks.join_next().await {
        let (status, took) = answered??;
        done.note(status, took)?;
    }
    Ok(done)
}
