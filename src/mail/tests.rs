//! Mails on the wire, to a relay that answers by a script.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tracing_subscriber::fmt::MakeWriter;

use super::message::tests::mail;
use super::*;
use crate::config::{SmtpConfig, SmtpCredentials, SmtpTls};

/// What a relay says to a line that starts with the first word; an empty answer is silence.
type Script = &'static [(&'static str, &'static str)];

/// A relay on a free port of this machine, and what it heard.
#[derive(Clone)]
struct TestRelay {
    port: u16,
    script: Arc<Mutex<Script>>,
    /// One transcript a connection.
    heard: Arc<Mutex<Vec<String>>>,
}

impl TestRelay {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            script: Arc::new(Mutex::new(script)),
            heard: Arc::default(),
        };
        let shared = relay.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut heard = shared.heard.lock().unwrap();
                heard.push(String::new());
                let number = heard.len() - 1;
                tokio::spawn(shared.clone().talk(stream, number));
            }
        });
        relay
    }

    /// Holds one conversation; ends with the connection.
    async fn talk(self, stream: TcpStream, number: usize) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut in_message = false;
        stream.write_all(b"220 relay\r\n").await?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            self.heard.lock().unwrap()[number].push_str(&line);
            if in_message && line != ".\r\n" {
                continue;
            }
            in_message = line == "DATA\r\n";
            let answer = self.answer(&line);
            if answer == "hang up" {
                return Ok(());
            }
            if !answer.is_empty() {
                stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
            }
        }
    }

    fn answer(&self, line: &str) -> &'static str {
        const POLITE: Script = &[
            ("EHLO", "250-relay\r\n250 AUTH PLAIN"),
            ("DATA", "354 go on"),
            (".", "250 2.0.0 queued as 1"),
            ("QUIT", "221 bye"),
            ("", "250 ok"),
        ];
        let script = *self.script.lock().unwrap();
        let (_, answer) = (script.iter().chain(POLITE))
            .find(|(start, _)| line.starts_with(start))
            .unwrap();
        answer
    }

    fn answer_from_now_on(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn config(&self, tls: SmtpTls) -> MailConfig {
        config(self.port, tls)
    }

    fn mailer(&self) -> Mailer {
        Mailer::new(&self.config(SmtpTls::None)).unwrap()
    }
}

fn config(port: u16, tls: SmtpTls) -> MailConfig {
    MailConfig {
        transport: MailTransportConfig::Smtp(SmtpConfig {
            host: "127.0.0.1".to_owned(),
            port,
            tls,
            credentials: Some(SmtpCredentials {
                username: "relay-user".to_owned(),
                password: "relay-password".into(),
            }),
        }),
        from: "Back Office <no-reply@example.com>".to_owned(),
    }
}

fn temporary(outcome: Result<SmtpReply, SendError>) -> String {
    match outcome {
        Err(SendError::Temporary(reply)) => reply.to_string(),
        other => panic!("not a temporary failure: {other:?}"),
    }
}

fn permanent(outcome: Result<SmtpReply, SendError>) -> String {
    match outcome {
        Err(SendError::Permanent(reply)) => reply.to_string(),
        other => panic!("not a permanent failure: {other:?}"),
    }
}

#[tokio::test]
async fn a_mail_reaches_the_relay_with_its_code_and_the_relays_word_comes_back() {
    let relay = TestRelay::start(&[]).await;
    let reply = relay.mailer().send(&mail()).await.unwrap();
    assert_eq!(reply.as_str(), "250 2.0.0 queued as 1");
    let heard = relay.heard().concat();
    assert!(heard.contains("MAIL FROM:<no-reply@example.com>\r\n"));
    assert!(heard.contains("RCPT TO:<foo@bar.com>\r\n"));
    assert!(heard.contains(&format!("\r\n    {}\r\n", mail().code.expose())));
}

#[tokio::test]
async fn a_refusal_is_temporary_or_permanent_as_the_relay_says() {
    for (script, expected) in [
        (
            &[("RCPT", "451-4.3.0 try\r\n451 4.3.0 later")] as Script,
            "451 4.3.0 try later",
        ),
        (&[("MAIL", "421 closing")], "421 closing"),
        (&[(".", "452 disk full")], "452 disk full"),
    ] {
        let mailer = TestRelay::start(script).await.mailer();
        assert_eq!(temporary(mailer.send(&mail()).await), expected);
    }
    for (script, expected) in [
        (
            &[("RCPT", "550 5.1.1 <foo@bar.com> unknown")] as Script,
            "550 5.1.1 <(address)> unknown",
        ),
        (&[(".", "554 spam")], "554 spam"),
    ] {
        let mailer = TestRelay::start(script).await.mailer();
        assert_eq!(permanent(mailer.send(&mail()).await), expected);
    }
}

