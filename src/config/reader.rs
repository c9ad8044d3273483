//! Reads keys as the types that they should have. A problem is noted and reading goes on, so that one pass finds every
//! mistake.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Value;

use super::problem::ConfigProblem;
use super::setting::{Entry, Given, Settings};

/// A key has no usable value, and the reader has noted why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Noted;

/// The value of a key, or the sign that its problem was noted.
pub(super) type Reading<T> = Result<T, Noted>;

/// The merged settings, the problems that were found with them, and how to show them.
pub(super) struct Reader {
    settings: Settings,
    problems: Vec<ConfigProblem>,
    entries: Vec<Entry>,
    warnings: Vec<String>,
}

/// The notes that were taken while the keys were read.
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

    /// Notes that a key's value is legal but weak. The message must not repeat a secret.
    pub(super) fn warn(&mut self, key: &str, message: &str) {
        self.warnings.push(format!("{key}: {message}"));
    }

    /// Notes what is wrong with a key. The message must not repeat a secret.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) -> Noted {
        let variable = self.given(key).and_then(|given| given.origin.variable());
        self.problems.push(ConfigProblem {
            key: key.to_owned(),
            message: message.into(),
            variable: variable.map(str::to_owned),
        });
        Noted
    }

    /// Notes the value that a key should have and the one that it has. Not for secrets.
    pub(super) fn refuse(&mut self, key: &str, must: &str) -> Noted {
        let is = self.given(key).map_or_else(|| "missing".into(), describe);
        self.problem(key, format!("{must}, but is {is}"))
    }

    /// Notes that a key has to be set, unless another problem of it is noted already.
    pub(super) fn missing(&mut self, key: &str, message: &str) -> Noted {
        if self.is_sound(key) {
            self.problem(key, message);
        }
        Noted
    }

    /// Whether no problem of this key is noted.
    pub(super) fn is_sound(&self, key: &str) -> bool {
        !self.problems.iter().any(|problem| problem.key == key)
    }

    pub(super) fn given(&self, key: &str) -> Option<&Given> {
        self.settings.get(key)
    }

    /// Sets how a key is shown.
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

    /// Shows the value that was chosen for a key that left it open.
    pub(super) fn settle(&mut self, key: &str, value: impl Into<Value>) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.key == key) {
            entry.value = value.into();
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u32>) -> Reading<u32> {
        let (low, high) = (*range.start(), *range.end());
        let Some(number) = self.given(key).and_then(integer) else {
            let must = format!("must be a whole number between {low} and {high}");
            return Err(self.refuse(key, &must));
        };
        self.show(key, Value::Integer(number), None);
        let fitting = u32::try_from(number)
            .ok()
            .filter(|number| range.contains(number));
        fitting.ok_or_else(|| {
            let message = format!("must be between {low} and {high}, but is {number}");
            self.problem(key, message)
        })
    }

    /// A whole number of things.
    pub(super) fn count(&mut self, key: &str, range: RangeInclusive<u32>) -> Reading<usize> {
        let number = self.number(key, range)?;
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// A number of seconds.
    pub(super) fn seconds(&mut self, key: &str, range: RangeInclusive<u32>) -> Reading<Duration> {
        Ok(Duration::from_secs(self.number(key, range)?.into()))
    }

    pub(super) fn flag(&mut self, key: &str) -> Reading<bool> {
        let Some(flag) = self.given(key).and_then(boolean) else {
            return Err(self.refuse(key, "must be true or false"));
        };
        self.show(key, Value::Boolean(flag), None);
        Ok(flag)
    }

    /// A text; empty if it is not set.
    pub(super) fn text(&mut self, key: &str) -> Reading<String> {
        let Some(text) = self.given(key).and_then(|given| given.value.as_str()) else {
            return Err(self.refuse(key, "must be text in quotes"));
        };
        let text = text.to_owned();
        self.show(key, Value::String(text.clone()), None);
        Ok(text)
    }

    /// A text that must be set.
    pub(super) fn required(&mut self, key: &str) -> Reading<String> {
        let text = self.text(key)?;
        if text.is_empty() {
            return Err(self.missing(key, "is required"));
        }
        Ok(text)
    }

    /// A text that must be set and have a form; `parse` says which.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Reading<T> {
        let text = self.required(key)?;
        if !self.is_sound(key) {
            return Err(Noted);
        }
        parse(&text).map_err(|must| self.refuse(key, must))
    }

    /// A text that may be left out and must have a form; `parse` says which.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Reading<Option<T>> {
        let text = self.text(key)?;
        if !self.is_sound(key) {
            return Err(Noted);
        }
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = parse(&text).map_err(|must| self.refuse(key, must))?;
        Ok(Some(parsed))
    }

    /// A list of texts that must have a form each; `parse` says which.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Reading<Vec<T>> {
        let Some(items) = self.given(key).and_then(texts) else {
            return Err(self.refuse(key, "must be a list of texts"));
        };
        self.show(key, items.clone().into(), None);
        // Each item is looked at before the first problem ends it.
        let parsed: Vec<_> = items
            .iter()
            .map(|item| {
                parse(item).map_err(|must| self.problem(key, format!("{must}, but holds {item:?}")))
            })
            .collect();
        parsed.into_iter().collect()
    }
}

