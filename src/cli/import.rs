//! `user import`: reads users from JSON lines, and reports every bad line. A report never holds a
//! value of the file: it could be a hash.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::output::{self, say};
use crate::admin::{Admin, Conflict, ImportError};
use crate::config::Config;
use crate::domain::{EmailAddress, Operator, PasswordHash, TwoFactor, UserId};
use crate::password::{check_importable, outgrows_worker};
use crate::store::NewUser;

/// Bad lines told one by one; the others are counted.
const MAX_TOLD: usize = 20;

/// The highest number that every reader of JSON takes in exactly (RFC 8259, section 6).
const MAX_NUMBER: i64 = (1 << 53) - 1;

pub(super) async fn run(
    admin: &Admin,
    actor: &Operator,
    config: &Config,
    file: &Path,
    as_json: bool,
) -> anyhow::Result<()> {
    let read = if file.as_os_str() == "-" {
        read(std::io::stdin().lock())
    } else {
        let open = File::open(file);
        read(BufReader::new(open.with_context(|| cannot_read(file))?))
    };
    let Lines { good, bad } = read.with_context(|| cannot_read(file))?;
    if !bad.is_empty() {
        let count = bad.len();
        tell(bad, count);
        bail!("nothing was imported: {count} bad lines; correct them and try again");
    }
    let (numbers, new): (Vec<usize>, Vec<NewUser>) = good.into_iter().unzip();
    match admin.import_users(actor, &new).await {
        Ok(()) => {}
        Err(ImportError::Taken { count, clashes }) => {
            let told = clashes.iter().map(|clash| BadLine {
                number: numbers[clash.index],
                reason: reason_of(clash.conflict).to_owned(),
            });
            tell(told, count);
            bail!("nothing was imported: {count} users clash with users that exist already");
        }
        Err(ImportError::Busy) => {
            bail!("nothing was imported: another import is under way; try again when it is done")
        }
        Err(ImportError::Store(error)) => return Err(error.into()),
    }
    warn_of_memory(&new, config);
    if as_json {
        output::json(&json!({ "imported": new.len() }));
    } else {
        say!("{} users imported.", new.len());
    }
    Ok(())
}

/// Says so if hashes take more memory than a worker has.
fn warn_of_memory(new: &[NewUser], config: &Config) {
    let passwords = &config.passwords;
    let outgrown = new.iter().map(|user| &user.password_hash);
    let outgrown = outgrown.filter(|hash| outgrows_worker(hash, passwords));
    match outgrown.count() {
        0 => {}
        count => eprintln!(
            "warning: {count} of the hashes take more memory to check than a worker has \
             (passwords.memory_kib: {}); they are checked one at a time, with memory beside the \
             workers', and answered 503 while there is none",
            passwords.memory_kib
        ),
    }
}

fn cannot_read(file: &Path) -> String {
    format!("cannot read {}", file.display())
}

fn reason_of(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::Address => "email: a user with this address exists already",
        Conflict::Number => "id: a user with this number exists already",
    }
}

fn tell(bad: impl IntoIterator<Item = BadLine>, count: usize) {
    let mut told = 0;
    for line in bad.into_iter().take(MAX_TOLD) {
        eprintln!("line {}: {}", line.number, line.reason);
        told += 1;
    }
    if count > told {
        eprintln!("and {} more", count - told);
    }
}

/// A line that cannot be imported, and why.
#[derive(Debug, PartialEq, Eq)]
struct BadLine {
    number: usize,
    reason: String,
}

/// The content of a file: users with the numbers of their lines.
#[derive(Debug, Default)]
struct Lines {
    good: Vec<(usize, NewUser)>,
    bad: Vec<BadLine>,
}

fn read(mut input: impl BufRead) -> std::io::Result<Lines> {
    let (mut lines, mut seen) = (Lines::default(), Seen::default());
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(lines);
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let parsed = parse(line.trim_ascii()).and_then(|user| seen.check(number, user));
        match parsed {
            Ok(user) => lines.good.push((number, user)),
            Err(reason) => lines.bad.push(BadLine { number, reason }),
        }
    }
}

/// Which lines the addresses and numbers of a file stand in.
#[derive(Default)]
struct Seen {
    emails: HashMap<EmailAddress, usize>,
    ids: HashMap<UserId, usize>,
}

