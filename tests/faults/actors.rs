//! The load: people who sign in, confirm, refresh in several tabs, check and sign out, over both
//! instances, and two who try too much. Each request goes into the history.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use backoffice_auth::domain::Timestamp;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::client::{Reply, ask, request};
use crate::history::{Asked, Gained, History, Outcome, Request};
use crate::post::PostOffice;

/// The right password of everybody.
pub const PASSWORD: &str = "violet-anvil-67";

/// The actors: how many of each, and whether they need a code.
pub const CAST: [(&str, usize, bool); 6] = [
    ("visitor", 3, false),
    ("coder", 2, true),
    ("keeper", 2, false),
    ("guessed", 1, false),
    ("hammer", 1, false),
    ("probe", 2, false),
];

/// Where a load plays.
pub struct Setting {
    pub history: History,
    pub doors: [SocketAddr; 2],
    pub post: PostOffice,
    /// For how long somebody waits for a code.
    pub mail_patience: Duration,
    networks: AtomicU32,
}

/// A pair of tokens as handed out.
#[derive(Debug, Clone)]
pub struct Pair {
    pub session: String,
    pub generation: i64,
    pub access: String,
    pub refresh: String,
}

/// A session that somebody had when the load ended.
#[derive(Debug, Clone)]
pub struct Held {
    pub pair: Pair,
    /// Its sign-out was answered.
    pub is_over: bool,
}

/// A challenge as handed out.
struct Challenge {
    token: String,
    over_at: Duration,
}

enum SignedIn {
    Pair(Pair),
    Challenge(Challenge),
}

impl Setting {
    pub fn new(
        history: History,
        doors: [SocketAddr; 2],
        post: PostOffice,
        mail_patience: Duration,
    ) -> Self {
        Self {
            history,
            doors,
            post,
            mail_patience,
            networks: AtomicU32::new(1),
        }
    }

    /// A network that nobody came from before.
    fn new_network(&self) -> String {
        let [_, b, c, d] = self.networks.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        format!("10.{b}.{c}.{d}")
    }
}

/// A load that is under way.
pub struct Load {
    stop: CancellationToken,
    actors: JoinSet<Vec<Held>>,
}

impl Load {
    pub fn start(setting: &Arc<Setting>) -> Self {
        let (stop, mut actors) = (CancellationToken::new(), JoinSet::new());
        for (role, count, _) in CAST {
            for number in 0..count {
                let actor = Actor::new(setting, role, number);
                let stop = stop.clone();
                match role {
                    "visitor" => actors.spawn(actor.visit(stop)),
                    "coder" => actors.spawn(actor.visit_with_code(stop)),
                    "keeper" => actors.spawn(actor.keep(stop)),
                    "guessed" => actors.spawn(actor.guess(stop)),
                    "hammer" => actors.spawn(actor.hammer(stop)),
                    // Those belong to the actor that looks whether a sign-in works.
                    _ => continue,
                };
            }
        }
        Self { stop, actors }
    }

    /// Ends it; the sessions that are left.
    pub async fn stop(self) -> Vec<Held> {
        self.stop.cancel();
        self.actors.join_all().await.concat()
    }
}

/// Somebody with an address.
pub struct Actor {
    setting: Arc<Setting>,
    email: String,
    dice: u64,
}

