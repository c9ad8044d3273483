//! `main -> cli -> app -> { http workers } -> { admin serve } -> auth -> { store mail token password
//! passkey limits } -> config -> domain`: a module uses what stands to its right, and never leftwards.
//! `telemetry` stands beside `config`: a module that does something may count it. `serve` knows
//! connections alone: of the modules to its right it uses `telemetry` only.

use std::collections::BTreeSet;

use crate::source::SourceFile;

/// The modules that know nothing of each other.
const MIDDLE: [&str; 6] = ["store", "mail", "token", "password", "passkey", "limits"];

/// The modules that a module may use besides itself. `None`: all.
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
            below.extend(["admin", "auth", "serve", "telemetry"]);
        }
        "workers" => {
            below.extend(MIDDLE);
            below.extend(["admin", "auth", "telemetry"]);
        }
        "admin" => {
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
            let may = |allowed: Vec<_>| allowed.contains(&used);
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
        ("cli", "admin"),
        ("admin", "auth"),
        ("auth", "store"),
        ("store", "domain"),
        ("config", "domain"),
    ] {
        let mut of_module = files.iter().filter(|file| file.module() == module);
        let is_seen = of_module.any(|file| modules_used(file).contains(used));
        assert!(is_seen, "{module} -> {used}");
    }
}

/// No path hides an arrow: each begins with `crate::` and a name, or stays in its own module.
#[test]
fn the_way_to_another_module_is_written_from_the_crate() {
    for file in SourceFile::all() {
        let is_top = file.path.ends_with("/mod") && file.path.matches('/').count() == 1;
        let hidden: &[&str] = if is_top {
            &["crate::{", "super::"]
        } else {
            &["crate::{", "super::super::super::"]
        };
        for path in hidden {
            assert!(!file.code.contains(path), "src/{}.rs: {path}", file.path);
        }
    }
}

/// The top modules that a file names, by `crate::` or by the crate's name.
fn modules_used(file: &SourceFile) -> BTreeSet<&str> {
    let inside = file.names_after("crate::");
    inside
        .chain(file.names_after("backoffice_auth::"))
        .collect()
}