impl Seen {
    fn check(&mut self, line: usize, user: NewUser) -> Result<NewUser, String> {
        let same_email = self.emails.insert(user.email.clone(), line);
        let same_id = user.user_id.and_then(|id| self.ids.insert(id, line));
        match (same_email, same_id) {
            (Some(other), _) => Err(format!("email: the same address as in line {other}")),
            (None, Some(other)) => Err(format!("id: the same number as in line {other}")),
            (None, None) => Ok(user),
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
    password_hash: Option<Value>,
    two_factor: Option<Value>,
    disabled: Option<Value>,
}

fn parse(line: &[u8]) -> Result<NewUser, String> {
    if !line.starts_with(b"{") {
        return Err("must be a JSON object".to_owned());
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| not_a_line(&error))?;
    let email = text(line.email.as_ref(), "email")?;
    let hash = text(line.password_hash.as_ref(), "passwordHash")?;
    let password_hash = PasswordHash::new(hash.to_owned());
    check_importable(&password_hash).map_err(|error| format!("passwordHash: {error}"))?;
    Ok(NewUser {
        user_id: line.id.as_ref().map(number).transpose()?,
        email: email.parse().map_err(|error| format!("email: {error}"))?,
        password_hash,
        two_factor: line
            .two_factor
            .as_ref()
            .map_or(Ok(TwoFactor::Email), two_factor)?,
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

    fn read_text(text: &str) -> Lines {
        read(text.replace("HASH", HASH).as_bytes()).unwrap()
    }

    fn told(text: &str) -> Vec<(usize, String)> {
        let bad = read_text(text).bad.into_iter();
        bad.map(|line| (line.number, line.reason)).collect()
    }

    #[test]
    fn a_line_needs_an_address_and_a_hash_and_the_second_factor_is_on() {
        let lines = read_text(concat!(
            r#"{"email": "Foo@Bar.com", "passwordHash": "HASH"}"#,
            "\r\n\n",
            r#"{"id": 7, "email": "b@c.d", "passwordHash": "HASH", "twoFactor": "off", "disabled": true}"#,
        ));
        assert!(lines.bad.is_empty());
        let [(1, first), (3, second)] = &lines.good[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(first.email.as_str(), "foo@bar.com");
        assert_eq!((first.user_id, first.is_disabled), (None, false));
        assert_eq!(first.two_factor, TwoFactor::Email);
        assert_eq!(
            (second.user_id, second.is_disabled),
            (Some(UserId(7)), true)
        );
        assert_eq!(second.two_factor, TwoFactor::Off);
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
                r#"{"email": "a@b.c", "passwordHash": "$1$md5"}"#,
                "passwordHash: not an argon2 or bcrypt hash",
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
            (
                r#"{"email": "a b@b.c", "passwordHash": "HASH"}"#,
                "email: must be made of ASCII letters, digits and the usual signs",
            ),
        ] {
            assert_eq!(told(line), [(1, reason.to_owned())], "{line}");
        }
        assert_eq!(read(&b"{\"email\": \"\xff\"}"[..]).unwrap().bad.len(), 1);
    }

    #[test]
    fn what_is_told_of_a_bad_line_holds_no_hash() {
        for line in [
            r#"{"HASH": "a@b.c"}"#,
            r#"{"email": "a@b.c", "`, expected one of `HASH": 1}"#,
            r#"{"email": "a@b.c", "passwordHash": ["HASH"]}"#,
            r#"{"email": "a@b.c", "passwordHash": "HASH", "disabled": "HASH"}"#,
            r#"{"email": "HASH", "passwordHash": "HASH"}"#,
            r#"{"email": "a@b.c", "passwordHash": "HASH" "HASH"}"#,
            r#"{"email": "a@b.c", "passwordHash": "xHASH"}"#,
        ] {
            let told = told(line);
            assert_eq!(told.len(), 1, "{line}");
            assert!(!told[0].1.contains("$2y$"), "{told:?}");
        }
    }

    #[test]
    fn two_lines_share_neither_address_nor_number() {
        let told = told(concat!(
            r#"{"id": 1, "email": "a@b.c", "passwordHash": "HASH"}"#,
            "\n",
            r#"{"id": 2, "email": "A@b.c", "passwordHash": "HASH"}"#,
            "\n",
            r#"{"id": 1, "email": "d@b.c", "passwordHash": "HASH"}"#,
        ));
        let expected = [
            (2, "email: the same address as in line 1"),
            (3, "id: the same number as in line 1"),
        ];
        assert_eq!(
            told,
            expected.map(|(line, reason)| (line, reason.to_owned()))
        );
    }
}
