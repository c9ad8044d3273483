//! The source as the rules see it: without comments, texts and unit tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of `src`.
pub struct SourceFile {
    /// Its path below `src`, without `.rs`: `auth/signin`, `auth/mod`, `main`.
    pub path: String,
    /// What is left of it to look at.
    pub code: String,
}

impl SourceFile {
    /// All files but those that are unit tests as a whole.
    pub fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        for path in rust_files(&root) {
            let relative = path.strip_prefix(&root).unwrap().with_extension("");
            let relative = relative.to_str().unwrap().to_owned();
            if !relative.ends_with("/tests") {
                let code = strip(&fs::read_to_string(&path).unwrap());
                files.push(Self {
                    path: relative,
                    code,
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

    /// How many `super::` lead from it to the crate's root.
    pub fn depth(&self) -> usize {
        let parts = self.path.split('/').filter(|part| *part != "mod");
        parts.count()
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

/// Takes out comments, the contents of texts, and each item under `#[cfg(test)]`.
fn strip(source: &str) -> String {
    let mut code = without_texts(source);
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = start + end_of_item(&code[start..]);
        code.replace_range(start..end, "");
    }
    code
}

/// Where an item ends: at its closing brace, or at its semicolon if that comes before any brace.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => {}
            _ => continue,
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

fn without_texts(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = skip(rest, code.chars().next_back());
        if skipped > 0 {
            rest = &rest[skipped..];
            // Something stays where a text was, so that what is around it does not grow together.
            code.push(' ');
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    code
}

/// The length of the comment, text or character that begins here, or 0.
fn skip(code: &str, before: Option<char>) -> usize {
    let through = |open: &str, close: &str| {
        let end = code[open.len()..].find(close);
        end.map_or(code.len(), |at| open.len() + at + close.len())
    };
    if code.starts_with("//") {
        return through("//", "\n");
    }
    if code.starts_with("/*") {
        return through("/*", "*/");
    }
    let is_in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    for prefix in ["r", "br"] {
        let hashes = code.strip_prefix(prefix).unwrap_or_default();
        let hashes: String = hashes.chars().take_while(|c| *c == '#').collect();
        let open = format!("{prefix}{hashes}\"");
        if !is_in_word && code.starts_with(&open) {
            return through(&open, &format!("\"{hashes}"));
        }
    }
    if code.starts_with('"') {
        return quoted(code, '"').unwrap_or(code.len());
    }
    // A character, unless it is a lifetime: that one has no quote where a character ends.
    if let Some(rest) = code.strip_prefix('\'') {
        let first = rest.chars().next().map_or(0, char::len_utf8);
        if rest.starts_with('\\') || rest[first..].starts_with('\'') {
            return quoted(code, '\'').unwrap_or(0);
        }
    }
    0
}

/// The length of what stands between two quotes, with both.
fn quoted(code: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in code.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[test]
fn what_is_no_code_is_not_looked_at() {
    let source = r##"
        use a::b; // crate::comment
        /* crate::comment */ const T: &str = "crate::text \" crate::text";
        const R: &str = r#"crate::raw "quoted" crate::raw"#;
        const Q: [char; 3] = ['"', '\'', '\u{22}'];
        fn life<'a>(x: &'a str) -> &'a str { x }
        #[cfg(test)]
        use crate::import;
        #[cfg(test)]
        mod tests { use crate::test; fn f() { { "}" } } }
        use crate::seen;
    "##;
    let code = strip(source);
    assert_eq!(code.matches("crate::").count(), 1, "{code}");
    assert!(code.contains("crate::seen") && code.contains("fn life<'a>(x: &'a str)"));
}
