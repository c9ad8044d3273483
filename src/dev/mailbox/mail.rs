//! A mail as it arrived, and its decoded parts.

use mail_parser::{Message, MessageParser, PartType};

use crate::domain::Timestamp;

/// A mail that was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// Counts from 1, in order of arrival.
    pub id: u64,
    /// The sender on the envelope; empty for a bounce.
    pub from: String,
    /// The recipients on the envelope.
    pub to: Vec<String>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The message as sent, headers and all, without SMTP's dot-stuffing.
    pub raw: Vec<u8>,
    /// The subject, decoded; empty if there is none.
    pub subject: String,
    /// The text part, decoded, with `\n` at line ends; made from the HTML part if there is none.
    pub text: String,
    /// The HTML part, decoded. It can hold anything.
    pub html: Option<String>,
    /// The code: the text's run of exactly six digits, if there is one and only one.
    pub code: Option<String>,
}

/// Sender and recipients as SMTP names them; the headers may differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) from: Option<String>,
    pub(super) to: Vec<String>,
}

impl ReceivedMail {
    /// Reads a message. A message that cannot be parsed is kept, too, with nothing decoded.
    pub(super) fn read(id: u64, envelope: Envelope, raw: Vec<u8>, received_at: Timestamp) -> Self {
        let message = MessageParser::default().parse(&raw);
        let Content {
            subject,
            text,
            html,
        } = message.as_ref().map(Content::of).unwrap_or_default();
        Self {
            id,
            from: envelope.from.unwrap_or_default(),
            to: envelope.to,
            received_at,
            subject,
            code: find_code(&text),
            text,
            html,
            raw,
        }
    }

    /// The link: the first web address of the text that has a fragment.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        let mut words = self.text.split_whitespace();
        let is_of_web = |word: &str| word.starts_with("http://") || word.starts_with("https://");
        words.find(|word| is_of_web(word) && word.contains('#'))
    }

    /// Whether it was delivered to an address, in any case.
    #[must_use]
    pub fn is_to(&self, address: &str) -> bool {
        self.to.iter().any(|to| to.eq_ignore_ascii_case(address))
    }
}

/// The parts of a message that a person reads.
#[derive(Default)]
struct Content {
    subject: String,
    text: String,
    html: Option<String>,
}

impl Content {
    fn of(message: &Message<'_>) -> Self {
        let text = message.body_text(0).unwrap_or_default();
        // The parser's own `body_html` would make HTML out of text.
        let html = message.html_bodies().find_map(|part| match &part.body {
            PartType::Html(html) => Some(html.replace("\r\n", "\n")),
            _ => None,
        });
        Self {
            subject: message.subject().unwrap_or_default().to_owned(),
            text: text.replace("\r\n", "\n"),
            html,
        }
    }
}

/// The only word of exactly six digits; `None` if there are two.
fn find_code(text: &str) -> Option<String> {
    let mut codes = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit()));
    let code = codes.next()?;
    codes.next().is_none().then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> ReceivedMail {
        let raw = raw.replace('\n', "\r\n").into_bytes();
        ReceivedMail::read(1, Envelope::default(), raw, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_code_is_the_only_word_of_six_digits() {
        for (text, code) in [
            ("Your code is 012345.", Some("012345")),
            ("123456", Some("123456")),
            (
                "valid for 10 minutes:\n\n  123456\n\n(2026-11-24)",
                Some("123456"),
            ),
            ("12345 1234567 a123456 123456b 12_345678", None),
            ("123456 or 654321", None),
            ("\u{661}\u{662}\u{663}456", None),
            ("", None),
        ] {
            assert_eq!(find_code(text).as_deref(), code, "{text:?}");
        }
    }

    #[test]
    fn a_link_is_the_first_url_with_a_fragment() {
        let link = |text: &str| {
            read(&format!("Subject: x\n\n{text}\n"))
                .link()
                .map(str::to_owned)
        };
        let long = "See https://a.example/ or\n\nhttps://b.example/set#abc\n";
        assert_eq!(link(long).as_deref(), Some("https://b.example/set#abc"));
        assert_eq!(link("No. 5 #1, http://a.example/"), None);
    }

    #[test]
    fn both_parts_and_the_subject_are_decoded() {
        let mail = read(
            "Subject: =?utf-8?B?w5xiZXIgPGI+?=\n\
             Content-Type: multipart/alternative; boundary=x\n\n\
             --x\n\
             Content-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: quoted-printable\n\n\
             Gr=C3=BC=C3=9Fe: 1234=\n56\n\
             --x\n\
             Content-Type: text/html; charset=utf-8\n\
             Content-Transfer-Encoding: base64\n\n\
             PGI+MTIzNDU2PC9iPg==\n\
             --x--\n",
        );
        assert_eq!(mail.subject, "Über <b>");
        assert_eq!(mail.text.trim_end(), "Grüße: 123456");
        assert_eq!(mail.html.as_deref(), Some("<b>123456</b>"));
        assert_eq!(mail.code.as_deref(), Some("123456"));
    }

    #[test]
    fn a_text_mail_has_no_html_and_a_mail_of_nonsense_is_kept() {
        assert_eq!(read("Subject: hi\n\nHello\n").html, None);
        let nonsense = read("\u{0}\u{1}");
        assert_eq!((nonsense.subject.as_str(), nonsense.code), ("", None));
        assert_eq!(read("").raw, b"");
    }
}
