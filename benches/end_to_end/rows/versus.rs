//! The present build beside that of another commit, in turns, on one machine and one database.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::{Request, StatusCode};
use backoffice_auth::dev::Mailbox;
use backoffice_auth::domain::Clock;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::sessions::{CALLERS, Chain, ask_all, mailing};
use super::{Bench, CHEAP, TURNS, USERS, ask, load, micros, signin_request};
use crate::cores::{self, Halves};
use crate::floors::checks::{Floor, Issued, Served};
use crate::measure::quantile;
use crate::server::{self, Server, network};
use crate::wire::post;

/// Sessions that a turn works on.
const SESSIONS: usize = 500;

/// Connections of a proxy that checks tokens, and checks in a turn.
const PROXIES: usize = 16;
const CHECKS: usize = 20_000;

/// Different tokens that are checked: those of a page and of an office, and each one for the first time.
const TOKENS: [usize; 3] = [1, 64, 100_000];

const CPU: &str = "µs of the server's CPU";
const WHOLE_CPU: &str = "µs of CPU, the server's and PostgreSQL's";

/// The figures of two servers, in each turn.
struct Measured([Vec<f64>; 2]);

impl Measured {
    fn print(&self, what: &str, unit: &str) {
        let [now, before] = &self.0;
        let ratios = now.iter().zip(before).map(|(now, before)| now / before);
        let ratios: Vec<f64> = ratios.collect();
        let [low, middle, high] = [0.0, 0.5, 1.0].map(|part| quantile(&ratios, part));
        let [now, before] = [now, before].map(|all| quantile(all, 0.5));
        println!(
            "{what}: {middle:.2} ({low:.2} to {high:.2}): {now:.1} against {before:.1} {unit}"
        );
    }
}

/// Measures two servers in turns, now the one first and now the other. A measurement is told which one it is of,
/// in a number that no other has.
async fn in_turns<const N: usize>(
    servers: [&Server; 2],
    mut measure: impl AsyncFnMut(&Server, usize) -> anyhow::Result<[f64; N]>,
) -> anyhow::Result<[Measured; N]> {
    let mut measured = [(); N].map(|()| Measured([vec![], vec![]]));
    for turn in 0..TURNS {
        for which in [turn % 2, 1 - turn % 2] {
            let figures = measure(servers[which], 2 * turn + which).await?;
            for (measured, figure) in measured.iter_mut().zip(figures) {
                measured.0[which].push(figure);
            }
        }
    }
    Ok(measured)
}

impl Bench {
    /// Measures both builds, each on the half of the machine that is the server's.
    pub async fn versus(&self, other: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        println!("this build against the other, in turns; below 1 is less");
        let halves = self.divide()?;
        if wanted("check") {
            self.versus_in_checks(other, &halves).await?;
        }
        if wanted("session") {
            self.versus_in_sessions(other, &halves).await?;
        }
        if wanted("signin") {
            self.versus_in_signins(other, &halves).await?;
        }
        Ok(())
    }

    /// Starts this build, which migrates, and then the other.
    fn both(
        &self,
        other: &Path,
        halves: &Halves,
        extra: &[(&str, &str)],
    ) -> anyhow::Result<[Server; 2]> {
        cores::on(halves.servers, || {
            let now = self.setting(extra)?.start()?;
            Ok([now, self.setting(extra)?.of(other).start()?])
        })
    }

    /// A check, and its three floors.
    async fn versus_in_checks(&self, other: &Path, halves: &Halves) -> anyhow::Result<()> {
        let [now, before] = self.both(other, halves, CHEAP)?;
        let issued = Issued::of(&self.setting(&[])?, TOKENS[2] + TOKENS[1]).await?;
        let (few, many) = issued.tokens.split_at(TOKENS[1]);
        for path in ["/auth/verify", "/api/v2/session"] {
            for count in TOKENS {
                let [cost] = in_turns([&now, &before], async |server, number| {
                    let each = many.len() / TURNS;
                    let tokens = few
                        .get(..count)
                        .unwrap_or(&many[number / 2 * each..][..each]);
                    let requests = check(path, tokens);
                    Ok([self.cost_of(server, PROXIES, &requests).await?.0.server])
                })
                .await?;
                cost.print(&format!("check, {path}, {count} tokens"), CPU);
            }
        }
        let [cost] = in_turns([&now, &before], async |server, _| {
            Ok([cost_over_http2(server, few).await?])
        })
        .await?;
        cost.print("check, /auth/verify, 64 tokens over HTTP/2", CPU);
        let requests = check("/auth/verify", few);
        for floor in [Floor::Bare, Floor::Remembering, Floor::VerifyingOnce] {
            let served = Served::start(floor, &issued, halves.servers)?;
            let (requests, before) = (Arc::from(&*requests), served.cpu()?);
            ask_all(served.address, PROXIES, &requests).await?;
            let each = micros(served.cpu()?.saturating_sub(before)) / count(requests.len());
            println!("  {floor:?}: {each:.1} µs");
        }
        drop(before);
        let silent = [CHEAP, &[("LOG__FILTER", "warn")]].concat();
        let silent = cores::on(halves.servers, || self.setting(&silent)?.start())?;
        let [cost] = in_turns([&now, &silent], async |server, _| {
            Ok([self.cost_of(server, PROXIES, &requests).await?.0.server])
        })
        .await?;
        cost.print("check with its line in the log, against one without", CPU);
        Ok(())
    }

