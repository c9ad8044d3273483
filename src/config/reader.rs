//! Reads keys as what they should be. What is wrong is noted, and a stand-in returned, so that one
//! pass tells every mistake.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use super::load::{Given, Settings};
use super::problem::ConfigProblem;
use super::show::Entry;

/// The merged settings, what was found wrong with them, and how to show them.
pub(super) struct Reader {
    settings: Settings,
    problems: Vec<ConfigProblem>,
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

/// What was noted while the keys were read.
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    pub(super) problems: Vec<ConfigProblem>,
    pub(super) warnings: Vec<String>,
}

impl Reader {
    pub(super) fn new(settings: Settings, problems: Vec<ConfigProblem>) -> Self {
        Self {
            settings,
            problems,
            entries: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Read {
        Read {
            entries: self.entries,
            problems: self.problems,
            warnings: self.warnings,
        }
    }

    /// Notes what is legal but weak about a key. The message must not repeat a secret.
    pub(super) fn warn(&mut self, key: &str, message: &str) {
        self.warnings.push(format!("{key}: {message}"));
    }

    /// Notes what is wrong with a key. The message must not repeat a secret.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        let variable = self.given(key).and_then(|given| given.origin.variable());
        self.problems.push(ConfigProblem {
            key: key.to_owned(),
            message: message.into(),
            variable: variable.map(str::to_owned),
        });
    }

    /// Notes what a key that is no secret should be, and what it is.
    pub(super) fn refuse(&mut self, key: &str, must: &str) {
        let is = self.given(key).map_or_else(|| "missing".into(), tell);
        self.problem(key, format!("{must}, but is {is}"));
    }

    /// Whether nothing is wrong with these keys, so that they can be compared with one another.
    pub(super) fn sound(&self, keys: &[&str]) -> bool {
        !self
            .problems
            .iter()
            .any(|problem| keys.contains(&problem.key.as_str()))
    }

    pub(super) fn given(&self, key: &str) -> Option<&Given> {
        self.settings.get(key)
    }

    /// Says how a key is shown.
    pub(super) fn show(&mut self, key: &str, value: Value, holds: Option<String>) {
        if let Some(given) = self.given(key) {
            let origin = given.origin.clone();
            self.entries.push(Entry {
                key: key.to_owned(),
                value,
                origin,
                holds,
            });
        }
    }

    /// Shows what a key left open came to be.
    pub(super) fn settle(&mut self, key: &str, value: impl Into<Value>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.value = value.into();
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u32>) -> u32 {
        let (low, high) = (*range.start(), *range.end());
        let Some(number) = self.given(key).and_then(integer) else {
            self.refuse(
                key,
                &format!("must be a whole number between {low} and {high}"),
            );
            return low;
        };
        self.show(key, Value::Integer(number), None);
        match u32::try_from(number) {
            Ok(fitting) if range.contains(&fitting) => fitting,
            _ => {
                self.problem(
                    key,
                    format!("must be between {low} and {high}, but is {number}"),
                );
                low
            }
        }
    }

    /// A number of seconds.
    pub(super) fn seconds(&mut self, key: &str, range: RangeInclusive<u32>) -> Duration {
        Duration::from_secs(self.number(key, range).into())
    }

    pub(super) fn flag(&mut self, key: &str) -> bool {
        let Some(flag) = self.given(key).and_then(boolean) else {
            self.refuse(key, "must be true or false");
            return false;
        };
        self.show(key, Value::Boolean(flag), None);
        flag
    }

    /// A text; empty where it is not set.
    pub(super) fn text(&mut self, key: &str) -> String {
        let Some(text) = self.given(key).and_then(|given| given.value.as_str()) else {
            self.refuse(key, "must be text in quotes");
            return String::new();
        };
        let text = text.to_owned();
        self.show(key, Value::String(text.clone()), None);
        text
    }

    /// A text that must be set.
    pub(super) fn required(&mut self, key: &str) -> String {
        let text = self.text(key);
        if text.is_empty() {
            self.missing(key, "is required");
        }
        text
    }

    /// Notes that a key has to be set, unless something else is wrong with it already.
    pub(super) fn missing(&mut self, key: &str, message: &str) {
        if self.sound(&[key]) {
            self.problem(key, message);
        }
    }

    /// A text that must be set and is more than a text; `parse` says what it must be.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        stand_in: T,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> T {
        let text = self.required(key);
        if !self.sound(&[key]) {
            return stand_in;
        }
        parse(&text).unwrap_or_else(|must| {
            self.refuse(key, must);
            stand_in
        })
    }

