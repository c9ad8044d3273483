//! What may be built into the program: the rules of `.deny.toml`, without the network. `cargo deny`
//! keeps them too, and asks for advisories; it takes minutes to build, so this is the part of it that
//! everybody runs before a push.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn read(file: &str) -> Table {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(file).unwrap().parse().unwrap()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(ToOwned::to_owned).collect()
}

/// The packages of a lock file.
fn locked(file: &str) -> Vec<Table> {
    let packages = read(file)["package"].as_array().cloned().unwrap();
    let tables = packages
        .into_iter()
        .map(|package| package.as_table().cloned());
    tables.collect::<Option<_>>().unwrap()
}

/// The licence of each package that is built on any system, by name.
fn built() -> BTreeMap<String, String> {
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--locked", "--target", "all", "--prefix", "none"])
        .args(["--format", "{p}|{l}|"])
        .output()
        .unwrap();
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let lines = String::from_utf8(tree.stdout).unwrap();
    let package = |line: &str| {
        let (package, rest) = line.split_once(' ').unwrap();
        let licence = rest.split('|').nth(1).unwrap();
        (package.to_owned(), licence.to_owned())
    };
    let packages: BTreeMap<_, _> = lines.lines().map(package).collect();
    assert!(packages.len() > 100 && packages.contains_key("backoffice-auth"));
    packages
}

#[test]
fn everything_comes_from_crates_io_and_is_the_copy_that_was_locked() {
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        for package in locked(file) {
            let name = package["name"].as_str().unwrap();
            if name != "backoffice-auth" && name != "backoffice-auth-fuzz" {
                let source = package.get("source").and_then(Value::as_str);
                assert_eq!(source, Some(CRATES_IO), "{name}");
                assert!(package.contains_key("checksum"), "{name}");
            }
        }
    }
}

#[test]
fn nothing_that_is_banned_is_built() {
    let built = built();
    let locked = locked("Cargo.lock");
    let bans = read(".deny.toml")["bans"]["deny"]
        .as_array()
        .cloned()
        .unwrap();
    let mut banned = Vec::new();
    for ban in &bans {
        let name = ban["crate"].as_str().unwrap();
        banned.push(name);
        let wrappers = texts(ban.get("wrappers"));
        let users = locked.iter().filter(|package| {
            let needed = texts(package.get("dependencies"));
            needed
                .iter()
                .any(|needed| needed.split(' ').next() == Some(name))
        });
        let users = users.map(|package| package["name"].as_str().unwrap());
        for user in users.filter(|user| built.contains_key(*user)) {
            let is_built = built.contains_key(name);
            assert!(
                !is_built || wrappers.iter().any(|it| it == user),
                "{name}, by {user}"
            );
        }
        assert!(!wrappers.is_empty() || !built.contains_key(name), "{name}");
    }
    for name in ["rsa", "openssl", "openssl-sys", "native-tls", "ring"] {
        assert!(banned.contains(&name), "{name} is banned no longer");
    }
}

#[test]
fn everything_is_under_a_licence_that_may_be_passed_on() {
    let allowed = texts(read(".deny.toml")["licenses"].get("allow"));
    for (name, licence) in built() {
        assert!(
            is_allowed(&licence, &allowed),
            "{name} is under {licence:?}"
        );
    }
}

/// Whether an SPDX expression can be satisfied with what is allowed. A slash is an old `OR`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_satisfied = any_of(&mut words, allowed);
    is_satisfied && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut is_satisfied = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        is_satisfied |= all_of(words, allowed);
    }
    is_satisfied
}

fn all_of(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut is_satisfied = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        is_satisfied &= one(words, allowed);
    }
    is_satisfied
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let is_satisfied = any_of(words, allowed);
        return words.next_if_eq(&")").is_some() && is_satisfied;
    }
    let mut licence = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&licence)
}

#[test]
fn a_licence_is_read_as_an_expression() {
    let allowed = ["MIT", "ISC"].map(str::to_owned);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "(MIT OR GPL-3.0) AND ISC",
        "GPL-3.0 AND ISC OR MIT",
        "Apache-2.0 WITH LLVM-exception OR MIT",
    ] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MIT AND (GPL-3.0 OR AGPL-3.0)",
        "GPL-3.0 OR (MIT AND AGPL-3.0)",
        "MIT WITH some-exception",
        "(MIT",
        "MIT ISC",
    ] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}
