//! A mail, and its envelope.

use std::net::Ipv4Addr;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::TimeDelta;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use lettre::{Address, error};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::content::Content;
use crate::domain::{
    ChallengeId, ClientNetwork, EmailAddress, LinkId, LinkPurpose, LinkToken, MailId, MailKind,
    Notice, OneTimeCode, Timestamp,
};

/// A mail, before it is put into words.
///
/// Each part redacts itself, and so does `Debug`. Codes and links are not wiped from memory after
/// sending: the library that speaks SMTP keeps its own copies.
#[derive(Debug, Clone)]
pub struct Mail {
    /// The recipient.
    pub to: EmailAddress,
    /// When the mail was asked for. Also its date, so that a retry is the same message.
    pub requested_at: Timestamp,
    /// Its content, which decides its kind.
    pub body: MailBody,
}

/// The content of a mail, by kind.
#[derive(Debug, Clone)]
pub enum MailBody {
    /// The code that confirms a sign-in.
    SignInCode(SignInCode),
    /// A link to set a password.
    Link(PasswordLink),
    /// A notice of a change.
    Notice(ChangeNotice),
}

/// The content of a mail with a code.
#[derive(Debug, Clone)]
pub struct SignInCode {
    /// The code that the user is to type.
    pub code: OneTimeCode,
    /// The challenge that the code answers.
    pub challenge_id: ChallengeId,
    /// The network of the sign-in.
    pub network: ClientNetwork,
    /// When the code stops working.
    pub expires_at: Timestamp,
}

/// The content of a mail with a link.
#[derive(Debug, Clone)]
pub struct PasswordLink {
    /// The link, whole.
    pub link: SecretString,
    /// The link's id, from which the message id follows.
    pub link_id: LinkId,
    /// The occasion for it.
    pub purpose: LinkPurpose,
    /// The network that asked for it. `None`: an operator.
    pub network: Option<ClientNetwork>,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

impl PasswordLink {
    /// The link with a token. The token stands behind a `#`, so it reaches no server and no log of one
    /// when the link is opened.
    #[must_use]
    pub fn to(password_url: &str, token: &LinkToken) -> SecretString {
        format!("{password_url}#{}", token.expose()).into()
    }
}

/// The content of a notice.
#[derive(Debug, Clone)]
pub struct ChangeNotice {
    /// The mail itself: a notice belongs to nothing else.
    pub mail_id: MailId,
    /// The event that it tells of.
    pub notice: Notice,
    /// The network that the change came from. `None`: an operator's act.
    pub network: Option<ClientNetwork>,
}

impl MailBody {
    /// The kind of mail that says this.
    #[must_use]
    pub fn kind(&self) -> MailKind {
        match self {
            Self::SignInCode(_) => MailKind::SignInCode,
            Self::Link(body) => body.purpose.mail_kind(),
            Self::Notice(_) => MailKind::Notice,
        }
    }

    /// A body whose secret opens nothing: to try templates and relays with.
    fn sample(kind: MailKind, requested_at: Timestamp) -> Self {
        // RFC 5737: an address for examples.
        let network = ClientNetwork::of(Ipv4Addr::new(192, 0, 2, 1).into());
        let link = |purpose| {
            Self::Link(PasswordLink {
                link: PasswordLink::to("https://office.example.com/password", &LinkToken::sample()),
                link_id: LinkId::random(),
                purpose,
                network: Some(network),
                expires_at: requested_at + TimeDelta::minutes(30),
            })
        };
        match kind {
            MailKind::SignInCode => Self::SignInCode(SignInCode {
                code: OneTimeCode::sample(),
                challenge_id: ChallengeId::random(),
                network,
                expires_at: requested_at + TimeDelta::minutes(10),
            }),
            MailKind::ResetLink => link(LinkPurpose::Reset),
            MailKind::InvitationLink => link(LinkPurpose::Invitation),
            MailKind::Notice => Self::Notice(ChangeNotice {
                mail_id: MailId(Uuid::nil()),
                notice: Notice::PasswordChanged,
                network: Some(network),
            }),
        }
    }

    /// The id from which the message id follows: the same for every attempt.
    fn identity(&self) -> Uuid {
        match self {
            Self::SignInCode(body) => body.challenge_id.0,
            Self::Link(body) => body.link_id.0,
            Self::Notice(body) => body.mail_id.0,
        }
    }

