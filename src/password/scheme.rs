//! The hash formats: Argon2id as it is made here, and the formats of older services.

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::config::PasswordsConfig;
use crate::domain::{PasswordHash, PlainPassword};

/// The algorithm of new hashes.
const KIND: (Algorithm, Version) = (Algorithm::Argon2id, Version::V0x13);

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// The most expensive hash that can be imported: a sign-in must not cost more than a few seconds.
const MAX_IMPORTED_MEMORY_KIB: u32 = 262_144;
const MAX_IMPORTED_PASSES: u32 = 10;
const MAX_IMPORTED_BCRYPT_COST: u32 = 13;

/// Why a stored hash cannot be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedHash {
    /// Neither a PHC string of Argon2 nor `$2y$`/`$2b$`.
    #[error("not an argon2 or bcrypt hash")]
    Unknown,
    /// It would take too much memory or time to check.
    #[error("its cost is too high")]
    TooExpensive,
}

/// The scheme of a hash and its parameters: the time of a check depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cost {
    /// The scheme: `argon2id` or `bcrypt`, say.
    pub(super) scheme: &'static str,
    /// The work that the parameters ask for. It orders the hashes of one scheme.
    pub(super) work: u64,
    /// The parameters.
    details: [u32; 3],
}

/// A stored hash, parsed.
pub(super) enum Scheme<'a> {
    Argon2 {
        /// The context does not give it back.
        kind: (Algorithm, Version),
        context: Argon2<'static>,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Bcrypt {
        text: &'a str,
        cost: u32,
    },
}

impl<'a> Scheme<'a> {
    pub(super) fn parse(stored: &'a PasswordHash) -> Result<Self, UnsupportedHash> {
        let text = stored.expose();
        if ["$2y$", "$2b$", "$2a$"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| UnsupportedHash::Unknown)?;
            let cost = parts.get_cost();
            return Ok(Self::Bcrypt { text, cost });
        }
        let parsed = phc::PasswordHash::new(text).map_err(|_| UnsupportedHash::Unknown)?;
        let algorithm =
            Algorithm::try_from(parsed.algorithm.as_str()).map_err(|_| UnsupportedHash::Unknown)?;
        let version = match parsed.version {
            Some(version) => Version::try_from(version).map_err(|_| UnsupportedHash::Unknown)?,
            None => Version::V0x10,
        };
        let params = Params::try_from(&parsed).map_err(|_| UnsupportedHash::Unknown)?;
        let (Some(salt), Some(hash)) = (parsed.salt, parsed.hash) else {
            return Err(UnsupportedHash::Unknown);
        };
        Ok(Self::Argon2 {
            kind: (algorithm, version),
            context: Argon2::new(algorithm, version, params),
            salt: salt.as_ref().to_vec(),
            hash: hash.as_bytes().to_vec(),
        })
    }

    /// Whether a match of these bytes leaves open whether they are the whole password. Bcrypt ignores
    /// everything after 72 bytes, of which the last can be the zero that ends a shorter password, and
    /// repeats a shorter password with that zero behind it. Then the typed text is not known to be the
    /// password, and must not become the password.
    pub(super) fn cuts(&self, password: &[u8]) -> bool {
        matches!(self, Self::Bcrypt { .. }) && (password.len() >= 72 || password.contains(&0))
    }

    /// Whether this is weaker than, or another format than, what [`make`] makes today.
    pub(super) fn is_outdated(&self, config: &PasswordsConfig) -> bool {
        let Self::Argon2 {
            kind,
            context,
            hash,
            ..
        } = self
        else {
            return true;
        };
        let params = context.params();
        let is_as_made_now = *kind == KIND
            && params.m_cost() >= config.memory_kib
            && params.t_cost() >= config.iterations
            && params.p_cost() == config.parallelism
            && hash.len() == HASH_BYTES;
        !is_as_made_now
    }

    /// The memory that a check takes, in KiB.
    pub(super) fn memory_kib(&self) -> u32 {
        match self {
            Self::Argon2 { context, .. } => context.params().m_cost(),
            Self::Bcrypt { .. } => 4,
        }
    }

    pub(super) fn cost(&self) -> Cost {
        match self {
            Self::Argon2 { kind, context, .. } => cost_of(*kind, context),
            Self::Bcrypt { cost, .. } => Cost {
                scheme: "bcrypt",
                work: 1 << cost.min(&63),
                details: [*cost, 0, 0],
            },
        }
    }

    /// Computes the hash of one form of a password in `memory` and compares.
    pub(super) fn verify(
        &self,
        password: &[u8],
        memory: &mut [Block],
    ) -> Result<bool, OutOfMemory> {
        match self {
            Self::Argon2 {
                context,
                salt,
                hash,
                ..
            } => {
                let mut computed = vec![0; hash.len()];
                Ok(fill(context, password, salt, &mut computed, memory)?
                    && verify_slices_are_equal(&computed, hash).is_ok())
            }
            Self::Bcrypt { text, .. } => Ok(bcrypt::verify(password, text).unwrap_or(false)),
        }
    }
}

