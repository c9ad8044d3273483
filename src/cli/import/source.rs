//! The file of an import, and the system that it comes from.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;

use super::json::Documents;
use super::json_lines::JsonLines;
use super::record::Record;
use super::{django, firebase, keycloak, kratos, ldif, table};
use crate::password::FirebaseProject;

/// The mark at the beginning of some texts, which says that they are UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Read from a file at once.
const BUFFER_BYTES: usize = 1 << 16;

/// Where an export comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    /// Lines of JSON in the words of this program
    JsonLines,
    /// A table with addresses and hashes, as CSV with names of columns or as a JSON array; also as
    /// aspnet, better-auth, flask, laravel, rails and wordpress
    #[value(aliases = ["csv", "aspnet", "better-auth", "flask", "laravel", "rails", "wordpress"])]
    Table,
    /// `manage.py dumpdata auth.user`
    Django,
    /// `firebase auth:export`, JSON or CSV; needs --firebase-config
    Firebase,
    /// `kc.sh export` of a realm with its users
    Keycloak,
    /// Ory Kratos' identities with their credentials, as a JSON array
    Kratos,
    /// LDIF, as `slapcat` writes it
    Ldap,
}

/// The records of a file, one after another.
pub(super) type Records = Box<dyn Iterator<Item = anyhow::Result<Record>>>;

/// A file that can be read several times.
pub(super) struct Source {
    file: PathBuf,
    /// The content, where it cannot be read a second time: of standard input, or of a pipe.
    held: Option<Rc<[u8]>>,
    system: System,
    project: Option<FirebaseProject>,
}

/// A way through a file, from its beginning.
pub(super) struct Reading {
    pub(super) records: Records,
    /// Bytes read so far.
    pub(super) read: Rc<Cell<u64>>,
    /// Bytes of the file.
    pub(super) size: u64,
}

impl Source {
    pub(super) fn new(
        file: &Path,
        system: System,
        firebase_config: Option<&Path>,
    ) -> anyhow::Result<Self> {
        ensure!(
            (system == System::Firebase) == firebase_config.is_some(),
            "--from firebase and --firebase-config FILE go together"
        );
        Ok(Self {
            file: file.to_owned(),
            held: held(file).with_context(|| cannot_read(file))?,
            system,
            project: firebase_config.map(firebase::read_project).transpose()?,
        })
    }

    /// The word for a record of this file.
    pub(super) fn unit(&self) -> &'static str {
        match self.system {
            System::JsonLines | System::Ldap => "line",
            System::Table | System::Firebase if !self.is_json().unwrap_or(true) => "row",
            _ => "record",
        }
    }

    /// The context of an error in the file itself.
    pub(super) fn cannot_read(&self) -> String {
        cannot_read(&self.file)
    }

    /// Begins to read.
    pub(super) fn open(&self) -> anyhow::Result<Reading> {
        let read = Rc::new(Cell::new(0));
        let (input, size) = self.input()?;
        let mut input = Counted {
            input,
            read: Rc::clone(&read),
        };
        check_encoding(&mut input)?;
        let records = self.records(input)?;
        Ok(Reading {
            records,
            read,
            size,
        })
    }

    fn input(&self) -> io::Result<(Box<dyn BufRead>, u64)> {
        if let Some(held) = &self.held {
            let size = held.len() as u64;
            return Ok((Box::new(Cursor::new(Rc::clone(held))), size));
        }
        let file = File::open(&self.file)?;
        let size = file.metadata()?.len();
        Ok((Box::new(BufReader::with_capacity(BUFFER_BYTES, file)), size))
    }

    fn records(&self, mut input: Counted) -> anyhow::Result<Records> {
        let is_json = looks_like_json(&mut input)?;
        Ok(match (self.system, self.project.clone()) {
            (System::JsonLines, _) => Box::new(JsonLines::new(input)),
            (System::Table, _) if is_json => {
                Box::new(Documents::new(input, None, table::read_object))
            }
            (System::Table, _) => Box::new(table::rows(input)?),
            (System::Django, _) => Box::new(Documents::new(input, None, django::read)),
            (System::Keycloak, _) => Box::new(Documents::new(input, Some("users"), keycloak::read)),
            (System::Kratos, _) => Box::new(Documents::new(input, None, kratos::read)),
            (System::Ldap, _) => Box::new(ldif::Entries::new(input)),
            (System::Firebase, Some(project)) if is_json => {
                let read = move |user: &_| firebase::read(user, &project);
                Box::new(Documents::new(input, Some("users"), read))
            }
            (System::Firebase, Some(project)) => {
                let read = move |row: &_| firebase::read_row(row, &project);
                Box::new(table::rows_without_names(input, read))
            }
            (System::Firebase, None) => bail!("--firebase-config is missing"),
        })
    }

    fn is_json(&self) -> anyhow::Result<bool> {
        let (mut input, _) = self.input()?;
        check_encoding(&mut input)?;
        Ok(looks_like_json(&mut input)?)
    }
}

/// The content, unless it is a regular file.
fn held(file: &Path) -> io::Result<Option<Rc<[u8]>>> {
    let mut content = Vec::new();
    if file.as_os_str() == "-" {
        io::stdin().lock().read_to_end(&mut content)?;
    } else {
        let mut open = File::open(file)?;
        if open.metadata()?.is_file() {
            return Ok(None);
        }
        open.read_to_end(&mut content)?;
    }
    Ok(Some(content.into()))
}

fn cannot_read(file: &Path) -> String {
    format!("cannot read {}", file.display())
}

/// Fills the buffer and returns whether it begins as JSON does; a row of CSV may begin with neither sign.
fn looks_like_json(input: &mut impl BufRead) -> io::Result<bool> {
    let start = input.fill_buf()?.trim_ascii_start();
    Ok(start.starts_with(b"[") || start.starts_with(b"{"))
}

/// Goes past the mark of UTF-8, and refuses what is marked as UTF-16.
fn check_encoding(input: &mut impl BufRead) -> anyhow::Result<()> {
    let start = input.fill_buf()?;
    if start.starts_with(BYTE_ORDER_MARK) {
        input.consume(BYTE_ORDER_MARK.len());
    } else if start.starts_with(b"\xff\xfe") || start.starts_with(b"\xfe\xff") {
        bail!("it is UTF-16; save it as UTF-8");
    }
    Ok(())
}

/// An input that counts the bytes read from it.
struct Counted {
    input: Box<dyn BufRead>,
    read: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.read.set(self.read.get() + count as u64);
        self.input.consume(count);
    }
}
