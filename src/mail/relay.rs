//! One relay: its connections, and what its answers mean.

use std::fs;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Response, Severity};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::MailProblem;
use super::breaker::Breaker;
use crate::config::{SmtpConfig, SmtpTls, is_full_host_name};

/// For a relay to be ready for a mail's content, where another can take the mail in its place.
pub(super) const TURN: Duration = Duration::from_secs(20);
/// For one address of the relay to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For the greeting (RFC 5321, section 4.5.3.2.1).
const GREETING_TIMEOUT: Duration = Duration::from_mins(5);
/// After so long without a greeting the connection may be one that the network has swallowed.
const SILENCE: Duration = Duration::from_secs(15);
/// For any other answer but the last. The RFC allows minutes, a code has no more than ten to live.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// For the answer to the dot that ends a mail (RFC 5321, section 4.5.3.2.6): to hang up earlier is how
/// a mail comes twice.
pub(super) const LAST_WORD_TIMEOUT: Duration = Duration::from_mins(10);
/// For an idle connection to show that it is alive, or to be closed with courtesy.
pub(super) const COURTESY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection waits for another mail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many may wait.
const MAX_IDLE: usize = 4;

/// How far an attempt at a mail came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Connecting, up to the end of the greetings and of the TLS handshake.
    Connecting,
    /// Signing in to the relay.
    SigningIn,
    /// Naming the sender.
    Sender,
    /// Naming the recipient.
    Recipient,
    /// Asking to hand over the mail.
    Content,
    /// Waiting for the relay to say that it has the mail.
    LastWord,
}

/// What a failure is about, for those who are to do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no conversation: the network, TLS, a wrong host or port.
    Connection,
    /// Who we sign in as.
    Credentials,
    /// Who the mail is from.
    Sender,
    /// Where the mail goes.
    Address,
    /// Us, or something at the relay; neither sender nor recipient.
    Refusal,
    /// Nothing that lasts: the relay asks to come again.
    Moment,
    /// The relay has the mail and does not say whether it takes it.
    Silence,
}

/// Why a relay did not take a mail.
#[derive(Debug)]
pub(super) struct Failure {
    stage: Stage,
    /// What kind of answer it was; `None` where there was none.
    severity: Option<Severity>,
    /// The answer, or what went wrong where there was none.
    pub(super) text: String,
}

/// Why a mail was not handed over.
#[derive(Debug)]
pub(super) enum NotSent {
    /// The relay did not take it.
    Failed(Failure),
    /// Nobody can use it any more.
    Unwanted,
}

/// A relay and the connections to it that wait for another mail.
///
/// Not lettre's own pool, for that puts a connection back when the future that used it is dropped
/// half way, as a deadline does. Whoever takes it next reads the answer to somebody else's
/// command, and from then on every answer is one too early: a refused mail counts as sent. Here a
/// connection waits for another mail only after one that the relay took; after anything else it is
/// closed, which costs a handshake.
///
/// Neither does lettre trace: at level debug it would write every byte of the conversation to the
/// log, codes and the relay's password among them.
pub(super) struct Relay {
    /// The section of the configuration that describes it.
    pub(super) section: &'static str,
    /// Its host and port.
    pub(super) name: String,
    /// Whether it is worth trying.
    pub(super) breaker: Breaker,
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    /// The name by which we greet it.
    pub(super) hello: ClientId,
    idle: Arc<Mutex<Vec<Idle>>>,
}

