//! The passwords that nobody may set, because they are tried first.

use std::fmt;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use super::weak_password::{WeakPassword, compared, is_short};

/// Common passwords in the form in which they are compared, a line each, in the order of their bytes.
/// `common-passwords/README.md` tells where they are from.
const COMMON_PASSWORDS: &str = include_str!("common-passwords/list.txt");

/// The passwords that nobody may set: common ones, and an operator's own words.
///
/// All of a password is compared, and nothing within it (NIST SP 800-63B-4, section 3.1.1.2).
#[derive(Clone, Default)]
pub struct Blocklist {
    /// In the form in which they are compared, sorted.
    words: Arc<[Box<str>]>,
}

impl Blocklist {
    /// The common passwords, and the words of a file of an operator's: one a line. Spaces around a word
    /// do not count, and neither do empty lines and those that begin with `#`.
    #[must_use]
    pub fn with_words(file: &str) -> Self {
        let lines = file.lines().map(str::trim);
        let words = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut words: Vec<Box<str>> = words
            .map(|word| compared(&word.nfkc().collect::<String>()).as_str().into())
            .collect();
        words.sort_unstable();
        words.dedup();
        Self {
            words: words.into(),
        }
    }

    /// The number of an operator's words.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// The number of those that no password can be, since it would be too short.
    #[must_use]
    pub fn short_words(&self) -> usize {
        self.words.iter().filter(|word| is_short(word)).count()
    }

    /// Refuses a password, given after NFKC.
    pub(super) fn check(&self, normal: &str) -> Result<(), WeakPassword> {
        let form = compared(normal);
        if is_common(&form) {
            return Err(WeakPassword::Common);
        }
        match self.words.binary_search_by(|word| (**word).cmp(&form)) {
            Ok(_) => Err(WeakPassword::Blocked),
            Err(_) => Ok(()),
        }
    }
}

/// The number of words alone: there may be thousands.
impl fmt::Debug for Blocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocklist({} words)", self.words())
    }
}

/// Searches the list by halving it, at the line that its middle falls into.
fn is_common(form: &str) -> bool {
    let mut rest = COMMON_PASSWORDS.trim_end();
    while !rest.is_empty() {
        let middle = rest.len() / 2;
        let start = rest[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = rest[middle..]
            .find('\n')
            .map_or(rest.len(), |at| middle + at);
        match rest[start..end].cmp(form) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => rest = rest[end..].trim_start_matches('\n'),
            std::cmp::Ordering::Greater => rest = rest[..start].trim_end_matches('\n'),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_in_the_form_that_is_compared_and_names_no_short_password() {
        let lines: Vec<_> = COMMON_PASSWORDS.lines().collect();
        assert_eq!(lines.len(), 50_000);
        assert!(lines.is_sorted_by(|one, next| one < next));
        for line in lines {
            // Cut at any byte, as the search does.
            assert!(line.is_ascii() && line.len() >= 8, "{line}");
            assert_eq!(*compared(line), line);
        }
    }

    #[test]
    fn every_line_of_the_list_is_found_and_nothing_beside_it() {
        for line in COMMON_PASSWORDS.lines() {
            assert!(is_common(line), "{line}");
        }
        for beside in [
            "",
            "!",
            "password12345678x",
            "zzzzzzzzzzz",
            "\n",
            "12345678\n123456789",
        ] {
            assert!(!is_common(beside), "{beside:?}");
        }
    }

    #[test]
    fn an_operators_words_are_compared_like_the_common_ones() {
        let list =
            Blocklist::with_words("# ours\n\n  Acme-Berlin \nＡｃｍｅ-Ｏｆｆｉｃｅ\nÄcme Wien\n");
        assert_eq!((list.words(), list.short_words()), (3, 0));
        assert_eq!(Blocklist::with_words("acme\nacme-office").short_words(), 1);
        for refused in [
            "acme-berlin",
            "ACME-BERLIN",
            "acme-OFFICE",
            "äcme wien",
            "ÄCME Wien",
        ] {
            assert_eq!(list.check(refused), Err(WeakPassword::Blocked), "{refused}");
        }
        for taken in ["acme-berlin1", "acme", "# ours", "acme-wien"] {
            assert_eq!(list.check(taken), Ok(()), "{taken}");
        }
        assert_eq!(list.check("Password123"), Err(WeakPassword::Common));
        assert_eq!(format!("{list:?}"), "Blocklist(3 words)");
    }
}
