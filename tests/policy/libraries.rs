//! Each outside library has one home, so that replacing it, or learning how it is used, is a matter
//! of one folder.

use crate::source::SourceFile;

/// Libraries, and where they may be named.
const HOMES: [(&str, &[&str]); 24] = [
    ("sqlx", &["store"]),
    ("lettre", &["mail"]),
    ("minijinja", &["mail", "dev"]),
    ("mail_parser", &["dev"]),
    ("jsonwebtoken", &["token"]),
    ("argon2", &["password"]),
    ("bcrypt", &["password"]),
    ("governor", &["limits"]),
    ("axum", &["http", "serve", "app", "dev"]),
    ("tower", &["http", "serve"]),
    ("tower_http", &["http"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("http_body_util", &["http"]),
    ("metrics", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_http", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("reqwest", &["telemetry"]),
    ("clap", &["cli"]),
    ("rpassword", &["cli"]),
];

#[test]
fn every_library_stays_in_its_home() {
    let files = SourceFile::all();
    let mut wrong = Vec::new();
    for (library, homes) in HOMES {
        let named: Vec<_> = files
            .iter()
            .filter(|file| names(&file.code, library))
            .collect();
        assert!(
            named.iter().any(|file| file.module() == homes[0]),
            "{library} has left {}: say where it lives now",
            homes[0]
        );
        let strays = named.iter().filter(|file| !homes.contains(&file.module()));
        wrong.extend(strays.map(|file| format!("src/{}.rs names {library}", file.path)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether code has a path that begins with the name of a library.
fn names(code: &str, library: &str) -> bool {
    code.match_indices(library).any(|(at, _)| {
        let before = code[..at].trim_end_matches("::").chars().next_back();
        let is_whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
        let is_member = code[..at].ends_with("::") && !code[..at].ends_with(" ::");
        let after = code[at + library.len()..].trim_start();
        let is_import =
            code[..at].ends_with("use ") && (after.starts_with(';') || after.starts_with("as "));
        is_whole && !is_member && (after.starts_with("::") || is_import)
    })
}

#[test]
fn a_library_is_known_by_its_paths_alone() {
    for code in [
        "use sqlx::query;",
        "x: sqlx::Error",
        "use sqlx;",
        "use sqlx as db;",
        "use ::sqlx::query;",
        "sqlx::query!()",
    ] {
        assert!(names(code, "sqlx"), "{code}");
    }
    for code in [
        "use crate::sqlx::query;",
        "use sqlx_core::x;",
        "my_sqlx::x",
        "let sqlx = 1;",
        "mod sqlx;",
    ] {
        assert!(!names(code, "sqlx"), "{code}");
    }
}
