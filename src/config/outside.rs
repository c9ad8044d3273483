//! Variables that libraries read from the environment by themselves. They are no keys of ours, but they have
//! an effect.

use std::collections::BTreeMap;

use secrecy::ExposeSecret as _;
use toml::Value;
use url::Url;

use super::redact::REDACTED;
use super::setting::{Entry, Origin};
use super::types::Config;

/// The variables that the database's driver reads if `database.url` leaves a value open, and the parameters
/// of the URL that give it. The first variable of a group hides the next.
const OF_THE_DRIVER: [(&[&str], &[&str]); 8] = [
    (&["PGHOSTADDR", "PGHOST"], &["host", "hostaddr"]),
    (&["PGPORT"], &["port"]),
    (&["PGUSER"], &["user"]),
    (&["PGPASSWORD", "PGPASSFILE"], &["password"]),
    (&["PGDATABASE"], &["dbname"]),
    (&["PGSSLMODE"], &["sslmode", "ssl-mode"]),
    (
        &["PGSSLROOTCERT"],
        &["sslrootcert", "ssl-root-cert", "ssl-ca"],
    ),
    // The options of the URL are added to it.
    (&["PGOPTIONS"], &[]),
];

/// The variables that other libraries read.
const OF_OTHERS: &[&str] = &[
    "PGSSLCERT",
    "PGSSLKEY",
    #[cfg(feature = "otlp")]
    "OTEL_EXPORTER_OTLP_HEADERS",
    "TOKIO_WORKER_THREADS",
];

/// Variables whose value may be a secret.
const SECRETS: [&str; 4] = [
    "PGPASSWORD",
    "PGOPTIONS",
    "PGSSLKEY",
    "OTEL_EXPORTER_OTLP_HEADERS",
];

/// The variables that have an effect.
pub(super) fn entries(config: &Config, environment: &BTreeMap<String, String>) -> Vec<Entry> {
    let url = Url::parse(config.database.url.expose_secret()).ok();
    let is_set = |name: &&&str| environment.contains_key(**name);
    let of_the_driver = OF_THE_DRIVER.iter().filter_map(|(names, parameters)| {
        let is_said = url.as_ref().is_some_and(|url| says(url, parameters));
        names.iter().find(is_set).filter(|_| !is_said)
    });
    let of_others = OF_OTHERS.iter().filter(is_set);
    let entry = |name: &&str| Entry {
        key: (*name).to_owned(),
        value: Value::String(shown(name, &environment[*name])),
        origin: Origin::Environment((*name).to_owned()),
        holds: None,
    };
    of_the_driver.chain(of_others).map(entry).collect()
}

fn shown(name: &str, value: &str) -> String {
    if SECRETS.contains(&name) {
        REDACTED.to_owned()
    } else {
        value.to_owned()
    }
}

/// Whether a URL gives the value of one of these parameters.
fn says(url: &Url, parameters: &[&str]) -> bool {
    let in_place = match parameters.first() {
        Some(&"host") => url.host_str().is_some_and(|host| !host.is_empty()),
        Some(&"port") => url.port().is_some(),
        Some(&"user") => !url.username().is_empty(),
        Some(&"password") => url.password().is_some(),
        Some(&"dbname") => !url.path().trim_start_matches('/').is_empty(),
        _ => false,
    };
    in_place
        || url
            .query_pairs()
            .any(|(name, _)| parameters.contains(&&*name))
}

#[cfg(test)]
mod tests {
    use super::super::testing::with;
    use super::*;

    fn told(url: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let config = with(&[("database.url", url)]).unwrap();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let entries = entries(&config, &variables.iter().map(owned).collect());
        let told = entries
            .iter()
            .map(|entry| format!("{}={}", entry.key, entry.value));
        told.collect()
    }

    #[test]
    fn a_variable_that_the_driver_reads_is_told_if_it_counts() {
        let variables = [
            ("PGHOST", "db"),
            ("PGHOSTADDR", "10.0.0.1"),
            ("PGPORT", "5433"),
            ("PGUSER", "app"),
            ("PGPASSWORD", "hunter2"),
            ("PGDATABASE", "auth"),
            ("PGSSLMODE", "require"),
            ("HOME", "/root"),
        ];
        assert_eq!(
            told("postgres:///", &variables),
            [
                r#"PGHOSTADDR="10.0.0.1""#,
                r#"PGPORT="5433""#,
                r#"PGUSER="app""#,
                r#"PGPASSWORD="***""#,
                r#"PGDATABASE="auth""#,
                r#"PGSSLMODE="require""#
            ]
        );
        let all = "postgres://u:p@h:1/d?sslmode=disable";
        assert_eq!(told(all, &variables), [""; 0]);
        let others = "postgres:///?host=h&port=1&user=u&password=p&dbname=d&ssl-mode=disable";
        assert_eq!(told(others, &variables), [""; 0]);
        assert_eq!(
            told(all, &[("PGOPTIONS", "-c x=1")]),
            [r#"PGOPTIONS="***""#]
        );
    }
}
