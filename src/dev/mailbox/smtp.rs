//! The receiving side of SMTP (RFC 5321), as far as a sender on the same machine needs it: no TLS, no
//! authentication, and of the extensions PIPELINING, 8BITMIME and SIZE.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Behaviour;
use super::mail::Envelope;
use super::shelf::Shelf;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 256;
/// Bytes of a command; RFC 5321, section 4.5.3.1.4, asks for 512 at least.
const MAX_COMMAND: u64 = 2048;
/// Bytes of a message that are read at a time, unless a line ends before.
const MAX_CHUNK: u64 = 8192;
/// Bytes of a message; the value of `SIZE` in the answer to `EHLO`.
const MAX_MESSAGE: usize = 1_048_576;
/// Recipients of a message, as RFC 5321, section 4.5.3.1.8, asks for.
const MAX_RECIPIENTS: usize = 100;
/// How long a client may keep silent: RFC 5321, section 4.5.3.2.7.
const PATIENCE: Duration = Duration::from_mins(5);

/// The state that all connections share.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) shelf: Arc<Shelf>,
    pub(super) behaviour: watch::Receiver<Behaviour>,
    pub(super) stop: CancellationToken,
}

impl Server {
    /// Serves connections until it is told to stop, which ends those that are open too.
    pub(super) async fn run(self, listener: TcpListener) {
        let stop = self.stop.clone();
        stop.run_until_cancelled(self.accept(listener)).await;
    }

    async fn accept(&self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file handles, most likely: trying again at once would spin.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let server = self.clone();
            tokio::spawn(async move {
                server.converse(stream).await;
                drop(place);
            });
        }
    }

    async fn converse(self, stream: TcpStream) {
        let mut behaviour = self.behaviour.clone();
        let session = Session {
            stream: BufReader::new(stream),
            shelf: self.shelf,
            behaviour: self.behaviour,
            envelope: Envelope::default(),
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            _ = behaviour.wait_for(|now| *now == Behaviour::Down) => {}
            // The connection has ended, whatever the outcome.
            _ = session.run() => {}
        }
    }
}

/// One connection of a sender.
struct Session<S> {
    stream: BufReader<S>,
    shelf: Arc<Shelf>,
    behaviour: watch::Receiver<Behaviour>,
    envelope: Envelope,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(mut self) -> io::Result<()> {
        self.reply("220 localhost ESMTP mailbox").await?;
        loop {
            let line = self.read(MAX_COMMAND).await?;
            if line.is_empty() {
                return Ok(());
            }
            if !line.ends_with(b"\n") {
                return self.reply("500 5.5.2 line too long").await;
            }
            match Command::parse(&String::from_utf8_lossy(&line)) {
                Command::Quit => return self.reply("221 2.0.0 bye").await,
                Command::Data if !self.envelope.to.is_empty() => self.receive().await?,
                command => {
                    let answer = self.answer(command);
                    self.reply(answer).await?;
                }
            }
        }
    }

