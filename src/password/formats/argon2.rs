//! Argon2 in a PHC string, as most libraries write it (RFC 9106).

use argon2::{Algorithm, AssociatedData, KeyId, ParamsBuilder, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::super::kind::Kind;
use super::super::kind_text::{Extras, argon2_variant, read_argon2};
use super::super::make::is_as_made_today;
use super::super::refusal::Flaw;
use super::super::slot::{OutOfMemory, Parameters, Slot};
use super::super::stored_hash::{Reading, StoredHash, reading};
use super::super::text;
use crate::config::PasswordsConfig;

const FORMAT: &str = "argon2";

const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=48;
const HASH_BYTES: std::ops::RangeInclusive<usize> = 10..=64;

/// A hash of Argon2.
pub(super) struct Argon2Hash {
    kind: Kind,
    parameters: Parameters,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Hash {
    /// A hash of a kind that no password is known for.
    pub(super) fn sample(kind: Kind) -> Option<Self> {
        Some(Self {
            kind,
            parameters: parameters(kind, &Extras::default()).ok()?,
            salt: vec![0; 16],
            hash: vec![0; 32],
        })
    }
}

impl StoredHash for Argon2Hash {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn verify(&self, password: &[u8], slot: &mut Slot) -> Result<bool, OutOfMemory> {
        let mut computed = vec![0; self.hash.len()];
        let is_filled = slot.fill(&self.parameters, password, &self.salt, &mut computed)?;
        Ok(is_filled && verify_slices_are_equal(&computed, &self.hash).is_ok())
    }

    fn is_outdated(&self, config: &PasswordsConfig) -> bool {
        !is_as_made_today(self.kind, self.hash.len(), config)
    }
}

pub(super) fn read(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("$argon2")?;
    let (suffix, rest) = rest.split_once('$').unwrap_or((rest, ""));
    let variant = argon2_variant(&format!("argon2{suffix}")).ok_or(Flaw::UnknownVersion);
    let read = variant.and_then(|variant| read_parts(variant, rest));
    Some(reading(FORMAT, read))
}

fn read_parts(variant: &'static str, rest: &str) -> Result<Argon2Hash, Flaw> {
    let parts: Vec<&str> = rest.split('$').collect();
    let [before @ .., salt, hash] = &parts[..] else {
        return Err(Flaw::Parts);
    };
    let (kind, extras) = read_argon2(variant, before)?;
    Ok(Argon2Hash {
        kind,
        parameters: parameters(kind, &extras)?,
        salt: text::base64("the salt", salt, SALT_BYTES)?,
        hash: text::base64("the hash", hash, HASH_BYTES)?,
    })
}

fn parameters(kind: Kind, extras: &Extras<'_>) -> Result<Parameters, Flaw> {
    let Kind::Argon2 {
        variant,
        version,
        memory_kib,
        passes,
        lanes,
    } = kind
    else {
        return Err(Flaw::Parts);
    };
    if memory_kib < 8 * lanes {
        return Err(Flaw::MemoryBelowLanes);
    }
    let mut params = ParamsBuilder::new();
    params.m_cost(memory_kib).t_cost(passes).p_cost(lanes);
    if let Some(data) = extras.data {
        let data = AssociatedData::from_b64(data).map_err(|_| Flaw::NotBase64("data"))?;
        params.data(data);
    }
    if let Some(key_id) = extras.key_id {
        params.keyid(KeyId::from_b64(key_id).map_err(|_| Flaw::NotBase64("keyid"))?);
    }
    let algorithm = Algorithm::new(variant).map_err(|_| Flaw::UnknownVersion)?;
    let version = Version::try_from(version).map_err(|_| Flaw::UnknownVersion)?;
    let params = params.build().map_err(|_| Flaw::Parts)?;
    Ok(Parameters::new(algorithm, version, params))
}
