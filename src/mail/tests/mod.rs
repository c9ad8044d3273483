//! Mails on the wire, to a relay that answers by a script.

mod fallback;
mod relay;

use std::time::Duration;

use tokio::net::TcpListener;

use self::relay::{Script, TestRelay, config};
use super::message::tests::mail;
use super::relay::{HANDOVER_TIMEOUT, LAST_WORD_TIMEOUT};
use super::*;
use crate::config::{MailTransportConfig, SmtpConfig, SmtpTls};
use crate::domain::Language;
use crate::telemetry::testing::Written;

/// A mailer over one relay or two.
fn try_mailer(first: SmtpConfig, fallback: Option<SmtpConfig>) -> Result<Mailer, MailConfigError> {
    let fallback = fallback.map(Box::new);
    Mailer::new(
        &mail_config(MailTransportConfig::Smtp { first, fallback }),
        &NO_LINKS,
    )
}

fn mailer_over(first: SmtpConfig) -> Mailer {
    try_mailer(first, None).unwrap()
}

/// An installation where an operator sets passwords.
const NO_LINKS: LinksConfig = LinksConfig {
    password_url: None,
    reset_ttl: Duration::from_mins(30),
    invitation_ttl: Duration::from_hours(72),
};

fn mail_config(transport: MailTransportConfig) -> MailConfig {
    MailConfig {
        transport,
        from: "Back Office <no-reply@example.com>".to_owned(),
        language: Language::English,
        templates_dir: None,
        contact: String::new(),
    }
}

impl TestRelay {
    fn mailer(&self) -> Mailer {
        mailer_over(self.config(SmtpTls::None))
    }
}

impl Mailer {
    /// Sends a mail that has time and is wanted.
    async fn send_any(&self, mail: &Mail) -> Result<SmtpReply, SendError> {
        let until = Instant::now() + Duration::from_mins(10);
        self.send(mail, until, || std::future::ready(true)).await
    }
}

