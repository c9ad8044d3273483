//! How a mail leaves.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Response, Severity};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep, timeout};

use super::CodeMail;
use super::message::Content;
use crate::config::{SmtpConfig, SmtpTls};

/// For one mail, from connecting to the relay's last word.
const DEADLINE: Duration = Duration::from_secs(20);
/// For one address of the relay to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For an idle connection to show that it is alive, or to be closed with courtesy.
const COURTESY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection waits for another mail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How many may wait.
const MAX_IDLE: usize = 4;

/// The ways out.
pub(super) enum Transport {
    /// To a relay.
    Smtp(Relay),
    /// Into the log, code and all: for development.
    Log,
}

/// A mail that did not leave, with the raw reason.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another attempt may do.
    Temporary(String),
    /// No other attempt will.
    Permanent(String),
}

impl Transport {
    /// Sends a mail; the relay's last word.
    pub(super) async fn deliver(
        &self,
        mail: &CodeMail,
        content: &Content,
        message: &Message,
    ) -> Result<String, Refusal> {
        match self {
            Self::Smtp(relay) => relay.deliver(message).await,
            Self::Log => {
                // The one place where a code is printed on purpose.
                tracing::info!(target: "mail", to = mail.to.as_str(), "{}", content.text);
                Ok("logged".to_owned())
            }
        }
    }
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
    host: String,
    port: u16,
    tls: Tls,
    credentials: Option<Credentials>,
    hello: ClientId,
    deadline: Duration,
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
    pub(super) fn new(config: &SmtpConfig) -> Result<Self, Error> {
        let parameters = || TlsParameters::new(config.host.clone());
        Ok(Self {
            host: config.host.clone(),
            port: config.port,
            tls: match config.tls {
                SmtpTls::Required => Tls::Wrapped(parameters()?),
                SmtpTls::StartTls => Tls::Upgraded(parameters()?),
                SmtpTls::None => Tls::None,
            },
            credentials: config.credentials.as_ref().map(|credentials| {
                let password = credentials.password.expose_secret().to_owned();
                Credentials::new(credentials.username.clone(), password)
            }),
            hello: ClientId::default(),
            deadline: DEADLINE,
            idle: Arc::default(),
        })
    }

    /// Lets a test run out of time sooner.
    #[cfg(test)]
    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    async fn deliver(&self, message: &Message) -> Result<String, Refusal> {
        timeout(self.deadline, self.transact(message))
            .await
            .unwrap_or_else(|_| Err(Refusal::Temporary("the relay took too long".to_owned())))
    }

    async fn transact(&self, message: &Message) -> Result<String, Refusal> {
        // Whatever goes wrong before the mail is mentioned says nothing about the mail, not even
        // a refused password.
        let mut connection =
            (self.connection().await).map_err(|error| Refusal::Temporary(describe(&error)))?;
        let response = connection
            .send(message.envelope(), &message.formatted())
            .await
            .map_err(|error| Refusal::of_mail(&error))?;
        // To lettre "go on" (354) is as good an answer as "done".
        if response.code().severity != Severity::PositiveCompletion {
            return Err(Refusal::Temporary(in_one_line(&response)));
        }
        self.keep(connection);
        Ok(in_one_line(&response))
    }

    /// An idle connection that is still alive, or a new one.
    ///
    /// A relay that was restarted has closed the idle ones: their NOOP fails and they are let go.
    /// One that dies between the NOOP and the mail makes that mail fail, temporarily.
    async fn connection(&self) -> Result<AsyncSmtpConnection, Error> {
        while let Some(mut connection) = self.take_idle() {
            let alive = timeout(COURTESY_TIMEOUT, connection.test_connected()).await;
            if alive == Ok(true) {
                return Ok(connection);
            }
        }
        self.connect().await
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Error> {
        let wrapper = match &self.tls {
            Tls::Wrapped(parameters) => Some(parameters.clone()),
            Tls::Upgraded(_) | Tls::None => None,
        };
        let mut connection = AsyncSmtpConnection::connect_tokio1(
            (self.host.as_str(), self.port),
            Some(CONNECT_TIMEOUT),
            &self.hello,
            wrapper,
            None,
        )
        .await?;
        if let Tls::Upgraded(parameters) = &self.tls {
            // An error where the relay does not offer it: never in the clear instead.
            connection.starttls(parameters.clone(), &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
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

/// Closes what has waited in vain, so that no relay has to hang up on us.
async fn close_when_overdue(idle: Weak<Mutex<Vec<Idle>>>) {
    sleep(IDLE_TIMEOUT).await;
    let Some(idle) = idle.upgrade() else { return };
    let overdue: Vec<_> = (idle.lock().unwrap_or_else(PoisonError::into_inner))
        .extract_if(.., |idle| idle.since.elapsed() >= IDLE_TIMEOUT)
        .collect();
    for mut idle in overdue {
        // The outcome does not matter: the connection is gone either way.
        let _ = timeout(COURTESY_TIMEOUT, idle.connection.abort()).await;
    }
}

impl Refusal {
    /// What a failure between `MAIL` and the end of the message means.
    fn of_mail(error: &Error) -> Self {
        let refuse = if error.is_permanent() {
            Self::Permanent
        } else {
            Self::Temporary
        };
        refuse(describe(error))
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
