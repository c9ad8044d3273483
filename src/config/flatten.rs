//! Tables as dotted keys.

use toml::{Table, Value};

/// Turns `[a.b] c = 1` into `a.b.c = 1`. A list is a value, also a list of tables. An empty table stands
/// for itself, so that a misspelt one is noticed.
pub(super) fn flatten(table: &Table) -> Vec<(String, Value)> {
    table.iter().flat_map(flatten_pair).collect()
}

fn flatten_pair((key, value): (&String, &Value)) -> Vec<(String, Value)> {
    let key = segment(key);
    match value {
        Value::Table(table) if !table.is_empty() => {
            let inner = flatten(table).into_iter();
            inner
                .map(|(rest, value)| (format!("{key}.{rest}"), value))
                .collect()
        }
        value => vec![(key, value.clone())],
    }
}

/// A key as TOML writes it, so that a quoted `"http.listen"` is not taken for two keys.
fn segment(key: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !key.is_empty() && key.bytes().all(bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}