impl Actor {
    pub fn new(setting: &Arc<Setting>, role: &str, number: usize) -> Self {
        let email = format!("{role}{number}@example.com");
        let seed = email.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            setting: Arc::clone(setting),
            email,
            dice: seed,
        }
    }

    /// A number below `sides`, from a fixed sequence (xorshift).
    fn roll(&mut self, sides: usize) -> usize {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        usize::try_from(self.dice >> 33).unwrap() % sides
    }

    async fn pause(&mut self, at_most: usize) {
        let millis = 10 + self.roll(at_most);
        sleep(Duration::from_millis(millis as u64)).await;
    }

    // Requests

    async fn send(&self, instance: usize, asked: Asked, bytes: &[u8]) -> (Option<u16>, String) {
        let history = &self.setting.history;
        let started = history.now();
        let reply = ask(self.setting.doors[instance], bytes).await;
        let ended = history.now();
        let (outcome, body) = match reply {
            Reply::Refused => (Outcome::Refused, String::new()),
            Reply::Lost => (Outcome::Lost, String::new()),
            Reply::Answer(answer) => {
                let gained = match answer.status {
                    200 => gained(&answer.body),
                    _ => Gained::Nothing,
                };
                let status = answer.status;
                (Outcome::Answered { status, gained }, answer.body)
            }
        };
        let request = Request {
            instance,
            started,
            ended,
            asked,
            outcome,
        };
        let status = request.status();
        history.add(request);
        (status, body)
    }

    /// Signs in from a network; 200 brings something.
    async fn signin(&self, instance: usize, network: &str, is_right: bool) -> Option<SignedIn> {
        let password = if is_right { PASSWORD } else { "wrong-anvil-67" };
        let body = json!({"email": self.email, "password": password}).to_string();
        let bytes = request("POST", "/api/v2/signin", network, "", &body);
        let key = format!("{} {network}", self.email);
        let asked = Asked::Signin { key, is_right };
        let (status, body) = self.send(instance, asked, &bytes).await;
        (status == Some(200)).then(|| self.signed_in(&body))
    }

    fn signed_in(&self, body: &str) -> SignedIn {
        if let Some(pair) = pair(body) {
            return SignedIn::Pair(pair);
        }
        let details = &serde_json::from_str::<Value>(body).unwrap()["2faDetails"];
        let over_at: Timestamp = details["expiresAt"].as_str().unwrap().parse().unwrap();
        SignedIn::Challenge(Challenge {
            token: details["token"].as_str().unwrap().to_owned(),
            over_at: self.setting.history.place(over_at),
        })
    }

    /// Whether a sign-in with the right password works at this instance.
    pub async fn can_sign_in(&self, instance: usize) -> bool {
        let network = self.setting.new_network();
        self.signin(instance, &network, true).await.is_some()
    }

    async fn confirm(&self, at: usize, challenge: &Challenge, code: &str, is_right: bool) -> Tried {
        let body = json!({"token": challenge.token, "code": code}).to_string();
        let bytes = request("POST", "/api/v2/2fa/confirm", "10.255.0.1", "", &body);
        let asked = Asked::Confirm {
            challenge: challenge.token.clone(),
            user: self.email.clone(),
            is_right,
            over_at: challenge.over_at,
        };
        let (status, body) = self.send(at, asked, &bytes).await;
        match status {
            Some(200) => Tried::Pair(pair(&body).unwrap()),
            Some(401) => Tried::Refused,
            _ => Tried::Again,
        }
    }

    async fn refresh_once(&self, instance: usize, pair: &Pair) -> Tried {
        let body = json!({"refreshToken": pair.refresh}).to_string();
        let bytes = request("POST", "/api/v2/refresh", "10.255.0.2", "", &body);
        let asked = Asked::Refresh {
            session: pair.session.clone(),
            generation: pair.generation,
        };
        let (status, body) = self.send(instance, asked, &bytes).await;
        match status {
            Some(200) => Tried::Pair(self::pair(&body).unwrap()),
            Some(401) => Tried::Refused,
            _ => Tried::Again,
        }
    }

    /// Presents one refresh token in several tabs at once, and waits for all of them.
    async fn refresh(&mut self, pair: &Pair, tabs: usize) -> Tried {
        let doors: Vec<usize> = (0..tabs).map(|_| self.roll(2)).collect();
        let asking = doors.iter().map(|door| self.refresh_once(*door, pair));
        let tried = join_all(asking).await;
        let best = tried.into_iter().min_by_key(|tried| match tried {
            Tried::Pair(_) => 0,
            Tried::Refused => 1,
            Tried::Again => 2,
        });
        best.unwrap()
    }

    async fn bearer(&self, instance: usize, method: &str, pair: &Pair) -> Option<u16> {
        let session = pair.session.clone();
        let (path, asked) = match method {
            "GET" => ("/api/v2/session", Asked::Check { session }),
            _ => ("/api/v2/signout", Asked::Signout { session }),
        };
        let authorization = format!("Authorization: Bearer {}\r\n", pair.access);
        let bytes = request(method, path, "10.255.0.3", &authorization, "");
        self.send(instance, asked, &bytes).await.0
    }

    async fn check(&self, instance: usize, pair: &Pair) -> Option<u16> {
        self.bearer(instance, "GET", pair).await
    }

    // Actors

    /// Signs in until it works or the load ends.
    async fn sign_in(&mut self, stop: &CancellationToken) -> Option<SignedIn> {
        while !stop.is_cancelled() {
            let (door, network) = (self.roll(2), self.setting.new_network());
            if let Some(signed_in) = self.signin(door, &network, true).await {
                return Some(signed_in);
            }
            self.pause(100).await;
        }
        None
    }

    /// Goes on with a session for some steps, and signs out of every other one.
    async fn live(&mut self, mut pair: Pair, stop: &CancellationToken) -> Option<Held> {
        for _ in 0..self.roll(6) {
            if stop.is_cancelled() {
                break;
            }
            if self.roll(2) == 0 {
                let door = self.roll(2);
                self.check(door, &pair).await;
            } else {
                let tabs = 1 + self.roll(3);
                if let Tried::Pair(next) = self.refresh(&pair, tabs).await {
                    pair = next;
                }
            }
            self.pause(100).await;
        }
        if self.roll(2) == 0 {
            let is_over = false;
            return Some(Held { pair, is_over });
        }
        self.sign_out(pair, stop).await
    }

    /// Signs out until it is answered, and tries the dead tokens everywhere.
    async fn sign_out(&mut self, pair: Pair, stop: &CancellationToken) -> Option<Held> {
        loop {
            let door = self.roll(2);
            let status = self.bearer(door, "POST", &pair).await;
            if matches!(status, Some(200 | 401)) {
                break;
            }
            if stop.is_cancelled() {
                // Nobody knows whether it is over.
                return None;
            }
            self.pause(100).await;
        }
        for door in [0, 1] {
            self.refresh_once(door, &pair).await;
            self.check(door, &pair).await;
        }
        let is_over = true;
        Some(Held { pair, is_over })
    }

    async fn visit(mut self, stop: CancellationToken) -> Vec<Held> {
        let mut held = Vec::new();
        while let Some(signed_in) = self.sign_in(&stop).await {
            if let SignedIn::Pair(pair) = signed_in {
                held.extend(self.live(pair, &stop).await);
            }
            self.pause(50).await;
        }
        held
    }

    async fn visit_with_code(mut self, stop: CancellationToken) -> Vec<Held> {
        let mut held = Vec::new();
        while let Some(signed_in) = self.sign_in(&stop).await {
            let SignedIn::Challenge(challenge) = signed_in else {
                continue;
            };
            let (post, patience) = (self.setting.post.clone(), self.setting.mail_patience);
            let waiting = post.code_for(&challenge.token, patience);
            let Some(Some(code)) = stop.run_until_cancelled(waiting).await else {
                continue;
            };
            if let Some(pair) = self.enter(&challenge, &code, &stop).await {
                held.extend(self.live(pair, &stop).await);
            }
            self.pause(1_000).await;
        }
        held
    }

    /// Enters a code, wrongly at first now and then, and then at both doors at once.
    async fn enter(
        &mut self,
        challenge: &Challenge,
        code: &str,
        stop: &CancellationToken,
    ) -> Option<Pair> {
        if self.roll(4) == 0 {
            let number: u32 = code.parse().unwrap();
            let wrong = format!("{:06}", (number + 1) % 1_000_000);
            let door = self.roll(2);
            self.confirm(door, challenge, &wrong, false).await;
        }
        while !stop.is_cancelled() {
            let (first, second) = tokio::join!(
                self.confirm(0, challenge, code, true),
                self.confirm(1, challenge, code, true)
            );
            match (first, second) {
                (Tried::Pair(pair), _) | (_, Tried::Pair(pair)) => return Some(pair),
                (Tried::Refused, _) | (_, Tried::Refused) => return None,
                (Tried::Again, Tried::Again) => self.pause(500).await,
            }
        }
        None
    }

    /// Has one session for as long as the load lasts.
    async fn keep(mut self, stop: CancellationToken) -> Vec<Held> {
        let Some(SignedIn::Pair(mut pair)) = self.sign_in(&stop).await else {
            return Vec::new();
        };
        while !stop.is_cancelled() {
            self.check(0, &pair).await;
            self.check(1, &pair).await;
            if let Tried::Pair(next) = self.refresh(&pair, 2).await {
                pair = next;
            }
            self.pause(1_200).await;
        }
        let is_over = false;
        vec![Held { pair, is_over }]
    }

    /// Guesses a password at both doors as fast as it can, and knows it every tenth time.
    async fn guess(mut self, stop: CancellationToken) -> Vec<Held> {
        while !stop.is_cancelled() {
            let is_right = self.roll(10) == 0;
            tokio::join!(
                self.signin(0, "198.18.0.1", false),
                self.signin(1, "198.18.0.1", is_right)
            );
            self.pause(60).await;
        }
        Vec::new()
    }

    /// Refreshes one session as fast as it can.
    async fn hammer(mut self, stop: CancellationToken) -> Vec<Held> {
        let Some(SignedIn::Pair(mut pair)) = self.sign_in(&stop).await else {
            return Vec::new();
        };
        while !stop.is_cancelled() {
            if let Tried::Pair(next) = self.refresh(&pair, 2).await {
                pair = next;
            }
            self.pause(60).await;
        }
        let is_over = false;
        vec![Held { pair, is_over }]
    }

    /// Tries what is left of a session until it is answered for good; the history's judges find its errors.
    pub async fn verify(&mut self, held: &Held, until: Duration) {
        let (pair, mut door) = (&held.pair, self.roll(2));
        loop {
            let checked = self.check(door, pair).await;
            let tried = self.refresh_once(door, pair).await;
            let is_answered = checked.is_some_and(|s| s != 503) && !matches!(tried, Tried::Again);
            if is_answered || self.setting.history.now() > until {
                return;
            }
            door = 1 - door;
            self.pause(100).await;
        }
    }
}

/// The outcome of a try.
enum Tried {
    Pair(Pair),
    Refused,
    /// 429, 503 or no answer.
    Again,
}

fn gained(body: &str) -> Gained {
    if let Some(pair) = pair(body) {
        return Gained::Pair {
            session: pair.session,
            generation: pair.generation,
            digest: format!("{:x?}", digest(&SHA256, body.as_bytes()).as_ref()),
        };
    }
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    match body["2faDetails"]["token"].as_str() {
        Some(token) => Gained::Challenge(token.to_owned()),
        None => Gained::Nothing,
    }
}

fn pair(body: &str) -> Option<Pair> {
    let body: Value = serde_json::from_str(body).ok()?;
    let refresh = body["refreshToken"]["token"].as_str()?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(refresh.split('.').nth(1)?);
    let claims: Value = serde_json::from_slice(&claims.ok()?).ok()?;
    Some(Pair {
        session: claims["sid"].as_str()?.to_owned(),
        generation: claims["gen"].as_i64()?,
        access: body["accessToken"]["token"].as_str()?.to_owned(),
        refresh: refresh.to_owned(),
    })
}
