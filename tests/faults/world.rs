//! Two instances with all that is around them, a load on them, and the verdict at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use backoffice_auth::admin::Admin;
use backoffice_auth::config::Config;
use backoffice_auth::dev::Mailbox;
use backoffice_auth::domain::{Clock, Operator, PlainPassword, Timestamp, TwoFactor};
use backoffice_auth::password::HashingPool;
use backoffice_auth::store::Store;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::actors::{Actor, CAST, Held, Load, PASSWORD, Setting};
use crate::check::{self, Limit, Violations};
use crate::client::probe;
use crate::figures::{self, Figures};
use crate::form::say;
use crate::history::{History, Look, Request};
use crate::instance::Instance;
use crate::metronome::{Metronome, Stolen};
use crate::post::{PostOffice, fingerprint};
use crate::postgres::Postgres;
use crate::proxy::Proxy;
use crate::watch::Watch;

/// All limits under test: small and short, so that each fault meets them many times.
const LIMIT: Limit = Limit {
    attempts: 5,
    window: Duration::from_secs(5),
};

/// For how long anything is waited for. Far more than it takes: reaching it is a failure.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long the servers may take to be themselves again.
const RECOVERY: Duration = Duration::from_secs(5);

/// The time within which everything is answered; the time for which the machine was busy with
/// something else comes on top.
const PROMPT: Duration = Duration::from_secs(2);

/// How old the view of ended sessions may be: a second, and two while the database is in trouble.
const LAG: Duration = Duration::from_secs(2);

/// How long a block is: as long as the window.
const BLOCK: Duration = Duration::from_secs(5);

/// The connections that two instances may have at a time: `database.max_connections` and those aside.
const CONNECTIONS: i64 = 2 * (8 + 6);

const SETTINGS: [(&str, &str); 33] = [
    ("http.trusted_proxies", "127.0.0.1"),
    ("http.drain_seconds", "1"),
    ("database.max_connections", "8"),
    (
        "secrets.master_key",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ),
    ("tokens.issuer", "https://auth.example.com"),
    // A client may learn only after the fault that its token was traded before it.
    ("tokens.refresh_grace_seconds", "300"),
    // A visitor leaves many behind, and all of them are tried at the end.
    ("tokens.max_sessions_per_user", "100000"),
    ("passwords.memory_kib", "64"),
    ("passwords.iterations", "1"),
    ("passwords.workers", "2"),
    ("limits.signin.attempts", "5"),
    ("limits.signin.window_seconds", "5"),
    ("limits.signin.block_seconds", "5"),
    ("limits.confirm.attempts", "5"),
    ("limits.confirm.window_seconds", "5"),
    ("limits.confirm.block_seconds", "5"),
    ("limits.refresh.attempts", "5"),
    ("limits.refresh.window_seconds", "5"),
    ("limits.refresh.block_seconds", "5"),
    ("limits.signin_network_per_minute", "1000000"),
    ("limits.signin_account_failures_per_hour", "1000000"),
    ("limits.confirm_failures_per_account", "1000000"),
    ("limits.mails_per_account", "1000000"),
    ("limits.flood_burst", "1000000"),
    ("limits.flood_per_second", "1000000"),
    ("mail.from", "Back Office <no-reply@example.com>"),
    ("mail.smtp.host", "127.0.0.1"),
    ("mail.smtp.tls", "none"),
    ("log.format", "json"),
    ("log.filter", "info"),
    ("tokens.audience", "back-office"),
    ("database.migrate", "true"),
    ("http.docs", "false"),
];