    /// The texts that no log may show, each with a word to put in its place: a relay may repeat a link
    /// whole, or what follows the `#` alone.
    pub(super) fn unspeakable(&self) -> Vec<(&'static str, &str)> {
        let mut texts = self.secrets();
        if let Self::Link(body) = self {
            let token = body.link.expose_secret().rsplit('#').next();
            texts.extend(token.map(|token| ("link", token)));
        }
        texts
    }

    /// The texts that open something, each with its variable in the templates. The text and the HTML must
    /// show them; no subject and no log may.
    pub(super) fn secrets(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::SignInCode(body) => vec![("code", body.code.expose())],
            Self::Link(body) => vec![("link", body.link.expose_secret())],
            Self::Notice(_) => Vec::new(),
        }
    }
}

impl Mail {
    /// A mail like any other of its kind, whose secret opens nothing.
    pub(super) fn sample(kind: MailKind, to: EmailAddress, requested_at: Timestamp) -> Self {
        Self {
            to,
            requested_at,
            body: MailBody::sample(kind, requested_at),
        }
    }

    /// Puts the words into an envelope.
    ///
    /// It is the same message for every attempt.
    pub(super) fn compose(
        &self,
        from: Mailbox,
        to: Address,
        content: &Content,
    ) -> Result<Message, error::Error> {
        let fingerprint = fingerprint(self.body.identity());
        let message_id = format!("<{fingerprint}@{}>", from.email.domain());
        // RFC 3834, section 5: keeps out-of-office notes from coming back.
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(from)
            .to(to.into())
            .subject(content.subject.clone())
            .date(self.requested_at.into())
            .message_id(Some(message_id))
            .raw_header(HeaderValue::new(
                auto_submitted,
                "auto-generated".to_owned(),
            ))
            .multipart(
                MultiPart::alternative()
                    .boundary(fingerprint)
                    .singlepart(SinglePart::plain(content.text.clone()))
                    .singlepart(SinglePart::html(content.html.clone())),
            )
    }
}

