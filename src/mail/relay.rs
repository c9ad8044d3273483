//! One relay: its connections, and what its answers mean.

use std::fs;
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
use crate::config::{SmtpConfig, SmtpTls};

/// For one mail, from connecting to the relay's last word.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);
/// For one address of the relay to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For an idle connection to show that it is alive, or to be closed with courtesy.
pub(super) const COURTESY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection waits for another mail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many may wait.
const MAX_IDLE: usize = 4;

/// How far an attempt at a mail came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Connecting, up to the end of the greetings and of the TLS handshake.
    Connecting,
    /// Signing in to the relay.
    SigningIn,
    /// Naming the sender.
    Sender,
    /// Naming the recipient.
    Recipient,
    /// Handing over the mail.
    Content,
}

/// Why a relay did not take a mail.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) stage: Stage,
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
    hello: ClientId,
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
    /// Prepares TLS; connects to nothing yet.
    pub(super) fn new(section: &'static str, config: &SmtpConfig) -> Result<Self, MailProblem> {
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
            hello: ClientId::default(),
            idle: Arc::default(),
        })
    }

    /// Hands a mail over, if it is still wanted at the last moment, before `until` and within
    /// [`DEADLINE`]; the relay's last word.
    ///
    /// What a mail that ran out of time leaves behind is a connection that is cut in the middle of
    /// it, and then the relay must forget it (RFC 5321, section 3.8).
    pub(super) async fn deliver<W: Future<Output = bool>>(
        &self,
        message: &Message,
        until: Instant,
        is_wanted: impl FnOnce() -> W,
    ) -> Result<String, NotSent> {
        let deadline = until.min(Instant::now() + DEADLINE);
        let mut connection = self.connection(deadline).await?;
        let outcome = transact(&mut connection, message, deadline, is_wanted).await;
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
    async fn connection(&self, deadline: Instant) -> Result<AsyncSmtpConnection, Failure> {
        while let Some(mut connection) = self.take_idle() {
            let limit = deadline.min(Instant::now() + COURTESY_TIMEOUT);
            if timeout_at(limit, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
        self.connect(deadline).await
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
            step(Stage::Connecting, deadline, upgrading).await?;
        }
        if let Some(credentials) = &self.credentials {
            let signing_in = connection.auth(DEFAULT_MECHANISMS, credentials);
            step(Stage::SigningIn, deadline, signing_in).await?;
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

async fn transact<W: Future<Output = bool>>(
    connection: &mut AsyncSmtpConnection,
    message: &Message,
    deadline: Instant,
    is_wanted: impl FnOnce() -> W,
) -> Result<String, NotSent> {
    let envelope = message.envelope();
    // No parameters: addresses and messages of ours are ASCII.
    let sender = connection.command(Mail::new(envelope.from().cloned(), Vec::new()));
    step(Stage::Sender, deadline, sender).await?;
    for to in envelope.to() {
        let recipient = connection.command(Rcpt::new(to.clone(), Vec::new()));
        step(Stage::Recipient, deadline, recipient).await?;
    }
    // Connecting may have taken long, and a mail cannot be called back.
    if timeout_at(deadline, is_wanted()).await != Ok(true) {
        return Err(NotSent::Unwanted);
    }
    step(Stage::Content, deadline, connection.command(Data)).await?;
    let formatted = message.formatted();
    let response = step(Stage::Content, deadline, connection.message(&formatted)).await?;
    // To lettre "go on" (354) is as good an answer as "done".
    if response.code().severity == Severity::PositiveCompletion {
        Ok(in_one_line(&response))
    } else {
        Err(NotSent::Failed(Failure {
            stage: Stage::Content,
            severity: None,
            text: in_one_line(&response),
        }))
    }
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

    /// Whether the relay refused this mail for good. Before the recipient is named, a refusal says
    /// nothing about the mail: the relay does not know us, not whom we write to.
    pub(super) fn is_permanent(&self) -> bool {
        self.stage >= Stage::Recipient
            && self.severity == Some(Severity::PermanentNegativeCompletion)
    }

    /// Whether it is the relay that is not well, and not this mail: the next one would fare the same.
    pub(super) fn is_of_the_relay(&self) -> bool {
        self.stage < Stage::Recipient || self.severity.is_none()
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

    #[test]
    fn a_refusal_is_about_the_mail_only_once_the_recipient_is_named() {
        use Severity::{PermanentNegativeCompletion as No, TransientNegativeCompletion as NotNow};
        for (stage, severity, is_permanent, is_of_the_relay) in [
            (Stage::Connecting, Some(No), false, true),
            (Stage::SigningIn, Some(No), false, true),
            (Stage::Sender, Some(No), false, true),
            (Stage::Sender, Some(NotNow), false, true),
            (Stage::Recipient, Some(No), true, false),
            (Stage::Recipient, Some(NotNow), false, false),
            (Stage::Recipient, None, false, true),
            (Stage::Content, Some(No), true, false),
            (Stage::Content, Some(NotNow), false, false),
            (Stage::Content, None, false, true),
        ] {
            let text = String::new();
            let failure = Failure {
                stage,
                severity,
                text,
            };
            let is = (failure.is_permanent(), failure.is_of_the_relay());
            assert_eq!(is, (is_permanent, is_of_the_relay), "{failure:?}");
        }
    }
}
