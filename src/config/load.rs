//! Loading: from the layers to a checked configuration, or to everything that is wrong with it.

use std::collections::BTreeMap;
use std::path::Path;

use super::layers::Layers;
use super::problem::ConfigError;
use super::reader::{Read, Reader};
use super::setting::Entry;
use super::types::Config;
use super::{outside, sections, show, warn};

/// A configuration that was read and found right.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The checked settings.
    pub config: Config,
    /// A sentence for each setting that is legal but weak, beginning with its key.
    pub warnings: Vec<String>,
    entries: Vec<Entry>,
    /// Variables that libraries read by themselves.
    outside: Vec<Entry>,
}

impl Config {
    /// Reads the configuration: the defaults, overridden by `file`, overridden by `environment`
    /// (see [`process_environment`](super::process_environment)).
    ///
    /// The error lists everything that is wrong at once. Only a file that cannot be read stands alone:
    /// other missing keys cannot be reported without it.
    pub fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigError> {
        // Sorted, so that the same mistakes always read the same.
        let environment = environment.into_iter().collect();
        let layers = Layers::read(file, &environment)?;
        let mut reader = Reader::new(layers.settings, layers.problems);
        let config = sections::config(&mut reader);
        let read = reader.finish();
        match config {
            Ok(config) if read.problems.is_empty() => Ok(Loaded::new(config, read, &environment)),
            _ => Err(ConfigError::new(read.problems)),
        }
    }
}

impl Loaded {
    fn new(config: Config, read: Read, environment: &BTreeMap<String, String>) -> Self {
        let mut warnings = read.warnings;
        warnings.extend(warn::warnings(&config, environment));
        Self {
            outside: outside::entries(&config, environment),
            config,
            warnings,
            entries: read.entries,
        }
    }

    /// Every key as TOML, each with the origin of its value; secrets as `***`.
    #[must_use]
    pub fn show(&self) -> String {
        show::toml(&self.entries, &self.outside)
    }

    /// The same as JSON: `{"http.listen": {"value": …, "from": "default"}, …}`. Variables that libraries
    /// read by themselves stand under their names.
    #[must_use]
    pub fn show_json(&self) -> serde_json::Value {
        show::json(self.entries.iter().chain(&self.outside))
    }
}

#[cfg(test)]
mod tests;