enum Tls {
    Wrapped(TlsParameters),
    Upgraded(TlsParameters),
    None,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl Relay {
    /// Prepares TLS; connects to nothing yet. `domain` is where mails come from.
    pub(super) fn new(
        section: &'static str,
        config: &SmtpConfig,
        domain: &str,
    ) -> Result<Self, MailProblem> {
        Ok(Self {
            section,
            name: format!("{}:{}", config.host, config.port),
            breaker: Breaker::default(),
            host: config.host.clone(),
            port: config.port,
            tls: match config.tls {
                SmtpTls::Required => Tls::Wrapped(tls_parameters(section, config)?),
                SmtpTls::StartTls => Tls::Upgraded(tls_parameters(section, config)?),
                SmtpTls::None => Tls::None,
            },
            credentials: config.credentials.as_ref().map(|credentials| {
                let password = credentials.password.expose_secret().to_owned();
                Credentials::new(credentials.username.clone(), password)
            }),
            hello: hello(config.hello_name.as_deref(), ClientId::default(), domain),
            idle: Arc::default(),
        })
    }

    /// Hands a mail over, if it is still wanted at the last moment, before `until`; the relay's last
    /// word. Where another relay can take the mail in this one's place, no more than [`TURN`] is spent
    /// before the mail is on its way.
    ///
    /// A mail that runs out of time before its end leaves a connection behind that is cut in the middle
    /// of it, and then the relay must forget it (RFC 5321, section 3.8). One that runs out of time
    /// afterwards may arrive.
    pub(super) async fn deliver<W: Future<Output = bool>>(
        &self,
        message: &Message,
        until: Instant,
        has_substitute: bool,
        is_wanted: impl FnOnce() -> W,
    ) -> Result<String, NotSent> {
        let turn = if has_substitute {
            until.min(Instant::now() + TURN)
        } else {
            until
        };
        let mut connection = self.connection(turn, has_substitute).await?;
        let outcome = transact(&mut connection, message, [turn, until], is_wanted).await;
        match &outcome {
            Ok(_) => self.keep(connection),
            // Who has no answer gets no courtesy either.
            Err(NotSent::Failed(Failure { severity: None, .. })) => {}
            Err(NotSent::Failed(_) | NotSent::Unwanted) => quit(connection).await,
        }
        outcome
    }

    /// An idle connection that is still alive, or a new one.
    ///
    /// A relay that was restarted has closed the idle ones: their NOOP fails and they are let go.
    /// One that dies between the NOOP and the mail makes that mail fail, temporarily.
    async fn connection(
        &self,
        deadline: Instant,
        has_substitute: bool,
    ) -> Result<AsyncSmtpConnection, Failure> {
        while let Some(mut connection) = self.take_idle() {
            let limit = deadline.min(Instant::now() + COURTESY_TIMEOUT);
            if timeout_at(limit, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
        let deadline = deadline.min(Instant::now() + GREETING_TIMEOUT);
        // On the heap, for they are large and rare.
        if has_substitute {
            Box::pin(self.connect(deadline)).await
        } else {
            Box::pin(self.connect_patiently(deadline)).await
        }
    }

    /// Waits for a relay that takes long to greet. Its silence may also be that of a network which has
    /// swallowed the connection, so beside it another one is tried every now and then.
    async fn connect_patiently(&self, deadline: Instant) -> Result<AsyncSmtpConnection, Failure> {
        let mut patient = pin!(self.connect(deadline));
        if let Ok(outcome) = timeout(SILENCE, &mut patient).await {
            return outcome;
        }
        loop {
            let next = Instant::now() + SILENCE;
            tokio::select! {
                outcome = &mut patient => return outcome,
                fresh = self.connect(next.min(deadline)) => if fresh.is_ok() {
                    return fresh;
                },
            }
            if let Ok(outcome) = timeout_at(next, &mut patient).await {
                return outcome;
            }
        }
    }

    async fn connect(&self, deadline: Instant) -> Result<AsyncSmtpConnection, Failure> {
        let (wrapper, upgrade) = match &self.tls {
            Tls::Wrapped(parameters) => (Some(parameters.clone()), None),
            Tls::Upgraded(parameters) => (None, Some(parameters.clone())),
            Tls::None => (None, None),
        };
        let server = (self.host.as_str(), self.port);
        let wait = Some(CONNECT_TIMEOUT);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, wait, &self.hello, wrapper, None);
        let mut connection = step(Stage::Connecting, deadline, connecting).await?;
        if let Some(parameters) = upgrade {
            // An error where the relay does not offer it: never in the clear instead.
            let upgrading = connection.starttls(parameters, &self.hello);
            step(Stage::Connecting, soon(deadline), upgrading).await?;
        }
        if let Some(credentials) = &self.credentials {
            let signing_in = connection.auth(DEFAULT_MECHANISMS, credentials);
            step(Stage::SigningIn, soon(deadline), signing_in).await?;
        }
        Ok(connection)
    }

    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().map(|idle| idle.connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(Idle {
                connection,
                since: Instant::now(),
            });
            tokio::spawn(close_when_overdue(Arc::downgrade(&self.idle)));
        }
    }
}

/// Trusts the public authorities, or in their place those in the configured file.
fn tls_parameters(
    section: &'static str,
    config: &SmtpConfig,
) -> Result<TlsParameters, MailProblem> {
    let mut builder = TlsParameters::builder(config.host.clone());
    if let Some(path) = &config.ca_file {
        let problem = |told: String| MailProblem::CaFile {
            section,
            path: path.clone(),
            told,
        };
        let pem = fs::read(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
        if !pem.windows(PEM_HEAD.len()).any(|window| window == PEM_HEAD) {
            return Err(problem("holds no certificate in PEM".to_owned()));
        }
        let certificates = Certificate::from_pem(&pem)
            .map_err(|_| problem("holds no certificate that can be read".to_owned()))?;
        builder = builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificates);
    }
    builder.build().map_err(|error| MailProblem::Tls {
        section,
        told: error.to_string(),
    })
}

/// lettre takes a file without one for a good one that holds none.
const PEM_HEAD: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Goes through a mail: before `turn` up to its content, and to its end before `until`.
async fn transact<W: Future<Output = bool>>(
    connection: &mut AsyncSmtpConnection,
    message: &Message,
    [turn, until]: [Instant; 2],
    is_wanted: impl FnOnce() -> W,
) -> Result<String, NotSent> {
    let envelope = message.envelope();
    // No parameters: addresses and messages of ours are ASCII.
    let sender = connection.command(Mail::new(envelope.from().cloned(), Vec::new()));
    step(Stage::Sender, soon(turn), sender).await?;
    for to in envelope.to() {
        let recipient = connection.command(Rcpt::new(to.clone(), Vec::new()));
        step(Stage::Recipient, soon(turn), recipient).await?;
    }
    // Connecting may have taken long, and a mail cannot be called back.
    if timeout_at(turn, is_wanted()).await != Ok(true) {
        return Err(NotSent::Unwanted);
    }
    step(Stage::Content, soon(turn), connection.command(Data)).await?;
    let formatted = message.formatted();
    let deadline = until.min(Instant::now() + LAST_WORD_TIMEOUT);
    let response = step(Stage::LastWord, deadline, connection.message(&formatted)).await?;
    // To lettre "go on" (354) is as good an answer as "done".
    if response.code().severity == Severity::PositiveCompletion {
        Ok(in_one_line(&response))
    } else {
        Err(NotSent::Failed(Failure {
            stage: Stage::LastWord,
            severity: None,
            text: in_one_line(&response),
        }))
    }
}

/// By when an answer that takes no time is due.
fn soon(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + ANSWER_TIMEOUT)
}

