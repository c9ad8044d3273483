//! The configuration of the benches that work in their own process.

use backoffice_auth::config::Config;

/// The defaults, and on this database what has none.
pub fn config(database_url: &str) -> anyhow::Result<Config> {
    let settings = [
        ("DATABASE__URL", database_url),
        (
            "SECRETS__MASTER_KEY",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ),
        ("TOKENS__ISSUER", "https://auth.example.com"),
        ("MAIL__TRANSPORT", "log"),
    ];
    let environment =
        settings.map(|(name, value)| (format!("BACKOFFICE_AUTH__{name}"), value.to_owned()));
    Ok(Config::load(None, environment)?.config)
}
