//! Whether the mails are those that were promised.

use std::collections::BTreeMap;

use backoffice_auth::domain::Timestamp;

use super::Violations;
use crate::history::Delivered;

/// A mail may come twice, but never with two codes.
pub fn one_code_a_challenge(mails: &[Delivered]) -> Violations {
    let mut codes: BTreeMap<&str, &str> = BTreeMap::new();
    let mut wrong = Violations::new();
    for mail in mails {
        let first = *codes.entry(&mail.fingerprint).or_insert(&mail.code);
        if first != mail.code {
            wrong.push(format!("two codes for one challenge: {mail:?}"));
        }
    }
    wrong
}

/// No mail is delivered when its code has stopped working.
pub fn mails_are_in_time(mails: &[Delivered], ends: &BTreeMap<String, Timestamp>) -> Violations {
    let is_late = |mail: &&Delivered| {
        let end = ends.get(&mail.fingerprint);
        end.is_none_or(|end| mail.at >= *end)
    };
    let late = mails.iter().filter(is_late);
    late.map(|mail| {
        let end = ends.get(&mail.fingerprint);
        format!("a mail after its code's end ({end:?}): {mail:?}")
    })
    .collect()
}