/// Sends a mail to a relay that will not answer, and lets this much time pass in a moment once that
/// relay has heard so many lines (or connections, for the empty word).
async fn send_in_vain(
    mailer: &Mailer,
    until: Instant,
    relay: &TestRelay,
    heard: (&str, usize),
    passes: Duration,
) -> Result<SmtpReply, SendError> {
    let mail = mail();
    let sending = mailer.send(&mail, until, || std::future::ready(true));
    let waiting = async {
        let (word, count) = heard;
        while relay.count(word) < count {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        tokio::time::advance(passes).await;
        tokio::time::resume();
    };
    tokio::join!(sending, waiting).0
}

fn temporary(outcome: Result<SmtpReply, SendError>) -> String {
    match outcome {
        Err(SendError::Temporary(reply)) => reply.to_string(),
        other => panic!("not a temporary failure: {other:?}"),
    }
}

fn unclear(outcome: Result<SmtpReply, SendError>) -> String {
    match outcome {
        Err(SendError::Unclear(reply)) => reply.to_string(),
        other => panic!("not an open outcome: {other:?}"),
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
    let reply = relay.mailer().send_any(&mail()).await.unwrap();
    let word = format!("250 2.0.0 queued as 1 ({})", relay.name());
    assert_eq!(reply.as_str(), word);
    let heard = relay.heard().concat();
    assert!(heard.contains("MAIL FROM:<no-reply@example.com>\r\n"));
    assert!(heard.contains("RCPT TO:<foo@bar.com>\r\n"));
    assert!(heard.contains(&format!("\r\n    {}\r\n", mail().code())));
}

#[tokio::test]
async fn a_refusal_is_temporary_or_permanent_as_the_relay_says() {
    for (script, expected) in [
        (
            &[("RCPT", "451-4.3.0 try\r\n451 4.3.0 later")] as Script,
            "451 4.3.0 try later",
        ),
        (&[("RCPT", "421 closing")], "421 closing"),
        (&[(".", "452 disk full")], "452 disk full"),
        (&[("RCPT", "550 unknown")], "550 unknown"),
        (&[(".", "554 spam")], "554 spam"),
        (
            &[("RCPT", "554 5.7.1 Relay access denied")],
            "554 5.7.1 Relay access denied",
        ),
    ] {
        let relay = TestRelay::start(script).await;
        let expected = format!("{expected} ({})", relay.name());
        assert_eq!(temporary(relay.mailer().send_any(&mail()).await), expected);
    }
    for (script, expected) in [
        (
            &[("RCPT", "550 5.1.1 <foo@bar.com> unknown")] as Script,
            "550 5.1.1 <(address)> unknown",
        ),
        (&[(".", "550 5.1.10 null MX")], "550 5.1.10 null MX"),
    ] {
        let relay = TestRelay::start(script).await;
        let expected = format!("{expected} ({})", relay.name());
        assert_eq!(permanent(relay.mailer().send_any(&mail()).await), expected);
    }
}

#[tokio::test]
async fn a_failure_before_the_recipient_is_named_is_temporary() {
    for (script, expected) in [
        (
            &[("220", "554 5.7.1 go away")] as Script,
            "554 5.7.1 go away",
        ),
        (&[("EHLO", "550 who are you")], "550 who are you"),
        (
            &[("AUTH", "535 5.7.8 wrong password")],
            "535 5.7.8 wrong password",
        ),
        (
            &[("MAIL", "530 5.7.0 sign in first")],
            "530 5.7.0 sign in first",
        ),
        (
            &[("MAIL", "553 5.7.1 not your address")],
            "553 5.7.1 not your address",
        ),
    ] {
        let relay = TestRelay::start(script).await;
        let outcome = relay.mailer().send_any(&mail()).await;
        assert_eq!(temporary(outcome), format!("{expected} ({})", relay.name()));
    }
    for script in [
        &[("RCPT", "hang up")] as Script,
        &[("DATA", "hang up")],
        &[("RCPT", "hello")],
    ] {
        let relay = TestRelay::start(script).await;
        temporary(relay.mailer().send_any(&mail()).await);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mailer = mailer_over(config(port, SmtpTls::None));
    assert!(temporary(mailer.send_any(&mail()).await).contains("refused"));
}

/// Red when the mail is handed over without asking, and when its time is not heeded.
#[tokio::test]
async fn a_mail_that_nobody_can_use_any_more_is_held_back_at_the_last_moment() {
    let relay = TestRelay::start(&[]).await;
    let mailer = relay.mailer();
    let later = Instant::now() + Duration::from_mins(10);
    let unwanted = mailer
        .send(&mail(), later, || std::future::ready(false))
        .await;
    assert_eq!(unwanted, Err(SendError::Unwanted));
    let late = mailer
        .send(&mail(), Instant::now(), || std::future::ready(true))
        .await;
    temporary(late);
    // Here the relay takes a while to answer, and the code is over before it does.
    relay.answer_from_now_on(&[("RCPT", "")]);
    let soon = Duration::from_secs(10);
    let until = Instant::now() + soon;
    temporary(send_in_vain(&mailer, until, &relay, ("RCPT", 2), soon).await);
    assert_eq!((relay.count("RCPT"), relay.count("DATA")), (2, 0));
}

#[tokio::test]
async fn a_relay_with_a_private_authority_is_trusted_by_that_authority_alone() {
    let (relay, authority) = TestRelay::start_tls(&[]).await;
    let (_, stranger) = TestRelay::start_tls(&[]).await;
    let over = |pem: Option<&str>| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), pem.unwrap_or_default()).unwrap();
        mailer_over(SmtpConfig {
            ca_file: pem.map(|_| file.path().to_owned()),
            ..relay.config(SmtpTls::Required)
        })
    };
    for pem in [None, Some(&*stranger)] {
        let told = temporary(over(pem).send_any(&mail()).await);
        assert!(told.contains("certificate"), "{told}");
    }
    over(Some(&authority)).send_any(&mail()).await.unwrap();
    // Several in one file: the old one and the new one.
    let both = format!("{stranger}{authority}");
    over(Some(&both)).send_any(&mail()).await.unwrap();
}

