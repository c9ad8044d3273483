//! Firebase: the export of `firebase auth:export`, as JSON or as CSV, which has no names of columns.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use csv::ByteRecord;

use super::json::Object;
use super::record::{Person, Refusal, hash};
use crate::password::FirebaseProject;

/// The columns that count, from 0, in the order in which the Firebase CLI writes them.
const EMAIL: usize = 1;
const PASSWORD_HASH: usize = 3;
const SALT: usize = 4;
const DISABLED: usize = 26;

/// `REDACTED`, in place of a hash that the exporting account may not read.
const REDACTED: &str = "UkVEQUNURUQ=";

/// Reads the hash parameters of a project: the text that the console shows, or the same as JSON.
pub(super) fn read_project(file: &Path) -> anyhow::Result<FirebaseProject> {
    let cannot_read = || format!("cannot read {}", file.display());
    let text = fs::read_to_string(file).with_context(cannot_read)?;
    project(&text).with_context(cannot_read)
}

fn project(text: &str) -> anyhow::Result<FirebaseProject> {
    let words = text.split(|c: char| c.is_whitespace() || "{}[]:,;\"'".contains(c));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let value = |name: &str| {
        let at = words.iter().position(|word| *word == name);
        let value = at.and_then(|at| words.get(at + 1));
        value.copied().with_context(|| format!("{name} is missing"))
    };
    let number = |name| {
        let number = value(name)?.parse();
        number.with_context(|| format!("{name} is not a number"))
    };
    let algorithm = value("algorithm").unwrap_or("SCRYPT");
    ensure!(algorithm == "SCRYPT", "algorithm is not SCRYPT");
    Ok(FirebaseProject {
        signer_key: value("base64_signer_key")?.to_owned(),
        salt_separator: value("base64_salt_separator")?.to_owned(),
        rounds: number("rounds")?,
        mem_cost: number("mem_cost")?,
    })
}

pub(super) fn read(user: &Object, project: &FirebaseProject) -> Result<Option<Person>, Refusal> {
    let password = user.text("passwordHash")?;
    Ok(Some(Person {
        email: user.text("email")?.filter(|email| !email.is_empty()),
        hash: hash(stored(password, user.text("salt")?, project)?),
        is_disabled: user.flag("disabled")? == Some(true),
        ..Person::default()
    }))
}

pub(super) fn read_row(
    row: &ByteRecord,
    project: &FirebaseProject,
) -> Result<Option<Person>, Refusal> {
    let text = |column: usize| -> Result<Option<String>, Refusal> {
        let text = row.get(column).unwrap_or_default();
        let text = str::from_utf8(text).map_err(|_| "not UTF-8")?;
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    };
    Ok(Some(Person {
        email: text(EMAIL)?,
        hash: hash(stored(text(PASSWORD_HASH)?, text(SALT)?, project)?),
        is_disabled: text(DISABLED)?.as_deref() == Some("true"),
        ..Person::default()
    }))
}

fn stored(
    hash: Option<String>,
    salt: Option<String>,
    project: &FirebaseProject,
) -> Result<Option<String>, Refusal> {
    match (hash.filter(|hash| !hash.is_empty()), salt) {
        (None, _) => Ok(None),
        (Some(hash), _) if hash == REDACTED => {
            Err("passwordHash: redacted; export with an account that may read hashes".into())
        }
        (Some(hash), Some(salt)) => Ok(Some(project.stored(&hash, &salt))),
        (Some(_), None) => Err("salt: missing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_project_are_read_as_the_console_shows_them_and_as_json() {
        for text in [
            "hash_config {\n  algorithm: SCRYPT,\n  base64_signer_key: a/+b==,\n  \
             base64_salt_separator: Bw==,\n  rounds: 8,\n  mem_cost: 14,\n}\n",
            r#"{"base64_signer_key": "a/+b==", "base64_salt_separator": "Bw==", "rounds": 8,
                "mem_cost": "14"}"#,
        ] {
            let project = project(text).unwrap();
            assert_eq!(project.signer_key, "a/+b==");
            assert_eq!(project.salt_separator, "Bw==");
            assert_eq!((project.rounds, project.mem_cost), (8, 14));
        }
        for (text, reason) in [
            ("", "base64_signer_key is missing"),
            ("algorithm: BCRYPT", "algorithm is not SCRYPT"),
            (
                "base64_signer_key: a base64_salt_separator: b rounds: c",
                "rounds is not a number",
            ),
        ] {
            assert_eq!(project(text).unwrap_err().to_string(), reason);
        }
    }
}
