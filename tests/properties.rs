//! Rules that hold for any input, on one input of each shape and on random changes to them.
//!
//! The properties and their corpora are those of `tests/fuzz`, which says how to look further than the
//! few thousand inputs of a test.

#![expect(unreachable_pub, reason = "a test has no outside to hide from")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

#[path = "fuzz/src/lib.rs"]
mod properties;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

use properties::{PROPERTIES, Property};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The names of the files in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    entries.map(|entry| name(entry.unwrap())).collect()
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = fuzz().join("corpus").join(name);
    let read = |name: &String| fs::read(folder.join(name)).unwrap();
    names(&folder).iter().map(read).collect()
}

#[test]
fn every_property_has_a_target_and_a_corpus_that_is_small() {
    let expected: BTreeSet<_> = PROPERTIES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    let targets = names(&fuzz().join("fuzz_targets"));
    let targets: BTreeSet<_> = targets.iter().map(|name| name.replace(".rs", "")).collect();
    assert_eq!(targets, expected);
    assert_eq!(names(&fuzz().join("corpus")), expected);
    let sizes = PROPERTIES.map(|(name, _)| corpus(name).len());
    assert!(sizes.iter().all(|size| *size >= 10), "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() <= 150, "{sizes:?}");
}

fn property(name: &str) -> Property {
    let mut found = PROPERTIES.iter().filter(|(other, _)| *other == name);
    found.next().unwrap().1
}

/// A change to an input: some of its bytes give way to others, or to a piece of another input.
#[derive(Debug, Clone)]
struct Change {
    start: Index,
    removed: usize,
    inserted: Inserted,
}

#[derive(Debug, Clone)]
enum Inserted {
    Bytes(Vec<u8>),
    Piece {
        from: Index,
        start: Index,
        length: usize,
    },
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let inserted = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..3).prop_map(Inserted::Bytes),
            "[ -~]{0,3}".prop_map(|text| Inserted::Bytes(text.into_bytes())),
            (any::<Index>(), any::<Index>(), 0..40_usize).prop_map(|(from, start, length)| {
                Inserted::Piece {
                    from,
                    start,
                    length,
                }
            }),
        ];
        (any::<Index>(), 0..4_usize, inserted).prop_map(|(start, removed, inserted)| Self {
            start,
            removed,
            inserted,
        })
    }

    fn apply(&self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let start = self.start.index(input.len() + 1);
        let end = input.len().min(start + self.removed);
        let inserted = match &self.inserted {
            Inserted::Bytes(bytes) => bytes.as_slice(),
            Inserted::Piece {
                from,
                start,
                length,
            } => {
                let other = from.get(corpus);
                let start = start.index(other.len() + 1);
                &other[start..other.len().min(start + length)]
            }
        };
        input.splice(start..end, inserted.iter().copied());
    }
}

/// An input that a report shows as text.
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// The corpus of a property first, then as many changed inputs.
fn holds(name: &str, cases: u32) {
    let (holds, corpus) = (property(name), corpus(name));
    for input in &corpus {
        let held = catch_unwind(|| holds(input));
        assert!(held.is_ok(), "{:?}", Input(input.clone()));
    }
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let changed = (any::<Index>(), prop::collection::vec(Change::any(), 1..5));
    let changed = changed.prop_map(|(input, changes)| {
        let mut input = input.get(&corpus).clone();
        for change in &changes {
            change.apply(&mut input, &corpus);
        }
        Input(input)
    });
    let outcome = TestRunner::new(config).run(&changed, |input| {
        holds(&input.0);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn both_libraries_compute_the_same_argon2() {
    holds("argon2", 300);
}

#[test]
fn one_authorization_header_names_one_token_or_one_service_or_nothing() {
    holds("authorization", 2_000);
}

#[test]
fn a_body_is_read_in_one_way_and_a_refusal_repeats_none_of_it() {
    holds("body", 2_000);
}

#[test]
fn an_address_has_one_form_that_every_mail_server_reads_as_one_mailbox() {
    holds("email", 2_000);
}

#[test]
fn a_client_is_the_peer_or_whom_a_trusted_proxy_names() {
    holds("forwarded", 2_000);
}

#[test]
fn no_hash_is_read_but_within_its_bounds() {
    holds("hash", 2_000);
}

#[test]
fn a_passkey_is_read_to_its_last_byte_or_refused() {
    holds("passkey", 2_000);
}

#[test]
fn no_token_verifies_but_what_we_would_sign() {
    holds("token", 300);
}
