//! The source as the rules see it: lines of code, without comments and unit tests. Texts stay: a rule
//! that trips over one says so.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of `src`.
pub struct SourceFile {
    /// Its path below `src`, without `.rs`: `auth/signin`, `auth/mod`, `main`.
    pub path: String,
    pub code: String,
}

impl SourceFile {
    /// All files but those that are unit tests as a whole.
    pub fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        for path in rust_files(&root) {
            let relative = path.strip_prefix(&root).unwrap().with_extension("");
            let path_below = relative.to_str().unwrap().to_owned();
            if !path_below.split('/').any(|part| part == "tests") {
                files.push(Self {
                    path: path_below,
                    code: code_of(&fs::read_to_string(&path).unwrap()),
                });
            }
        }
        assert!(files.len() > 50, "they are not where they were");
        files
    }

    /// The module at the top that it belongs to.
    pub fn module(&self) -> &str {
        self.path.split('/').next().unwrap()
    }

    /// The names that follow this text where it is a word of its own.
    pub fn names_after(&self, text: &str) -> impl Iterator<Item = &str> {
        let is_of_name = |c: char| c.is_alphanumeric() || c == '_';
        let found = self.code.match_indices(text);
        found.filter_map(move |(at, text)| {
            let before = self.code[..at].chars().next_back();
            let rest = &self.code[at + text.len()..];
            let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
            let is_whole = !before.is_some_and(|c| is_of_name(c) || c == ':');
            is_whole.then(|| &rest[..end])
        })
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
    files
}

/// Unit tests stand at the end of a file.
fn code_of(source: &str) -> String {
    let code = source.split("#[cfg(test)]\nmod ").next().unwrap();
    let lines = code.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}
