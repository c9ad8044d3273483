//! Where values come from: the layers, weakest first, merged into one flat list of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::file::read_file;
use super::flatten::flatten;
use super::problem::{ConfigError, ConfigProblem};
use super::setting::{Given, Origin, Settings};
use super::variables::{DATABASE_URL, RUST_LOG, key_of, variable};

/// Every key with its default: the one place where defaults live.
pub(super) const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Two keys that differ by more than this are no typing mistake.
const NEAR: usize = 3;

/// The layers while they are being merged.
pub(super) struct Layers {
    known: BTreeSet<String>,
    pub(super) settings: Settings,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Layers {
    /// Reads the defaults, the file and the environment, weakest first.
    ///
    /// A file that cannot be read ends it: other missing keys cannot be reported without the file.
    pub(super) fn read(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut layers = Self::defaults();
        let file = file.map(read_file).transpose();
        if let Ok(Some(table)) = &file {
            layers.merge_table(table);
        }
        layers.merge_environment(environment);
        match file {
            Ok(_) => Ok(layers),
            Err(problem) => Err(layers.without_file(problem)),
        }
    }

    fn defaults() -> Self {
        let table: Table = DEFAULTS.parse().expect("the embedded defaults are TOML");
        let settings = layer(flatten(&table), &Origin::Default);
        Self {
            known: settings.keys().cloned().collect(),
            settings,
            problems: Vec::new(),
        }
    }

    /// The problems that are known when the file cannot be read: this one, and wrong names in the
    /// environment.
    fn without_file(self, problem: ConfigProblem) -> ConfigError {
        let mut problems = vec![problem];
        problems.extend(self.problems);
        ConfigError::new(problems)
    }

    fn merge_table(&mut self, table: &Table) {
        let (known, unknown): (Vec<_>, Vec<_>) = flatten(table)
            .into_iter()
            .filter(|(key, value)| !self.is_empty_section(key, value))
            .partition(|(key, _)| self.known.contains(key));
        for (key, _) in unknown {
            let message = self.unknown(&key, str::to_owned);
            self.problem(key, message, None);
        }
        self.merge(layer(known, &Origin::File));
    }

    fn merge_environment(&mut self, environment: &BTreeMap<String, String>) {
        let url = environment.get(DATABASE_URL).filter(|url| !url.is_empty());
        if let Some(url) = url {
            self.merge_variables(vec![("database.url".into(), DATABASE_URL, url)]);
        }
        let (known, unknown): (Vec<_>, Vec<_>) = environment
            .iter()
            .filter_map(|(name, value)| Some((key_of(name)?, name.as_str(), value.as_str())))
            .partition(|(key, name, _)| self.known.contains(key) && variable(key) == *name);
        for (key, name, _) in unknown {
            let message = self.unknown(&key, variable);
            self.problem(key, message, Some(name));
        }
        self.merge_variables(known);
        let filter = environment.get(RUST_LOG).filter(|text| !text.is_empty());
        if let Some(filter) = filter {
            self.merge_variables(vec![("log.filter".into(), RUST_LOG, filter)]);
        }
    }

    fn merge_variables(&mut self, variables: Vec<(String, &str, &str)>) {
        let mut settings = Settings::new();
        for (key, name, value) in variables {
            if value.contains(char::REPLACEMENT_CHARACTER) {
                self.problem(key.clone(), "is not UTF-8".into(), Some(name));
            }
            let origin = Origin::Environment(name.to_owned());
            let value = Value::String(value.to_owned());
            settings.insert(key, Given { value, origin });
        }
        self.merge(settings);
    }

    /// Lays `layer` over the settings. A secret and its `_file` are one setting that can be given in two
    /// ways, so either overrides both.
    fn merge(&mut self, layer: Settings) {
        for key in self.secrets() {
            let file = format!("{key}_file");
            if layer.contains_key(&key) || layer.contains_key(&file) {
                self.settings.remove(&key);
                self.settings.remove(&file);
            }
            if is_set(&layer, &key) && is_set(&layer, &file) {
                let message = format!("is given twice, here and as {file}; keep one");
                let name = layer[&key].origin.variable().map(str::to_owned);
                self.problem(key, message, name.as_deref());
            }
        }
        self.settings.extend(layer);
    }

    /// The keys that can also be given as `_file`.
    fn secrets(&self) -> Vec<String> {
        let keys = self
            .known
            .iter()
            .filter_map(|key| key.strip_suffix("_file"));
        keys.map(str::to_owned).collect()
    }

    fn is_empty_section(&self, key: &str, value: &Value) -> bool {
        let section = format!("{key}.");
        value.as_table().is_some_and(Table::is_empty)
            && self.known.iter().any(|known| known.starts_with(&section))
    }

    fn problem(&mut self, key: String, message: String, variable: Option<&str>) {
        self.problems.push(ConfigProblem {
            key,
            message,
            variable: variable.map(str::to_owned),
        });
    }

    fn unknown(&self, key: &str, spell: impl Fn(&str) -> String) -> String {
        match self.nearest(key) {
            Some(near) => format!("is not a known key; did you mean {}?", spell(near)),
            None => "is not a known key".into(),
        }
    }

    fn nearest(&self, key: &str) -> Option<&str> {
        let distance = |known: &str| match known.strip_prefix(key) {
            // `access_ttl` for `access_ttl_seconds`.
            Some(rest) if rest.starts_with('_') => 1,
            _ => strsim::osa_distance(known, key),
        };
        let distances = self.known.iter().map(|known| (distance(known), known));
        let (distance, known) = distances.min()?;
        (distance <= NEAR).then_some(known)
    }
}

fn is_set(layer: &Settings, key: &str) -> bool {
    let value = layer.get(key).map(|given| &given.value);
    value.is_some_and(|value| value.as_str() != Some(""))
}

fn layer(pairs: Vec<(String, Value)>, origin: &Origin) -> Settings {
    let given = |value| Given {
        value,
        origin: origin.clone(),
    };
    let pairs = pairs.into_iter();
    pairs.map(|(key, value)| (key, given(value))).collect()
}
