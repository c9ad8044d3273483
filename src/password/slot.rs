//! The memory of a worker, and computing Argon2 in it.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use argon2_rust::params::{Memory, TagLen};
use argon2_rust::{Argon2 as Fast, Hasher};

/// There is no memory for a hash that needs more than a slot has.
#[derive(Debug)]
pub(super) struct OutOfMemory;

/// The parameters of a hash, beside the password and the salt.
#[derive(Clone)]
pub(super) struct Parameters {
    algorithm: Algorithm,
    version: Version,
    params: Params,
}

impl Parameters {
    pub(super) fn new(algorithm: Algorithm, version: Version, params: Params) -> Self {
        Self {
            algorithm,
            version,
            params,
        }
    }

    /// Algorithm and version.
    pub(super) fn variant(&self) -> String {
        format!("{} v={}", self.algorithm, u32::from(self.version))
    }

    pub(super) fn params(&self) -> &Params {
        &self.params
    }

    fn reference(&self) -> Argon2<'static> {
        Argon2::new(self.algorithm, self.version, self.params.clone())
    }

    /// `None` if there is no hash of this length with these parameters.
    fn fast(&self, hash_len: usize) -> Option<Fast> {
        let algorithm = match self.algorithm {
            Algorithm::Argon2d => argon2_rust::Algorithm::Argon2d,
            Algorithm::Argon2i => argon2_rust::Algorithm::Argon2i,
            Algorithm::Argon2id => argon2_rust::Algorithm::Argon2id,
        };
        let version = match self.version {
            Version::V0x10 => argon2_rust::Version::V0x10,
            Version::V0x13 => argon2_rust::Version::V0x13,
        };
        let params = argon2_rust::Params::builder()
            .memory(Memory::kib(self.params.m_cost().into()))
            .passes(self.params.t_cost())
            .lanes(self.params.p_cost())
            .threads(1)
            .tag_len(TagLen::bytes(hash_len as u64))
            .build();
        Some(Fast::new(algorithm, version, params.ok()?))
    }
}

/// Which library computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Library {
    /// `argon2-rust`.
    Fast,
    /// `argon2`.
    Reference,
}

/// The memory of one worker.
pub(super) enum Slot {
    /// Wiped after each hash.
    Fast(Box<Hasher>),
    Reference(Vec<Block>),
}

impl Slot {
    /// Memory for hashes of so many KiB, which is taken now.
    pub(super) fn new(library: Library, kib: u32) -> Self {
        match library {
            Library::Fast => Self::fast(kib),
            Library::Reference => Self::Reference(vec![Block::new(); kib as usize]),
        }
    }

    fn fast(kib: u32) -> Self {
        let params = argon2_rust::Params::builder()
            .memory(Memory::kib(kib.into()))
            .passes(1)
            .build()
            .expect("a checked configuration holds valid Argon2 parameters");
        let mut hasher = Fast::new(
            argon2_rust::Algorithm::Argon2id,
            argon2_rust::Version::V0x13,
            params,
        )
        .hasher();
        // A page that was never written is not taken yet, so this writes to all of them.
        hasher
            .hash_into(b"", &[0; 8], &mut [0; 32])
            .expect("there is memory for the workers");
        Self::Fast(Box::new(hasher))
    }

    fn kib(&self) -> usize {
        match self {
            Self::Fast(hasher) => hasher.reserved_blocks(),
            Self::Reference(blocks) => blocks.len(),
        }
    }

