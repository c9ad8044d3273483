//! Reads along: the lines that are logged while a test runs, at every level and by every library, must
//! hold none of the secrets that the tests know of.
//!
//! The log of this process and of the programs that it starts goes into one text. A [`Watch`] is
//! on for as long as a test runs, and looks through what came in meanwhile when it ends: a token is
//! known only once its answer has arrived, which is after the server has logged what it did.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Every secret has at least this many bytes, and is looked up by its first ones.
const KEY: usize = 6;

/// The size of the table that says where a secret may begin, as a power of two.
const PLACE_BITS: u32 = 22;

/// The name of a secret, for the report, and the places where it may be seen all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Password,
    Token,
    Challenge,
    /// Six digits, which are a code only in the test that they were mailed in.
    Code(usize),
    /// A key or a password of the server itself.
    Server,
    /// A whole address: not for logs, but in answers to its owner.
    Address,
}

#[derive(Debug)]
struct Known {
    by_key: HashMap<[u8; KEY], Vec<(Vec<u8>, Kind)>>,
    /// Whether a secret begins with four bytes of this [`place`]: hardly any place in a log does.
    begins: Box<[bool]>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            by_key: HashMap::new(),
            begins: vec![false; 1 << PLACE_BITS].into(),
        }
    }
}

impl Known {
    fn add(&mut self, kind: Kind, secret: &[u8]) {
        let key = key_of(secret).unwrap_or_else(|| panic!("too short a secret to be told apart"));
        let first = key[..4]
            .iter()
            .fold(0, |word, byte| followed_by(word, *byte));
        self.begins[place(first)] = true;
        let known = self.by_key.entry(key).or_default();
        if !known.iter().any(|(text, of)| text == secret && *of == kind) {
            known.push((secret.to_vec(), kind));
        }
    }

    /// Where in `text` a secret stands of which `matters` is true.
    ///
    /// A plain loop, since all logs pass through it, in a build that is not optimised.
    fn find(&self, text: &[u8], matters: impl Fn(Kind) -> bool) -> Option<(usize, Kind)> {
        let mut word = 0;
        for (end, byte) in text.iter().enumerate() {
            word = followed_by(word, *byte);
            if self.begins[place(word)]
                && let Some(start) = end.checked_sub(3)
                && let Some(found) = self.at(text, start, &matters)
            {
                return Some(found);
            }
        }
        None
    }

    fn at(&self, text: &[u8], at: usize, matters: impl Fn(Kind) -> bool) -> Option<(usize, Kind)> {
        let rest = &text[at..];
        let known = self.by_key.get(&key_of(rest)?)?;
        let found = known.iter().find(|(secret, kind)| {
            let is_whole = !matches!(kind, Kind::Code(_)) || stands_alone(text, at);
            rest.starts_with(secret) && matters(*kind) && is_whole
        });
        found.map(|(_, kind)| (at, *kind))
    }
}

/// The last four bytes, after one more.
fn followed_by(word: u32, byte: u8) -> u32 {
    word << 8 | u32::from(byte)
}

/// Where four bytes stand in a table of 2 to the power of [`PLACE_BITS`] places, by multiplicative hashing.
fn place(word: u32) -> usize {
    (word.wrapping_mul(0x9E37_79B1) >> (32 - PLACE_BITS)) as usize
}

fn key_of(text: &[u8]) -> Option<[u8; KEY]> {
    text.first_chunk().copied()
}

/// Whether six digits are a word of their own, and not a part of a number or how long a request took.
fn stands_alone(text: &[u8], at: usize) -> bool {
    let goes_on = |b: &u8| b.is_ascii_alphanumeric() || *b == b'.';
    let before = &text[..at];
    let is_time = [&b"micros="[..], b"micros\":"].map(|name| before.ends_with(name));
    let goes_on_after = text.get(at + 6).is_some_and(goes_on);
    !before.last().is_some_and(goes_on) && !goes_on_after && is_time == [false; 2]
}

/// The log, as far back as a watch needs it.
#[derive(Debug)]
struct Log {
    text: Vec<u8>,
    /// The bytes that were cut off at its start.
    gone: usize,
    /// Where each watch began.
    watches: BTreeMap<usize, usize>,
    next: usize,
}