    /// Carries out a command without content, and returns the answer.
    fn answer(&mut self, command: Command) -> &'static str {
        match command {
            Command::Hello { extended } => {
                self.envelope = Envelope::default();
                hello(extended)
            }
            Command::From(_) if self.envelope.from.is_some() => "503 5.5.1 one MAIL at a time",
            Command::From(address) => {
                self.envelope.from = Some(address);
                "250 2.1.0 ok"
            }
            Command::To(address) => self.add_recipient(address),
            Command::Reset => {
                self.envelope = Envelope::default();
                "250 2.0.0 ok"
            }
            Command::Noop | Command::Quit => "250 2.0.0 ok",
            Command::Verify => "252 2.5.2 try and see",
            Command::Data => "503 5.5.1 RCPT first",
            Command::Malformed => "501 5.5.4 bad argument",
            Command::Unknown => "500 5.5.1 unknown command",
        }
    }

    fn add_recipient(&mut self, address: String) -> &'static str {
        if self.envelope.from.is_none() {
            return "503 5.5.1 MAIL first";
        }
        if self.envelope.to.len() == MAX_RECIPIENTS {
            return "452 4.5.3 too many recipients";
        }
        match &*self.behaviour.borrow() {
            Behaviour::Defer(whom) if whom.include(&address) => "451 4.3.0 try again later",
            Behaviour::Refuse(whom) if whom.include(&address) => "550 5.1.1 no such mailbox",
            _ => {
                self.envelope.to.push(address);
                "250 2.1.5 ok"
            }
        }
    }

    /// Answers `DATA`: takes in the message, and the envelope with it.
    async fn receive(&mut self) -> io::Result<()> {
        self.reply("354 end with a dot on a line of its own")
            .await?;
        let message = self.read_message().await?;
        let envelope = std::mem::take(&mut self.envelope);
        let Some(message) = message else {
            return self.reply("552 5.3.4 message too big").await;
        };
        // The mailbox has the mail now, and may answer late.
        let recipients = envelope.to.clone();
        self.shelf.put(envelope, message);
        self.until_it_does_not_stall(&recipients).await;
        self.reply("250 2.0.0 kept").await
    }

    /// Reads up to the lone dot and undoes dot-stuffing (RFC 5321, section 4.5.2). A message that is too
    /// big is read to its end and dropped.
    ///
    /// Only CR LF ends a line here: to accept a bare LF is how a mail is smuggled into another one.
    async fn read_message(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut message, mut is_too_big) = (Vec::new(), false);
        let mut starts_a_line = true;
        loop {
            let chunk = self.read(MAX_CHUNK).await?;
            let content = match &chunk[..] {
                [] => return Err(io::ErrorKind::UnexpectedEof.into()),
                b".\r\n" if starts_a_line => return Ok((!is_too_big).then_some(message)),
                [b'.', unstuffed @ ..] if starts_a_line => unstuffed,
                content => content,
            };
            is_too_big |= message.len() + content.len() > MAX_MESSAGE;
            if !is_too_big {
                message.extend_from_slice(content);
            }
            starts_a_line = chunk.ends_with(b"\r\n");
        }
    }

    /// Reads a line with its end, or `limit` bytes of it; empty at the end of the connection.
    async fn read(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(limit);
        timeout(PATIENCE, limited.read_until(b'\n', &mut line)).await??;
        Ok(line)
    }

    async fn reply(&mut self, text: &str) -> io::Result<()> {
        self.until_it_answers().await;
        let line = format!("{text}\r\n");
        self.stream.write_all(line.as_bytes()).await?;
        self.stream.flush().await
    }

    async fn until_it_does_not_stall(&mut self, recipients: &[String]) {
        let stalls = |now: &Behaviour| match now {
            Behaviour::Stall(whom) => recipients.iter().any(|to| whom.include(to)),
            _ => false,
        };
        // As below.
        let _ = self.behaviour.wait_for(|now| !stalls(now)).await;
    }

    async fn until_it_answers(&mut self) {
        // An error means that the mailbox has ended, and the connection ends with it.
        let _ = self.behaviour.wait_for(|now| *now != Behaviour::Hang).await;
    }
}

fn hello(extended: bool) -> &'static str {
    if extended {
        "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1048576"
    } else {
        "250 localhost"
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Hello { extended: bool },
    From(String),
    To(String),
    Data,
    Reset,
    Noop,
    Verify,
    Quit,
    Malformed,
    Unknown,
}

impl Command {
    fn parse(line: &str) -> Self {
        let line = line.trim_end();
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        let path = |keyword| path(argument, keyword);
        match verb.to_ascii_uppercase().as_str() {
            "HELO" => Self::Hello { extended: false },
            "EHLO" => Self::Hello { extended: true },
            "MAIL" => path("FROM:").map_or(Self::Malformed, Self::From),
            "RCPT" => path("TO:").map_or(Self::Malformed, Self::To),
            "DATA" => Self::Data,
            "RSET" => Self::Reset,
            "NOOP" => Self::Noop,
            "VRFY" => Self::Verify,
            "QUIT" => Self::Quit,
            _ => Self::Unknown,
        }
    }
}

