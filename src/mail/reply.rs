//! The answer of a relay, cleaned for a log line and a column.

use std::fmt;

use super::Mail;

/// The answer of a relay, or of the network before it, with the relay's name: one line of printable
/// ASCII without the mail's secrets and recipient, at most 200 characters for each relay and its name.
/// `250 2.0.0 queued (a.example:465)`.
///
/// Servers often repeat what they were given, and these lines are logged and stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SmtpReply(String);

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may leave later: the relay cannot be reached, is not ready, or does not let us in.
    #[error("the mail cannot leave now: {0}")]
    Temporary(SmtpReply),
    /// It may have left: the relay had all of it, and the answer did not come.
    #[error("nobody knows whether the mail has left: {0}")]
    Unclear(SmtpReply),
    /// It will never leave: the relay refused its recipient for good.
    #[error("the mail was refused: {0}")]
    Permanent(SmtpReply),
    /// Nobody wants it any more: its code or link was used or made void, or it is not ours to send.
    #[error("the mail is not wanted any more")]
    Unwanted,
}

impl SmtpReply {
    const MAX_CHARS: usize = 200;

    /// The reply of a relay about a mail.
    pub(super) fn of_relay(relay: &str, mail: &Mail, said: &str) -> Self {
        let Self(said) = Self::new(mail, said);
        Self(format!("{said} ({relay})"))
    }

    /// This reply, followed by the one that another relay gave before.
    pub(super) fn after(self, earlier: &Self) -> Self {
        if earlier.0.is_empty() {
            return self;
        }
        Self(format!("{self}; before that {earlier}"))
    }

    /// Cleans a text about a mail.
    pub(super) fn new(mail: &Mail, said: &str) -> Self {
        let printable = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
        let line: String = said.chars().map(printable).collect();
        let words: Vec<_> = line.split_whitespace().collect();
        // After the step above, because a removed character could have stood between two halves of a
        // code; and before the cut, so that no part of a code is left at the end.
        let mut line = words.join(" ").replace(mail.to.as_str(), "(address)");
        for (variable, secret) in mail.body.unspeakable() {
            line = line.replace(secret, &format!("({variable})"));
        }
        line.truncate(Self::MAX_CHARS);
        Self(line)
    }

    /// The line: a reply code and its text, or the error if there was no reply.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SmtpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::domain::{LinkToken, MailKind};
    use crate::mail::PasswordLink;
    use crate::mail::message::tests::mail;

    #[test]
    fn a_reply_is_one_short_line_without_code_and_recipient() {
        let mail = mail();
        let said = format!(
            "550 5.1.1 <{}>:\r\n\tno\0such  \u{fc}ser {}",
            mail.to,
            mail.code()
        );
        assert_eq!(
            SmtpReply::new(&mail, &said).as_str(),
            "550 5.1.1 <(address)>: no such ser (code)"
        );
        assert_eq!(SmtpReply::new(&mail, &"x".repeat(999)).as_str().len(), 200);
    }

    /// Red without `unspeakable`.
    #[test]
    fn a_reply_shows_neither_a_link_nor_what_follows_its_sign() {
        let mail = Mail::sample(MailKind::ResetLink, mail().to, mail().requested_at);
        let token = LinkToken::sample();
        let whole = PasswordLink::to("https://office.example.com/password", &token);
        let whole = whole.expose_secret();
        let said = format!("554 bad URL {whole} ({})", token.expose());
        let reply = SmtpReply::new(&mail, &said);
        assert_eq!(reply.as_str(), "554 bad URL (link) ((link))");
    }

    #[test]
    fn a_reply_names_its_relay_and_what_another_had_said_before() {
        let first = SmtpReply::of_relay("a:25", &mail(), "451 later").after(&SmtpReply::default());
        assert_eq!(first.as_str(), "451 later (a:25)");
        let second = SmtpReply::of_relay("b:25", &mail(), "250 ok").after(&first);
        assert_eq!(
            second.as_str(),
            "250 ok (b:25); before that 451 later (a:25)"
        );
    }

    proptest! {
        #[test]
        fn no_reply_gives_the_code_away(before in "\\PC{0,220}", between in "[\\r\\n\\x00 ]{0,2}") {
            let mail = mail();
            let code = mail.code();
            let said = format!("{before}{}{between}{}{code}{code}", &code[..3], &code[3..]);
            let reply = SmtpReply::new(&mail, &said);
            prop_assert!(!reply.as_str().contains(code));
            prop_assert!(reply.as_str().bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            prop_assert!(reply.as_str().len() <= 200);
        }
    }
}