#[test]
fn everything_that_is_wrong_with_sender_authorities_and_templates_is_told_at_once() {
    let no_pem = tempfile::NamedTempFile::new().unwrap();
    let relay = |path: &std::path::Path| SmtpConfig {
        ca_file: Some(path.to_owned()),
        ..config(465, SmtpTls::Required)
    };
    let (first, fallback) = (relay("/nowhere/ca.pem".as_ref()), relay(no_pem.path()));
    let config = MailConfig {
        from: "nobody".to_owned(),
        templates_dir: Some("/nowhere/mail".into()),
        ..mail_config(MailTransportConfig::Smtp {
            first,
            fallback: Some(Box::new(fallback)),
        })
    };
    let told = Mailer::new(&config, &NO_LINKS);
    let told = told.err().unwrap().to_string();
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    for (line, start) in lines.iter().zip([
        "mail.from: must be",
        "mail.smtp.ca_file: names \"/nowhere/ca.pem\", which cannot be read: ",
        &format!(
            "mail.fallback.ca_file: names {:?}, which holds no certificate",
            no_pem.path()
        ),
        "mail.templates_dir: \"/nowhere/mail\" cannot be read: ",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_to_a_relay_that_should_speak_tls() {
    for tls in [SmtpTls::Required, SmtpTls::StartTls] {
        let relay = TestRelay::start(&[]).await;
        let mailer = mailer_over(relay.config(tls));
        temporary(mailer.send_any(&mail()).await);
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
    mailer.send_any(&mail()).await.unwrap();
    mailer.send_any(&mail()).await.unwrap();
    assert_eq!(relay.heard().len(), 1);

    relay.answer_from_now_on(&[("NOOP", "hang up")]);
    mailer.send_any(&mail()).await.unwrap();
    assert_eq!(relay.heard().len(), 2);
}

#[tokio::test]
async fn a_mail_that_ran_out_of_time_takes_its_connection_with_it() {
    let relay = TestRelay::start(&[]).await;
    let mailer = relay.mailer();
    mailer.send_any(&mail()).await.unwrap();

    relay.answer_from_now_on(&[(".", "")]);
    let later = Instant::now() + 2 * LAST_WORD_TIMEOUT;
    unclear(send_in_vain(&mailer, later, &relay, (".", 2), LAST_WORD_TIMEOUT).await);

    // On the old connection the answer to the message would come first, if anybody asked, and be
    // taken for the answer to the question.
    relay.answer_from_now_on(&[("NOOP", "250 queued\r\n250 ok"), (".", "550 5.1.1 no")]);
    assert_eq!(
        permanent(mailer.send_any(&mail()).await),
        format!("550 5.1.1 no ({})", relay.name())
    );
    assert_eq!(relay.heard().len(), 2);
}

/// Makes a relay take its time for an answer, and lets that time pass.
async fn after_a_while(
    relay: &TestRelay,
    heard: (&str, usize),
    while_: Duration,
) -> Result<SmtpReply, SendError> {
    let (mailer, mail) = (relay.mailer(), mail());
    let sending = mailer.send_any(&mail);
    let waiting = async {
        let (word, count) = heard;
        while relay.count(word) < count {
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        // In steps, or every time that is up by then would be up at once.
        for _ in 0..while_.as_secs() / 5 {
            tokio::time::advance(Duration::from_secs(5)).await;
            tokio::task::yield_now().await;
        }
        tokio::time::resume();
        relay.say_now();
    };
    tokio::join!(sending, waiting).0
}

/// Red with 20 s for the whole mail.
#[tokio::test]
async fn a_relay_that_takes_minutes_for_its_last_word_gets_the_mail_once() {
    let relay = TestRelay::start(&[(".", "wait, then 250 2.0.0 queued")]).await;
    let minutes = Duration::from_mins(9);
    let reply = after_a_while(&relay, (".", 1), minutes).await.unwrap();
    assert!(reply.as_str().starts_with("250 2.0.0 queued"));
    assert_eq!((relay.count("DATA"), relay.count("")), (1, 1));
}

/// Red with 20 s for the whole mail.
#[tokio::test]
async fn a_relay_that_takes_minutes_to_greet_gets_the_mail() {
    let relay = TestRelay::start(&[("220", "wait, then 220 relay")]).await;
    let minutes = Duration::from_mins(4);
    after_a_while(&relay, ("", 1), minutes).await.unwrap();
    assert_eq!(relay.count("DATA"), 1);
}

/// Red when a connection that the network has swallowed is waited for alone.
#[tokio::test]
async fn beside_a_connection_that_is_silent_another_is_tried() {
    let relay = TestRelay::start(&[("220", "")]).await;
    let (mailer, mail) = (relay.mailer(), mail());
    let sending = mailer.send_any(&mail);
    let waiting = async {
        while relay.count("") < 1 {
            tokio::task::yield_now().await;
        }
        relay.answer_from_now_on(&[]);
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(16)).await;
        tokio::time::resume();
    };
    tokio::join!(sending, waiting).0.unwrap();
    assert_eq!((relay.count(""), relay.count("DATA")), (2, 1));
}

#[tokio::test]
async fn a_relay_is_greeted_by_the_configured_name_or_the_domain_that_mails_come_from() {
    let relay = TestRelay::start(&[]).await;
    let named = SmtpConfig {
        hello_name: Some("auth.example.net".to_owned()),
        ..relay.config(SmtpTls::None)
    };
    mailer_over(named).send_any(&mail()).await.unwrap();
    relay.mailer().send_any(&mail()).await.unwrap();
    let heard = relay.heard();
    assert!(heard[0].starts_with("EHLO auth.example.net\r\n"));
    let name = heard[1].lines().next().unwrap();
    assert!(name.contains('.'), "{name}");
}

#[tokio::test]
async fn only_a_completed_delivery_counts_as_one() {
    let relay = TestRelay::start(&[(".", "354 go on")]).await;
    unclear(relay.mailer().send_any(&mail()).await);
}

#[tokio::test]
async fn an_address_that_smtp_cannot_carry_is_refused_for_good() {
    let relay = TestRelay::start(&[]).await;
    let to = format!("{}@bar.com", "a".repeat(65)).parse().unwrap();
    permanent(relay.mailer().send_any(&Mail { to, ..mail() }).await);
    assert!(relay.heard().is_empty());
}

#[test]
fn a_sender_is_an_address_with_or_without_a_name() {
    let new = |from: &str| {
        let config = MailConfig {
            from: from.to_owned(),
            ..mail_config(MailTransportConfig::Log)
        };
        Mailer::new(&config, &NO_LINKS)
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
fn log() -> (Written, tracing::subscriber::DefaultGuard) {
    let log = Written::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn smtp_logs_neither_code_nor_password_at_any_level() {
    let (log, _guard) = log();
    let relay = TestRelay::start(&[]).await;
    relay.mailer().send_any(&mail()).await.unwrap();
    tracing::trace!("the log works");
    let text = log.take();
    assert!(text.contains("the log works"));
    for secret in [mail().code(), "AUTH PLAIN", "foo@bar.com"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn the_log_transport_shows_recipient_and_code() {
    let (log, _guard) = log();
    let config = mail_config(MailTransportConfig::Log);
    Mailer::new(&config, &NO_LINKS)
        .unwrap()
        .send_any(&mail())
        .await
        .unwrap();
    let text = log.take();
    assert!(text.contains(" mail: ") && text.contains("foo@bar.com"));
    assert!(text.contains(mail().code()));
}