/// Waits for one exchange with a relay.
async fn step<T>(
    stage: Stage,
    deadline: Instant,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    // A timeout alone would let through what is ready at once, however late it is.
    let outcome = if Instant::now() < deadline {
        timeout_at(deadline, exchange).await.ok()
    } else {
        None
    };
    match outcome {
        Some(outcome) => outcome.map_err(|error| Failure::new(stage, &error)),
        None => Err(Failure {
            stage,
            severity: None,
            text: "the relay took too long".to_owned(),
        }),
    }
}

async fn quit(mut connection: AsyncSmtpConnection) {
    // The outcome does not matter: the connection is gone either way.
    let _ = timeout(COURTESY_TIMEOUT, connection.abort()).await;
}

/// Closes what has waited in vain, so that no relay has to hang up on us.
async fn close_when_overdue(idle: Weak<Mutex<Vec<Idle>>>) {
    sleep(IDLE_TIMEOUT).await;
    let Some(idle) = idle.upgrade() else { return };
    let overdue: Vec<_> = (idle.lock().unwrap_or_else(PoisonError::into_inner))
        .extract_if(.., |idle| idle.since.elapsed() >= IDLE_TIMEOUT)
        .collect();
    for idle in overdue {
        quit(idle.connection).await;
    }
}

impl Failure {
    fn new(stage: Stage, error: &Error) -> Self {
        Self {
            stage,
            severity: error.status().map(|code| code.severity),
            text: describe(error),
        }
    }

    /// Whether the relay refused this recipient for good: no relay would fare better, now or later.
    ///
    /// Only the enhanced code says so. A bare 550 is as often about us ("relay not permitted") as
    /// about a mailbox, and a relay may keep what it thinks of its client until the recipient is named.
    pub(super) fn is_about_the_address(&self) -> bool {
        self.stage >= Stage::Recipient
            && self.severity == Some(Severity::PermanentNegativeCompletion)
            && ABOUT_THE_ADDRESS.contains(&enhanced_code(&self.text))
    }

    /// Whether the mail may arrive all the same: the relay had all of it, and did not refuse it.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::LastWord && self.severity.is_none()
    }

    /// Whether it is the relay that is not well, or does not want us, and not this mail: the next one
    /// would fare the same.
    pub(super) fn is_of_the_relay(&self) -> bool {
        match self.severity {
            Some(Severity::TransientNegativeCompletion) => self.stage < Stage::Recipient,
            _ => !self.is_about_the_address(),
        }
    }

    /// What it is about.
    pub(super) fn fault(&self) -> Fault {
        match (self.severity, self.stage) {
            (Some(Severity::TransientNegativeCompletion), _) => Fault::Moment,
            (None, Stage::Connecting) => Fault::Connection,
            (None, Stage::LastWord) => Fault::Silence,
            (_, Stage::SigningIn) => Fault::Credentials,
            (Some(_), Stage::Sender) => Fault::Sender,
            _ if self.is_about_the_address() => Fault::Address,
            _ => Fault::Refusal,
        }
    }
}

/// What the enhanced codes of RFC 3463 say of a recipient for good: no such mailbox, system or syntax,
/// moved without a word where to, a null MX, disabled.
const ABOUT_THE_ADDRESS: [&str; 6] = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"];

