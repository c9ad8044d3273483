//! One relay: how a connection to it is made, and how a mail is handed over.

mod failure;
mod idle;
mod tls;
mod transaction;

use std::pin::pin;
use std::time::Duration;

use lettre::Message;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout, timeout_at};

use self::failure::Stage;
use self::idle::IdleConnections;
use self::tls::Tls;
use self::transaction::{quit, soon, step, transact};
use super::breaker::Breaker;
use super::problem::MailProblem;
use crate::config::{SmtpConfig, is_full_host_name};

pub use failure::Fault;
pub(super) use failure::{Failure, NotSent};
#[cfg(test)]
pub(super) use transaction::LAST_WORD_TIMEOUT;

/// A relay has this long to be ready for a mail's content if another relay can take the mail instead.
pub(super) const HANDOVER_TIMEOUT: Duration = Duration::from_secs(20);
/// One address of the relay has this long to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The relay has this long to greet (RFC 5321, section 4.5.3.2.1).
const GREETING_TIMEOUT: Duration = Duration::from_mins(5);
/// After so long without a greeting, the network may have swallowed the connection.
const SILENCE: Duration = Duration::from_secs(15);
/// An idle connection has this long to show that it is alive, or to be closed with courtesy.
pub(super) const COURTESY_TIMEOUT: Duration = Duration::from_secs(2);

/// A relay and the idle connections to it.
///
/// This is not lettre's own pool, because that one puts a connection back when the future that used it
/// is dropped half way, as a deadline does. The next user of that connection reads the answer to another
/// command, and from then on every answer is one too early: a refused mail counts as sent. Here a
/// connection waits for another mail only after a mail that the relay took; after anything else it is
/// closed, which costs a handshake.
///
/// Lettre's tracing is off, too: at level debug it would write every byte of the conversation to the
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
    idle: IdleConnections,
}

impl Relay {
    /// Prepares TLS; connects to nothing yet. `domain` is the domain of the sender.
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
            tls: Tls::new(section, config)?,
            credentials: config.credentials.as_ref().map(|credentials| {
                let password = credentials.password.expose_secret().to_owned();
                Credentials::new(credentials.username.clone(), password)
            }),
            hello: hello(config.hello_name.as_deref(), ClientId::default(), domain),
            idle: IdleConnections::default(),
        })
    }

    /// Hands a mail over before `until`, if it is still wanted at the last moment, and returns the
    /// relay's last word. If another relay can take the mail instead, no more than
    /// [`HANDOVER_TIMEOUT`] is spent before the content is sent.
    ///
    /// A mail that runs out of time before its end leaves a connection behind that is cut in the middle
    /// of the mail, and then the relay must forget it (RFC 5321, section 3.8). A mail that runs out of
    /// time afterwards may arrive.
    pub(super) async fn deliver<W: Future<Output = bool>>(
        &self,
        message: &Message,
        until: Instant,
        has_substitute: bool,
        is_wanted: impl FnOnce() -> W,
    ) -> Result<String, NotSent> {
        let handover = if has_substitute {
            until.min(Instant::now() + HANDOVER_TIMEOUT)
        } else {
            until
        };
        let mut connection = self.connection(handover, has_substitute).await?;
        let outcome = transact(&mut connection, message, [handover, until], is_wanted).await;
        match &outcome {
            Ok(_) => self.idle.keep(connection),
            // A relay that does not answer gets no courtesy either.
            Err(NotSent::Failed(failure)) if failure.is_silence() => {}
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
        while let Some(mut connection) = self.idle.take() {
            let limit = deadline.min(Instant::now() + COURTESY_TIMEOUT);
            if timeout_at(limit, connection.test_connected()).await == Ok(true) {
                return Ok(connection);
            }
        }
        let deadline = deadline.min(Instant::now() + GREETING_TIMEOUT);
        // On the heap, because these futures are large and rare.
        if has_substitute {
            Box::pin(self.connect(deadline)).await
        } else {
            Box::pin(self.connect_patiently(deadline)).await
        }
    }

    /// Waits for a relay that takes long to greet. Its silence may also mean that the network has
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
        let server = (self.host.as_str(), self.port);
        let wait = Some(CONNECT_TIMEOUT);
        let wrapper = self.tls.for_wrapping();
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, wait, &self.hello, wrapper, None);
        let mut connection = step(Stage::Connecting, deadline, connecting).await?;
        if let Some(parameters) = self.tls.for_upgrade() {
            // An error if the relay does not offer it: never in the clear instead.
            let upgrading = connection.starttls(parameters, &self.hello);
            step(Stage::Connecting, soon(deadline), upgrading).await?;
        }
        if let Some(credentials) = &self.credentials {
            let signing_in = connection.auth(DEFAULT_MECHANISMS, credentials);
            step(Stage::SigningIn, soon(deadline), signing_in).await?;
        }
        Ok(connection)
    }
}

/// The name by which we greet (RFC 5321, section 4.1.1.1): the configured one, or the machine's if that
/// is a full one, or the sender's domain. In a container the machine's name is an id.
fn hello(configured: Option<&str>, machine: ClientId, domain: &str) -> ClientId {
    match (configured, machine) {
        (Some(name), _) => ClientId::Domain(name.to_owned()),
        (None, ClientId::Domain(name)) if is_full_host_name(&name) => ClientId::Domain(name),
        (None, _) => ClientId::Domain(domain.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
