//! JSON documents as a stream: the elements of one array, one after another, however many there are.

use std::io::BufRead;

use anyhow::{anyhow, bail, ensure};
use serde_json::{Map, Value};

use super::lines::MAX_BYTES;
use super::record::{Person, Record, Refusal};

/// The records of a JSON document, each read by `read`. It says `None` to one that is no person.
pub(super) struct Documents<R, F> {
    elements: Elements<R>,
    read: F,
    number: usize,
}

impl<R, F> Documents<R, F>
where
    R: BufRead,
    F: FnMut(&Object) -> Result<Option<Person>, Refusal>,
{
    /// The array is the document itself, or its member `key`; or the document is a row of values.
    pub(super) fn new(input: R, key: Option<&'static str>, read: F) -> Self {
        Self {
            elements: Elements::new(input, key),
            read,
            number: 0,
        }
    }

    fn read(&mut self, element: &[u8]) -> Result<Option<Person>, Refusal> {
        let value = serde_json::from_slice(element).map_err(|_| "not JSON")?;
        match value {
            Value::Object(object) => (self.read)(&Object(object)),
            _ => Err("must be a JSON object".into()),
        }
    }
}

impl<R, F> Iterator for Documents<R, F>
where
    R: BufRead,
    F: FnMut(&Object) -> Result<Option<Person>, Refusal>,
{
    type Item = anyhow::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.number += 1;
            let number = self.number;
            let element = match self.elements.next() {
                Ok(element) => element?,
                Err(error) => return Some(Err(error.context(format!("record {number}")))),
            };
            if let Some(person) = self.read(&element).transpose() {
                return Some(Ok(Record { number, person }));
            }
        }
    }
}

