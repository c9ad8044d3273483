//! A table with an address and a hash in each row, as any database writes one: CSV with the names of the
//! columns in its first line, or an array of JSON objects. The columns are found by their names.

use std::io::{BufRead, Read};

use anyhow::bail;
use csv::{ByteRecord, ReaderBuilder};
use serde_json::Value;

use super::json::Object;
use super::record::{Person, Record, Refusal, address, hash, number};
use crate::domain::TwoFactor;

/// The content of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Email,
    /// The name to sign in with, which may be an address.
    Name,
    Hash,
    TwoFactor,
    Disabled,
    Enabled,
    /// An instant, or nothing.
    DeletedAt,
}

/// The names of columns, without case, spaces and signs: `user_pass` is `userpass`.
const NAMES: [(Field, &[&str]); 8] = [
    (Field::Id, &["id", "userid", "pk"]),
    (
        Field::Email,
        &["email", "useremail", "emailaddress", "mail"],
    ),
    (Field::Name, &["username", "userlogin", "login"]),
    (
        Field::Hash,
        &[
            "passwordhash",
            "hashedpassword",
            "encryptedpassword",
            "passworddigest",
            "password",
            "userpassword",
            "userpass",
            "hash",
        ],
    ),
    (Field::TwoFactor, &["twofactor"]),
    (
        Field::Disabled,
        &[
            "disabled",
            "isdisabled",
            "banned",
            "isbanned",
            "blocked",
            "isblocked",
            "suspended",
            "issuspended",
            "deleted",
            "isdeleted",
        ],
    ),
    (
        Field::Enabled,
        &["enabled", "isenabled", "active", "isactive"],
    ),
    (Field::DeletedAt, &["deletedat", "disabledat"]),
];

impl Field {
    fn named(name: &str) -> Option<Self> {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let mut fields = NAMES.iter();
        let (field, _) = fields.find(|(_, names)| names.contains(&plain.as_str()))?;
        Some(*field)
    }

    /// The name that is told.
    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Email => "email",
            Self::Name => "username",
            Self::Hash => "passwordHash",
            Self::TwoFactor => "twoFactor",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::DeletedAt => "deleted_at",
        }
    }
}

/// The fields of one row.
#[derive(Default)]
struct Row {
    id: Option<String>,
    email: Option<String>,
    name: Option<String>,
    hash: Option<String>,
    two_factor: Option<TwoFactor>,
    is_disabled: bool,
}

impl Row {
    fn set(&mut self, field: Field, text: &str) -> Result<(), Refusal> {
        // As MySQL writes NULL into a file, with either of its programs.
        if ["", "NULL", "\\N"].contains(&text) {
            return Ok(());
        }
        let text = || text.to_owned();
        match field {
            Field::Id => self.id = Some(text()),
            Field::Email => self.email = Some(text()),
            Field::Name => self.name = Some(text()),
            Field::Hash => self.hash = Some(text()),
            Field::TwoFactor => {
                let known = text().parse().ok();
                self.two_factor = Some(known.ok_or("twoFactor: must be \"email\" or \"off\"")?);
            }
            Field::Disabled => self.is_disabled |= flag(field, &text())?,
            Field::Enabled => self.is_disabled |= !flag(field, &text())?,
            Field::DeletedAt => self.is_disabled = true,
        }
        Ok(())
    }

    fn person(self) -> Person {
        Person {
            id: self.id.as_deref().and_then(number),
            email: address(self.email, self.name),
            hash: hash(self.hash),
            two_factor: self.two_factor,
            is_disabled: self.is_disabled,
        }
    }
}

fn flag(field: Field, text: &str) -> Result<bool, Refusal> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "0" => Ok(false),
        _ => Err(format!("{}: must be true or false", field.name()).into()),
    }
}

