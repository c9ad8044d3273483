//! What comes back from a relay, made fit for a log line or a column.

use std::fmt;

use super::CodeMail;

/// What a relay, or the network before it, had to say: one line of printable ASCII, at most 200
/// characters long, with the mail's code and recipient taken out.
///
/// Servers like to repeat what they were given, and these lines are logged and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpReply(String);

/// Why a mail did not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// It may leave later: the relay cannot be reached, is not ready, or lets us not in.
    #[error("the mail cannot leave now: {0}")]
    Temporary(SmtpReply),
    /// It will never leave: the relay refused this mail or its recipient for good.
    #[error("the mail was refused: {0}")]
    Permanent(SmtpReply),
}

impl SmtpReply {
    const MAX_CHARS: usize = 200;

    /// Cleans what was said about a mail.
    pub(super) fn to(mail: &CodeMail, said: &str) -> Self {
        let printable = |c: char| if c.is_ascii_graphic() { c } else { ' ' };
        let line: String = said.chars().map(printable).collect();
        let words: Vec<_> = line.split_whitespace().collect();
        // Only now: what was taken out above could have stood between two halves of a code. And
        // before the cut, so that no part of one is left at the end.
        let mut line = (words.join(" "))
            .replace(mail.to.as_str(), "(address)")
            .replace(mail.code.expose(), "(code)");
        line.truncate(Self::MAX_CHARS);
        Self(line)
    }

    /// The line: a reply code and its text, or what went wrong before there was one.
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

    use super::*;
    use crate::mail::message::tests::mail;

    #[test]
    fn a_reply_is_one_short_line_without_code_and_recipient() {
        let mail = mail();
        let said = format!(
            "550 5.1.1 <{}>:\r\n\tno\0such  \u{fc}ser {}",
            mail.to,
            mail.code.expose()
        );
        assert_eq!(
            SmtpReply::to(&mail, &said).as_str(),
            "550 5.1.1 <(address)>: no such ser (code)"
        );
        assert_eq!(SmtpReply::to(&mail, &"x".repeat(999)).as_str().len(), 200);
    }

    proptest! {
        #[test]
        fn no_reply_gives_the_code_away(before in "\\PC{0,220}", between in "[\\r\\n\\x00 ]{0,2}") {
            let mail = mail();
            let code = mail.code.expose();
            let said = format!("{before}{}{between}{}{code}{code}", &code[..3], &code[3..]);
            let reply = SmtpReply::to(&mail, &said);
            prop_assert!(!reply.as_str().contains(code));
            prop_assert!(reply.as_str().bytes().all(|b| b.is_ascii_graphic() || b == b' '));
            prop_assert!(reply.as_str().len() <= 200);
        }
    }
}