/// An object of a document. A problem with a member is told with the member's name alone.
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// The text of a member; nothing if it is `null` or not there.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name}: must be text").into()),
        }
    }

    /// The truth of a member.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(format!("{name}: must be true or false").into()),
        }
    }

    /// An object within this one.
    pub(super) fn object(&self, name: &str) -> Option<Self> {
        let inner = self.0.get(name)?.as_object()?;
        Some(Self(inner.clone()))
    }

    /// The objects of an array within this one.
    pub(super) fn objects(&self, name: &str) -> Vec<Self> {
        let array = self.0.get(name).and_then(Value::as_array);
        let elements = array.into_iter().flatten().filter_map(Value::as_object);
        elements.map(|element| Self(element.clone())).collect()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// The texts of an array's elements. They are cut apart by their brackets and quotes alone; whether one is
/// JSON shows when it is read.
struct Elements<R> {
    input: R,
    key: Option<&'static str>,
    place: Place,
}

#[derive(PartialEq, Eq)]
enum Place {
    Start,
    /// Behind `[`.
    First,
    /// Behind an element.
    Within,
    /// In a row of values that no array encloses.
    Row,
    End,
}

impl<R: BufRead> Elements<R> {
    fn new(input: R, key: Option<&'static str>) -> Self {
        Self {
            input,
            key,
            place: Place::Start,
        }
    }

    fn next(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        if self.place == Place::Start {
            self.place = self.start()?;
        }
        match (self.peek()?, &self.place) {
            (None, Place::Row) | (_, Place::End) => return Ok(None),
            (Some(b']'), Place::First | Place::Within) => {
                self.place = Place::End;
                return Ok(None);
            }
            (Some(b','), Place::Within) => {
                self.input.consume(1);
                self.peek()?;
            }
            (Some(_), Place::First) => self.place = Place::Within,
            (Some(b'{'), Place::Row) => {}
            (Some(_), Place::Row) => bail!("not JSON: no object begins here"),
            (Some(_), _) => bail!("not JSON: a comma or a bracket is missing before it"),
            (None, _) => bail!("the file ends within it: it is not whole"),
        }
        let mut element = Vec::new();
        self.value(Some(&mut element))?;
        Ok(Some(element))
    }

    /// Goes to where the elements begin.
    fn start(&mut self) -> anyhow::Result<Place> {
        match self.peek()?.ok_or_else(|| anyhow!("the file is empty"))? {
            b'[' => {
                self.input.consume(1);
                Ok(Place::First)
            }
            b'{' => match self.key {
                None => Ok(Place::Row),
                Some(key) => self.find(key),
            },
            _ => bail!("the file is not JSON: it begins with neither [ nor {{"),
        }
    }

    /// Goes to the array that is the member `key` of an object.
    fn find(&mut self, key: &str) -> anyhow::Result<Place> {
        let none = || {
            anyhow!("the file has no array \"{key}\": is it the export that the guide asks for?")
        };
        self.input.consume(1);
        loop {
            ensure!(self.peek()? == Some(b'"'), none());
            let mut name = Vec::new();
            self.value(Some(&mut name))?;
            ensure!(self.peek()? == Some(b':'), "the file is not JSON");
            self.input.consume(1);
            let is_array = self.peek()? == Some(b'[');
            if is_array && name.get(1..name.len() - 1) == Some(key.as_bytes()) {
                self.input.consume(1);
                return Ok(Place::First);
            }
            self.value(None)?;
            ensure!(self.peek()? == Some(b','), none());
            self.input.consume(1);
            self.peek()?;
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> anyhow::Result<Option<u8>> {
        loop {
            let bytes = self.input.fill_buf()?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let blank = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
            if let Some(blank) = blank {
                let found = bytes[blank];
                self.input.consume(blank);
                return Ok(Some(found));
            }
            let all = bytes.len();
            self.input.consume(all);
        }
    }

    /// Reads one value, into `copy` or past it.
    fn value(&mut self, mut copy: Option<&mut Vec<u8>>) -> anyhow::Result<()> {
        let mut cut = Cut::default();
        loop {
            let bytes = self.input.fill_buf()?;
            ensure!(
                !bytes.is_empty(),
                "the file ends within it: it is not whole"
            );
            let end = cut.end(bytes);
            let part = &bytes[..end.unwrap_or(bytes.len())];
            if let Some(copy) = &mut copy {
                copy.extend_from_slice(part);
                ensure!(copy.len() <= MAX_BYTES, "longer than {MAX_BYTES} bytes");
            }
            let read = part.len();
            self.input.consume(read);
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// Finds the end of a value that comes in parts.
#[derive(Default)]
struct Cut {
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

impl Cut {
    /// How many of these bytes still belong to the value; `None` if all do and it goes on.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            if self.is_in_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_text = false,
                    _ => continue,
                }
                if !self.is_in_text && self.depth == 0 {
                    return Some(at + 1);
                }
                continue;
            }
            match byte {
                b'"' => self.is_in_text = true,
                b'{' | b'[' => self.depth += 1,
                // Behind a number or a word.
                b'}' | b']' | b',' if self.depth == 0 => return Some(at),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    /// The elements, with a buffer that ends at every place once.
    fn elements(text: &str, key: Option<&'static str>) -> Result<Vec<String>, String> {
        let mut results = (1..=8).map(|capacity| {
            let input = BufReader::with_capacity(capacity, text.as_bytes());
            let mut elements = Elements::new(input, key);
            let mut found = Vec::new();
            loop {
                match elements.next() {
                    Ok(Some(element)) => found.push(String::from_utf8(element).unwrap()),
                    Ok(None) => return Ok(found),
                    Err(error) => return Err(error.to_string()),
                }
            }
        });
        let first = results.next().unwrap();
        assert!(results.all(|other| other == first));
        first
    }

    #[test]
    fn an_array_is_cut_into_its_elements() {
        for (text, key, found) in [
            ("[]", None, &[][..]),
            (" [ {} , [1] ] ", None, &["{}", "[1]"]),
            (
                r#"[{"a":"}]\"\\"},{"b":[{}]}]"#,
                None,
                &[r#"{"a":"}]\"\\"}"#, r#"{"b":[{}]}"#],
            ),
            (r#"["a","b\\"]"#, None, &[r#""a""#, r#""b\\""#]),
            (
                "{\"a\":1}\n{\"b\":2}\n",
                None,
                &[r#"{"a":1}"#, r#"{"b":2}"#],
            ),
            (
                r#"{"realm": "x", "n": 1, "roles": {"users": [7]}, "users": [{"a": 1}], "z": 0}"#,
                Some("users"),
                &[r#"{"a": 1}"#],
            ),
        ] {
            assert_eq!(elements(text, key).unwrap(), found, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_has_no_such_array_is_no_empty_one() {
        let cut_off = "the file ends within it: it is not whole";
        let none = "the file has no array \"users\": is it the export that the guide asks for?";
        for (text, key, reason) in [
            ("", None, "the file is empty"),
            (
                "id,email",
                None,
                "the file is not JSON: it begins with neither [ nor {",
            ),
            ("[", None, cut_off),
            (r#"[{"a": 1}, {"b""#, None, cut_off),
            (r#"[{"a": 1},"#, None, cut_off),
            (
                "[{} {}]",
                None,
                "not JSON: a comma or a bracket is missing before it",
            ),
            ("{}\n{},", None, "not JSON: no object begins here"),
            ("{}]", None, "not JSON: no object begins here"),
            ("{}", Some("users"), none),
            (r#"{"a": [1]}"#, Some("users"), none),
            (r#"{"users": {}}"#, Some("users"), none),
        ] {
            assert_eq!(elements(text, key).unwrap_err(), reason, "{text}");
        }
        let long = format!("[\"{}\"]", "x".repeat(MAX_BYTES));
        assert!(
            elements(&long, None)
                .unwrap_err()
                .starts_with("longer than ")
        );
    }
}
