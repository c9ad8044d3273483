//! Argon2 in a PHC string, as most libraries write it (RFC 9106).

use argon2::{Algorithm, AssociatedData, KeyId, ParamsBuilder, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::super::kind::Kind;
use super::super::refusal::Flaw;
use super::super::scheme::Scheme;
use super::super::slot::{OutOfMemory, Parameters, Slot};
use super::{Reading, malformed, text};

const FORMAT: &str = "argon2";

/// Lanes that a hash may have: each is computed after the other.
const LANES: std::ops::RangeInclusive<u32> = 1..=64;
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=48;
const HASH_BYTES: std::ops::RangeInclusive<usize> = 10..=64;

/// A hash of Argon2.
pub(in super::super) struct Argon2Hash {
    kind: Kind,
    parameters: Parameters,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon2Hash {
    /// A hash of a kind that no password is known for.
    pub(in super::super) fn sample(kind: Kind) -> Option<Self> {
        Some(Self {
            kind,
            parameters: parameters(kind, &Extras::default()).ok()?,
            salt: vec![0; 16],
            hash: vec![0; 32],
        })
    }

    pub(in super::super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The length of the hash, in bytes.
    pub(in super::super) fn hash_len(&self) -> usize {
        self.hash.len()
    }

    pub(in super::super) fn matches(
        &self,
        password: &[u8],
        slot: &mut Slot,
    ) -> Result<bool, OutOfMemory> {
        let mut computed = vec![0; self.hash.len()];
        let is_filled = slot.fill(&self.parameters, password, &self.salt, &mut computed)?;
        Ok(is_filled && verify_slices_are_equal(&computed, &self.hash).is_ok())
    }
}

/// Bytes that some libraries mix in, and write into the hash.
#[derive(Default)]
struct Extras<'a> {
    key_id: Option<&'a str>,
    data: Option<&'a str>,
}

/// The variant of a name.
pub(in super::super) fn variant(name: &str) -> Option<&'static str> {
    Algorithm::new(name)
        .ok()
        .map(|algorithm| algorithm.as_str())
}

pub(super) fn read(stored: &str) -> Option<Reading> {
    let rest = stored.strip_prefix("$argon2")?;
    let (suffix, rest) = rest.split_once('$').unwrap_or((rest, ""));
    let Some(variant) = variant(&format!("argon2{suffix}")) else {
        return Some(Err(malformed(FORMAT, Flaw::UnknownVersion)));
    };
    Some(read_parts(variant, rest).map_err(|flaw| malformed(FORMAT, flaw)))
}

fn read_parts(variant: &'static str, rest: &str) -> Result<Scheme, Flaw> {
    let parts: Vec<&str> = rest.split('$').collect();
    let [before @ .., salt, hash] = &parts[..] else {
        return Err(Flaw::Parts);
    };
    let (kind, extras) = read_kind(variant, before)?;
    Ok(Scheme::Argon2(Argon2Hash {
        kind,
        parameters: parameters(kind, &extras)?,
        salt: text::base64("the salt", salt, SALT_BYTES)?,
        hash: text::base64("the hash", hash, HASH_BYTES)?,
    }))
}

/// The kind that the parts before the salt tell.
pub(in super::super) fn kind(variant: &'static str, parts: &[&str]) -> Result<Kind, Flaw> {
    read_kind(variant, parts).map(|(kind, _)| kind)
}

fn read_kind<'a>(variant: &'static str, parts: &[&'a str]) -> Result<(Kind, Extras<'a>), Flaw> {
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