/// Names a mail without giving its id away: a challenge's id is half of the proof that confirms a sign-in, and a
/// link's is half of the link.
///
/// 160 bits of a SHA-256 in the letters `a` to `p`. Hexadecimal could hold six digits in a row,
/// which filters and people would take for the code.
fn fingerprint(id: Uuid) -> String {
    let hash = digest(&SHA256, id.as_bytes());
    let nibbles = hash.as_ref()[..20].iter().flat_map(|b| [b >> 4, b & 15]);
    nibbles.map(|nibble| char::from(b'a' + nibble)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use chrono::{TimeZone as _, Utc};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{CodeNonce, Language, MasterKey, Purpose};
    use crate::mail::installation::Installation;
    use crate::mail::template::Templates;

    impl Mail {
        /// The code that the mail carries.
        pub(in crate::mail) fn code(&self) -> &str {
            match &self.body {
                MailBody::SignInCode(body) => body.code.expose(),
                body => panic!("no code in {body:?}"),
            }
        }
    }

    /// The mail with which most tests work.
    pub(in crate::mail) fn mail() -> Mail {
        let at = Utc.with_ymd_and_hms(2026, 11, 24, 8, 46, 59).unwrap();
        mail_of(at, "203.0.113.7".parse().unwrap(), [7; 16])
    }

    fn mail_of(at: Timestamp, address: IpAddr, nonce: [u8; 16]) -> Mail {
        let key = MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            .unwrap()
            .derive(Purpose::OneTimeCodes);
        let challenge_id = ChallengeId(Uuid::from_bytes(nonce));
        let nonce = CodeNonce::from_stored(&nonce).unwrap();
        Mail {
            to: "foo@bar.com".parse().unwrap(),
            requested_at: at,
            body: MailBody::SignInCode(SignInCode {
                code: OneTimeCode::derive(&key, challenge_id, nonce),
                challenge_id,
                network: ClientNetwork::of(address),
                expires_at: at + TimeDelta::minutes(10),
            }),
        }
    }

    fn content(mail: &Mail) -> Content {
        Templates::built_in(Installation::plain(Language::English))
            .render(mail)
            .unwrap()
    }

    fn formatted(mail: &Mail) -> String {
        let from = "Back Office <no-reply@example.com>".parse().unwrap();
        let to = mail.to.as_str().parse().unwrap();
        let message = mail.compose(from, to, &content(mail)).unwrap();
        String::from_utf8(message.formatted()).unwrap()
    }

    /// Every run of exactly six digits.
    fn codes_in(text: &str) -> Vec<&str> {
        text.split(|c: char| !c.is_ascii_digit())
            .filter(|run| run.len() == 6)
            .collect()
    }

    #[test]
    fn the_message_is_two_readable_alternatives_and_says_that_a_machine_wrote_it() {
        let message = formatted(&mail());
        let (headers, body) = message.split_once("\r\n\r\n").unwrap();
        for header in [
            "From: \"Back Office\" <no-reply@example.com>",
            "To: foo@bar.com",
            "Date: Tue, 24 Nov 2026 08:46:59 +0000",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: multipart/alternative;",
        ] {
            assert!(headers.contains(header), "{header}\n{headers}");
        }
        assert_eq!(body.matches("Content-Transfer-Encoding: 7bit").count(), 2);
        let plain = body.find("Content-Type: text/plain").unwrap();
        assert!(plain < body.find("Content-Type: text/html").unwrap());
        assert!(message.is_ascii() && message.lines().all(|line| line.len() < 77));
    }

    #[test]
    fn every_attempt_at_a_challenge_is_the_same_message_and_does_not_name_it() {
        let once = mail();
        let MailBody::SignInCode(body) = once.body.clone() else {
            panic!("it has a code");
        };
        let challenge_id = ChallengeId::random();
        let other = Mail {
            body: MailBody::SignInCode(SignInCode {
                challenge_id,
                ..body
            }),
            ..once.clone()
        };
        assert_eq!(formatted(&once), formatted(&once));
        assert_ne!(formatted(&once), formatted(&other));
        let id = challenge_id.0;
        let message = formatted(&other);
        assert!(message.contains("@example.com>\r\n"));
        assert!(!message.contains(&id.to_string()) && !message.contains(&id.simple().to_string()));
    }

    #[test]
    fn the_debug_form_gives_neither_code_nor_challenge_nor_address_away() {
        let debug = format!("{:?}", mail());
        assert!(!debug.contains(mail().code()) && !debug.contains("foo@bar.com"));
        assert!(!debug.contains(&mail().body.identity().simple().to_string()));
    }

    proptest! {
        #[test]
        fn no_address_adds_a_header_or_a_recipient(text in "[ -~\\r\\n]{1,20}@[ -~\\r\\n]{1,20}") {
            if let Ok(to) = text.parse::<EmailAddress>()
                && let Ok(address) = to.as_str().parse::<Address>()
            {
                let from = "no-reply@example.com".parse().unwrap();
                let mail = Mail { to: to.clone(), ..mail() };
                let message = mail.compose(from, address, &content(&mail)).unwrap();
                let envelope: Vec<_> = message.envelope().to().iter().map(ToString::to_string).collect();
                prop_assert_eq!(envelope, vec![to.to_string()]);
                let formatted = String::from_utf8(message.formatted()).unwrap();
                let (headers, _) = formatted.split_once("\r\n\r\n").unwrap();
                let names: Vec<_> = headers
                    .lines()
                    .filter(|line| !line.starts_with(' '))
                    .map(|line| line.split(':').next().unwrap())
                    .collect();
                prop_assert_eq!(names, [
                    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted",
                    "MIME-Version", "Content-Type",
                ]);
            }
        }

        #[test]
        fn the_code_is_the_only_run_of_six_digits(
            seconds in 0..253_402_300_000_i64,
            address: IpAddr,
            nonce: [u8; 16],
        ) {
            let at = Utc.timestamp_opt(seconds, 0).unwrap();
            let mail = mail_of(at, address, nonce);
            let code = mail.code();
            let Content { subject, text, html } = content(&mail);
            prop_assert_eq!(codes_in(&subject), Vec::<&str>::new());
            prop_assert_eq!(codes_in(&text), vec![code]);
            prop_assert_eq!(codes_in(&html), vec![code]);
            let message = formatted(&mail);
            prop_assert_eq!(codes_in(&message), vec![code, code]);
            prop_assert_eq!(message.matches("Content-Transfer-Encoding: 7bit").count(), 2);
        }
    }
}