    /// Confirmations, refreshes and sign-outs.
    async fn versus_in_sessions(&self, other: &Path, halves: &Halves) -> anyhow::Result<()> {
        let mailbox = Mailbox::start(([127, 0, 0, 1], 0).into(), None, Clock::system()).await?;
        let port = mailbox.smtp_addr().port().to_string();
        let [now, before] = self.both(other, halves, &[CHEAP, &mailing(&port)].concat())?;
        let setting = self.setting(&[])?;
        let hash = setting.hash(8, 1).await?;
        setting.import(2 * TURNS * SESSIONS, "turn", &hash, "email")?;
        let whole = in_turns([&now, &before], async |server, number| {
            let users = number * SESSIONS..(number + 1) * SESSIONS;
            let chains = |pairs: &[Value]| {
                let pairs = users.clone().zip(pairs);
                pairs
                    .map(|(user, pair)| Chain::new(user, pair))
                    .collect::<anyhow::Result<Vec<_>>>()
            };
            let requests = confirmations(server, &mailbox, users.clone()).await?;
            let (confirm, pairs) = self.cost_of(server, CALLERS, &requests).await?;
            let requests: Vec<_> = chains(&pairs)?.iter().map(Chain::refresh).collect();
            let (refresh, pairs) = self.cost_of(server, CALLERS, &requests).await?;
            let ended = chains(&pairs)?;
            let requests: Vec<_> = ended
                .iter()
                .map(|chain| chain.bearer("/api/v2/signout"))
                .collect();
            let (sign_out, _) = self.cost_of(server, CALLERS, &requests).await?;
            Ok([confirm, refresh, sign_out].map(|cost| cost.server + cost.database))
        });
        for (cost, what) in whole.await?.iter().zip(["confirm", "refresh", "sign-out"]) {
            cost.print(what, WHOLE_CPU);
        }
        Ok(())
    }

    /// Sign-ins with the default parameters, as many as go.
    async fn versus_in_signins(&self, other: &Path, halves: &Halves) -> anyhow::Result<()> {
        let [now, before] = self.both(other, halves, &[])?;
        let signins = load::Signins::new("usual", USERS);
        let [rate, cost] = in_turns([&now, &before], async |server, _| {
            let (cpu, database) = (server.cpu()?, self.machine.database_cpu()?);
            let done = load::closed(server, CALLERS, load::SPAN, &signins).await?;
            let cpu = server.cpu()?.saturating_sub(cpu);
            let cpu = cpu + self.machine.database_cpu()?.saturating_sub(database);
            let count = done.rate * load::SPAN.as_secs_f64();
            Ok([done.rate, micros(cpu) / count])
        })
        .await?;
        rate.print("sign-ins a second", "a second");
        cost.print("sign-in", WHOLE_CPU);
        Ok(())
    }
}

/// So many checks of tokens in turns.
fn check(path: &str, tokens: &[String]) -> Vec<String> {
    let tokens = tokens.iter().cycle().take(CHECKS);
    tokens
        .map(|token| {
            format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
            )
        })
        .collect()
}

/// What a check takes of the server's CPU over HTTP/2, as proxies ask: one request after the other on each connection.
async fn cost_over_http2(server: &Server, tokens: &[String]) -> anyhow::Result<f64> {
    let (before, mut proxies) = (server.cpu()?, JoinSet::new());
    for _ in 0..PROXIES {
        let stream = TcpStream::connect(server.public).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let tokens = tokens.to_vec();
        proxies.spawn(async move {
            let asked = async {
                for token in tokens.iter().cycle().take(CHECKS / PROXIES) {
                    let request = Request::get("http://localhost/auth/verify")
                        .header(AUTHORIZATION, format!("Bearer {token}"))
                        .body(Body::empty())?;
                    sender.ready().await?;
                    let status = sender.send_request(request).await?.status();
                    anyhow::ensure!(status == StatusCode::OK, "{status}");
                }
                Ok(())
            };
            tokio::select! {
                asked = asked => asked,
                ended = connection => Err(anyhow::anyhow!("the connection ended: {ended:?}")),
            }
        });
    }
    while let Some(asked) = proxies.join_next().await {
        asked??;
    }
    Ok(micros(server.cpu()?.saturating_sub(before)) / count(CHECKS))
}

#[expect(clippy::cast_precision_loss, reason = "some thousand")]
fn count(requests: usize) -> f64 {
    requests as f64
}

/// Signs users in, and makes requests to confirm that with the codes that they got.
async fn confirmations(
    server: &Server,
    mailbox: &Mailbox,
    users: Range<usize>,
) -> anyhow::Result<Vec<String>> {
    let mut requests = Vec::with_capacity(users.len());
    for user in users {
        let challenge = ask(server, &signin_request("turn", user, user))
            .await?
            .ok()?;
        let mail = mailbox.next_for(&server::address("turn", user)).await;
        let code = mail.code.as_ref().context("a code in the mail")?;
        let body = json!({"token": challenge["2faDetails"]["token"], "code": code});
        requests.push(post(
            "/api/v2/2fa/confirm",
            network(user),
            None,
            &body.to_string(),
        ));
    }
    Ok(requests)
}
