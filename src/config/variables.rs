//! Which environment variable sets which key.

/// The beginning of every variable of ours. It has one underscore more than the variables that Kubernetes
/// puts into every pod for a service of that name (`BACKOFFICE_AUTH_SERVICE_HOST`).
const PREFIX: &str = "BACKOFFICE_AUTH__";

/// The variable that every other tool reads for the same purpose.
pub(super) const DATABASE_URL: &str = "DATABASE_URL";

/// The variable that programs in Rust read for what is logged. It wins over everything else, as everywhere.
pub(super) const RUST_LOG: &str = "RUST_LOG";

/// The environment of this process, for [`Config::load`](super::Config::load).
///
/// A value that is not UTF-8 arrives with U+FFFD in place of the wrong bytes, and is refused there if it
/// is one of ours; `std::env::vars` would panic over any variable.
pub fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok()?;
        Some((name, value.to_string_lossy().into_owned()))
    })
}

/// The variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The key that a variable of ours sets, whether there is such a key or not.
pub(super) fn key_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    Some(rest.replace("__", ".").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_the_process_can_be_read() {
        assert!(process_environment().any(|(name, _)| name == "PATH"));
    }
}
