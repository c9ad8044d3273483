//! Kinds of hashes as they are stored beside their hashes: written like the beginning of a PHC string, such as
//! `$argon2id$v=19$m=19456,t=2,p=1`, `$2b$10`, `$pbkdf2-sha256$1000000`.

use std::fmt;
use std::str::FromStr;

use argon2::Algorithm;

use super::kind::{Digest, Kind};
use super::refusal::Flaw;
use super::text;
use crate::domain::HashKind;

/// Lanes that a hash of Argon2 may have: each is computed after the other.
const LANES: std::ops::RangeInclusive<u32> = 1..=64;

impl Kind {
    /// The kind that a stored text tells, if it is known.
    pub(super) fn read(stored: &HashKind) -> Option<Self> {
        stored.as_str().parse().ok()
    }
}

impl From<Kind> for HashKind {
    fn from(kind: Kind) -> Self {
        Self::new(kind.to_string())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Kind::Argon2 {
                variant,
                version,
                memory_kib,
                passes,
                lanes,
            } => write!(
                f,
                "${variant}$v={version}$m={memory_kib},t={passes},p={lanes}"
            ),
            Kind::Bcrypt { cost } => write!(f, "$2b${cost:02}"),
            Kind::Scrypt { log_n, r, p } => write!(f, "$scrypt$ln={log_n},r={r},p={p}"),
            Kind::Phpass { log_rounds, .. } => write!(f, "${}${log_rounds}", self.algorithm()),
            Kind::Pbkdf2 { rounds, .. } | Kind::ShaCrypt { rounds, .. } => {
                write!(f, "${}${rounds}", self.algorithm())
            }
            Kind::Salted { digest } => write!(f, "$digest${}", digest.name()),
        }
    }
}

impl FromStr for Kind {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let mut parts = text.strip_prefix('$').ok_or(Flaw::Parts)?.split('$');
        let algorithm = parts.next().ok_or(Flaw::Parts)?;
        let parameters: Vec<&str> = parts.collect();
        if let Some(variant) = argon2_variant(algorithm) {
            return read_argon2(variant, &parameters).map(|(kind, _)| kind);
        }
        let [parameters] = parameters[..] else {
            return Err(Flaw::Parts);
        };
        let digest = |name| Digest::named(name).ok_or(Flaw::Parts);
        Ok(match algorithm {
            "2a" | "2b" | "2y" => Kind::Bcrypt {
                cost: text::number_from("the cost", parameters.trim_start_matches('0'))?,
            },
            "scrypt" => {
                let [log_n, r, p] = text::parameters(parameters, ["ln", "r", "p"])?;
                let log_n = u8::try_from(text::number_from("ln", log_n)?);
                Kind::Scrypt {
                    log_n: log_n.map_err(|_| Flaw::Parts)?,
                    r: text::number_from("r", r)?,
                    p: text::number_from("p", p)?,
                }
            }
            "digest" => Kind::Salted {
                digest: digest(parameters)?,
            },
            _ => {
                let number = text::number_from("rounds", parameters)?;
                if let Some(name) = algorithm.strip_prefix("pbkdf2-") {
                    Kind::Pbkdf2 {
                        digest: digest(name)?,
                        rounds: number,
                    }
                } else if let Some(name) = algorithm.strip_prefix("phpass-") {
                    Kind::Phpass {
                        digest: digest(name)?,
                        log_rounds: u8::try_from(number).map_err(|_| Flaw::Parts)?,
                    }
                } else if let Some(name) = algorithm.strip_suffix("-crypt") {
                    Kind::ShaCrypt {
                        digest: digest(name)?,
                        rounds: number,
                    }
                } else {
                    return Err(Flaw::Parts);
                }
            }
        })
    }
}

/// Bytes that some libraries mix in, and write into the hash.
#[derive(Default)]
pub(super) struct Extras<'a> {
    pub(super) key_id: Option<&'a str>,
    pub(super) data: Option<&'a str>,
}