#[tokio::test]
async fn what_goes_wrong_before_the_mail_is_mentioned_is_temporary() {
    let locked_out = TestRelay::start(&[("AUTH", "535 5.7.8 wrong password")]).await;
    let outcome = locked_out.mailer().send(&mail()).await;
    assert_eq!(temporary(outcome), "535 5.7.8 wrong password");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mailer = Mailer::new(&config(port, SmtpTls::None)).unwrap();
    assert!(temporary(mailer.send(&mail()).await).contains("refused"));
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_to_a_relay_that_should_speak_tls() {
    for tls in [SmtpTls::Required, SmtpTls::StartTls] {
        let relay = TestRelay::start(&[]).await;
        let mailer = Mailer::new(&relay.config(tls)).unwrap();
        temporary(mailer.send(&mail()).await);
        let heard = relay.heard().concat();
        for word in ["AUTH", "MAIL", "RCPT", "DATA"] {
            assert!(!heard.contains(word), "{tls:?}: {heard}");
        }
    }
}

#[tokio::test]
async fn connections_are_used_again_and_replaced_when_the_relay_has_closed_them() {
    let relay = TestRelay::start(&[]).await;
    let mailer = relay.mailer();
    mailer.send(&mail()).await.unwrap();
    mailer.send(&mail()).await.unwrap();
    assert_eq!(relay.heard().len(), 1);

    relay.answer_from_now_on(&[("NOOP", "hang up")]);
    mailer.send(&mail()).await.unwrap();
    assert_eq!(relay.heard().len(), 2);
}

#[tokio::test]
async fn a_mail_that_ran_out_of_time_takes_its_connection_with_it() {
    let relay = TestRelay::start(&[]).await;
    let mut mailer = relay.mailer();
    mailer.send(&mail()).await.unwrap();

    relay.answer_from_now_on(&[(".", "")]);
    if let Transport::Smtp(relay) = &mut mailer.transport {
        relay.set_deadline(Duration::from_millis(50));
    }
    temporary(mailer.send(&mail()).await);

    // On the old connection the answer to the message would come first, if anybody asked, and be
    // taken for the answer to the question.
    relay.answer_from_now_on(&[("NOOP", "250 queued\r\n250 ok"), (".", "554 no")]);
    if let Transport::Smtp(relay) = &mut mailer.transport {
        relay.set_deadline(Duration::from_secs(20));
    }
    assert_eq!(permanent(mailer.send(&mail()).await), "554 no");
    assert_eq!(relay.heard().len(), 2);
}

#[tokio::test]
async fn only_a_completed_delivery_counts_as_one() {
    let relay = TestRelay::start(&[(".", "354 go on")]).await;
    temporary(relay.mailer().send(&mail()).await);
}

#[tokio::test]
async fn an_address_that_smtp_cannot_carry_is_refused_for_good() {
    let relay = TestRelay::start(&[]).await;
    let to = format!("{}@bar.com", "a".repeat(65)).parse().unwrap();
    permanent(relay.mailer().send(&CodeMail { to, ..mail() }).await);
    assert!(relay.heard().is_empty());
}

#[test]
fn a_sender_is_an_address_with_or_without_a_name() {
    let new = |from: &str| {
        Mailer::new(&MailConfig {
            transport: MailTransportConfig::Log,
            from: from.to_owned(),
        })
    };
    for good in [
        "a@b.example",
        "Back Office <a@b.example>",
        "B\u{fc}ro <a@b.example>",
    ] {
        assert!(new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "Back Office",
        "<a@b.example",
        "a@b.example, c@d.example",
        "\u{e4}@b.example",
        "A\r\nBcc: <a@b.example>",
        "A <a@b.example>\r\nBcc: c@d.example",
    ] {
        let refusal = new(bad).err().map(|error| error.to_string());
        assert!(
            refusal.unwrap_or_default().starts_with("mail.from"),
            "{bad}"
        );
    }
}

/// Collects all that is logged on this thread for as long as the guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[tokio::test]
async fn smtp_logs_neither_code_nor_password_at_any_level() {
    let (log, _guard) = Log::start();
    let relay = TestRelay::start(&[]).await;
    relay.mailer().send(&mail()).await.unwrap();
    tracing::trace!("the log works");
    let text = log.text();
    assert!(text.contains("the log works"));
    for secret in [mail().code.expose(), "AUTH PLAIN", "foo@bar.com"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn the_log_transport_shows_recipient_and_code() {
    let (log, _guard) = Log::start();
    let config = MailConfig {
        transport: MailTransportConfig::Log,
        from: "a@b.example".to_owned(),
    };
    Mailer::new(&config).unwrap().send(&mail()).await.unwrap();
    let text = log.text();
    assert!(text.contains(" mail: ") && text.contains("foo@bar.com"));
    assert!(text.contains(mail().code.expose()));
}
