//! How WordPress gets a password: with backslashes before quotes, and trimmed.

use zeroize::Zeroizing;

/// The bytes that PHP's `trim` takes away.
const BLANKS: &[u8] = b" \t\n\r\0\x0b";

/// The bytes that WordPress hashes. It puts a backslash before quotes and backslashes in everything that a form
/// sends (`wp_magic_quotes`), takes it away again from all but the password, and trims (`wp_authenticate`).
pub(super) fn received(typed: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut slashed = Vec::with_capacity(2 * typed.len());
    for &byte in typed {
        match byte {
            b'\'' | b'"' | b'\\' => slashed.extend([b'\\', byte]),
            0 => slashed.extend(b"\\0"),
            _ => slashed.push(byte),
        }
    }
    let slashed = Zeroizing::new(slashed);
    Zeroizing::new(trim(&slashed).to_vec())
}

/// Whether WordPress takes something away from these bytes.
pub(super) fn trims(typed: &[u8]) -> bool {
    trim(typed) != typed
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && BLANKS.contains(first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && BLANKS.contains(last)
    {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_taken_as_wordpress_gets_it() {
        for (typed, received_) in [
            ("violet", "violet"),
            (" \tviolet anvil\r\n", "violet anvil"),
            ("it's \"so\" \\", "it\\'s \\\"so\\\" \\\\"),
            ("\0", "\\0"),
            ("\u{a0}ä ", "\u{a0}ä"),
            ("  ", ""),
        ] {
            assert_eq!(
                &**received(typed.as_bytes()),
                received_.as_bytes(),
                "{typed}"
            );
        }
        assert!(trims(b"violet ") && !trims(b"it's \\"));
    }
}