/// The variant of Argon2 that a name stands for.
pub(super) fn argon2_variant(name: &str) -> Option<&'static str> {
    Algorithm::new(name)
        .ok()
        .map(|algorithm| algorithm.as_str())
}

/// The kind that the parts of a PHC string before its salt tell.
pub(super) fn read_argon2<'a>(
    variant: &'static str,
    parts: &[&'a str],
) -> Result<(Kind, Extras<'a>), Flaw> {
    let (version, parameters) = match parts {
        [version] if version.starts_with("v=") => return Err(Flaw::Missing("m")),
        [parameters] => ("16", parameters),
        [version, parameters] => (version.strip_prefix("v=").ok_or(Flaw::Parts)?, parameters),
        _ => return Err(Flaw::Parts),
    };
    let version = match version {
        "16" => 16,
        "19" => 19,
        _ => return Err(Flaw::UnknownVersion),
    };
    let names = ["m", "t", "p", "keyid", "data"];
    let [memory, passes, lanes, key_id, data] = text::optional_parameters(parameters, names)?;
    let kind = Kind::Argon2 {
        variant,
        version,
        memory_kib: text::number_from("m", memory.ok_or(Flaw::Missing("m"))?)?,
        passes: text::number("t", passes.ok_or(Flaw::Missing("t"))?, 1..=u32::MAX)?,
        lanes: lanes.map_or(Ok(1), |lanes| text::number("p", lanes, LANES))?,
    };
    Ok((kind, Extras { key_id, data }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_back_from_its_text() {
        for text in [
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2i$v=16$m=64,t=3,p=2",
            "$2b$04",
            "$2b$13",
            "$pbkdf2-sha1$1000",
            "$pbkdf2-sha256$1000000",
            "$pbkdf2-sha512$25000",
            "$scrypt$ln=14,r=8,p=1",
            "$phpass-md5$13",
            "$phpass-sha512$15",
            "$sha256-crypt$5000",
            "$sha512-crypt$5000",
            "$digest$sha1",
            "$digest$sha512",
        ] {
            let kind: Kind = text.parse().unwrap_or_else(|flaw| panic!("{text}: {flaw}"));
            assert_eq!(kind.to_string(), text);
        }
    }

    /// These are written by the migration and by the release before.
    #[test]
    fn a_kind_in_the_words_of_its_service_is_the_same_kind() {
        for (text, same) in [
            ("$2y$10", "$2b$10"),
            ("$2a$04", "$2b$04"),
            ("$argon2id$v=19$p=1,t=2,m=64", "$argon2id$v=19$m=64,t=2,p=1"),
            ("$argon2i$m=64,t=2", "$argon2i$v=16$m=64,t=2,p=1"),
            (
                "$argon2id$v=19$m=64,t=2,p=1,data=Y3R4",
                "$argon2id$v=19$m=64,t=2,p=1",
            ),
        ] {
            assert_eq!(text.parse::<Kind>(), same.parse::<Kind>(), "{text}");
        }
        for text in [
            "",
            "$",
            "secret",
            "$argon2id$v=19$m=64",
            "$2b$",
            "$1$2",
            "$digest$crc",
        ] {
            assert!(text.parse::<Kind>().is_err(), "{text}");
        }
    }

    #[test]
    fn memory_is_that_of_the_algorithm() {
        let memory = |text: &str| text.parse::<Kind>().unwrap().memory_kib();
        assert_eq!(memory("$argon2id$v=19$m=65536,t=3,p=4"), 65_536);
        assert_eq!(memory("$scrypt$ln=14,r=16,p=1"), 32 * 1024 + 2);
        assert_eq!(memory("$scrypt$ln=17,r=8,p=1"), 128 * 1024 + 1);
        assert_eq!(memory("$scrypt$ln=255,r=4294967295,p=4294967295"), u32::MAX);
        assert_eq!(memory("$pbkdf2-sha256$1000000"), 0);
    }
}
