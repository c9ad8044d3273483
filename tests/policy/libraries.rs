//! Each outside library has one home, so that replacing it, or learning how it is used, is a matter
//! of one folder.

use crate::source::SourceFile;

/// Libraries, and where they may be named.
const HOMES: [(&str, &[&str]); 30] = [
    ("sqlx", &["store"]),
    ("lettre", &["mail"]),
    ("minijinja", &["mail", "dev"]),
    ("mail_parser", &["dev"]),
    ("jsonwebtoken", &["token"]),
    ("quick_cache", &["token"]),
    ("argon2", &["password"]),
    ("argon2_rust", &["password"]),
    ("bcrypt", &["password"]),
    ("scrypt", &["password"]),
    ("sha_crypt", &["password"]),
    ("md5", &["password"]),
    ("governor", &["limits"]),
    ("axum", &["http", "serve", "app", "dev"]),
    ("tower", &["http", "serve"]),
    ("tower_http", &["http"]),
    ("hyper", &["serve"]),
    ("hyper_util", &["serve"]),
    ("http_body_util", &["http", "serve"]),
    ("metrics", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry_otlp", &["telemetry"]),
    ("opentelemetry_http", &["telemetry"]),
    ("tracing_opentelemetry", &["telemetry"]),
    ("reqwest", &["telemetry"]),
    ("clap", &["cli"]),
    ("csv", &["cli"]),
    ("rpassword", &["cli"]),
];

#[test]
fn every_library_stays_in_its_home() {
    let files = SourceFile::all();
    let mut wrong = Vec::new();
    for (library, homes) in HOMES {
        let path = format!("{library}::");
        let uses = |file: &&SourceFile| file.names_after(&path).next().is_some();
        let named: Vec<_> = files.iter().filter(uses).collect();
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