/// Everything that a scenario breaks, watches and judges.
pub struct World {
    name: &'static str,
    pub postgres: Postgres,
    pub database: String,
    /// Between the instances and PostgreSQL.
    pub wire: Proxy,
    /// Between the instances and the mail relay.
    pub mail_wire: Proxy,
    pub mailbox: Mailbox,
    pub instances: [Instance; 2],
    pub setting: Arc<Setting>,
    variables: Vec<(String, String)>,
    metronome: Metronome,
    /// Commits beside the servers': if these wait, too, the servers are not the cause.
    control: Metronome,
    lookouts: JoinSet<()>,
    load: Option<Load>,
    watch: Option<Watch>,
    pub recoveries: Vec<Duration>,
    fault_over: Duration,
    /// Since when the database is in trouble.
    trouble_since: Option<Duration>,
    /// From when to when it was.
    troubles: Vec<(Duration, Duration)>,
    is_readiness_judged: bool,
    pub violations: Violations,
}

/// The violations of a scenario, counted.
pub struct Tally {
    /// Changes that were acknowledged under load and were lost afterwards.
    pub lost: usize,
    /// Answers under load that were not true, such as 401 for a live token or 200 for an ended session.
    pub wrong: usize,
    /// These and all others.
    pub violations: Violations,
    pub stolen: Stolen,
}

impl World {
    /// A world on the usual cluster, with a load on it.
    pub async fn start(name: &'static str, settings: &[(&str, &str)]) -> Self {
        let mut world = Self::on(Postgres::start("faults"), name, settings).await;
        world.begin().await;
        world
    }

    /// A world on a cluster, with nothing running yet.
    pub async fn on(postgres: Postgres, name: &'static str, settings: &[(&str, &str)]) -> Self {
        let database = format!("faults_{name}");
        let drop = format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)");
        postgres.execute("postgres", &drop).await;
        let create = format!("CREATE DATABASE {database}");
        postgres.execute("postgres", &create).await;

        let wire = Proxy::start(loopback(postgres.port())).await;
        let mailbox = Mailbox::start(loopback(0), None, Clock::system());
        let mailbox = mailbox.await.unwrap();
        let mail_wire = Proxy::start(mailbox.smtp_addr()).await;
        let [direct, proxied] = [postgres.port(), wire.address.port()].map(|p| format!(":{p}/"));
        let url = postgres.url(&database).replace(&direct, &proxied);
        let port = mail_wire.address.port().to_string();
        let own = [("database.url", url.as_str()), ("mail.smtp.port", &port)];
        let all = || SETTINGS.iter().chain(&own).chain(settings);
        let variables = variables(all());
        // Around a pooler, if there is one: it is no way for migrations.
        let url = postgres.url(&database);
        let direct = self::variables(all().chain(&[("database.url", url.as_str())]));
        people(&Config::load(None, direct).unwrap().config).await;

