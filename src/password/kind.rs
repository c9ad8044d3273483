//! Kinds of hashes: an algorithm with its parameters. They tell what a check costs.
//!
//! A kind is stored beside its hash, written like the beginning of a PHC string:
//! `$argon2id$v=19$m=19456,t=2,p=1`, `$2b$10`, `$pbkdf2-sha256$1000000`. Two formats that compute the same are of
//! one kind.

use std::fmt;
use std::str::FromStr;

use super::formats::{argon2, text};
use super::refusal::{Flaw, UnsupportedHash};
use crate::config::PasswordsConfig;
use crate::domain::HashKind;

/// The most expensive hashes that can be imported: a sign-in must not cost more than a few seconds.
const MAX_ARGON2_PASSES: u64 = 10;
const MAX_BCRYPT_COST: u64 = 13;
const MAX_PBKDF2_ROUNDS: u64 = 8_000_000;
const MAX_SCRYPT_WORK: u64 = 1 << 22;
const MAX_PHPASS_LOG_ROUNDS: u64 = 20;
const MAX_SHA_CRYPT_ROUNDS: u64 = 1_000_000;

/// A digest, by itself or within an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Digest {
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    /// The length of its output, in bytes.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The digest of a name as others write it, in lower case.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "md5" => Some(Self::Md5),
            "sha1" => Some(Self::Sha1),
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// An algorithm with its parameters: the time and the memory of a check depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Argon2 {
        /// `argon2id`, `argon2i` or `argon2d`.
        variant: &'static str,
        version: u32,
        memory_kib: u32,
        passes: u32,
        lanes: u32,
    },
    Bcrypt {
        cost: u32,
    },
    Pbkdf2 {
        digest: Digest,
        /// Iterations, times the blocks of the output.
        rounds: u32,
    },
    Scrypt {
        log_n: u8,
        r: u32,
        p: u32,
    },
    Phpass {
        digest: Digest,
        log_rounds: u8,
    },
    ShaCrypt {
        digest: Digest,
        rounds: u32,
    },
    /// One digest of the password and a salt.
    Salted {
        digest: Digest,
    },
}

impl Kind {
    /// The kind that a stored text tells, if it is known.
    pub(super) fn read(stored: &HashKind) -> Option<Self> {
        stored.as_str().parse().ok()
    }

    /// The algorithm. Within one, [`work`](Self::work) orders the kinds.
    pub(super) fn algorithm(self) -> &'static str {
        match self {
            Self::Argon2 { variant, .. } => variant,
            Self::Bcrypt { .. } => "bcrypt",
            Self::Scrypt { .. } => "scrypt",
            Self::Pbkdf2 { digest, .. } => match digest {
                Digest::Md5 | Digest::Sha1 => "pbkdf2-sha1",
                Digest::Sha256 => "pbkdf2-sha256",
                Digest::Sha512 => "pbkdf2-sha512",
            },
            Self::Phpass { digest, .. } => match digest {
                Digest::Sha512 => "phpass-sha512",
                _ => "phpass-md5",
            },
            Self::ShaCrypt { digest, .. } => match digest {
                Digest::Sha256 => "sha256-crypt",
                _ => "sha512-crypt",
            },
            Self::Salted { .. } => "digest",
        }
    }

    /// The work that the parameters ask for.
    pub(super) fn work(self) -> u64 {
        match self {
            Self::Argon2 {
                memory_kib, passes, ..
            } => u64::from(memory_kib) * u64::from(passes),
            Self::Bcrypt { cost } => 1 << cost.min(63),
            Self::Pbkdf2 { rounds, .. } | Self::ShaCrypt { rounds, .. } => u64::from(rounds),
            Self::Scrypt { log_n, r, p } => scrypt_units(log_n, r).saturating_mul(u64::from(p)),
            Self::Phpass { log_rounds, .. } => 1 << log_rounds.min(63),
            Self::Salted { digest } => digest.len() as u64,
        }
    }

    /// The memory that a check takes, in KiB.
    pub(super) fn memory_kib(self) -> u32 {
        match self {
            Self::Argon2 { memory_kib, .. } => memory_kib,
            Self::Scrypt { log_n, r, p } => {
                let blocks = scrypt_units(log_n, r).saturating_add(u64::from(r) * u64::from(p));
                u32::try_from(blocks.div_ceil(8)).unwrap_or(u32::MAX)
            }
            Self::Bcrypt { .. }
            | Self::Pbkdf2 { .. }
            | Self::Phpass { .. }
            | Self::ShaCrypt { .. }
            | Self::Salted { .. } => 0,
        }
    }

    /// The memory that a check takes beside a worker's, in KiB. Argon2 alone computes in the worker's, if that
    /// suffices.
    pub(super) fn foreign_memory_kib(self, config: &PasswordsConfig) -> u32 {
        match self {
            Self::Argon2 { memory_kib, .. } if memory_kib <= config.memory_kib => 0,
            _ => self.memory_kib(),
        }
    }

    /// Whether one digest protects the password, so that a stolen hash is soon broken.
    pub(super) fn is_fast(self) -> bool {
        matches!(self, Self::Salted { .. })
    }

    /// Checks that such a hash may be imported: it takes neither too long nor too much memory.
    pub(super) fn check_importable(self, config: &PasswordsConfig) -> Result<(), UnsupportedHash> {
        self.check_time()?;
        let (needs, budget) = (
            self.foreign_memory_kib(config),
            config.imported_memory_kib(),
        );
        if needs > budget {
            return Err(UnsupportedHash::TooLarge {
                needs_mib: needs.div_ceil(1024),
                budget_mib: config.imported_memory_mib,
            });
        }
        Ok(())
    }

    fn check_time(self) -> Result<(), UnsupportedHash> {
        let (parameter, value, max) = match self {
            Self::Argon2 { passes, .. } => ("t", u64::from(passes), MAX_ARGON2_PASSES),
            Self::Bcrypt { cost } => ("the cost", u64::from(cost), MAX_BCRYPT_COST),
            Self::Pbkdf2 { rounds, .. } => {
                ("iterations × blocks", u64::from(rounds), MAX_PBKDF2_ROUNDS)
            }
            Self::Scrypt { .. } => ("N·r·p", self.work(), MAX_SCRYPT_WORK),
            Self::Phpass { log_rounds, .. } => (
                "the logarithm of the rounds",
                u64::from(log_rounds),
                MAX_PHPASS_LOG_ROUNDS,
            ),
            Self::ShaCrypt { rounds, .. } => ("rounds", u64::from(rounds), MAX_SHA_CRYPT_ROUNDS),
            Self::Salted { .. } => return Ok(()),
        };
        if value > max {
            return Err(UnsupportedHash::TooExpensive {
                parameter,
                value,
                max,
            });
        }
        Ok(())
    }
}