/// The value on one line, as an operator would recognise it.
fn describe(given: &Given) -> String {
    match &given.value {
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
        value => value.to_string(),
    }
}

/// The text of a variable, which can be a value of any kind.
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
    use super::super::setting::Origin;
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
        assert_eq!(in_file(7).number("a.b", 1..=9), Ok(7));
        assert_eq!(in_variable(" 7 ").number("a.b", 1..=9), Ok(7));
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
            assert_eq!(reader.number("a.b", 1..=9), Err(Noted));
            assert_eq!(said(reader), [told]);
        }
    }

    #[test]
    fn a_flag_is_true_or_false_and_nothing_like_it() {
        assert_eq!(in_file(true).flag("a.b"), Ok(true));
        assert_eq!(in_variable("false").flag("a.b"), Ok(false));
        for mut reader in [
            in_file("true"),
            in_file(1),
            in_variable("yes"),
            in_variable(""),
        ] {
            assert_eq!(reader.flag("a.b"), Err(Noted));
            assert_eq!(said(reader).len(), 1);
        }
    }

    #[test]
    fn a_variable_stays_the_text_that_it_was() {
        for text in ["012345", "1e5", "true", " x ", "[1]", "\"q\"", "a,b"] {
            assert_eq!(in_variable(text).text("a.b").as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_text_in_the_file_must_be_one() {
        let mut reader = in_file(5);
        assert_eq!(reader.required("a.b"), Err(Noted));
        assert_eq!(said(reader), ["a.b: must be text in quotes, but is 5"]);
    }

    #[test]
    fn a_list_in_a_variable_is_split_at_commas() {
        let read = |mut reader: Reader| reader.list("a.b", |item| Ok(item.to_owned())).unwrap();
        assert_eq!(read(in_variable(" a, b,")), ["a", "b"]);
        assert!(read(in_variable("")).is_empty());
        assert_eq!(read(in_file(vec!["a", "b"])), ["a", "b"]);
    }

    #[test]
    fn every_item_of_a_list_that_is_wrong_is_told() {
        let mut reader = in_file(vec!["1", "x", "2", "y"]);
        let numbers: Result<Vec<u8>, _> = reader.list("a.b", |item| {
            item.parse::<u8>().map_err(|_| "must be small")
        });
        assert_eq!(numbers, Err(Noted));
        assert_eq!(
            said(reader),
            [
                "a.b: must be small, but holds \"x\"",
                "a.b: must be small, but holds \"y\""
            ]
        );
    }
}