    /// A list of texts that are more than texts; `parse` says what each must be.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Vec<T> {
        let Some(items) = self.given(key).and_then(texts) else {
            self.refuse(key, "must be a list of texts");
            return Vec::new();
        };
        self.show(key, items.clone().into(), None);
        let mut parsed = Vec::with_capacity(items.len());
        for item in items {
            match parse(&item) {
                Ok(item) => parsed.push(item),
                Err(must) => self.problem(key, format!("{must}, but holds {item:?}")),
            }
        }
        parsed
    }
}

/// The value on one line, as an operator would recognise it.
fn tell(given: &Given) -> String {
    match &given.value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
        value => value.to_string(),
    }
}

/// The text of a variable, which stands for whatever its key wants.
fn variable_text(given: &Given) -> Option<&str> {
    given.origin.variable().and(given.value.as_str())
}

fn integer(given: &Given) -> Option<i64> {
    match variable_text(given) {
        Some(text) => text.trim().parse().ok(),
        None => given.value.as_integer(),
    }
}

fn boolean(given: &Given) -> Option<bool> {
    match variable_text(given) {
        Some(text) => text.trim().parse().ok(),
        None => given.value.as_bool(),
    }
}

fn texts(given: &Given) -> Option<Vec<String>> {
    if let Some(text) = variable_text(given) {
        return Some(split(text).map(str::to_owned).collect());
    }
    let items = given.value.as_array()?.iter();
    items.map(|item| item.as_str().map(str::to_owned)).collect()
}

/// The items of a comma-separated list. None of ours can be empty, so a comma too many is harmless.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::load::Origin;
    use super::*;

    fn reader(value: impl Into<Value>, origin: Origin) -> Reader {
        let value = value.into();
        let given = Given { value, origin };
        Reader::new([("a.b".to_owned(), given)].into(), Vec::new())
    }

    fn in_file(value: impl Into<Value>) -> Reader {
        reader(value, Origin::File)
    }

    fn in_variable(value: &str) -> Reader {
        reader(value, Origin::Environment("A__B".into()))
    }

    fn said(reader: Reader) -> Vec<String> {
        let problems = reader.finish().problems;
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_number_is_read_from_both_and_told_with_its_bounds() {
        assert_eq!(in_file(7).number("a.b", 1..=9), 7);
        assert_eq!(in_variable(" 7 ").number("a.b", 1..=9), 7);
        for (mut reader, told) in [
            (in_file(10), "a.b: must be between 1 and 9, but is 10"),
            (in_file(-1), "a.b: must be between 1 and 9, but is -1"),
            (
                in_file("7"),
                "a.b: must be a whole number between 1 and 9, but is \"7\"",
            ),
            (
                in_file(7.0),
                "a.b: must be a whole number between 1 and 9, but is 7.0",
            ),
            (
                in_variable("0"),
                "a.b: must be between 1 and 9, but is 0 (from A__B)",
            ),
            (
                in_variable("1e0"),
                "a.b: must be a whole number between 1 and 9, but is \"1e0\" (from A__B)",
            ),
        ] {
            reader.number("a.b", 1..=9);
            assert_eq!(said(reader), [told]);
        }
    }

    #[test]
    fn a_flag_is_true_or_false_and_nothing_like_it() {
        assert!(in_file(true).flag("a.b"));
        assert!(!in_variable("false").flag("a.b"));
        for mut reader in [
            in_file("true"),
            in_file(1),
            in_variable("yes"),
            in_variable(""),
        ] {
            reader.flag("a.b");
            assert_eq!(said(reader).len(), 1);
        }
    }

    #[test]
    fn a_variable_stays_the_text_that_it_was() {
        for text in ["012345", "1e5", "true", " x ", "[1]", "\"q\"", "a,b"] {
            assert_eq!(in_variable(text).text("a.b"), text);
        }
    }

    #[test]
    fn a_text_in_the_file_must_be_one() {
        let mut reader = in_file(5);
        assert_eq!(reader.required("a.b"), "");
        assert_eq!(said(reader), ["a.b: must be text in quotes, but is 5"]);
    }

    #[test]
    fn a_list_in_a_variable_is_split_at_commas() {
        let read = |mut reader: Reader| reader.list("a.b", |item| Ok(item.to_owned()));
        assert_eq!(read(in_variable(" a, b,")), ["a", "b"]);
        assert!(read(in_variable("")).is_empty());
        assert_eq!(read(in_file(vec!["a", "b"])), ["a", "b"]);
    }

    #[test]
    fn every_item_of_a_list_that_is_wrong_is_told() {
        let mut reader = in_file(vec!["1", "x", "2", "y"]);
        let numbers = reader.list("a.b", |item| {
            item.parse::<u8>().map_err(|_| "must be small")
        });
        assert_eq!(numbers, [1, 2]);
        assert_eq!(
            said(reader),
            [
                "a.b: must be small, but holds \"x\"",
                "a.b: must be small, but holds \"y\""
            ]
        );
    }
}