        let instances =
            ["a", "b"].map(|letter| Instance::new(&format!("{name}-{letter}"), variables.clone()));
        let doors = [instances[0].public, instances[1].public];
        let office = PostOffice::open(&mailbox);
        let patience = Duration::from_secs(3);
        let setting = Setting::new(History::begin(), doors, office, patience);
        Self {
            name,
            postgres,
            database,
            wire,
            mail_wire,
            mailbox,
            instances,
            setting: Arc::new(setting),
            variables,
            metronome: Metronome::default(),
            control: Metronome::default(),
            lookouts: JoinSet::new(),
            load: None,
            watch: None,
            recoveries: Vec::new(),
            fault_over: Duration::ZERO,
            trouble_since: None,
            troubles: Vec::new(),
            is_readiness_judged: true,
            violations: Violations::new(),
        }
    }

    /// Readiness is not judged: a database that is slow, but answers, is no reason to send people
    /// away from where their refreshes and checks still work, while a sign-in, which takes eight
    /// statements, may already be too much for it.
    pub fn readiness_may_err(&mut self) {
        self.is_readiness_judged = false;
    }

    /// The database is in trouble from now on, until the world [recovers](Self::recovers): "not ready"
    /// is then the truth, also for a sign-in that comes through because it waits.
    pub fn trouble_begins(&mut self) {
        self.trouble_since = Some(self.history().now());
    }

    /// The configuration's variables, for a server in this process.
    pub fn variables(&self) -> &[(String, String)] {
        &self.variables
    }

    /// Starts both instances and the load, and waits until everybody got something.
    pub async fn begin(&mut self) {
        let [first, second] = &mut self.instances;
        tokio::join!(first.start(), second.start());
        self.begin_load().await;
    }

    pub async fn begin_load(&mut self) {
        for instance in [0, 1] {
            let (setting, management) = (
                Arc::clone(&self.setting),
                self.instances[instance].management,
            );
            self.lookouts.spawn(look(setting, instance, management));
        }
        let beating = self.metronome.clone().beat(self.history().began());
        self.lookouts.spawn(beating);
        let control = self.control.clone();
        let cluster = self.postgres.url("postgres");
        self.lookouts
            .spawn(control.commit(self.history().began(), cluster));
        self.load = Some(Load::start(&self.setting));
        self.goes_on(4).await;
    }

    /// Follows the feed of ended sessions and counts connections, from now to the end. Attempts that
    /// were answered 503 must not have counted either.
    pub async fn watch(&mut self) {
        let connection = self.postgres.connect(&self.database).await;
        self.watch = Some(Watch::start(&self.setting, connection));
    }

    pub fn history(&self) -> &History {
        &self.setting.history
    }

    /// Waits for so many more of each kind of success at each instance.
    pub async fn goes_on(&self, times: usize) {
        use crate::history::Asked;
        let kinds: [fn(&Asked) -> bool; 4] = [
            |asked| matches!(asked, Asked::Signin { .. }),
            |asked| matches!(asked, Asked::Refresh { .. }),
            |asked| matches!(asked, Asked::Check { .. }),
            |asked| matches!(asked, Asked::Signout { .. }),
        ];
        let done = |instance: usize, kind: fn(&Asked) -> bool| {
            self.history()
                .count(|r| r.is_ok() && r.instance == instance && kind(&r.asked))
        };
        let each = [0, 1].map(|instance| kinds.map(|kind| (instance, kind)));
        let goals: Vec<_> = each
            .into_iter()
            .flatten()
            .map(|(instance, kind)| (instance, kind, done(instance, kind) + times))
            .collect();
        let deadline = Instant::now() + PATIENCE;
        for (instance, kind, goal) in goals {
            while done(instance, kind) < goal {
                assert!(Instant::now() < deadline, "{}: no progress", self.name);
                sleep(Duration::from_millis(10)).await;
            }
        }
    }

    /// The fault is over: waits until both instances are ready and sign people in, and notes how long
    /// that took.
    pub async fn recovers(&mut self) {
        let started = Instant::now();
        self.fault_over = self.history().now();
        for instance in [0, 1] {
            let actor = Actor::new(&self.setting, "probe", instance);
            let management = self.instances[instance].management;
            loop {
                let is_ready = probe(management, "/health/ready").await == Some(200);
                if is_ready && actor.can_sign_in(instance).await {
                    // Between two faults there may be too little time for the lookouts to see it.
                    self.history().add_look(Look {
                        instance,
                        at: self.history().now(),
                        is_ready: Some(is_ready),
                        serves: true,
                    });
                    break;
                }
                let last_words = self.instances[instance].last_words();
                assert!(
                    started.elapsed() < PATIENCE,
                    "{}: {instance} does not recover: {last_words}",
                    self.name
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
        let took = started.elapsed();
        self.recoveries.push(took);
        let (from, to) = (self.fault_over, self.history().now());
        let trouble = self.trouble_since.take();
        self.troubles.extend(trouble.map(|since| (since, to)));
        let ours = took.saturating_sub(self.metronome.stolen().between(from, to));
        if ours > RECOVERY {
            self.violations.push(format!("the recovery took {took:?}"));
        }
    }

    /// Ends the load, tries everything that was acknowledged, judges the history and prints a line.
    pub async fn finish(mut self) {
        self.goes_on(2).await;
        let held = self.load.take().unwrap().stop().await;
        self.verify(&held).await;
        if let Some(watch) = self.watch.take() {
            self.judge_watch(watch).await;
        }
        let mails = self.setting.post.mails();
        let ends = self.ends_of_challenges().await;
        let late = check::mails_are_in_time(&mails, &ends);
        self.violations.extend(late);
        self.end(held.len());
    }

    /// Ends the load and judges, but does not try the remaining tokens: after a soak most rows are purged.
    pub async fn finish_unverified(mut self) {
        let held = self.load.take().unwrap().stop().await;
        self.end(held.len());
    }

    /// Ends the load, tries everything that was acknowledged and judges, without failing because of the findings.
    pub async fn tally(mut self) -> Tally {
        let held = self.load.take().unwrap().stop().await;
        let under_load = self.history().requests();
        let missing = self.verify(&held).await;
        let all = self.history().requests();
        let wrong = check::answers_hold(&under_load, LIMIT.attempts, LAG).len();
        let in_all = check::answers_hold(&all, LIMIT.attempts, LAG).len();
        self.lookouts.abort_all();
        self.judge_and_report(held.len());
        Tally {
            lost: in_all - wrong + missing,
            wrong,
            violations: self.violations,
            stolen: self.metronome.stolen(),
        }
    }

    /// Judges, prints a line, and fails if something is wrong.
    fn end(mut self, held: usize) {
        self.lookouts.abort_all();
        self.judge_and_report(held);
        let mut failed = std::mem::take(&mut self.violations);
        let count = failed.len();
        failed.truncate(5);
        assert!(failed.is_empty(), "{}, {count}: {failed:#?}", self.name);
    }

    /// Tries all that is left: every acknowledged change holds. Returns how many sessions are lost.
    async fn verify(&mut self, held: &[Held]) -> usize {
        let until = self.fault_over + RECOVERY;
        let mut actor = Actor::new(&self.setting, "judge", 0);
        for held in held {
            actor.verify(held, until).await;
        }
        let live: BTreeSet<Uuid> = (held.iter().filter(|held| !held.is_over))
            .map(|held| held.pair.session.parse().unwrap())
            .collect();
        let quoted: Vec<String> = live.iter().map(|id| format!("'{id}'")).collect();
        let stored = format!(
            "SELECT count(*) FROM sessions WHERE ended_at IS NULL
                AND session_id = ANY (ARRAY[{}]::UUID[])",
            quoted.join(",")
        );
        let stored = self.postgres.number(&self.database, &stored).await;
        let stored = usize::try_from(stored).unwrap();
        if stored != live.len() {
            let lost = format!("of {} sessions {stored} are live", live.len());
            self.violations.push(lost);
        }
        live.len() - stored
    }

    fn judge_and_report(&mut self, held: usize) {
        let (history, looks) = (self.history().requests(), self.history().looks());
        let mails = self.setting.post.mails();
        let stolen = self.metronome.stolen();
        let settled_at = self.fault_over + RECOVERY;
        let verdicts = [
            check::answers_hold(&history, LIMIT.attempts, LAG),
            check::limits_hold(&history, LIMIT, LIMIT, LIMIT),
            check::answers_come_in_time(&history, PROMPT, &stolen),
            check::settled(&history, settled_at, &self.causes()),
            check::one_code_a_challenge(&mails),
        ];
        self.violations.extend(verdicts.concat());
        if self.is_readiness_judged {
            self.violations
                .extend(check::readiness_is_true(&looks, &self.troubles));
        }
        self.report(&history, held, mails.len(), &stolen);
    }

    /// Judges what was seen beside the load.
    async fn judge_watch(&mut self, watch: Watch) {
        let seen = watch.stop().await;
        let mut connection = self.postgres.connect(&self.database).await;
        let ended: Vec<Uuid> = sqlx::query_scalar(
            "SELECT session_id FROM sessions
              WHERE ended_at IS NOT NULL AND access_horizon_at > now() + INTERVAL '1 minute'",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let missed = ended.iter().filter(|id| !seen.ended.contains(id));
        self.violations
            .extend(missed.map(|id| format!("the follower was not told of {id}")));
        if seen.connections > CONNECTIONS {
            self.violations
                .push(format!("{} connections", seen.connections));
        }
        let history = self.history().requests();
        let counted = check::nothing_unanswered_counts(&history, LIMIT, BLOCK);
        self.violations.extend(counted);
    }

    /// Judges a time in which the database answered reads: then each check was answered.
    pub fn checks_were_answered(&mut self, from: Duration, to: Duration) {
        let (history, stolen) = (self.history().requests(), [self.metronome.stolen()]);
        self.violations
            .extend(check::checks_are_answered(&history, from, to, &stolen));
    }

    /// Judges a history in which no request may go without an answer.
    pub fn nothing_was_dropped(&mut self) {
        let history = self.history().requests();
        self.violations.extend(check::nothing_is_dropped(&history));
    }

    /// Judges a history in which the database was never in trouble.
    pub fn no_503(&mut self) {
        let history = self.history().requests();
        self.violations
            .extend(check::nothing_is_unavailable(&history, &self.causes()));
    }

    /// The causes that may keep a request waiting where no fault is on.
    fn causes(&self) -> [Stolen; 2] {
        [self.metronome.stolen(), self.control.stolen()]
    }

    /// The end of each challenge in the database, by the name that its mails have for it.
    async fn ends_of_challenges(&self) -> BTreeMap<String, Timestamp> {
        let mut connection = self.postgres.connect(&self.database).await;
        let rows: Vec<(Uuid, Timestamp)> =
            sqlx::query_as("SELECT challenge_id, expires_at FROM challenges")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        rows.into_iter()
            .map(|(id, end)| (fingerprint(&id.to_string()), end))
            .collect()
    }

    fn report(&self, history: &[Request], held: usize, mails: usize, stolen: &Stolen) {
        let figures = Figures {
            recoveries: self.recoveries.clone(),
            sessions: held,
            mails,
            violations: self.violations.len(),
            stolen: stolen.share(Duration::ZERO, self.history().now()),
        };
        figures::print(self.name, history, &figures);
        for violation in self.violations.iter().take(5) {
            say(&format!("{:<18}  {violation}", self.name));
        }
    }
}

/// Looks at an instance again and again.
async fn look(setting: Arc<Setting>, instance: usize, management: SocketAddr) {
    let actor = Actor::new(&setting, "probe", instance);
    loop {
        let (mut status, serves) = tokio::join!(
            probe(management, "/health/ready"),
            actor.can_sign_in(instance)
        );
        // Of an instance that starts meanwhile, a probe is told so at once, and a sign-in waits until it serves.
        if serves && status != Some(200) {
            status = probe(management, "/health/ready").await;
        }
        setting.history.add_look(Look {
            instance,
            at: setting.history.now(),
            is_ready: status.map(|status| status == 200),
            serves,
        });
        sleep(Duration::from_millis(250)).await;
    }
}

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn variables<'a>(settings: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Vec<(String, String)> {
    // Of two values for a key the later one counts.
    let named = settings.map(|(key, value)| {
        let name = key.replace('.', "__").to_ascii_uppercase();
        (format!("BACKOFFICE_AUTH__{name}"), (*value).to_owned())
    });
    named.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Migrates, and makes everybody who will play.
async fn people(config: &Config) {
    let store = Store::connect(&config.database).await.unwrap();
    store.migrate().await.unwrap();
    let (admin, operator) = (Admin::new(store.clone(), config), Operator::named("tests"));
    let password = PlainPassword::parse(PASSWORD).unwrap();
    let pool = HashingPool::new(config.passwords);
    for (role, count, has_code) in CAST {
        for number in 0..count {
            let email = format!("{role}{number}@example.com").parse().unwrap();
            let hash = pool.hash(password.clone()).await.unwrap();
            let two_factor = if has_code {
                TwoFactor::Email
            } else {
                TwoFactor::Off
            };
            admin
                .insert_user(&operator, &email, hash, two_factor)
                .await
                .unwrap();
        }
    }
    store.close();
}
