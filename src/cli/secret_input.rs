//! Reading a password: from standard input or a prompt, never from an argument.

use std::io::{IsTerminal as _, Read as _};

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::domain::PlainPassword;

/// Reads a password from standard input, less one newline at its end.
pub(super) fn from_stdin() -> anyhow::Result<PlainPassword> {
    let mut text = Zeroizing::new(String::new());
    // One byte more than fits, so that too long is told from long enough.
    std::io::stdin()
        .lock()
        .take(2_048)
        .read_to_string(&mut text)
        .context("standard input cannot be read as text")?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    PlainPassword::parse(text).context("the password")
}

/// Whether there is a terminal to ask on.
pub(super) fn has_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks twice, without echo. Nothing typed is `None`.
pub(super) fn from_prompt() -> anyhow::Result<Option<PlainPassword>> {
    let ask = |prompt| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .context("the prompt failed")
    };
    let first = ask("Password: ")?;
    if first.is_empty() {
        return Ok(None);
    }
    let second = ask("Again: ")?;
    anyhow::ensure!(first == second, "the two are not the same");
    PlainPassword::parse(&first)
        .map(Some)
        .context("the password")
}

/// A password that nobody has to think of: 128 random bits in 26 letters and digits, in groups.
pub(super) fn generate() -> (String, PlainPassword) {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 26];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives randomness");
    let letters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    let groups: Vec<String> = letters.chunks(7).map(String::from_iter).collect();
    let text = groups.join("-");
    let password = PlainPassword::parse(&text).expect("it is neither empty nor long");
    (text, password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Blocklist;

    #[test]
    fn a_generated_password_keeps_the_rules_and_is_never_the_same() {
        let (text, password) = generate();
        assert_eq!(text.len(), 29);
        let (email, blocklist) = ("a@b.c".parse().unwrap(), Blocklist::default());
        password.check_strength(&email, &blocklist).unwrap();
        assert_ne!(text, generate().0);
    }
}