/// The enhanced code of a reply (RFC 2034), such as `5.1.1`; some other word where there is none.
fn enhanced_code(reply: &str) -> &str {
    reply.split_ascii_whitespace().nth(1).unwrap_or_default()
}

/// The name by which we greet (RFC 5321, section 4.1.1.1): the configured one, or the machine's if that
/// is a full one, or the domain that mails come from. In a container the machine's is an id.
fn hello(configured: Option<&str>, machine: ClientId, domain: &str) -> ClientId {
    match (configured, machine) {
        (Some(name), _) => ClientId::Domain(name.to_owned()),
        (None, ClientId::Domain(name)) if is_full_host_name(&name) => ClientId::Domain(name),
        (None, _) => ClientId::Domain(domain.to_owned()),
    }
}

impl From<Failure> for NotSent {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// `451 4.3.0 try later`, or what went wrong where there was no reply.
fn describe(error: &Error) -> String {
    use std::error::Error as _;
    match (error.status(), error.source()) {
        (Some(code), Some(text)) => format!("{code} {text}"),
        _ => error.to_string(),
    }
}

fn in_one_line(response: &Response) -> String {
    let text: Vec<_> = response.message().collect();
    format!("{} {}", response.code(), text.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    use Severity::{PermanentNegativeCompletion as No, TransientNegativeCompletion as NotNow};

    fn failure(stage: Stage, severity: Option<Severity>, text: &str) -> Failure {
        Failure {
            stage,
            severity,
            text: text.to_owned(),
        }
    }

    #[test]
    fn only_an_enhanced_code_makes_a_refusal_one_of_the_address() {
        for (said, is_about_the_address) in [
            ("550 5.1.1 no such user", true),
            ("550 5.1.2 no such host", true),
            ("553 5.1.3 bad address", true),
            ("551 5.1.6 has moved", true),
            ("556 5.1.10 null MX", true),
            ("550 5.2.1 disabled", true),
            ("504 5.5.2 <vm>: Helo command rejected", false),
            ("554 5.7.1 Relay access denied", false),
            ("550 5.4.5 Daily user sending limit exceeded", false),
            ("552 5.2.2 mailbox full", false),
            ("550 5.1.11 something new", false),
            ("550 5.1.8 your domain", false),
            ("550 relay not permitted", false),
            ("550", false),
        ] {
            for stage in [Stage::Recipient, Stage::Content, Stage::LastWord] {
                let failure = failure(stage, Some(No), said);
                assert_eq!(
                    failure.is_about_the_address(),
                    is_about_the_address,
                    "{said}"
                );
                assert_eq!(failure.is_of_the_relay(), !is_about_the_address, "{said}");
            }
            let early = failure(Stage::Sender, Some(No), said);
            assert!(!early.is_about_the_address() && early.is_of_the_relay());
        }
        let later = failure(Stage::Recipient, Some(NotNow), "450 5.1.1 odd");
        assert!(!later.is_about_the_address());
    }

    #[test]
    fn what_is_put_off_is_about_the_relay_before_the_recipient_is_named_and_silence_always() {
        for (stage, severity, is_of_the_relay, is_open) in [
            (Stage::Connecting, Some(NotNow), true, false),
            (Stage::Sender, Some(NotNow), true, false),
            (Stage::Recipient, Some(NotNow), false, false),
            (Stage::Recipient, None, true, false),
            (Stage::Content, Some(NotNow), false, false),
            (Stage::Content, None, true, false),
            (Stage::LastWord, Some(NotNow), false, false),
            (Stage::LastWord, Some(No), true, false),
            (Stage::LastWord, None, true, true),
        ] {
            let failure = failure(stage, severity, "");
            let is = (failure.is_of_the_relay(), failure.is_open());
            assert_eq!(is, (is_of_the_relay, is_open), "{failure:?}");
        }
    }

    #[test]
    fn we_greet_by_the_configured_name_or_the_machines_or_the_senders() {
        let greeted = |configured, machine: &str| {
            let machine = ClientId::Domain(machine.to_owned());
            hello(configured, machine, "example.com").to_string()
        };
        assert_eq!(greeted(Some("[192.0.2.1]"), "a.example"), "[192.0.2.1]");
        assert_eq!(greeted(None, "auth.example.net"), "auth.example.net");
        for short in [
            "vm",
            "3f2a9c01d4e5",
            "my_box.local",
            "a..b",
            "x\r\nQUIT.b",
            "host.",
        ] {
            assert_eq!(greeted(None, short), "example.com", "{short}");
        }
        let unnamed = hello(None, ClientId::Ipv4([127, 0, 0, 1].into()), "example.com");
        assert_eq!(unnamed.to_string(), "example.com");
    }
}