/// The address in `FROM:<address> PARAMETERS`. The parameters change nothing here.
fn path(argument: &str, keyword: &str) -> Option<String> {
    let (found, rest) = argument.split_at_checked(keyword.len())?;
    let (address, _) = rest.trim_start().strip_prefix('<')?.split_once('>')?;
    found
        .eq_ignore_ascii_case(keyword)
        .then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::domain::Clock;

    /// Sends all of `input` at once, hangs up, and returns the answers.
    async fn talk(shelf: &Arc<Shelf>, input: &[u8]) -> String {
        let (mut client, server) = tokio::io::duplex(4 * MAX_MESSAGE);
        let (_behaviour, receiver) = watch::channel(Behaviour::Accept);
        let session: Session<DuplexStream> = Session {
            stream: BufReader::new(server),
            shelf: Arc::clone(shelf),
            behaviour: receiver,
            envelope: Envelope::default(),
        };
        client.write_all(input).await.unwrap();
        client.shutdown().await.unwrap();
        let _ = session.run().await;
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn codes(answer: &str) -> Vec<&str> {
        answer.lines().map(|line| &line[..3]).collect()
    }

    fn shelf() -> Arc<Shelf> {
        Arc::new(Shelf::new(Clock::system()))
    }

    #[tokio::test]
    async fn pipelined_commands_are_answered_in_order() {
        let shelf = shelf();
        let input = b"HELO me\r\nmail from:<a@x> SIZE=5\r\nRCPT TO:<b@x>\r\nRCPT TO: <c@x>\r\n\
                      DATA\r\nSubject: hi\r\n\r\n..dots\r\n.\r\nRSET\r\nNOOP\r\nQUIT\r\nNOOP\r\n";
        let answer = talk(&shelf, input).await;
        let expected = "220 250 250 250 250 354 250 250 250 221";
        assert_eq!(codes(&answer).join(" "), expected);
        let mail = &shelf.mails()[0];
        assert_eq!(
            (mail.from.as_str(), &mail.to[..]),
            ("a@x", &["b@x", "c@x"].map(String::from)[..])
        );
        assert_eq!(mail.raw, b"Subject: hi\r\n\r\n.dots\r\n");
    }

    #[tokio::test]
    async fn a_bare_line_feed_ends_no_message() {
        let shelf = shelf();
        let input = b"MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n\
                      a\n.\r\nb\r\n.\nc\r\n.\r\n";
        assert_eq!(
            codes(&talk(&shelf, input).await).join(" "),
            "220 250 250 354 250"
        );
        assert_eq!(shelf.mails()[0].raw, b"a\n.\r\nb\r\n\nc\r\n");
    }

    #[tokio::test]
    async fn commands_out_of_order_and_nonsense_are_refused() {
        let input = b"RCPT TO:<b@x>\r\nDATA\r\nMAIL FROM:a@x\r\nMAIL\r\nMAIL \xff\xff\xff\r\n\
                      MAIL FROM:<a@x>\r\nMAIL FROM:<a@x>\r\nDATA\r\nSTARTTLS\r\n\r\n";
        let answer = talk(&shelf(), input).await;
        let expected = "220 503 503 501 501 501 250 503 503 500 500";
        assert_eq!(codes(&answer).join(" "), expected);
    }

    #[tokio::test]
    async fn neither_a_command_nor_a_message_nor_a_list_is_without_bound() {
        let shelf = shelf();
        let endless = vec![b'x'; 4096];
        assert_eq!(codes(&talk(&shelf, &endless).await), ["220", "500"]);

        let mut big = b"MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\n".to_vec();
        big.resize(big.len() + MAX_MESSAGE + 1, b'x');
        big.extend_from_slice(b"\r\n.\r\nNOOP\r\n");
        let answer = talk(&shelf, &big).await;
        assert_eq!(codes(&answer), ["220", "250", "250", "354", "552", "250"]);
        assert!(shelf.mails().is_empty());

        let crowd = format!("MAIL FROM:<>\r\n{}", "RCPT TO:<b@x>\r\n".repeat(101));
        assert!(
            talk(&shelf, crowd.as_bytes())
                .await
                .ends_with("452 4.5.3 too many recipients\r\n")
        );
    }

    #[tokio::test]
    async fn a_message_that_breaks_off_is_not_kept() {
        let shelf = shelf();
        talk(
            &shelf,
            b"MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nDATA\r\nhalf a me",
        )
        .await;
        assert!(shelf.mails().is_empty());
    }
}
