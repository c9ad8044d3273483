//! Versions of PostgreSQL.

use std::fmt;

/// A version of PostgreSQL; newer ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version, which data files are tied to.
    pub major: u32,
    /// The bug-fix release; zero for a beta.
    pub minor: u32,
}

impl Version {
    /// Reads what `postgres --version` prints.
    pub(super) fn parse(output: &str) -> Option<Self> {
        let (_, version) = output.split_once(") ")?;
        let mut numbers = version.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next().and_then(|minor| minor.parse().ok());
        // `17beta1` names no release: the number after its word is not a minor version.
        let minor = minor.filter(|_| version.contains('.')).unwrap_or(0);
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}
