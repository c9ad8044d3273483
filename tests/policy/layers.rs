//! `main -> cli -> app -> { http workers } -> { auth serve } -> { store mail token password limits } ->
//! config -> domain`: a module uses what stands to its right, and never leftwards. `telemetry` stands
//! beside `config`: whatever does something may count it. `serve` knows connections alone: of the
//! modules to its right it uses `telemetry` only.

use std::collections::BTreeSet;

use crate::source::SourceFile;

/// The modules that know nothing of each other.
const MIDDLE: [&str; 5] = ["store", "mail", "token", "password", "limits"];

/// What a module may use besides itself. `None`: everything.
fn allowed(module: &str) -> Option<Vec<&'static str>> {
    let mut below = vec!["config", "domain"];
    match module {
        "cli" | "app" | "dev" => return None,
        "main" => return Some(vec!["cli"]),
        "lib" | "domain" => below.clear(),
        "config" => below = vec!["domain"],
        "telemetry" => below = vec!["config"],
        "serve" => below = vec!["telemetry"],
        "auth" => {
            below.extend(MIDDLE);
            below.push("telemetry");
        }
        "http" => {
            below.extend(MIDDLE);
            below.extend(["auth", "serve", "telemetry"]);
        }
        "workers" => {
            below.extend(MIDDLE);
            below.extend(["auth", "telemetry"]);
        }
        module => {
            assert!(
                MIDDLE.contains(&module),
                "{module} is new: say here, and in lib.rs, where it stands"
            );
            below.push("telemetry");
        }
    }
    Some(below)
}

#[test]
fn a_module_uses_only_what_stands_to_its_right() {
    let mut wrong = Vec::new();
    for file in SourceFile::all() {
        let module = file.module().to_owned();
        for used in modules_used(&file) {
            let may = |allowed: Vec<_>| allowed.contains(&used.as_str());
            let is_allowed = used == module || allowed(&module).is_none_or(may);
            if !is_allowed {
                wrong.push(format!("src/{}.rs uses {used}", file.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_arrow_is_seen() {
    // A test that sees nothing finds nothing wrong.
    let files = SourceFile::all();
    for (module, used) in [
        ("main", "cli"),
        ("cli", "app"),
        ("app", "http"),
        ("app", "serve"),
        ("http", "auth"),
        ("workers", "auth"),
        ("auth", "store"),
        ("store", "domain"),
        ("config", "domain"),
    ] {
        let mut of_module = files.iter().filter(|file| file.module() == module);
        let is_seen = of_module.any(|file| modules_used(file).contains(used));
        assert!(is_seen, "{module} -> {used}");
    }
}

/// The top modules that a file names, by `crate::`, by enough `super::`, or by the crate's name.
fn modules_used(file: &SourceFile) -> BTreeSet<String> {
    let roots = [
        "crate::".to_owned(),
        "backoffice_auth::".to_owned(),
        "super::".repeat(file.depth()),
    ];
    let mut used = BTreeSet::new();
    for root in &roots {
        for (at, _) in file.code.match_indices(root.as_str()) {
            let before = file.code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && !"_:$".contains(c)) {
                used.extend(heads(&file.code[at + root.len()..]));
            }
        }
    }
    used
}

/// The first names of the paths that begin here: one, or each of a group in braces.
fn heads(code: &str) -> Vec<String> {
    let Some(group) = code.strip_prefix('{') else {
        return vec![name(code)];
    };
    let mut depth = 0;
    let mut heads = vec![name(group)];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(name(&group[at + 1..])),
            _ => {}
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

fn name(code: &str) -> String {
    let code = code.trim_start();
    code.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn paths_are_read_however_they_are_written() {
    let file = |path: &str, code: &str| SourceFile {
        path: path.to_owned(),
        code: code.to_owned(),
    };
    let used = |path, code| Vec::from_iter(modules_used(&file(path, code)));
    assert_eq!(used("auth/signin", "use crate::store::Tx;"), ["store"]);
    assert_eq!(used("auth/signin", "fn f(x: crate::http::X) {}"), ["http"]);
    assert_eq!(used("auth/signin", "use super::{Auth, Limited};"), [""; 0]);
    assert_eq!(used("auth/signin", "use super::super::http::X;"), ["http"]);
    assert_eq!(used("auth/mod", "pub use super::http::X;"), ["http"]);
    assert_eq!(used("main", "backoffice_auth::cli::run()"), ["cli"]);
    let group = "use crate::{\n  a::{X, Y},\n  b, c::Z,\n};";
    assert_eq!(used("auth/mod", group), ["a", "b", "c"]);
}
