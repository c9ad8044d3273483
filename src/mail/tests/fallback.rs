//! Two relays.

use super::*;

async fn two(first: Script, fallback: Script) -> (TestRelay, TestRelay, Mailer) {
    let (first, fallback) = (
        TestRelay::start(first).await,
        TestRelay::start(fallback).await,
    );
    let mailer = over(&first.config(SmtpTls::None), &fallback);
    (first, fallback, mailer)
}

fn over(first: &SmtpConfig, fallback: &TestRelay) -> Mailer {
    try_mailer(first.clone(), Some(fallback.config(SmtpTls::None))).unwrap()
}

/// How many mails a relay was offered.
fn offers(relay: &TestRelay) -> usize {
    relay.count("RCPT")
}

#[tokio::test]
async fn a_mail_that_the_first_does_not_take_now_goes_to_the_second_in_the_same_attempt() {
    for (script, said) in [
        (&[("220", "421 busy")] as Script, "421 busy"),
        (
            &[(
                "RCPT",
                "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname",
            )],
            "504 5.5.2 <vm>: Helo command rejected: need fully-qualified hostname",
        ),
        (
            &[("RCPT", "554 5.7.1 <foo@bar.com>: Relay access denied")],
            "554 5.7.1 <(address)>: Relay access denied",
        ),
        (
            &[(".", "550 5.4.5 Daily user sending limit exceeded")],
            "550 5.4.5 Daily user sending limit exceeded",
        ),
        (
            &[("RCPT", "550 relay not permitted")],
            "550 relay not permitted",
        ),
        (&[("AUTH", "535 no")], "535 no"),
        (&[("MAIL", "550 not your address")], "550 not your address"),
        (&[("RCPT", "450 greylisted")], "450 greylisted"),
        (&[(".", "452 full")], "452 full"),
    ] {
        let (first, second, mailer) = two(script, &[]).await;
        let reply = mailer.send_any(&mail()).await.unwrap();
        let expected = format!(
            "250 2.0.0 queued as 1 ({}); before that {said} ({})",
            second.name(),
            first.name()
        );
        assert_eq!(reply.as_str(), expected);
    }
    let (_, second, mailer) = two(&[("DATA", "hang up")], &[]).await;
    mailer.send_any(&mail()).await.unwrap();
    assert_eq!(offers(&second), 1);
}

/// Red when a mail goes on to the next relay after every outcome at the first.
#[tokio::test]
async fn a_mail_that_the_first_may_have_taken_is_not_offered_to_the_second() {
    for script in [&[(".", "hang up")] as Script, &[(".", "354 go on")]] {
        let (_, second, mailer) = two(script, &[]).await;
        unclear(mailer.send_any(&mail()).await);
        assert!(second.heard().is_empty());
    }
}

/// Red when a refusal of ours leaves the first relay first.
#[tokio::test]
async fn a_first_relay_that_does_not_want_us_is_tried_last_from_then_on() {
    let (first, second, mailer) = two(&[("RCPT", "554 5.7.1 Relay access denied")], &[]).await;
    for _ in 0..3 {
        mailer.send_any(&mail()).await.unwrap();
    }
    assert_eq!((offers(&first), offers(&second)), (1, 3));
}

/// Red when a permanent refusal goes on to the next relay.
#[tokio::test]
async fn a_mail_that_the_first_refuses_for_good_is_not_offered_to_the_second() {
    for script in [
        &[("RCPT", "550 5.1.1 unknown")] as Script,
        &[(".", "550 5.2.1 disabled")],
    ] {
        let (_, second, mailer) = two(script, &[]).await;
        permanent(mailer.send_any(&mail()).await);
        assert!(second.heard().is_empty());
    }
}

#[tokio::test]
async fn a_mail_that_neither_takes_waits_and_both_are_heard() {
    let (first, second, mailer) = two(&[("RCPT", "451 a")], &[("RCPT", "452 b")]).await;
    let told = temporary(mailer.send_any(&mail()).await);
    let expected = format!(
        "452 b ({}); before that 451 a ({})",
        second.name(),
        first.name()
    );
    assert_eq!(told, expected);
}

/// Red when the first relay is always tried first.
#[tokio::test]
async fn a_first_relay_that_swallows_everything_costs_its_time_once_and_not_for_each_mail() {
    let (first, second, mailer) = two(&[("220", "")], &[]).await;
    let later = Instant::now() + Duration::from_mins(10);
    let sent = send_in_vain(&mailer, later, &first, ("", 1), HANDOVER_TIMEOUT).await;
    assert!(sent.unwrap().as_str().contains("the relay took too long"));
    for _ in 0..2 {
        mailer.send_any(&mail()).await.unwrap();
    }
    assert_eq!((first.count(""), offers(&second)), (1, 3));
    // Should the second fail too, the first is asked all the same; and it is well again.
    first.answer_from_now_on(&[]);
    second.answer_from_now_on(&[("RCPT", "451 later")]);
    mailer.send_any(&mail()).await.unwrap();
    mailer.send_any(&mail()).await.unwrap();
    assert_eq!((offers(&first), offers(&second)), (2, 4));
}

#[tokio::test]
async fn a_refusal_of_one_mail_leaves_the_first_relay_first() {
    let (first, second, mailer) = two(&[("RCPT", "451 later")], &[]).await;
    mailer.send_any(&mail()).await.unwrap();
    first.answer_from_now_on(&[]);
    mailer.send_any(&mail()).await.unwrap();
    assert_eq!((offers(&first), offers(&second)), (2, 1));
}

#[tokio::test]
async fn a_code_that_runs_out_at_the_first_relay_is_not_offered_to_the_second() {
    let (first, second, mailer) = two(&[("220", "")], &[]).await;
    let soon = Duration::from_secs(10);
    let until = Instant::now() + soon;
    temporary(send_in_vain(&mailer, until, &first, ("", 1), soon).await);
    assert!(second.heard().is_empty());
}

#[tokio::test]
async fn each_relay_has_its_own_tls_and_credentials() {
    let (second, authority) = TestRelay::start_tls(&[]).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority).unwrap();
    let first = TestRelay::start(&[("MAIL", "421 busy")]).await;
    let in_the_clear = SmtpConfig {
        credentials: None,
        ..first.config(SmtpTls::None)
    };
    let over_tls = SmtpConfig {
        ca_file: Some(file.path().to_owned()),
        ..second.config(SmtpTls::Required)
    };
    let mailer = try_mailer(in_the_clear, Some(over_tls)).unwrap();
    mailer.send_any(&mail()).await.unwrap();
    assert!(!first.heard().concat().contains("AUTH"));
    assert!(second.heard().concat().contains("AUTH PLAIN"));
}

#[tokio::test]
async fn a_test_mail_goes_over_each_relay_and_says_how_far_it_came() {
    let (first, second, mailer) = two(&[("AUTH", "535 no")], &[]).await;
    let trials = mailer
        .try_relays(None, Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let [one, other] = &trials[..] else {
        panic!("{trials:?}");
    };
    assert_eq!((one.section, other.section), ("mail.smtp", "mail.fallback"));
    let (fault, reply) = one.outcome.as_ref().unwrap_err();
    assert_eq!(*fault, Fault::Credentials);
    assert_eq!(reply.as_str(), format!("535 no ({})", first.name()));
    assert!(other.outcome.is_ok());
    let heard = second.heard().concat();
    assert!(heard.contains("RCPT TO:<no-reply@example.com>\r\n"));
    assert!(
        heard.contains("Subject: Test: Your sign-in code") && heard.contains("\r\n    012345\r\n")
    );
}
