//! JSON lines: an object a line, in the words of this program. A misspelt field is refused.

use std::io::BufRead;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::lines::{self, Lines};
use super::record::{MAX_NUMBER, Person, Record, Refusal};
use crate::domain::{PasswordHash, TwoFactor, UserId};

/// The people of a file of JSON lines.
pub(super) struct JsonLines<R>(Lines<R>);

impl<R: BufRead> JsonLines<R> {
    pub(super) fn new(input: R) -> Self {
        Self(Lines::new(input))
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = anyhow::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let lines::Line { number, text } = match self.0.next() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error.into())),
            };
            let person = match text.map(<[u8]>::trim_ascii) {
                Some([]) => continue,
                Some(line) => parse(line),
                None => Err(format!("longer than {} bytes", lines::MAX_BYTES).into()),
            };
            return Some(Ok(Record { number, person }));
        }
    }
}

/// A line as it is written. The values are checked one by one, since an error of serde's would repeat
/// them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    id: Option<Value>,
    email: Option<Value>,
    #[serde(default, deserialize_with = "even_null")]
    password_hash: Option<Value>,
    two_factor: Option<Value>,
    disabled: Option<Value>,
}

/// Reads `null` as a value, which serde takes for a field that is not there.
fn even_null<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

fn parse(line: &[u8]) -> Result<Person, Refusal> {
    if !line.starts_with(b"{") {
        return Err("must be a JSON object".into());
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| not_a_line(&error))?;
    let email = text(line.email.as_ref(), "email")?;
    Ok(Person {
        id: line.id.as_ref().map(number).transpose()?,
        email: Some(email.to_owned()),
        hash: hash(line.password_hash.as_ref())?,
        two_factor: line.two_factor.as_ref().map(two_factor).transpose()?,
        is_disabled: line.disabled.as_ref().map_or(Ok(false), flag)?,
    })
}

fn not_a_line(error: &serde_json::Error) -> String {
    if error.is_data() {
        let text = error.to_string();
        // An unknown or a doubled field, and where: all lines are line 1 to it.
        let (text, _) = text.rsplit_once(" at line ").unwrap_or((&text, ""));
        let named = text.strip_prefix("unknown field `");
        let named = named.and_then(|text| text.rsplit_once("`, expected one of "));
        match named {
            Some((name, known)) if !is_field_name(name) => {
                format!("unknown field, expected one of {known}")
            }
            _ => text.to_owned(),
        }
    } else {
        format!("not JSON: see column {}", error.column())
    }
}

/// Whether it looks like a name and not like a value that got into a name's place.
fn is_field_name(text: &str) -> bool {
    text.len() <= 24
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

fn text<'a>(value: Option<&'a Value>, field: &str) -> Result<&'a str, String> {
    let value = value.ok_or_else(|| format!("{field}: missing"))?;
    value
        .as_str()
        .ok_or_else(|| format!("{field}: must be text"))
}

/// The hash of a line; `null` says that there is no password.
fn hash(value: Option<&Value>) -> Result<Option<PasswordHash>, String> {
    if value.is_some_and(Value::is_null) {
        return Ok(None);
    }
    let hash = text(value, "passwordHash")?;
    Ok(Some(PasswordHash::new(hash.to_owned())))
}

fn number(value: &Value) -> Result<UserId, String> {
    let id = value.as_i64().filter(|id| (1..=MAX_NUMBER).contains(id));
    id.map(UserId)
        .ok_or_else(|| format!("id: must be a whole number from 1 to {MAX_NUMBER}"))
}

fn two_factor(value: &Value) -> Result<TwoFactor, String> {
    let known = value.as_str().and_then(|text| text.parse().ok());
    known.ok_or_else(|| "twoFactor: must be \"email\" or \"off\"".to_owned())
}

