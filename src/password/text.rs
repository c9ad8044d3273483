//! The parts of which hashes are written: numbers, parameters, base64, hexadecimal.

use std::ops::RangeInclusive;

use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::engine::{Engine as _, GeneralPurpose};

use super::refusal::Flaw;

/// A whole number without a sign and without zeros before it.
pub(super) fn number_from(what: &'static str, text: &str) -> Result<u32, Flaw> {
    let is_plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = is_plain.then(|| text.parse().ok()).flatten();
    number.ok_or(Flaw::NotANumber(what))
}

/// A number within bounds.
pub(super) fn number(
    what: &'static str,
    text: &str,
    bounds: RangeInclusive<u32>,
) -> Result<u32, Flaw> {
    let number = number_from(what, text)?;
    if bounds.contains(&number) {
        return Ok(number);
    }
    Err(Flaw::OutOfBounds {
        what,
        least: *bounds.start(),
        most: *bounds.end(),
    })
}

/// The values of `name=value,…`: each name once, in any order.
pub(super) fn parameters<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[&'a str; N], Flaw> {
    let found = optional_parameters(text, names)?;
    let mut values = [""; N];
    for ((value, found), name) in values.iter_mut().zip(found).zip(names) {
        *value = found.ok_or(Flaw::Missing(name))?;
    }
    Ok(values)
}

/// As [`parameters`], of which some may be missing.
pub(super) fn optional_parameters<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a str>; N], Flaw> {
    let mut values = [None; N];
    for parameter in text.split(',') {
        let (name, value) = parameter.split_once('=').ok_or(Flaw::Parts)?;
        let place = names.iter().position(|known| *known == name);
        let place = place.ok_or(Flaw::UnknownParameter)?;
        if values[place].replace(value).is_some() {
            return Err(Flaw::Twice(names[place]));
        }
    }
    Ok(values)
}

/// As many parts as the format has.
pub(super) fn parts<const N: usize>(text: &str, separator: char) -> Result<[&str; N], Flaw> {
    let parts: Vec<&str> = text.split(separator).collect();
    parts.try_into().map_err(|_| Flaw::Parts)
}

/// Base64 without padding.
pub(super) fn base64(
    what: &'static str,
    text: &str,
    lengths: RangeInclusive<usize>,
) -> Result<Vec<u8>, Flaw> {
    if text.ends_with('=') {
        return Err(Flaw::Padding(what));
    }
    decode(what, text, &STANDARD_NO_PAD, lengths)
}

/// Base64 with padding.
pub(super) fn padded_base64(
    what: &'static str,
    text: &str,
    lengths: RangeInclusive<usize>,
) -> Result<Vec<u8>, Flaw> {
    decode(what, text, &STANDARD, lengths)
}

/// Base64 as passlib adapts it: without padding, and `.` for `+`.
pub(super) fn adapted_base64(
    what: &'static str,
    text: &str,
    lengths: RangeInclusive<usize>,
) -> Result<Vec<u8>, Flaw> {
    if text.contains('+') {
        return Err(Flaw::NotBase64(what));
    }
    base64(what, &text.replace('.', "+"), lengths)
}

fn decode(
    what: &'static str,
    text: &str,
    engine: &GeneralPurpose,
    lengths: RangeInclusive<usize>,
) -> Result<Vec<u8>, Flaw> {
    let bytes = engine.decode(text).map_err(|_| Flaw::NotBase64(what))?;
    check_length(what, bytes, lengths)
}

/// Hexadecimal digits.
pub(super) fn hex(
    what: &'static str,
    text: &str,
    lengths: RangeInclusive<usize>,
) -> Result<Vec<u8>, Flaw> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2).map(|pair| match *pair {
        [high, low] => Some(u8::try_from(digit(high)? << 4 | digit(low)?).ok()?),
        _ => None,
    });
    let bytes = pairs.collect::<Option<Vec<u8>>>();
    check_length(what, bytes.ok_or(Flaw::NotHex(what))?, lengths)
}

/// A salt that is used as the text that it is.
pub(super) fn salt(text: &str, lengths: RangeInclusive<usize>) -> Result<Vec<u8>, Flaw> {
    check_length("the salt", text.as_bytes().to_vec(), lengths)
}

pub(super) fn check_length(
    what: &'static str,
    bytes: Vec<u8>,
    lengths: RangeInclusive<usize>,
) -> Result<Vec<u8>, Flaw> {
    if lengths.contains(&bytes.len()) {
        return Ok(bytes);
    }
    Err(Flaw::Length {
        what,
        least: *lengths.start(),
        most: *lengths.end(),
        bytes: bytes.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_neither_sign_nor_zeros_before_it() {
        assert_eq!(number("n", "10", 1..=10), Ok(10));
        assert_eq!(number_from("n", "0"), Ok(0));
        for text in ["", "+1", "-1", "01", "1.0", " 1", "4294967296", "١"] {
            assert_eq!(number_from("n", text), Err(Flaw::NotANumber("n")), "{text}");
        }
        let bounds = Flaw::OutOfBounds {
            what: "n",
            least: 1,
            most: 10,
        };
        assert_eq!(number("n", "11", 1..=10), Err(bounds));
    }

    #[test]
    fn parameters_stand_there_once_each_in_any_order() {
        let read = |text| parameters(text, ["a", "b"]);
        assert_eq!(read("b=2,a=1"), Ok(["1", "2"]));
        assert_eq!(read("a=1"), Err(Flaw::Missing("b")));
        assert_eq!(read("a=1,b=2,a=1"), Err(Flaw::Twice("a")));
        assert_eq!(read("a=1,b=2,c=3"), Err(Flaw::UnknownParameter));
        assert_eq!(read("a=1,b"), Err(Flaw::Parts));
        assert_eq!(read(""), Err(Flaw::Parts));
    }

    #[test]
    fn bytes_are_read_as_their_format_writes_them() {
        assert_eq!(hex("h", "00fF", 1..=2), Ok(vec![0, 255]));
        for text in ["0", "0g", "é"] {
            assert_eq!(hex("h", text, 0..=9), Err(Flaw::NotHex("h")), "{text}");
        }
        assert_eq!(base64("s", "//8", 1..=2), Ok(vec![255, 255]));
        assert_eq!(base64("s", "//8=", 1..=2), Err(Flaw::Padding("s")));
        assert_eq!(base64("s", "//9", 1..=2), Err(Flaw::NotBase64("s")));
        assert_eq!(padded_base64("s", "//8=", 1..=2), Ok(vec![255, 255]));
        assert_eq!(padded_base64("s", "//8", 1..=2), Err(Flaw::NotBase64("s")));
        assert_eq!(adapted_base64("s", "..8", 2..=2), Ok(vec![251, 239]));
        assert_eq!(adapted_base64("s", "++8", 2..=2), Err(Flaw::NotBase64("s")));
    }
}