/// Reads an object of an array.
pub(super) fn read_object(object: &Object) -> Result<Option<Person>, Refusal> {
    let (mut row, mut set) = (Row::default(), Vec::new());
    for (name, value) in object.members() {
        let Some(field) = Field::named(name) else {
            continue;
        };
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("{}: must be text", field.name()).into());
            }
        };
        if set.contains(&field) {
            return Err(format!("{}: two members could be it", field.name()).into());
        }
        set.push(field);
        row.set(field, &text)?;
    }
    Ok(Some(row.person()))
}

/// The records of a CSV file: `read` makes of a row what it is.
struct Rows<R, F> {
    reader: csv::Reader<R>,
    row: ByteRecord,
    read: F,
    /// Rows so far, the names of the columns among them, as a spreadsheet counts.
    number: usize,
}

impl<R, F> Iterator for Rows<R, F>
where
    R: Read,
    F: FnMut(&ByteRecord) -> Result<Option<Person>, Refusal>,
{
    type Item = anyhow::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = self.reader.read_byte_record(&mut self.row);
            self.number += 1;
            let number = self.number;
            match read {
                Ok(false) => return None,
                Ok(true) => {}
                Err(error) => return Some(Err(error.into())),
            }
            if let Some(person) = (self.read)(&self.row).transpose() {
                return Some(Ok(Record { number, person }));
            }
        }
    }
}

/// Reads CSV that has no names of columns.
pub(super) fn rows_without_names<R: Read>(
    input: R,
    read: impl FnMut(&ByteRecord) -> Result<Option<Person>, Refusal>,
) -> impl Iterator<Item = anyhow::Result<Record>> {
    Rows {
        reader: reader(input, b','),
        row: ByteRecord::new(),
        read,
        number: 0,
    }
}

/// Reads CSV whose first line has the names of the columns, separated by commas, semicolons or tabs.
pub(super) fn rows<R: BufRead>(
    mut input: R,
) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Record>>> {
    let separator = separator(input.fill_buf()?);
    let mut reader = reader(input, separator);
    let mut names = ByteRecord::new();
    reader.read_byte_record(&mut names)?;
    let fields = columns(&names)?;
    let read = move |row: &ByteRecord| read_row(row, &fields);
    Ok(Rows {
        reader,
        row: names,
        read,
        number: 1,
    })
}

fn reader<R: Read>(input: R, separator: u8) -> csv::Reader<R> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true);
    builder.delimiter(separator).from_reader(input)
}

fn separator(start: &[u8]) -> u8 {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or(start);
    let count = |separator: &u8| line.split(|byte| byte == separator).count();
    // The last of several: the comma, if there is none at all.
    let most = [b'\t', b';', b','].into_iter().max_by_key(count);
    most.unwrap_or(b',')
}

fn columns(names: &ByteRecord) -> anyhow::Result<Vec<Option<Field>>> {
    let fields: Vec<Option<Field>> = names
        .iter()
        .map(|name| Field::named(&String::from_utf8_lossy(name)))
        .collect();
    for (field, known) in NAMES {
        let same = || fields.iter().filter(|other| **other == Some(field)).count();
        match (field, same()) {
            (Field::Email, 0) if !fields.contains(&Some(Field::Name)) => {}
            (Field::Hash, 0) => {}
            // A row is disabled by each of them.
            (Field::Disabled | Field::Enabled | Field::DeletedAt, _) | (_, 0 | 1) => continue,
            _ => bail!(
                "two columns could be {}: leave one of them out",
                field.name()
            ),
        }
        bail!(
            "the first line names no column {}; it may be called {}",
            field.name(),
            known.join(", ")
        );
    }
    Ok(fields)
}

fn read_row(row: &ByteRecord, fields: &[Option<Field>]) -> Result<Option<Person>, Refusal> {
    if row.len() != fields.len() {
        return Err("it has not as many columns as the first line".into());
    }
    let mut found = Row::default();
    for (value, field) in row.iter().zip(fields) {
        if let Some(field) = field {
            let text = str::from_utf8(value);
            let text = text.map_err(|_| format!("{}: not UTF-8", field.name()))?;
            found.set(*field, text)?;
        }
    }
    Ok(Some(found.person()))
}