fn flag(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| "disabled: must be true or false".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$/B0OuC9ZY5bg9JpKFzXrIuZ.KTj5BXVD8Xp6yEKhWIuKk.6FwZJ3e";

    fn people(text: &str) -> Vec<(usize, Result<Person, Refusal>)> {
        let text = text.replace("HASH", HASH);
        let records = JsonLines::new(text.as_bytes()).map(Result::unwrap);
        records
            .map(|record| (record.number, record.person))
            .collect()
    }

    fn refusal(line: &str) -> String {
        let mut people = people(line);
        assert_eq!(people.len(), 1, "{line}");
        people.remove(0).1.unwrap_err().told("line")
    }

    #[test]
    fn a_line_needs_an_address_and_a_hash_and_may_say_more() {
        let people = people(concat!(
            r#"{"email": "Foo@Bar.com", "passwordHash": "HASH"}"#,
            "\r\n\n",
            r#"{"id": 7, "email": "b@c.d", "passwordHash": null, "twoFactor": "off", "disabled": true}"#,
        ));
        let [(1, Ok(first)), (3, Ok(second))] = &people[..] else {
            panic!("{people:?}");
        };
        assert_eq!(first.email.as_deref(), Some("Foo@Bar.com"));
        assert_eq!(
            (first.id, first.two_factor, first.is_disabled),
            (None, None, false)
        );
        assert!(first.hash.is_some());
        assert_eq!((second.id, second.is_disabled), (Some(UserId(7)), true));
        assert_eq!(second.two_factor, Some(TwoFactor::Off));
        assert!(second.hash.is_none());
    }

    #[test]
    fn each_bad_line_is_told_with_its_reason() {
        for (line, reason) in [
            ("[1]", "must be a JSON object"),
            (r#""$2y$04$secret""#, "must be a JSON object"),
            (r#"{"email" "a@b.c"}"#, "not JSON: see column 10"),
            ("{", "not JSON: see column 1"),
            ("{}", "email: missing"),
            (r#"{"email": "a@b.c"}"#, "passwordHash: missing"),
            (
                r#"{"email": 1, "passwordHash": "HASH"}"#,
                "email: must be text",
            ),
            (
                r#"{"email": "a@b.c", "email": "a@b.c"}"#,
                "duplicate field `email`",
            ),
            (
                r#"{"email": "a@b.c", "passwordHash": "HASH", "twofactor": "off"}"#,
                "unknown field `twofactor`, expected one of `id`, `email`, `passwordHash`, \
                 `twoFactor`, `disabled`",
            ),
            (
                r#"{"email": "a@b.c", "passwordHash": "HASH", "twoFactor": "sms"}"#,
                "twoFactor: must be \"email\" or \"off\"",
            ),
            (
                r#"{"email": "a@b.c", "passwordHash": "HASH", "disabled": "no"}"#,
                "disabled: must be true or false",
            ),
            (
                r#"{"email": "a@b.c", "passwordHash": "HASH", "id": 0}"#,
                "id: must be a whole number from 1 to 9007199254740991",
            ),
        ] {
            assert_eq!(refusal(line), reason, "{line}");
        }
        let bytes = &b"{\"email\": \"\xff\"}"[..];
        let record = JsonLines::new(bytes).next().unwrap().unwrap();
        assert!(record.person.is_err());
    }

    #[test]
    fn nothing_that_is_told_of_a_bad_line_holds_a_hash() {
        for line in [
            r#"{"HASH": "a@b.c"}"#,
            r#"{"email": "a@b.c", "`, expected one of `HASH": 1}"#,
            r#"{"email": "a@b.c", "passwordHash": ["HASH"]}"#,
            r#"{"email": "a@b.c", "passwordHash": "HASH", "disabled": "HASH"}"#,
            r#"{"email": "a@b.c", "passwordHash": "HASH" "HASH"}"#,
        ] {
            let told = refusal(line);
            assert!(!told.contains("$2y$"), "{told}");
        }
    }
}