    /// Computes a hash. One that needs more memory than the slot has gets memory of its own for this once, if there is
    /// any. `false` if there can be no hash with these parameters.
    pub(super) fn fill(
        &mut self,
        parameters: &Parameters,
        password: &[u8],
        salt: &[u8],
        out: &mut [u8],
    ) -> Result<bool, OutOfMemory> {
        let fits = parameters.params.block_count() <= self.kib();
        match self {
            Self::Fast(hasher) => {
                let Some(fast) = parameters.fast(out.len()) else {
                    return Ok(false);
                };
                let data = parameters.params.data();
                let computed = if fits {
                    hasher.set_argon2(fast);
                    hasher.hash_into_with_ad(password, salt, &[], data, out)
                } else {
                    fast.hash_into_with_ad(password, salt, &[], data, out)
                };
                match computed {
                    Ok(()) => Ok(true),
                    Err(argon2_rust::Error::MemoryAllocationError) => Err(OutOfMemory),
                    Err(_) => Ok(false),
                }
            }
            Self::Reference(blocks) => {
                let reference = parameters.reference();
                let computed = if fits {
                    reference.hash_password_into_with_memory(password, salt, out, blocks)
                } else {
                    reference.hash_password_into(password, salt, out)
                };
                match computed {
                    Ok(()) => Ok(true),
                    Err(argon2::Error::OutOfMemory) => Err(OutOfMemory),
                    Err(_) => Ok(false),
                }
            }
        }
    }
}

/// Without memory: what is left where a slot was taken from.
impl Default for Slot {
    fn default() -> Self {
        Self::Reference(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use argon2::ParamsBuilder;

    use super::*;

    const LIBRARIES: [Library; 2] = [Library::Fast, Library::Reference];

    fn parameters(kib: u32, data: &[u8]) -> Parameters {
        let params = ParamsBuilder::new()
            .m_cost(kib)
            .t_cost(2)
            .p_cost(1)
            .data(argon2::AssociatedData::new(data).unwrap())
            .build();
        Parameters::new(Algorithm::Argon2id, Version::V0x13, params.unwrap())
    }

    fn hash(slot: &mut Slot, parameters: &Parameters) -> [u8; 32] {
        let mut out = [0; 32];
        let filled = slot.fill(parameters, b"password", b"somesalt", &mut out);
        assert!(filled.unwrap());
        out
    }

    /// Made by the reference implementation in C: `test.c`, version 0x13, `t = 2`, `m = 256`, `p = 1`.
    #[test]
    fn both_libraries_compute_the_hash_of_the_reference_implementation() {
        let expected = "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe";
        for library in LIBRARIES {
            let hash = hash(&mut Slot::new(library, 256), &parameters(256, b""));
            let hex = data_encoding::HEXLOWER.encode(&hash);
            assert_eq!(hex, expected, "{library:?}");
        }
    }

    #[test]
    fn both_libraries_agree_on_what_a_sign_in_costs_today() {
        let today = parameters(19_456, b"");
        let [fast, reference] = LIBRARIES.map(|library| {
            let mut slot = Slot::new(library, 19_456);
            [hash(&mut slot, &today), hash(&mut slot, &today)]
        });
        assert_eq!(fast, reference);
        assert_eq!(fast[0], fast[1]);
    }

    /// Red where a larger hash is computed in the slot, which would keep its memory.
    #[test]
    fn a_slot_keeps_its_memory_and_no_more_whatever_is_computed_in_it() {
        for library in LIBRARIES {
            let mut slot = Slot::new(library, 256);
            for kib in [256, 8, 1024, 64, 256, 4096] {
                hash(&mut slot, &parameters(kib, b"data"));
                assert_eq!(slot.kib(), 256, "{library:?}");
            }
        }
    }

    #[test]
    fn an_impossible_hash_is_none_and_no_lack_of_memory() {
        for library in LIBRARIES {
            let mut slot = Slot::new(library, 64);
            let mut fill = |salt: &[u8], out: &mut [u8]| {
                let filled = slot.fill(&parameters(64, b""), b"password", salt, out);
                filled.unwrap()
            };
            assert!(!fill(b"salt", &mut [0; 32]), "{library:?}");
            assert!(!fill(b"somesalt", &mut [0; 3]), "{library:?}");
            assert!(fill(b"somesalt", &mut [0; 4]), "{library:?}");
        }
    }
}
