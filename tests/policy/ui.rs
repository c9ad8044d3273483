//! `docs/integrating-the-ui.md` says for each code what a page says: all codes that the interface
//! has, and the sentences of the reference page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The rows of the table: code, and the sentence of the page. `true`: the code is one of the server's.
fn table() -> Vec<(bool, String, String)> {
    let page = read("docs/integrating-the-ui.md");
    let (_, section) = page.split_once("\n## What to say\n").unwrap();
    let rows = section.lines().filter_map(|line| {
        let cells: Vec<_> = line
            .strip_prefix("| ")?
            .split(" | ")
            .map(str::trim)
            .collect();
        let code = cells.get(1)?.strip_prefix('`')?.strip_suffix('`')?;
        let is_of_server = cells[0].parse::<u16>().is_ok();
        Some((is_of_server, code.to_owned(), cells[2].to_owned()))
    });
    rows.collect()
}

/// The sentences of the reference page, by code.
fn sentences() -> BTreeMap<String, String> {
    let script = read("docs/browser/words.js");
    let (_, rest) = script.split_once("const SAYS = {\n").unwrap();
    let (lines, _) = rest.split_once("\n};").unwrap();
    let line = |line: &str| {
        let (code, sentence) = line.trim().split_once(": \"")?;
        Some((code.to_owned(), sentence.strip_suffix("\",")?.to_owned()))
    };
    lines.lines().map(|text| line(text).unwrap()).collect()
}

#[test]
fn the_page_for_uis_lists_every_code_and_no_other() {
    let description: Value = serde_json::from_str(&read("docs/openapi.json")).unwrap();
    let codes = &description["components"]["schemas"]["Code"]["enum"];
    let codes: BTreeSet<String> = serde_json::from_value(codes.clone()).unwrap();
    let rows = table();
    let of_server = rows.iter().filter(|(is_of_server, ..)| *is_of_server);
    let listed: BTreeSet<_> = of_server.map(|(_, code, _)| code.clone()).collect();
    assert_eq!(listed, codes);
}

#[test]
fn the_page_for_uis_says_what_the_reference_page_says() {
    let mut sentences = sentences();
    for (_, code, said) in table() {
        let sentence = sentences.remove(&code);
        assert_eq!(sentence.as_deref().unwrap_or("mistake"), said, "{code}");
    }
    assert!(sentences.is_empty(), "not in the table: {sentences:?}");
}