/// Blocks of 128 bytes that scrypt fills.
fn scrypt_units(log_n: u8, r: u32) -> u64 {
    (1_u64 << log_n.min(40)).saturating_mul(u64::from(r))
}

impl From<Kind> for HashKind {
    fn from(kind: Kind) -> Self {
        Self::new(kind.to_string())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Argon2 {
                variant,
                version,
                memory_kib,
                passes,
                lanes,
            } => write!(
                f,
                "${variant}$v={version}$m={memory_kib},t={passes},p={lanes}"
            ),
            Self::Bcrypt { cost } => write!(f, "$2b${cost:02}"),
            Self::Scrypt { log_n, r, p } => write!(f, "$scrypt$ln={log_n},r={r},p={p}"),
            Self::Phpass { log_rounds, .. } => write!(f, "${}${log_rounds}", self.algorithm()),
            Self::Pbkdf2 { rounds, .. } | Self::ShaCrypt { rounds, .. } => {
                write!(f, "${}${rounds}", self.algorithm())
            }
            Self::Salted { digest } => write!(f, "$digest${}", digest.name()),
        }
    }
}

impl FromStr for Kind {
    type Err = Flaw;

    fn from_str(text: &str) -> Result<Self, Flaw> {
        let mut parts = text.strip_prefix('$').ok_or(Flaw::Parts)?.split('$');
        let algorithm = parts.next().ok_or(Flaw::Parts)?;
        let parameters: Vec<&str> = parts.collect();
        if let Some(variant) = argon2::variant(algorithm) {
            return argon2::kind(variant, &parameters);
        }
        let [parameters] = parameters[..] else {
            return Err(Flaw::Parts);
        };
        let digest = |name| Digest::named(name).ok_or(Flaw::Parts);
        Ok(match algorithm {
            "2a" | "2b" | "2y" => Self::Bcrypt {
                cost: text::number_from("the cost", parameters.trim_start_matches('0'))?,
            },
            "scrypt" => {
                let [log_n, r, p] = text::parameters(parameters, ["ln", "r", "p"])?;
                let log_n = u8::try_from(text::number_from("ln", log_n)?);
                Self::Scrypt {
                    log_n: log_n.map_err(|_| Flaw::Parts)?,
                    r: text::number_from("r", r)?,
                    p: text::number_from("p", p)?,
                }
            }
            "digest" => Self::Salted {
                digest: digest(parameters)?,
            },
            _ => {
                let number = text::number_from("rounds", parameters)?;
                if let Some(name) = algorithm.strip_prefix("pbkdf2-") {
                    Self::Pbkdf2 {
                        digest: digest(name)?,
                        rounds: number,
                    }
                } else if let Some(name) = algorithm.strip_prefix("phpass-") {
                    Self::Phpass {
                        digest: digest(name)?,
                        log_rounds: u8::try_from(number).map_err(|_| Flaw::Parts)?,
                    }
                } else if let Some(name) = algorithm.strip_suffix("-crypt") {
                    Self::ShaCrypt {
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