static LOG: Mutex<Log> = Mutex::new(Log {
    text: Vec::new(),
    gone: 0,
    watches: BTreeMap::new(),
    next: 0,
});

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

fn log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with_known<T>(act: impl FnOnce(&mut Known) -> T) -> T {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    act(known.get_or_insert_default())
}

/// Tells of a secret, in the spellings that it could be logged in.
pub fn know(kind: Kind, secret: &str) {
    with_known(|known| known.add(kind, secret.as_bytes()));
}

/// Tells of a secret that is bytes.
pub fn know_bytes(kind: Kind, secret: &[u8]) {
    know(kind, &BASE64_STANDARD.encode(secret));
    know(kind, &hex(secret));
    // As `Debug` prints it.
    know(kind, format!("{secret:?}").trim_matches(['[', ']']));
}

/// Tells of a token: its signature is all that is secret about it.
pub fn know_token(token: &str) {
    let signature = token.rsplit('.').next().unwrap_or_default();
    know(Kind::Token, &signature[..24]);
}

pub fn hex(bytes: &[u8]) -> String {
    let digits = |byte: &u8| {
        [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
    };
    bytes.iter().flat_map(digits).collect()
}

/// Fails if a text for outsiders holds a secret. Codes are not looked for: six digits are anywhere.
pub fn assert_clean(what: &str, text: &[u8]) {
    let matters = |kind| !matches!(kind, Kind::Code(_) | Kind::Address);
    let found = with_known(|known| known.find(text, matters));
    if let Some((at, kind)) = found {
        panic!("{what} holds a {kind:?}: {}", around(text, at));
    }
}

/// The line in which something was found.
fn around(text: &[u8], at: usize) -> String {
    let start = text[..at].iter().rposition(|b| *b == b'\n');
    let start = start.map_or(0, |newline| newline + 1);
    let end = text[at..].iter().position(|b| *b == b'\n');
    let end = end.map_or(text.len(), |length| at + length);
    String::from_utf8_lossy(&text[start..end]).into_owned()
}

/// Takes in what a program logged.
pub fn take_in(bytes: &[u8]) {
    let mut log = log();
    if !log.watches.is_empty() {
        log.text.extend_from_slice(bytes);
    }
}

#[derive(Debug, Clone, Copy)]
struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        take_in(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has all of this process log to here: no level and no target is left out.
fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .without_time()
            .with_writer(|| Writer);
        tracing_subscriber::registry()
            .with(LevelFilter::TRACE)
            .with(lines)
            .init();
    });
}

/// Shows the server's errors of a test that fails.
#[expect(
    clippy::print_stdout,
    reason = "the runner shows it with the test that failed"
)]
fn show_troubles(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let troubles = (text.lines().rev())
        .filter(|line| line.starts_with("ERROR") || line.starts_with(" WARN"))
        .take(20);
    for line in troubles {
        println!("{line}");
    }
}

/// Looks through the log of the time that it is on.
#[derive(Debug)]
pub struct Watch {
    pub id: usize,
}

impl Watch {
    pub fn start() -> Self {
        listen();
        let mut log = log();
        let id = log.next;
        log.next += 1;
        let now = log.gone + log.text.len();
        log.watches.insert(id, now);
        Self { id }
    }

    /// The log since it is on.
    pub fn text(&self) -> Vec<u8> {
        let log = log();
        log.text[log.watches[&self.id] - log.gone..].to_vec()
    }

    fn finish(&self) -> Vec<u8> {
        let text = self.text();
        let mut log = log();
        log.watches.remove(&self.id);
        let all = log.gone + log.text.len();
        let needed = log.watches.values().min().copied().unwrap_or(all);
        let spare = needed - log.gone;
        log.text.drain(..spare);
        log.gone = needed;
        text
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let text = self.finish();
        if std::thread::panicking() {
            return show_troubles(&text);
        }
        let matters = |kind| !matches!(kind, Kind::Code(id) if id != self.id);
        if let Some((at, kind)) = with_known(|known| known.find(&text, matters)) {
            panic!("a {kind:?} was logged: {}", around(&text, at));
        }
    }
}
