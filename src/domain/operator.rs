//! An operator, as the audit log calls them.

use std::fmt;

/// Characters of a name that are kept.
const MAX_NAME: usize = 64;

/// The name of an operator: printable ASCII, at most 64 characters. The audit log is read on terminals,
/// and a database need not know every script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator(String);

impl Operator {
    /// The operator with a name. Other characters than those of a name become `?`.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let printable = |c: char| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        };
        Self(name.chars().take(MAX_NAME).map(printable).collect())
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_name_can_forge_no_line_of_the_audit_log() {
        let named = |name: &str| Operator::named(name).to_string();
        assert_eq!(named("ops\n2026 root\u{1b}[1m"), "ops?2026 root?[1m");
        assert_eq!(named("j\u{fc}rgen"), "j?rgen");
        assert_eq!(named(&"x".repeat(99)).len(), 64);
    }
}
