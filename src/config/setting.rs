//! A setting, and its source.

use std::collections::BTreeMap;
use std::fmt;

use toml::Value;

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File,
    /// The variable of that name.
    Environment(String),
}

/// A value, and its source. No `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Dotted keys and their values.
pub(super) type Settings = BTreeMap<String, Given>;

/// A key as it is shown. Holds no secret: secrets are redacted before they come here.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// The content of the secret's file, as far as it may be shown.
    pub(super) holds: Option<String>,
}

impl Origin {
    /// The variable that gave the value, if one did.
    pub(super) fn variable(&self) -> Option<&str> {
        match self {
            Self::Environment(name) => Some(name),
            Self::Default | Self::File => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}
