//! Kinds of hashes: an algorithm with its parameters. They tell what a check costs. Two formats that compute the same
//! are of one kind.

use super::refusal::UnsupportedHash;
use crate::config::PasswordsConfig;

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

    pub(super) fn name(self) -> &'static str {
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
