//! The settings in force and their origins: for people as TOML, for programs as JSON.

use serde_json::json;

use super::setting::Entry;

/// A line per key, under its whole name: it can be searched, and it loads again once the secrets are filled
/// in.
///
/// Variables of libraries follow as comments, because they are no keys of ours.
pub(super) fn toml(entries: &[Entry], outside: &[Entry]) -> String {
    let comments = outside.iter().map(|entry| format!("# {}", line(entry)));
    entries.iter().map(line).chain(comments).collect()
}

fn line(entry: &Entry) -> String {
    let holds = entry.holds.as_ref();
    let holds = holds
        .map(|text| format!(", holds {text}"))
        .unwrap_or_default();
    format!(
        "{} = {}  # {}{holds}\n",
        entry.key, entry.value, entry.origin
    )
}

pub(super) fn json<'a>(entries: impl Iterator<Item = &'a Entry>) -> serde_json::Value {
    let pairs = entries.map(|entry| (entry.key.clone(), object(entry)));
    serde_json::Value::Object(pairs.collect())
}

fn object(entry: &Entry) -> serde_json::Value {
    let mut object = json!({ "value": entry.value, "from": entry.origin.to_string() });
    if let Some(holds) = &entry.holds {
        object["holds"] = json!(holds);
    }
    object
}
