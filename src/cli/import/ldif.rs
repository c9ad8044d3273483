//! LDIF (RFC 2849): entries as `slapcat` and `ldapsearch` write them.

use std::io::BufRead;
use std::mem;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::lines::{Line, Lines};
use super::record::{Person, Record, Refusal, address, hash};

/// The longest value that is looked at, in bytes. Pictures are longer.
const MAX_VALUE_BYTES: usize = 1 << 12;

/// Attributes that count, in lower case.
const ATTRIBUTES: [&str; 8] = [
    "mail",
    "uid",
    "userprincipalname",
    "userpassword",
    "nsaccountlock",
    "logindisabled",
    "pwdaccountlockedtime",
    "useraccountcontrol",
];

/// The instant by which a lock has no end (draft-behera-ldap-password-policy, section 5.3.3).
const LOCKED_FOR_GOOD: &str = "000001010000Z";

/// The flag of a disabled account in `userAccountControl` (MS-ADTS, section 2.2.16).
const ACCOUNT_DISABLE: u32 = 2;

/// The entries of a file that are people.
pub(super) struct Entries<R> {
    lines: Lines<R>,
    entry: Entry,
    /// The line that goes on, perhaps.
    line: Vec<u8>,
    is_over: bool,
}

/// The attributes of an entry that count.
#[derive(Default)]
struct Entry {
    number: usize,
    values: Vec<(&'static str, String)>,
    flaw: Option<Refusal>,
}

impl<R: BufRead> Entries<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            lines: Lines::new(input),
            entry: Entry::default(),
            line: Vec::new(),
            is_over: false,
        }
    }

    /// Reads up to the end of an entry.
    fn entry(&mut self) -> std::io::Result<Entry> {
        loop {
            let Some(Line { number, text }) = self.lines.next()? else {
                self.is_over = true;
                break;
            };
            let text = text.unwrap_or_default();
            if text.is_empty() {
                break;
            }
            if let Some(rest) = text.strip_prefix(b" ") {
                let room = MAX_VALUE_BYTES.saturating_sub(self.line.len());
                self.line.extend_from_slice(&rest[..rest.len().min(room)]);
                continue;
            }
            self.entry.take(&mem::take(&mut self.line));
            if self.entry.number == 0 {
                self.entry.number = number;
            }
            self.line
                .extend_from_slice(&text[..text.len().min(MAX_VALUE_BYTES)]);
        }
        self.entry.take(&mem::take(&mut self.line));
        Ok(mem::take(&mut self.entry))
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = anyhow::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            let entry = match self.entry() {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let number = entry.number;
            if let Some(person) = entry.person().transpose() {
                return Some(Ok(Record { number, person }));
            }
        }
        None
    }
}

impl Entry {
    /// Takes in a line, if it is of an attribute that counts.
    fn take(&mut self, line: &[u8]) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            if !line.is_empty() && !line.starts_with(b"#") {
                self.flaw = Some("a line is not LDIF".into());
            }
            return;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        // Without options: `mail;lang-en`.
        let name = name.split(|byte| *byte == b';').next().unwrap_or(name);
        let mut known = ATTRIBUTES.iter();
        let known = known.find(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        if let Some(name) = known {
            match text(value) {
                Ok(value) => self.values.push((name, value)),
                Err(reason) => self.flaw = Some(format!("{name}: {reason}").into()),
            }
        }
    }

    fn first(&self, name: &str) -> Option<String> {
        let mut all = self.values.iter();
        let (_, value) = all.find(|(other, _)| *other == name)?;
        Some(value.clone())
    }

    fn is_disabled(&self) -> bool {
        self.values.iter().any(|(name, value)| match *name {
            "nsaccountlock" | "logindisabled" => value.eq_ignore_ascii_case("true"),
            "pwdaccountlockedtime" => value == LOCKED_FOR_GOOD,
            "useraccountcontrol" => {
                let flags = value.parse::<u32>();
                flags.is_ok_and(|flags| flags & ACCOUNT_DISABLE != 0)
            }
            _ => false,
        })
    }

    /// `None` if it is not of a person: it has neither address nor password.
    fn person(self) -> Result<Option<Person>, Refusal> {
        if let Some(flaw) = self.flaw {
            return Err(flaw);
        }
        let name = self.first("uid").filter(|uid| uid.contains('@'));
        let email = address(
            self.first("mail"),
            name.or_else(|| self.first("userprincipalname")),
        );
        let passwords = (self.values.iter()).filter(|(name, _)| *name == "userpassword");
        let passwords = passwords.count();
        if passwords > 1 {
            return Err("userPassword: stands there more than once".into());
        }
        if email.is_none() && passwords == 0 {
            return Ok(None);
        }
        // Checked elsewhere: there is no password to bring along.
        let is_hash = |text: &String| {
            let start = text.get(.."{SASL}".len());
            !start.is_some_and(|start| start.eq_ignore_ascii_case("{SASL}"))
        };
        Ok(Some(Person {
            is_disabled: self.is_disabled(),
            email,
            hash: hash(self.first("userpassword").filter(is_hash)),
            ..Person::default()
        }))
    }
}

/// The value behind the first colon of a line.
fn text(value: &[u8]) -> Result<String, &'static str> {
    if value.len() + ATTRIBUTES[0].len() >= MAX_VALUE_BYTES {
        return Err("too long");
    }
    let bytes = match value {
        [b':', coded @ ..] => {
            let coded = coded.trim_ascii();
            BASE64_STANDARD.decode(coded).map_err(|_| "not base64")?
        }
        [b'<', ..] => return Err("stands in another file"),
        plain => plain.trim_ascii_start().to_vec(),
    };
    String::from_utf8(bytes).map_err(|_| "not UTF-8")
}
