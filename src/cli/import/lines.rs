//! Lines of text, each of bounded length.

use std::io::{self, BufRead, Read as _};

/// The longest line, and the longest record of any kind, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Lines with their numbers, from 1.
pub(super) struct Lines<R> {
    input: R,
    number: usize,
    line: Vec<u8>,
}

/// A line without its end.
pub(super) struct Line<'a> {
    pub(super) number: usize,
    /// `None`: it is too long to be looked at.
    pub(super) text: Option<&'a [u8]>,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            number: 0,
            line: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut some = (&mut self.input).take(MAX_BYTES as u64 + 1);
        if some.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut is_whole = self.line.len() <= MAX_BYTES;
        if !is_whole && !self.line.ends_with(b"\n") {
            self.input.skip_until(b'\n')?;
        }
        is_whole |= self.line.ends_with(b"\n");
        let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(Some(Line {
            number: self.number,
            text: is_whole.then_some(line),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_as_on_any_system_and_one_without_end_is_passed_over() {
        let long = "x".repeat(MAX_BYTES + 1);
        let text = format!("one\r\n\n{long}\nfour");
        let mut lines = Lines::new(text.as_bytes());
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let text = line
                .text
                .map(|text| String::from_utf8_lossy(text).into_owned());
            found.push((line.number, text));
        }
        let some = |text: &str| Some(text.to_owned());
        let expected = [
            (1, some("one")),
            (2, some("")),
            (3, None),
            (4, some("four")),
        ];
        assert_eq!(found, expected);
    }
}