/// There is no memory for a hash that needs more than a slot has.
#[derive(Debug)]
pub(super) struct OutOfMemory;

/// Computes in the slot's memory. A hash that needs more than the slot has gets memory of its own for this
/// check, if there is any. `false` if there can be no hash with these parameters.
fn fill(
    context: &Argon2<'_>,
    password: &[u8],
    salt: &[u8],
    out: &mut [u8],
    memory: &mut [Block],
) -> Result<bool, OutOfMemory> {
    let computed = if context.params().block_count() <= memory.len() {
        context.hash_password_into_with_memory(password, salt, out, memory)
    } else {
        context.hash_password_into(password, salt, out)
    };
    match computed {
        Ok(()) => Ok(true),
        Err(argon2::Error::OutOfMemory) => Err(OutOfMemory),
        Err(_) => Ok(false),
    }
}

/// The cost of checking a hash that is made with `context` today.
pub(super) fn todays_cost(context: &Argon2<'_>) -> Cost {
    cost_of(KIND, context)
}

fn cost_of((algorithm, version): (Algorithm, Version), context: &Argon2<'_>) -> Cost {
    let params = context.params();
    Cost {
        scheme: algorithm.as_str(),
        work: u64::from(params.m_cost()) * u64::from(params.t_cost()),
        details: [params.m_cost(), params.p_cost(), version.into()],
    }
}

/// A hash of a kind, which is given as the text before the salt. A check of it costs what a check of any
/// hash of the kind costs.
pub(super) fn sample(kind: &str) -> PasswordHash {
    let tail = if kind.starts_with("$argon2") {
        "$c29tZXNhbHRzb21lc2FsdA$PGnVoCdKU3NrS0rdJ4bQkAFYR6pk1CuiXvOvIJ+gJFs"
    } else {
        "$NcIb7vmIlIvS9gnEa0xkR.cZ5QwPt4sBzqGWs3rRkOeE2cPn3pKQe"
    };
    PasswordHash::new(format!("{kind}{tail}"))
}

/// The context that new hashes are made with.
pub(super) fn context(config: &PasswordsConfig) -> Argon2<'static> {
    let params = Params::new(
        config.memory_kib,
        config.iterations,
        config.parallelism,
        Some(HASH_BYTES),
    )
    .expect("a checked configuration holds valid Argon2 parameters");
    Argon2::new(KIND.0, KIND.1, params)
}

/// Makes the hash of a password, as a PHC string.
pub(super) fn make(
    context: &Argon2<'_>,
    password: &PlainPassword,
    memory: &mut [Block],
) -> PasswordHash {
    make_of(context, password.expose(), memory)
}

/// Makes the hash of bytes, as a PHC string.
pub(super) fn make_of(context: &Argon2<'_>, password: &[u8], memory: &mut [Block]) -> PasswordHash {
    let (mut salt, mut hash) = ([0; SALT_BYTES], [0; HASH_BYTES]);
    rand::fill(&mut salt).expect("the operating system gives randomness");
    let filled = fill(context, password, &salt, &mut hash, memory);
    assert!(
        matches!(filled, Ok(true)),
        "Argon2 takes any password of up to 1024 bytes, and a slot has the memory"
    );
    let params = context.params();
    PasswordHash::new(format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        params.m_cost(),
        params.t_cost(),
        params.p_cost(),
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash),
    ))
}

/// Checks that a hash of another service can be imported: a known format of bounded cost.
pub fn check_importable(stored: &PasswordHash) -> Result<(), UnsupportedHash> {
    let is_cheap_enough = match Scheme::parse(stored)? {
        Scheme::Argon2 { context, .. } => {
            context.params().m_cost() <= MAX_IMPORTED_MEMORY_KIB
                && context.params().t_cost() <= MAX_IMPORTED_PASSES
        }
        Scheme::Bcrypt { cost, .. } => cost <= MAX_IMPORTED_BCRYPT_COST,
    };
    if is_cheap_enough {
        Ok(())
    } else {
        Err(UnsupportedHash::TooExpensive)
    }
}

/// Whether all hashes of a kind need more memory than a worker has; the kind is the text before the salt.
#[must_use]
pub fn kind_outgrows_worker(kind: &str, config: &PasswordsConfig) -> bool {
    outgrows_worker(&sample(kind), config)
}

/// Whether a check of this hash takes more memory than a worker has with this configuration.
#[must_use]
pub fn outgrows_worker(stored: &PasswordHash, config: &PasswordsConfig) -> bool {
    Scheme::parse(stored).is_ok_and(|scheme| scheme.memory_kib() > config.memory_kib)
}
