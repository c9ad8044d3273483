//! The tests and the files that `docs/security.md` names for a promise are there.

use std::fs;
use std::path::Path;

/// The names that the tables have between backticks.
fn named() -> Vec<String> {
    let page = read("docs/security.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let marked = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    marked.map(ToOwned::to_owned).collect()
}

/// The text of a file; nothing if it is not there.
fn read(file: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(file).unwrap_or_default()
}

/// Whether a place, in the sense of the page's head, has this test.
fn has(place: &str, test: &str) -> bool {
    let outside = ["api", "faults", "policy", "properties"];
    let is_outside = outside.contains(&place.split('/').next().unwrap());
    let folder = if is_outside { "tests" } else { "src" };
    let function = format!("fn {test}(");
    let mut files = [".rs", "/mod.rs", "/tests.rs"].iter();
    files.any(|end| read(&format!("{folder}/{place}{end}")).contains(&function))
}

#[test]
fn every_test_that_shows_a_promise_is_there() {
    let named = named();
    let is_name = |name: &str| name.contains('_') && !name.contains(' ');
    let tests = named.iter().filter_map(|text| text.split_once(": "));
    let tests: Vec<_> = tests.filter(|(_, name)| is_name(name)).collect();
    assert!(tests.len() > 200, "{}", tests.len());
    let missing: Vec<_> = tests
        .iter()
        .filter(|(place, test)| !has(place, test))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_file_that_keeps_a_promise_is_there() {
    let named = named();
    let paths = named.iter().map(Path::new);
    let is_rust = |path: &&Path| path.extension().is_some_and(|end| end == "rs");
    let files: Vec<_> = paths.filter(is_rust).collect();
    assert!(files.len() > 50, "{}", files.len());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_there = |file: &&Path| root.join("src").join(file).exists() || root.join(file).exists();
    let missing: Vec<_> = files.into_iter().filter(|file| !is_there(file)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
