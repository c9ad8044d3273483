//! One mail over one connection, from `MAIL` to the relay's last word.

use std::time::Duration;

use lettre::Message;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::response::{Response, Severity};
use tokio::time::{Instant, timeout, timeout_at};

use super::COURTESY_TIMEOUT;
use super::failure::{Failure, NotSent, Stage};

/// The relay has this long for any answer but the last. The RFC allows minutes, but a code has no more
/// than ten to live.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The relay has this long for its answer to the dot that ends a mail (RFC 5321, section 4.5.3.2.6). A
/// sender that hangs up earlier is how a mail comes twice.
pub(in crate::mail) const LAST_WORD_TIMEOUT: Duration = Duration::from_mins(10);

/// Hands over a mail: its envelope before `handover`, and its content before `until`.
pub(super) async fn transact<W: Future<Output = bool>>(
    connection: &mut AsyncSmtpConnection,
    message: &Message,
    [handover, until]: [Instant; 2],
    is_wanted: impl FnOnce() -> W,
) -> Result<String, NotSent> {
    let envelope = message.envelope();
    // No parameters, because our addresses and messages are ASCII.
    let sender = connection.command(Mail::new(envelope.from().cloned(), Vec::new()));
    step(Stage::Sender, soon(handover), sender).await?;
    for to in envelope.to() {
        let recipient = connection.command(Rcpt::new(to.clone(), Vec::new()));
        step(Stage::Recipient, soon(handover), recipient).await?;
    }
    // Connecting may have taken long, and a mail cannot be called back.
    if timeout_at(handover, is_wanted()).await != Ok(true) {
        return Err(NotSent::Unwanted);
    }
    step(Stage::Content, soon(handover), connection.command(Data)).await?;
    let deadline = until.min(Instant::now() + LAST_WORD_TIMEOUT);
    let formatted = message.formatted();
    let response = step(Stage::LastWord, deadline, connection.message(&formatted)).await?;
    // For lettre "go on" (354) is as good an answer as "done".
    if response.code().severity == Severity::PositiveCompletion {
        Ok(in_one_line(&response))
    } else {
        Err(Failure::silence(Stage::LastWord, in_one_line(&response)).into())
    }
}

/// The deadline of an answer that should take no time.
pub(super) fn soon(deadline: Instant) -> Instant {
    deadline.min(Instant::now() + ANSWER_TIMEOUT)
}

/// Waits for one exchange with a relay.
pub(super) async fn step<T>(
    stage: Stage,
    deadline: Instant,
    exchange: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    // A timeout alone would let through an exchange that is ready at once, however late it is.
    let outcome = if Instant::now() < deadline {
        timeout_at(deadline, exchange).await.ok()
    } else {
        None
    };
    match outcome {
        Some(outcome) => outcome.map_err(|error| Failure::new(stage, &error)),
        None => Err(Failure::silence(
            stage,
            "the relay took too long".to_owned(),
        )),
    }
}

/// Closes a connection with courtesy.
pub(super) async fn quit(mut connection: AsyncSmtpConnection) {
    // The outcome does not matter: the connection is gone either way.
    let _ = timeout(COURTESY_TIMEOUT, connection.abort()).await;
}

fn in_one_line(response: &Response) -> String {
    let text: Vec<_> = response.message().collect();
    format!("{} {}", response.code(), text.join(" "))
}
