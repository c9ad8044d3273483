//! The mailbox as a sender and as a browser meet it: over the wire.

use std::time::Duration;

use lettre::message::MultiPart;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::response::Response;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tokio::time::timeout;

use super::*;

const LOOPBACK: &str = "127.0.0.1:0";

type Sender = AsyncSmtpTransport<Tokio1Executor>;

async fn mailbox() -> (Mailbox, Sender) {
    let loopback = LOOPBACK.parse().unwrap();
    let mailbox = Mailbox::start(loopback, Some(loopback), Clock::system());
    let mailbox = mailbox.await.unwrap();
    let sender = Sender::builder_dangerous("127.0.0.1")
        .port(mailbox.smtp_addr().port())
        .timeout(Some(Duration::from_secs(10)))
        .build();
    (mailbox, sender)
}

async fn send(sender: &Sender, to: &str, code: &str) -> Result<Response, Error> {
    let message = Message::builder()
        .from("Back Office <office@example.com>".parse().unwrap())
        .to(to.parse().unwrap())
        .subject("Your code: für dich")
        .multipart(MultiPart::alternative_plain_html(
            format!("Grüße,\nyour code is {code}.\n.\n.. and dots"),
            format!("<p>Grüße, your code is <b>{code}</b></p>"),
        ))
        .unwrap();
    sender.send(message).await
}

#[tokio::test]
async fn a_mail_arrives_with_its_code() {
    let (mailbox, sender) = mailbox().await;
    let mut announced = mailbox.subscribe();
    send(&sender, "alice@example.com", "012345").await.unwrap();
    let mail = mailbox.next_for("Alice@example.com").await;
    assert_eq!(mail.code.as_deref(), Some("012345"));
    assert_eq!(mail.from, "office@example.com");
    assert_eq!(mail.to, ["alice@example.com"]);
    assert_eq!(mail.subject, "Your code: für dich");
    assert_eq!(
        mail.text.trim_end(),
        "Grüße,\nyour code is 012345.\n.\n.. and dots"
    );
    assert!(
        mail.html
            .as_ref()
            .unwrap()
            .contains("Grüße, your code is <b>012345</b>")
    );
    assert_eq!(announced.recv().await.unwrap(), mail);
}

#[tokio::test]
async fn recipients_are_deferred_and_refused_as_told() {
    let (mailbox, sender) = mailbox().await;
    let bob = Recipients::Only(vec!["BOB@example.com".to_owned()]);

    mailbox.set_behaviour(Behaviour::Defer(bob.clone()));
    let deferred = send(&sender, "bob@example.com", "1").await.unwrap_err();
    assert!(deferred.is_transient(), "{deferred}");
    send(&sender, "alice@example.com", "1").await.unwrap();

    mailbox.set_behaviour(Behaviour::Refuse(bob));
    let refused = send(&sender, "bob@example.com", "1").await.unwrap_err();
    assert!(refused.is_permanent(), "{refused}");
    send(&sender, "alice@example.com", "1").await.unwrap();

    mailbox.set_behaviour(Behaviour::Refuse(Recipients::All));
    assert!(
        send(&sender, "alice@example.com", "1")
            .await
            .unwrap_err()
            .is_permanent()
    );

    mailbox.set_behaviour(Behaviour::Accept);
    send(&sender, "bob@example.com", "1").await.unwrap();
    assert_eq!(mailbox.mails_to("bob@example.com").len(), 1);
    assert_eq!(mailbox.mails().len(), 3);
}

#[tokio::test]
async fn a_mailbox_that_is_down_hangs_up_and_comes_back() {
    let (mailbox, sender) = mailbox().await;
    // The sender keeps this connection, and must not get through on it either.
    send(&sender, "alice@example.com", "1").await.unwrap();
    mailbox.set_behaviour(Behaviour::Down);
    let lost = send(&sender, "alice@example.com", "1").await.unwrap_err();
    assert!(!lost.is_permanent() && !lost.is_timeout(), "{lost:?}");
    mailbox.set_behaviour(Behaviour::Accept);
    send(&sender, "alice@example.com", "1").await.unwrap();
    assert_eq!(mailbox.mails().len(), 2);
}

#[tokio::test]
async fn a_mailbox_that_hangs_answers_when_it_comes_to() {
    let (mailbox, sender) = mailbox().await;
    mailbox.set_behaviour(Behaviour::Hang);
    let sending = tokio::spawn(async move { send(&sender, "alice@example.com", "1").await });
    let waiting = mailbox.next_for("alice@example.com");
    assert!(timeout(Duration::from_millis(100), waiting).await.is_err());
    assert!(!sending.is_finished());
    mailbox.set_behaviour(Behaviour::Accept);
    sending.await.unwrap().unwrap();
    assert_eq!(mailbox.next_for("alice@example.com").await.id, 1);
}

#[tokio::test]
async fn a_mailbox_that_stalls_has_the_mail_and_says_so_later() {
    let (mailbox, sender) = mailbox().await;
    let alice = Recipients::Only(vec!["alice@example.com".to_owned()]);
    mailbox.set_behaviour(Behaviour::Stall(alice));
    send(&sender, "bob@example.com", "1").await.unwrap();
    let sending = tokio::spawn(async move { send(&sender, "alice@example.com", "1").await });
    mailbox.next_for("alice@example.com").await;
    assert!(!sending.is_finished());
    mailbox.set_behaviour(Behaviour::Accept);
    sending.await.unwrap().unwrap();
    assert_eq!(mailbox.mails_to("alice@example.com").len(), 1);
}

#[tokio::test]
async fn nothing_listens_but_on_loopback_and_after_the_last_clone() {
    let (loopback, open) = (LOOPBACK.parse().unwrap(), "0.0.0.0:0".parse().unwrap());
    for (smtp, page) in [(open, None), (loopback, Some(open))] {
        let refused = Mailbox::start(smtp, page, Clock::system())
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
    let (mailbox, sender) = mailbox().await;
    let clone = mailbox.clone();
    drop(mailbox);
    send(&sender, "alice@example.com", "1").await.unwrap();
    drop(clone);
    send(&sender, "alice@example.com", "1").await.unwrap_err();
}

#[tokio::test]
async fn the_page_is_served() {
    let (mailbox, sender) = mailbox().await;
    send(&sender, "alice@example.com", "246810").await.unwrap();
    let page = format!("http://{}/", mailbox.page_addr().unwrap());
    let answer = reqwest::get(page)
        .await
        .unwrap()
        .error_for_status()
        .unwrap();
    assert!(answer.text().await.unwrap().contains(">246810</code>"));
}
