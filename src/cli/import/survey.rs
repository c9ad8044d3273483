//! The content of a file: counts of people and hashes, and the people who cannot be imported.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::record::Refusal;
use crate::cli::output;
use crate::domain::{HashKind, UserId};
use crate::store::NewUser;

/// Reasons that are counted one by one. There are fewer, but for hashes with odd parameters.
const MAX_REASONS: usize = 40;

/// The result of reading a file.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// How many have a hash of each kind.
    pub(super) hashes: HashMap<HashKind, usize>,
    /// How many have no password.
    pub(super) invited: usize,
    pub(super) disabled: usize,
    /// The highest number that somebody brings along.
    pub(super) highest: Option<UserId>,
    pub(super) refused: Refused,
}

/// The people who cannot be imported.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) count: usize,
    reasons: BTreeMap<String, usize>,
    /// The first ones, by record.
    first: Vec<(usize, Refusal)>,
}

impl Survey {
    pub(super) fn add(&mut self, user: &NewUser) {
        match &user.password_hash {
            Some(hash) => *self.hashes.entry(hash.kind().clone()).or_default() += 1,
            None => self.invited += 1,
        }
        self.disabled += usize::from(user.is_disabled);
        self.highest = self.highest.max(user.user_id);
    }

    /// Those who can be imported.
    pub(super) fn users(&self) -> usize {
        self.hashes.values().sum::<usize>() + self.invited
    }

    /// Prints what would happen.
    pub(super) fn print(&self) {
        let mut hashes: Vec<_> = self.hashes.iter().collect();
        hashes.sort_by_key(|(kind, count)| (usize::MAX - **count, kind.as_str()));
        let hashes = hashes
            .into_iter()
            .map(|(kind, count)| (format!("imported with {kind}"), *count));
        let refused = self.refused.reasons.iter();
        let refused = refused.map(|(reason, count)| (format!("refused: {reason}"), *count));
        let rows = hashes
            .chain([("imported without a password".to_owned(), self.invited)])
            .chain([("disabled, of all these".to_owned(), self.disabled)])
            .chain(refused);
        let rows: Vec<_> = rows
            .map(|(what, count)| [count.to_string(), what])
            .collect();
        output::table(["PEOPLE", "BECOME"], &rows);
    }

    pub(super) fn json(&self, unit: &str) -> Value {
        let mut hashes: Vec<_> = self.hashes.iter().collect();
        hashes.sort_by_key(|(kind, _)| kind.as_str());
        let hashes = hashes.into_iter();
        let hashes = hashes.map(|(kind, users)| json!({ "kind": kind.as_str(), "users": users }));
        let first = self.refused.first.iter();
        let first =
            first.map(|(number, refusal)| json!({ unit: number, "reason": refusal.told(unit) }));
        json!({
            "users": self.users(),
            "hashes": hashes.collect::<Vec<_>>(),
            "withoutPassword": self.invited,
            "disabled": self.disabled,
            "refused": self.refused.count,
            "refusals": first.collect::<Vec<_>>(),
        })
    }
}

impl Refused {
    /// Adds somebody; of at most `told` it keeps the number of the record.
    pub(super) fn add(&mut self, number: usize, refusal: Refusal, unit: &str, told: usize) {
        self.count += 1;
        let reason = refusal.in_general(unit);
        if self.reasons.len() < MAX_REASONS || self.reasons.contains_key(&reason) {
            *self.reasons.entry(reason).or_default() += 1;
        } else {
            *self.reasons.entry("other reasons".to_owned()).or_default() += 1;
        }
        if self.first.len() < told {
            self.first.push((number, refusal));
        }
    }

    /// Tells the first ones, in the order of the file.
    pub(super) fn tell(&mut self, unit: &str) {
        self.first.sort_by_key(|(number, _)| *number);
        for (number, refusal) in &self.first {
            eprintln!("{unit} {number}: {}", refusal.told(unit));
        }
        if self.count > self.first.len() {
            eprintln!("and {} more", self.count - self.first.len());
        }
    }
}
